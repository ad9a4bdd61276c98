"""Trains the nets, in a new run folder or on with `--resume`."""

import functools
import os
import platform
import shlex
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

import flags
from commands import build, devices, evaluate
from commands.build import Settings
from coopnets_tf import files, replicas
from coopnets_tf.data import datasets, named
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import RunError, Stopped
from coopnets_tf.evaluation import protocol
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.models.learner import NETS
from coopnets_tf.networks import network_file
from coopnets_tf.networks.network_file import NetworkFile
from coopnets_tf.runs import checkpoints, folder, trackers, training, weights
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.hooks import Hook, evaluations, pictures
from coopnets_tf.runs.hosts import Hosts
from coopnets_tf.wording import counted


def train(settings: dict[str, Any]) -> Path:
    """Trains as the settings, by the flags' names, say; returns the run's folder."""
    strategy = devices.strategy_of_hosts(
        settings["devices"], settings["hosts"], settings["host_index"]
    )
    hosts = Hosts(strategy)
    with hosts.watched():
        if hosts.leads:
            return lead(settings, strategy, hosts)
        return follow(settings, strategy, hosts)


def lead(
    settings: dict[str, Any], strategy: tf.distribute.Strategy, hosts: Hosts
) -> Path:
    """Trains on the host that writes, or on the only one; returns the run's folder.

    Raises:
      UserError: if what was asked for cannot be done; a RunError if the hosts differ,
        or a tracker lacks its library.
      OSError: if something could not be written; the message has the folder.
      Stopped, Diverged, HostLost: see `training.train`.
    """
    trackers.check(settings["track"])
    settings, dataset, hooks, model, file = prepared(settings, strategy, leads=True)
    run_dir = Path(settings["workdir"]) if settings["resume"] else None
    refuse_different(hosts, settings, dataset)
    if not run_dir:
        run_dir = folder.create_run(settings["workdir"], name=run_name(settings))
    hosts.told(str(run_dir.resolve()))
    run = run_of(settings, run_dir, dataset, file)
    with folder.locked(run_dir):
        try:
            train_in(run, model, dataset, hooks, settings)
        except OSError as error:
            raise OSError(f"{error}. It happened in {run_dir}") from error
    print(_what_next(run, model))
    return run_dir


def _what_next(run, model):
    """Three lines: what there is to see, how to use the nets, and how to go on."""
    place = shlex.quote(str(run.folder))
    modes = "show, interpolate, reconstruct, " if model.generator else "show, "
    program = flags.program.name()
    return (
        f"Done. Pictures of the nets: {run.folder}/samples; the nets, a SavedModel: "
        f"{run.folder}/export; curves: {where_to_look(run)}\n"
        f"Use it: {program} --mode=sample --workdir={place} (or {modes}recover, "
        "evaluate, export)\n"
        f"Longer: {program} --resume --workdir={place} --num_iterations=N; once "
        f"more from the start: {program} --flagfile={place}/{flags.SAVED}"
    )


def follow(
    settings: dict[str, Any], strategy: tf.distribute.Strategy, hosts: Hosts
) -> Path:
    """Trains on a host that writes nothing, as the one that leads does."""
    settings, dataset, _, model, file = prepared(settings, strategy, leads=False)
    refuse_different(hosts, settings, dataset)
    run_dir = Path(hosts.told(""))
    print(
        f"Host {hosts.index} trains with host 0, which reports, and writes {run_dir}",
        flush=True,
    )
    run = run_of(settings, run_dir, dataset, file)
    try:
        training.train(model, batches(dataset, settings), run)
    except Stopped as stop:
        print(stop)
        raise
    return run_dir


def refuse_different(hosts: Hosts, settings: Settings, dataset: ImageDataset) -> None:
    """Stops all hosts unless they train the same: flags, but for places, and images.

    Raises:
      RunError: if they do not.
    """
    own = {
        name: value
        for name, value in flags.saved(settings).items()
        if not flags.FACTS[name].path
    }
    prints = dataset.fingerprint(), dataset.classes_fingerprint()
    if not hosts.have_same(f"{sorted(own.items())} {prints}"):
        raise RunError(
            "The hosts were given different flags, or have different images. Give all "
            "the same but for `host_index`."
        )


class Prepared(NamedTuple):
    """What a host has before a training begins."""

    settings: dict[str, Any]  # with what the images say
    dataset: ImageDataset
    hooks: list[Hook]  # evaluations
    model: ImageModel  # compiled; the strategy's devices share its step
    file: NetworkFile | None  # of its networks


def prepared(
    settings: dict[str, Any], strategy: tf.distribute.Strategy, *, leads: bool
) -> Prepared:
    """What all hosts make alike; the one that leads also evaluates, and says what was
    found.
    """
    run_dir = Path(settings["workdir"]) if settings["resume"] else None
    file = build.own_file(settings, run_dir)
    tell = functools.partial(print, flush=True) if leads else lambda text: None
    evaluated = settings if leads else {**settings, "evaluate_every": None}
    dataset, hooks = data_and_evaluations(evaluated)
    settings = planned(settings, dataset.steps_per_epoch(settings["batch_size"]))
    if dataset.found:
        tell(str(dataset.found))
        if dataset.found.grey_range:
            settings |= {"grey_range": dataset.found.grey_range}
    number = strategy.num_replicas_in_sync
    replicas.refuse_uneven(number, batch_size=settings["batch_size"])
    shares = dataset.class_shares() if settings["conditional"] else None
    with strategy.scope():
        model = build.model(
            settings, dataset.image_shape, dataset.num_images, file, shares
        )
    tell(headline(model, dataset, settings, file))
    held_out, parts = settings["num_held_out"], 1 + (dataset.name not in named.FILES)
    if 0 < held_out < (least := parts * protocol.MIN_IMAGES):
        tell(
            f"Careful: --mode=evaluate will need {least} images held out or more, or "
            f"none. Received: --num_held_out={held_out}."
        )
    begun = run_dir and checkpoints.last_step(run_dir) is not None
    if settings["init_from"] and not begun:
        tell(init_from(model, settings["init_from"]))
    return Prepared(settings, dataset, hooks, model, file)


def batches(
    dataset: ImageDataset, settings: Settings
) -> Callable[[int], Iterable[dict[str, Any]]]:
    """The batches of a training, see `ImageDataset.batches`."""
    return dataset.batches(
        settings["batch_size"],
        run_seed=settings["seed"],
        flip=not flags.keeps_latents(settings) and settings["flip"],
    )


def planned(settings: dict[str, Any], steps_per_epoch: int) -> dict[str, Any]:
    """The settings with their lengths in steps: of the training, and of a schedule."""
    steps = settings["num_iterations"]
    if settings["epochs"] is not None:
        steps = settings["epochs"] * steps_per_epoch
    length = settings["schedule_steps"]
    if length is None and settings["learning_rate_schedule"] != "constant":
        length = steps
    return settings | {
        "num_iterations": steps,
        "epochs": None,
        "schedule_steps": length,
    }


def run_name(settings: Settings) -> str:
    """What a run is called, but for its number."""
    if settings["name"]:
        return settings["name"]
    path, algorithm = Path(settings["dataset"]).resolve(), settings["algorithm"]
    name = (path.stem if path.is_file() else path.name) or "run"
    return name if algorithm == "coopnets" else f"{name}-{algorithm}"


def data_and_evaluations(
    settings: Settings,
) -> tuple[ImageDataset, list[Hook]]:
    """The training images, and the hook that evaluates nets on the way, if any."""
    every = settings["evaluate_every"]
    options: Any = build.data_options(settings)
    if every is None:
        return build.incomplete(datasets.load(**options), settings), []
    splits = datasets.load_splits(**options)
    hook = evaluations(every, evaluate.on_the_way(splits, settings))
    return build.incomplete(splits.training, settings), [hook]


def run_of(
    settings: Settings, run_dir: Path, dataset: ImageDataset, file: NetworkFile | None
) -> Run:
    """The run that the settings ask for."""
    return Run(
        run_dir,
        num_iterations=settings["num_iterations"],
        log_every=settings["log_every"],
        checkpoint_every=settings["checkpoint_every"],
        keep_checkpoints=settings["keep_checkpoints"],
        keep_best=settings["keep_best"],
        steps_per_call=settings["steps_per_call"],
        max_rollbacks=settings["max_rollbacks"] if settings["guard"] else 0,
        dataset=build.data_options(settings),
        classes=dataset.class_names if settings["conditional"] else None,
        steps_per_epoch=dataset.steps_per_epoch(settings["batch_size"]),
        settings=flags.saved(settings),
        network_file=file,
        track=settings["track"],
    )


def where_to_look(run: Run) -> str:
    """The file of a run's metrics, or the command that shows their curves."""
    if "tensorboard" in run.track:
        return f"tensorboard --logdir {shlex.quote(str(run.folder))}"
    return f"{run.folder}/metrics.jsonl"


def train_in(
    run: Run,
    model: ImageModel,
    dataset: ImageDataset,
    hooks: list[Hook],
    settings: Settings,
) -> None:
    """Trains a model in the folder of its run, which is locked.

    Args:
      run: see `run_of`.
      model, dataset, hooks, settings: see `Prepared`.

    Raises:
      RunError: if the run has done more steps already, or was begun on other images.
      Stopped: after a signal; a line has said how to go on.
      DatasetError, Diverged, HostLost, NotSaved: see `training.train`.
    """
    step = checkpoints.last_step(run.folder) or 0
    _refuse_to_go_on(run, step, dataset, settings)
    begun = f"from step {step} on | " if settings["resume"] else ""
    if step == run.num_iterations:
        begun = f"at step {step} already, so that nothing is left to train | "
    print(f"{begun}{run.folder} | look inside: {where_to_look(run)}", flush=True)
    _write_records(run, dataset, settings)
    shown = pictures(
        settings["sample_every"],
        num_images=settings["num_samples"],
        observed=dataset.shown(settings["num_samples"]),
    )
    try:
        training.train(model, batches(dataset, settings), run, [shown, *hooks])
    except Stopped as stop:
        again = f"--resume --workdir={shlex.quote(str(run.folder))}"
        print(f"{stop}. Go on with: {flags.program.name()} {again}")
        raise


def _refuse_to_go_on(run, step, dataset, settings):
    """Stops where a run is longer already, or was begun on other images."""
    if step > run.num_iterations:
        raise RunError(
            f"{run.folder} is at step {step} already. Received: "
            f"`num_iterations`={run.num_iterations}. Give a larger one."
        )
    if settings["resume"]:
        folder.check_data(
            run.folder, dataset, way_out="Or begin a new run without `resume`."
        )


def _write_records(run, dataset, settings):
    """What was called and when, on which images, and which files were skipped."""
    versions = [f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras")]
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    heading = [
        flags.program.call(),
        f"{now}, Python {platform.python_version()}, {', '.join(versions)}",
    ]
    flags.save(run.folder / flags.SAVED, heading, settings)
    folder.record_data(run.folder, dataset)
    if dataset.found and dataset.found.skipped:
        text = "".join(f"{line}\n" for line in dataset.found.skipped)
        files.write_whole(run.folder / "skipped.txt", os.fsencode(text))


def init_from(model: ImageModel, source: str) -> str:
    """Begins with the nets of another run; says what does not fit."""
    path, misfits = weights.load_networks(model, source)
    return "\n  does not fit and begins anew: ".join([f"Nets of {path}", *misfits])


def headline(
    model: ImageModel,
    dataset: ImageDataset,
    settings: Settings,
    file: NetworkFile | None,
) -> str:
    """Two lines: the machine and the nets; the data and the chains."""
    sizes = [f"{name} {net.count_params():,}" for name, net in model.nets.items()]
    chains = []
    if model.descriptor:
        number = counted(model.num_chains, "chains")
        chains.append(f"{number} of {counted(model.revision_steps, 'steps')}")
    if model.generator and (inferring := model.generator.inference.num_steps):
        chains.append(f"G1 with {counted(inferring, 'steps')}")
    if settings["algorithm"] == "coopnets" and settings["data_teaching"]:
        chains.append(f"dual teaching with a weight of {settings['data_teaching']:g}")
    if model.num_classes:
        chains.append(counted(model.num_classes, "classes"))
    steps = dataset.steps_per_epoch(settings["batch_size"])
    networks = file.path.name if file else settings["network"]
    for name in set(model.nets) - set(network_file.functions(file) if file else NETS):
        networks += f" (has no {name}) and built-in {model.nets[name].network.name}"
    device = devices.named(model.distribute_strategy)
    return (
        f"{device} | {networks} nets: {', '.join(sizes)} parameters\n"
        f"{dataset.name}: {counted(dataset.num_images, 'images')} "
        f"{'x'.join(map(str, dataset.image_shape))} | "
        f"{', '.join([counted(steps, 'steps an epoch'), *chains])}"
    )
