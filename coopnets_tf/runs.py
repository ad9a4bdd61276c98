"""The folder of a run: made once, never deleted, never overwritten."""

import contextlib
import json
import re
from pathlib import Path

from coopnets_tf.files import write_json

ROLLBACKS = "rollbacks.json"
DATA = "data.json"
CONTENTS = (
    "flags.cfg",
    "metrics.jsonl",
    "tensorboard",
    "samples",
    "checkpoints",
    "export",
    DATA,
    "model.json",
    "evaluations",
)


class RunError(ValueError):
    """The run folder cannot be used; the message says why and what to do."""


def create_run(workdir, *, dataset, root=Path("runs")):
    """Makes the folder of a new run.

    Args:
      workdir: path, or None for the next free `<root>/<dataset>-<number>`.
      dataset: str; a name, or a path whose last part is used.
      root: `Path`; where unnamed runs go.

    Returns:
      `Path` of the folder, which holds no run yet.

    Raises:
      RunError: if `workdir` is a file, holds a run, or cannot be made.
    """
    try:
        if workdir is None:
            return _next_run(root, Path(dataset).resolve().name or "run")
        folder = Path(workdir).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--workdir cannot be made: {error}. Give another.") from error
    if any((folder / name).exists() for name in CONTENTS):
        raise RunError(
            f"Run folder {folder} holds a run already, which is never overwritten. "
            "Give another --workdir, none for a new one, or --resume to go on with it."
        )
    return folder


def new_output(chosen, run_dir, mode, *, flag="--output"):
    """The folder for the results of a mode, a `Path`; never one that is in use.

    Args:
      chosen: path, or None for the next free `<mode>-<number>` in the run's folder.
      run_dir: `Path`.
      mode: str.
      flag: str; where the choice comes from, for errors.

    Raises:
      RunError: if the chosen folder holds anything, or cannot be made.
    """
    try:
        if chosen is None:
            return _next_run(run_dir, mode)
        folder = Path(chosen).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise RunError(f"{flag} cannot be made: {error}. Give another.") from error
    if used:
        raise RunError(
            f"{flag}={chosen} holds files already, which are never overwritten. Give "
            f"another{', or none for a new one' if flag == '--output' else ''}."
        )
    return folder


@contextlib.contextmanager
def locked(run_dir):
    """Keeps a second process out of a run folder.

    The lock belongs to the process, so a crash of its owner frees it.

    Raises:
      RunError: if another process trains in the folder, or it cannot be written to.
    """
    import fcntl

    try:
        file = (run_dir / ".lock").open("a")
    except OSError as error:
        raise RunError(
            f"The run folder cannot be written to: {error}. Give another --workdir."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"Another process trains in {run_dir}. Wait for it, or stop it."
            ) from error
        yield


def find_run(workdir):
    """The folder of an existing run, a `Path`.

    Raises:
      RunError: if there is no run in it.
    """
    if workdir is None:
        raise RunError("runs/ holds no run. Name the folder of one by --workdir.")
    folder = Path(workdir)
    if not (folder / "flags.cfg").is_file():
        raise RunError(f"--workdir={workdir} holds no run: it has no flags.cfg.")
    return folder


def check_data(run_dir, *, fingerprint, way_out):
    """Compares images with those that a run was begun with, as far as it is known.

    Args:
      run_dir: `Path`.
      fingerprint: str; of the images at hand.
      way_out: str; what to do if they are others.

    Raises:
      RunError: if they are others.
    """
    record = run_dir / DATA
    if record.exists() and _read_json(record).get("fingerprint") != fingerprint:
        raise RunError(
            f"The images are not those with which {run_dir} was begun. {way_out}"
        )


def record_data(run_dir, *, fingerprint):
    """Remembers which images a run was begun with."""
    if not (run_dir / DATA).exists():
        write_json(run_dir / DATA, {"fingerprint": fingerprint})


def rollbacks(run_dir):
    """The run's rollbacks so far: a list of dicts, `step` and `story`."""
    record = run_dir / ROLLBACKS
    return _read_json(record) if record.exists() else []


def add_rollback(run_dir, *, step, story):
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
