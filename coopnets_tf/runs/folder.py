"""A run: what it is to do, and its folder, never deleted, never overwritten."""

import contextlib
import dataclasses
import errno
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import RunError
from coopnets_tf.files import RUN_DESCRIPTION, write_json
from coopnets_tf.networks.network_file import NetworkFile
from coopnets_tf.runs import trained

ROLLBACKS = "rollbacks.json"
DATA = "data.json"
CONTENTS = (
    RUN_DESCRIPTION,
    "metrics.jsonl",
    "tensorboard",
    "samples",
    "checkpoints",
    "export",
    "evaluations",
    DATA,
    "flags.cfg",  # of the command line
)
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of some network disks
_locked: set[Path] = set()  # by this process


@dataclasses.dataclass(frozen=True)
class Run:
    """A training: where it is kept, how long it is, what it leaves on the way.

    ```python
    from coopnets_tf import Run

    run = Run("runs/mine", num_iterations=3000, log_every=20)
    ```

    Args:
      folder: is made; that of an earlier session where it goes on.
      num_iterations: training steps, those of earlier sessions included.
      log_every: steps between two lines of metrics.
      checkpoint_every: steps between two checkpoints.
      keep_checkpoints: how many of the newest checkpoints to keep.
      keep_best: metric by which one more is kept, see `Checkpoints`.
      steps_per_call: training steps in one call of a graph, of one device.
      max_rollbacks: of the whole run after divergences, before it gives up.
      dataset: arguments of `datasets.load_splits`, for those who use the run later.
        None: only the owner has the images.
      classes: names of those that the nets are told, in their order.
      steps_per_epoch: for the epoch of a line of metrics.
      settings: hyper-parameters for the trackers to show.
      network_file: the Python file of the networks, which the run keeps.
      track: names of trackers, see `coopnets_tf.runs.trackers`.
    """

    folder: Path
    num_iterations: int
    log_every: int = 10
    checkpoint_every: int = 500
    keep_checkpoints: int = 3
    keep_best: str | None = None
    steps_per_call: int = 1
    max_rollbacks: int = 3
    dataset: Mapping[str, Any] | None = None
    classes: Sequence[str] | None = None
    steps_per_epoch: int | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    network_file: NetworkFile | None = None
    track: Sequence[str] = ("tensorboard",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).expanduser())
        refuse_bytes(self.folder)

    def epoch(self, step: int) -> dict[str, float]:
        """For a line of metrics: the epochs done at a step, such as {"epoch": 1.5}, or
        {} where `steps_per_epoch` is not known.
        """
        return {"epoch": step / self.steps_per_epoch} if self.steps_per_epoch else {}


def refuse_bytes(folder: Path) -> None:
    """Stops before a run in a folder whose path is not text, which TensorFlow needs.

    Raises:
      RunError: if it is not.
    """
    path = str(folder.resolve())
    if path.encode("utf-8", "replace").decode() != path:
        raise RunError(
            f"`workdir` cannot be in {path!r}, whose name is not text in UTF-8. Give "
            "another, or rename that folder."
        )


def create_run(
    workdir: Path | str | None, *, name: str, root: Path = Path("runs")
) -> Path:
    """Makes the folder of a new run, which holds no run yet, and returns it.

    Args:
      workdir: None for the next free `<root>/<name>-<number>`.
      root: where runs without a `workdir` go.

    Raises:
      RunError: if `workdir` is a file, holds a run, or cannot be made.
    """
    refuse_bytes(Path(workdir).expanduser() if workdir else root)
    try:
        if workdir is None:
            return _next_run(root, name)
        folder = Path(workdir).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"`workdir` cannot be made: {error}. Give another.") from error
    if any((folder / name).exists() for name in CONTENTS):
        raise RunError(
            f"Run folder {folder} holds a run already, which is never overwritten. "
            "Give another `workdir`, none for a new one, or `resume` to go on with it."
        )
    return folder


def new_output(
    chosen: Path | str | None, run_dir: Path, mode: str, *, argument: str = "output"
) -> Path:
    """The folder for the results of a mode; never one that is in use.

    Args:
      chosen: None for the next free `<mode>-<number>` in the run's folder, or where
        `trained.results` has it.
      mode: what is done with the run.
      argument: what the caller calls `chosen`.

    Raises:
      RunError: if the chosen folder holds anything, or cannot be made.
    """
    refuse_used(chosen, argument=argument)
    try:
        if chosen is None:
            return _next_run(trained.results(run_dir), mode)
        folder = Path(chosen).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"`{argument}` cannot be made: {error}. Give another."
        ) from error
    return folder


def refuse_used(chosen: Path | str | None, *, argument: str = "output") -> None:
    """Stops where a folder for results holds anything, or is none.

    Arguments and errors as for `new_output`.
    """
    try:
        used = chosen is not None and any(Path(chosen).expanduser().iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(
            f"`{argument}` cannot be made: {error}. Give another."
        ) from error
    if used:
        new = ", or none for a new one" if argument == "output" else ""
        raise RunError(
            f"`{argument}`={chosen} holds files already, which are never overwritten. "
            f"Give another{new}."
        )


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keeps other processes out of a run folder.

    The lock belongs to the process, so a crash of its owner frees it.

    Raises:
      RunError: if another process trains in the folder, or it cannot be written to.
    """
    import fcntl

    if (place := run_dir.resolve()) in _locked:
        yield
        return
    try:
        file = (run_dir / ".lock").open("a")
    except OSError as error:
        raise RunError(
            f"The run folder cannot be written to: {error}. Give another `workdir`."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"Another process trains in {run_dir}. Wait for it, or stop it."
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logging.warning(
                "The file system of %s has no locks (%s): see to it that no other "
                "process trains in this folder.",
                run_dir,
                error,
            )
        _locked.add(place)
        try:
            yield
        finally:
            _locked.remove(place)


def find_run(workdir: Path | str) -> Path:
    """The folder of an existing run, or of trained nets that come with the package.

    Raises:
      RunError: if there is no run in it.
    """
    folder = trained.place(workdir)
    if not folder.exists():
        raise RunError(f"`workdir`={workdir} does not exist.")
    if not (folder / RUN_DESCRIPTION).is_file():
        raise RunError(
            f"`workdir`={workdir} holds no run: it has no {RUN_DESCRIPTION}."
        )
    return folder


def check_data(run_dir: Path, dataset: ImageDataset, *, way_out: str) -> None:
    """Compares images, and their classes, with those that a run was begun with, as far
    as they are known.

    Args:
      dataset: the images at hand.
      way_out: what else to do if they are others.

    Raises:
      RunError: if they are others.
    """
    if not (run_dir / DATA).exists():
        return
    record = _read_json(run_dir / DATA)
    known = record.get("fingerprint")
    if known != dataset.fingerprint() and known != dataset.fingerprint(
        folder=_folder(run_dir)
    ):
        raise RunError(
            f"The images are not those with which {run_dir} was begun. Bring those "
            f"back, or name their new place by `dataset`. {way_out}"
        )
    classes = dataset.classes_fingerprint()
    if classes and record.get("classes", classes) != classes:
        raise RunError(
            f"The images are those with which {run_dir} was begun, but some have "
            f"another class than then. Bring the classes back. {way_out}"
        )


def _folder(run_dir):
    """Where the images of a run were; None where it does not say."""
    record = run_dir / RUN_DESCRIPTION
    found = _read_json(record).get("dataset") if record.exists() else None
    return found.get("dataset") if isinstance(found, dict) else found


def record_data(run_dir: Path, dataset: ImageDataset) -> None:
    """Remembers with which images, and of which classes, a run was begun."""
    record = {"fingerprint": dataset.fingerprint()}
    if classes := dataset.classes_fingerprint():
        record["classes"] = classes
    write_json(run_dir / DATA, record)


def rollbacks(run_dir: Path) -> list[dict[str, Any]]:
    """The run's rollbacks so far, each with `step` and `story`."""
    record = run_dir / ROLLBACKS
    return _read_json(record) if record.exists() else []


def add_rollback(run_dir: Path, *, step: int, story: str) -> None:
    """Remembers that the run went back to a step, and why."""
    stories = [*rollbacks(run_dir), {"step": step, "story": story}]
    write_json(run_dir / ROLLBACKS, stories)


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is not as the run wrote it: {error}.") from error


def _next_run(root, name):
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    root.mkdir(parents=True, exist_ok=True)
    taken = [pattern.fullmatch(folder.name) for folder in root.iterdir()]
    number = max((int(match[1]) for match in taken if match), default=0)
    while True:
        number += 1
        try:
            folder = root / f"{name}-{number}"
            folder.mkdir()
            return folder
        except FileExistsError:
            continue  # another process was faster
