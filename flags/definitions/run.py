"""What is trained on what, where: the run, its data set, its devices."""

import re

from flags import places
from flags.definitions import conditions
from flags.facts import ALGORITHMS, MODES, NEED_DATA, USES, WITH_IMAGES, Group

run = Group("run")
run.enum(
    "mode",
    "train",
    MODES,
    "What to do. All but train use the trained nets of the run in --workdir (default: "
    "the newest in runs/). The mode may also be the first word: sample --num_images=9.",
    basic="train, or what to do with a run",
    modes=MODES,
    saved=False,
)
run.enum(
    "algorithm",
    "coopnets",
    ALGORITHMS,
    "What learns: both nets together, or one of them alone (the paper's Algorithms D "
    "and G). Loads flags/<algorithm>.cfg after the data set's preset.",
    basic="coopnets, or one net: descriptor, generator",
    modes=("train", "evaluate"),
    fixed=USES,
)
run.string(
    "dataset",
    "digits",
    "digits, mnist, fashion_mnist, cifar10, or the path of a folder of images, of a "
    ".zip of one, or of an .npy or .npz file of an array. Or one picture, any image "
    "file or brick, grass, gravel (of scikit-image), whose images are all its windows "
    "of --image_size; or one clip, a video or an animation, see --num_frames. Loads "
    "the preset flags/<dataset>.cfg (flags/scene.cfg for a folder, texture.cfg for a "
    "picture, moving_texture.cfg for a clip); your own flags win. The images of a run "
    "may be at another path later.",
    basic="digits, mnist, ..., a folder, picture, clip",
    choices=places.NAMED,
    modes=("train", *NEED_DATA),
    when=conditions.reads_data,
    path=True,
    place=places.dataset,
    may_change=True,  # the images themselves may not
)
run.string(
    "data_dir",
    None,
    "Folder that holds the files of a named data set. Default: Keras' cache, "
    "downloaded when missing.",
    modes=("train", *NEED_DATA),
    when=conditions.is_downloaded,
    path=True,
    place=places.folder,
    may_change=True,
)
run.string(
    "workdir",
    None,
    "Folder of this run. Default: a new runs/<dataset>-<number>, of one net alone "
    "runs/<dataset>-<algorithm>-<number>. To use trained nets that come with this "
    "program: digits or mnist.",
    basic="folder of the run; or digits, mnist",
    modes=MODES,
    path=True,
    saved=False,
)
run.string(
    "name",
    None,
    "Name of this run in place of <dataset> and <algorithm>: runs/<name>-<number>.",
    basic="or a new one, runs/<name>-<number>",
    must="letters, digits and . _ - after a letter or digit",
    good=lambda value: bool(re.fullmatch(r"[a-z0-9][\w.-]*", value, re.ASCII | re.I)),
    saved=False,
)
run.boolean(
    "resume",
    False,
    "Continue the run in --workdir (default: the newest in runs/) with its own flags, "
    "up to --num_iterations.",
    basic="go on with a run",
    saved=False,
)
run.string(
    "init_from",
    None,
    "Begin with the nets of another run (its folder) or of a checkpoint (such as "
    "runs/mnist-1/checkpoints/ckpt-500). What does not fit is listed and begins anew.",
    basic="a run with whose nets to begin",
    path=True,
    place=places.checkpoint,
    kept=True,
)
run.seed(
    "seed",
    0,
    "All random numbers of a run follow from it; in other modes, those of the results.",
    basic="of all random numbers",
    modes=("train", "sample", *WITH_IMAGES),
)
run.boolean(
    "deterministic",
    False,
    "Let TensorFlow use only operations that give the same bits every time, also on a "
    "GPU. On a CPU runs are equal without it; docs/RELIABILITY.md has its cost.",
    modes=MODES,
    may_change=True,
)
run.string(
    "devices",
    "1",
    "How many GPUs of this machine share the work, or all. Batch and chains are those "
    "of all together, and so is what is learned and drawn: the same whatever the "
    "number, which they must be multiples of. Without a GPU the CPU is split into "
    "that many parts, which is no faster.",
    basic="GPUs that share the work, or all",
    must="all or a whole number of 1 or more",
    good=lambda value: bool(re.fullmatch(r"all|[1-9][0-9]*", value)),
    choices=("all",),
    modes=("train", "sample", "evaluate"),
    own=USES,
    may_change=True,
)


def _are_hosts(names):
    host = re.compile(r"[^\s:]+:\d{1,5}")
    return len(names) > 1 and all(map(host.fullmatch, names)) or names == ["slurm"]


run.list(
    "hosts",
    None,
    "Several hosts share the training: name:port of each, the same list on all, or "
    "slurm within srun. All need the images, and the run's folder on a disk that they "
    "share; the first writes. Default: this host alone, or what TF_CONFIG says. "
    "docs/SCALING.md.",
    must="name:port of two hosts or more, with commas, or slurm",
    good=_are_hosts,
    choices=("slurm",),
    saved=False,
)
run.integer(
    "host_index",
    None,
    "Which of --hosts this one is, from 0 on.",
    low=0,
    saved=False,
)
run.boolean(
    "debug",
    False,
    "Show where in the code an error came from.",
    modes=MODES,
    saved=False,
)
run.boolean(
    "print_config",
    False,
    "Print the flags that this command line would run with, as a flagfile, and end.",
    modes=MODES,
    saved=False,
)
