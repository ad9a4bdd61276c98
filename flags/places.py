"""What must be where a flag points to: functions of a value that return what is wrong
with it, to follow `--flag=value`, or None.
"""

from pathlib import Path

from flags import program
from flags.facts import closest, nearest

# The named data sets; all others are folders or files of images.
DOWNLOADED = ("mnist", "fashion_mnist", "cifar10")
TEXTURES = ("brick", "grass", "gravel")  # one picture each
NAMED = ("digits", *DOWNLOADED, *TEXTURES)
MASKS = ("square", "random", "salt_pepper")
EXTRACTORS = ("classifier", "inception")
ARCHIVES = (".zip", ".npz", ".npy")
CLIPS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif", ".apng")


def _state(path):
    if path.is_dir():
        return "is a folder"
    return "is a file" if path.exists() else "does not exist"


def trained(name: str | None = None) -> list[Path]:
    """The folders of trained nets that come with the program; those of a name."""
    package = program.package()
    folders = sorted(package.glob("trained/*/model.json")) if package else []
    return [one.parent for one in folders if name in (None, one.parent.name)]


def folder(value: str) -> str | None:
    state = _state(Path(value))
    return None if state == "is a folder" else f"{state}. It must be a folder."


def file(value: str) -> str | None:
    state = _state(Path(value))
    return None if state == "is a file" else f"{state}. It must be a file."


def unused(value: str) -> str | None:
    """A folder of which nothing can be overwritten, since it is new or empty."""
    path = Path(value)
    if path.is_dir() and any(path.iterdir()):
        return "holds files already, which are never overwritten. Give another."
    return None if path.is_dir() or not path.exists() else "is a file. Give another."


def dataset(value: str) -> str | None:
    path = Path(value)
    if value in NAMED or path.is_dir() or path.is_file():
        return None
    return (
        f"{_state(path)}. It must be {', '.join(NAMED)}, a folder of images, a file of "
        f"them ({', '.join(ARCHIVES)}), one picture or one clip.{nearest(value, NAMED)}"
    )


def images(value: list[str]) -> str | None:
    missing = [one for one in value if not Path(one).exists()]
    if not missing:
        return None
    return f"names what does not exist: {' and '.join(missing)}. Commas separate them."


def extractor(value: str) -> str | None:
    if value in EXTRACTORS or value.endswith(".keras") and not file(value):
        return None
    if value.endswith(".keras"):
        return file(value)
    hint = nearest(value, EXTRACTORS)
    return f"must be {', '.join(EXTRACTORS)} or a .keras file that exists.{hint}"


def checkpoint(value: str) -> str | None:
    """Of a run's folder the newest one, else a file that has the ending .index."""
    path = Path(value)
    if trained(value) or path.is_dir():
        return None
    if path.with_name(f"{path.name}.index").is_file():
        return None
    if path.suffix == ".index" and path.is_file():
        return None
    return (
        f"{_state(path)}. It must be the folder of a run, or a checkpoint such as "
        f"runs/mnist-1/checkpoints/ckpt-500.{beside(path)}"
    )


def beside(path: Path) -> str:
    """The end of a message: the folder beside a path that does not exist whose name is
    most like it, if any.
    """
    if path.exists() or not path.parent.is_dir():
        return ""
    names = [one.name for one in path.parent.iterdir() if one.name[0] != "."]
    found = closest(path.name, names)
    return f" Did you mean {path.with_name(found)}?" if found else ""


def training_mask(value: str) -> str | None:
    """A description that `masks.parse_mask` of the package takes, or a file."""
    kind, _, amount = value.partition(":")
    try:
        if kind == "square" and int(amount) > 0 or Path(value).is_file():
            return None
        if kind in ("random", "salt_pepper") and 0 < float(amount) < 1:
            return None
    except ValueError:
        pass
    hint = "" if kind in MASKS else nearest(kind, MASKS)
    return (
        "must be square:<pixels>, random:<share> or salt_pepper:<share>, the share "
        f"between 0 and 1, or an image file that exists.{hint}"
    )


def mask(value: str) -> str | None:
    return None if value == "training" else training_mask(value)
