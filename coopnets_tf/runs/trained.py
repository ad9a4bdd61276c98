"""Copies of runs for others, some of which come with the package.

Such a copy is the folder of a run with its nets alone, in half precision, and with the
sums of its files, `SHA256SUMS`, as `sha256sum -c` reads them. The card, which may be
edited, has no sum. It is used like any run.
"""

import hashlib
from pathlib import Path

from coopnets_tf.errors import RunError
from coopnets_tf.files import RUN_DESCRIPTION, write_whole

FOLDER = Path(__file__).parent.parent / "trained"
SUMS = "SHA256SUMS"
CARD = ("README.md", "samples.png")


def names() -> list[str]:
    """Of the trained nets that come with the package."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{RUN_DESCRIPTION}"))


def place(path: Path | str) -> Path:
    """A path; where no run is, that of nets of its name that come with the package."""
    here = Path(path).expanduser()
    is_run = (here / RUN_DESCRIPTION).is_file()
    return FOLDER / here if not is_run and str(path) in names() else here


def results(run_dir: Path) -> Path:
    """Where results of a run go: into its folder, but of nets that came with the
    package `runs/<name>`.
    """
    return Path("runs", run_dir.name) if run_dir.parent == FOLDER else run_dir


def seal(folder: Path) -> None:
    """Writes the sums of all files in a folder but those of the card."""
    lines = [f"{_sum(folder / name)}  {name}\n" for name in _files(folder)]
    write_whole(folder / SUMS, "".join(lines).encode())


def _files(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in paths)
    return sorted(name for name in names if name not in (*CARD, SUMS))


def check(folder: Path) -> None:
    """Stops where a file of a sealed folder is missing or was changed, or a checkpoint
    has no sum; other folders pass.

    Raises:
      RunError: with the name of that file.
    """
    if not (folder / SUMS).is_file():
        return
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: known for known, _, name in (one.partition("  ") for one in lines)}
    needed = [one for one in _files(folder) if one.startswith("checkpoints/")]
    for name in {*sums, *needed, RUN_DESCRIPTION}:
        path = folder / name
        if not path.is_file() or _sum(path) != sums.get(name):
            raise RunError(
                f"{path} is not as it was made: its sum is not that in "
                f"{SUMS}. Install the package, or copy the folder, again."
            )


def _sum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
