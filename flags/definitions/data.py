"""What becomes of the images."""

import re

from flags import places
from flags.definitions import conditions
from flags.facts import (
    NEED_DATA,
    USES,
    WITH_DESCRIPTOR,
    WITH_IMAGES,
    Group,
    keeps_latents,
)

SIZE = r"([89]|[1-9]\d+)(x([89]|[1-9]\d+))?"  # sides of 8 pixels or more

data = Group("data", modes=("train", *NEED_DATA), fixed=("evaluate",))
data.string(
    "image_size",
    "64",
    "Size in pixels to which the images of a folder and the frames of a clip are "
    "brought: the side of a square, or height x width such as 96x64. Of one picture, "
    "which is never resized, that of the windows cut out of it. With "
    "--mode=sample|show that of the samples, by nets that are for any size "
    "(--network=texture).",
    basic="of your own images, such as 64 or 96x64",
    must="a whole number of 8 or more, or height x width such as 96x64",
    good=lambda value: bool(re.fullmatch(SIZE, value, re.ASCII)),
    when=conditions.has_a_size,
    modes=("train", "sample", "show", *NEED_DATA),
    if_typed=("sample", "show"),
)
data.integer(
    "num_frames",
    None,
    "--dataset is one clip, a video (pip install av), an animation, or a folder of "
    "frames in the order of the numbers in their names; its images are all windows of "
    "that many consecutive frames. Default: still images, and that of "
    "flags/moving_texture.cfg for a video or a .gif.",
    basic="frames of an image, of a clip",
    low=2,
    when=conditions.reads_folder,
)
data.enum(
    "color_mode",
    "rgb",
    ["rgb", "grey"],
    "Colours of your own images.",
    basic="rgb or grey",
    when=conditions.reads_folder,
)
data.enum(
    "resize",
    "crop",
    ["crop", "stretch"],
    "How an image of a folder, or a frame of a clip, gets the shape of --image_size: "
    "crop its centre, or stretch it.",
    when=conditions.reads_files,
    modes=("train", *WITH_IMAGES, "evaluate"),
)
data.enum(
    "normalize",
    "fixed",
    ["fixed", "per_image"],
    "Pixels to [-1, 1]: value / 127.5 - 1, or each image from its own minimum and "
    "maximum as the official code does.",
    modes=("train", *WITH_IMAGES, "evaluate"),
)
data.boolean(
    "skip_bad_images",
    False,
    "Leave out images that cannot be read, and say how many; the run's skipped.txt "
    "lists them. All are decoded at the start for it. What is no image is left out "
    "anyway.",
    when=conditions.reads_folder,
    fixed=(),
)
data.boolean(
    "keep_decoded",
    True,
    "Keep the decoded images of a folder or archive in Keras' folder for the next run, "
    "if there are 500 megapixels or more to decode: at most 8 GiB of all folders, and "
    "half of the room on the disk.",
    when=conditions.reads_folder,
    fixed=(),
    may_change=True,
)


def _is_range(value):
    match = re.fullmatch(r"(\d{1,5}):(\d{1,5})", value, re.ASCII)
    return match is not None and int(match[1]) < int(match[2]) <= 65535


data.string(
    "grey_range",
    None,
    "LOW:HIGH, values of 16-bit grey images that become black and white, such as "
    "0:4095. Default: from 0 to the first of 255, 511, ... 65535 that none exceeds.",
    must="LOW:HIGH, two whole numbers of at most 65535, the lower first",
    good=_is_range,
    modes=("train", *WITH_IMAGES, "evaluate"),
    when=conditions.reads_files,
)
data.boolean(
    "flip",
    False,
    "In training mirror each observed image, left to right, with probability 1/2. Not "
    "where latents are kept for each image.",
    modes=("train",),
    fixed=(),
    algorithms=WITH_DESCRIPTOR,
    when=lambda settings: not keeps_latents(settings),
)
data.integer(
    "num_held_out",
    0,
    "Images kept out of training, to evaluate on: the first ones, of a folder random "
    "ones (always the same); not of one picture or clip, whose windows overlap.",
    basic="images kept out of training, to evaluate on",
    when=conditions.reads_data,
    low=0,
)
data.string(
    "training_mask",
    None,
    "With --algorithm=generator: pixels of the training images that are never seen, as "
    "for --mask; of each image always the same ones.",
    modes=("train", "recover", "evaluate"),
    algorithms=("generator",),
    when=conditions.hides_in_training,
    path=True,
    place=places.training_mask,
    fixed=USES,
)
