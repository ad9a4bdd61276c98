"""The training loop: steps, metrics, checkpoints, and hooks for all else."""

import contextlib
import dataclasses
import itertools
import logging
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf.errors import (
    DatasetError,
    Diverged,
    NotSaved,
    RunError,
    Stopped,
)
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.progress import say
from coopnets_tf.runs import folder, saving, signals, stepping, trackers
from coopnets_tf.runs.checkpoints import Checkpoints, step_of
from coopnets_tf.runs.export import export
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.hooks import Hook, Moment
from coopnets_tf.runs.hosts import Hosts
from coopnets_tf.runs.logs import RunLog

EARLY = 100  # steps in which a divergence is no accident


def train(
    model: ImageModel,
    batches: Callable[[int], Iterable[Any]],
    run: Run,
    hooks: Sequence[Hook] = (),
) -> None:
    """Trains a compiled model and leaves everything in the run's folder.

    A run that has checkpoints is continued from the newest that can be read, and
    becomes what it would have been without the interruption. When a metric is out of
    bounds the run goes back to a healthy checkpoint and on with other noise. Of several
    hosts, by a model built in the scope of a `MultiWorkerMirroredStrategy`, each calls
    this with a folder that all share, and the first one alone writes.

    ```python
    import keras
    from coopnets_tf import AlgorithmD, Descriptor, Langevin, Run, train
    from coopnets_tf.data import datasets
    from coopnets_tf.networks import built_in

    net = built_in.descriptor("digits", (8, 8, 1))
    descriptor = Descriptor(net, revision=Langevin(1, 0.002), reference_stddev=0.016)
    model = AlgorithmD(descriptor, num_chains=4, chain_init="noise")
    model.compile(keras.optimizers.Adam(0.001, 0.5))
    digits = datasets.load("digits")
    train(model, digits.batches(4, run_seed=0), Run("runs/mine", num_iterations=2))
    ```

    Args:
      model: `CoopNets`, `AlgorithmD` or `AlgorithmG`, compiled.
      batches: function of the number of steps done that returns the batches of the
        steps to come (see `batches.as_batch`), such as `ImageDataset.batches`. To go on
        exactly, it must give a step the same batch every time.
      hooks: see the module `hooks`; called in their order.

    Raises:
      Diverged: if a metric is out of bounds and no rollback is left.
      DatasetError: if an image can no longer be read, or the batches end; a checkpoint
        was written.
      RunError: if the folder is in use, or has no checkpoint that can be read, or a
        tracker of the run cannot begin.
      NotSaved: if the checkpoint at the end could not be written.
      Stopped: after SIGINT, SIGTERM or SIGHUP, to any of several hosts; the step was
        finished and a checkpoint written.
      HostLost: if another host has ended or no longer answers.
    """
    hosts = Hosts(model.distribute_strategy)
    trackers.check(run.track)
    with hosts.watched(), signals.collected() as received:
        if hosts.leads:
            _lead(model, batches, run, hooks, hosts, received)
        else:
            _follow(model, batches, run, hosts, received)


def _lead(model, batches, run, hooks, hosts, received):
    """Trains on the host that writes, or on the only one."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with folder.locked(run.folder):
        checkpoints = Checkpoints(model, run)
        checkpoints.restore()
        saving.describe(model, run)
        model.rollbacks.assign(len(folder.rollbacks(run.folder)))
        step_fn = stepping.announced(model, run.steps_per_call)
        leader = _Leader(model, run, hooks, checkpoints, step_fn, hosts, received)
        again = False
        while True:
            hosts.agreed(begin=(int(model.step), int(model.rollbacks)))
            try:
                leader.go_on(batches, again=again)
                break
            except Diverged as error:
                _roll_back(model, run, checkpoints, error)
                again = True
        say("Exporting the nets")
        with model.frozen():
            name = (run.dataset or {}).get("dataset")
            export(model, run.folder / "export", dataset=name)


def _follow(model, batches, run, hosts, received):
    """Trains on a host that writes nothing, the steps of the one that leads."""
    checkpoints, step_fn = Checkpoints(model, run), stepping.build_step(model)
    _, begin = hosts.agreed()
    while begin:
        (step, rollbacks), begin = begin, None
        checkpoints.restore_step(step)
        model.rollbacks.assign(rollbacks)
        model.alarm()  # which the leading host has seen, too
        with _open(batches, step) as upcoming:
            for now in range(step + 1, run.num_iterations + 1):
                step_fn(next(upcoming))
                if now % run.log_every == 0:
                    model.reset_metrics()
                stopping, begin = hosts.agreed(stopping=bool(received))
                if begin:
                    break
                if stopping:
                    raise Stopped(signal.SIGTERM, now)


@dataclasses.dataclass(frozen=True)
class _Leader:
    """The steps of the host that writes, and all that is due between them."""

    model: ImageModel
    run: Run
    hooks: Sequence[Hook]
    checkpoints: Checkpoints
    step_fn: Callable
    hosts: Hosts
    received: list[int]  # signals to stop

    def go_on(self, batches, *, again):
        """Trains from the model's step to the last, or until a signal was received.
        `again`: after a rollback.
        """
        run, first_step = self.run, int(self.model.step)
        log = RunLog(run, first_step=first_step, again=again)
        with log, _open(batches, first_step) as upcoming:
            if first_step == 0:
                self._begin(log)
            every = [run.log_every, run.checkpoint_every]
            every += [hook.every for hook in self.hooks]
            step, calls = first_step, stepping.calls(upcoming, first_step, run, every)
            while step < run.num_iterations:
                try:
                    call = next(calls)
                except DatasetError:
                    _refuse_alarm(self.model)
                    self._save(log, step, needed=True)
                    raise
                metrics = self.step_fn(call)
                if step == first_step:
                    log.started(step + len(call))
                step += len(call)
                self._after(log, step, metrics, batch_size=_size(call[0]))

    def _begin(self, log):
        """What a run shows before its first step, and its first checkpoint."""
        for hook in self.hooks:
            if hook.at_start:
                hook.at_start(Moment(self.model, self.run, log, 0))
        self._save(log, 0)

    def _after(self, log, step, metrics, *, batch_size):
        """All that is due after a step: the guard, metrics, hooks, a checkpoint."""
        model, run = self.model, self.run
        last = step == run.num_iterations
        to_log, to_save = (
            last or step % every == 0 for every in (run.log_every, run.checkpoint_every)
        )
        due = [
            hook
            for hook in self.hooks
            if step % hook.every == 0 or last and hook.at_end
        ]
        if to_log or due or to_save or self.received or self.hosts.number > 1:
            _refuse_alarm(self.model)
        if to_log:
            metrics = {name: float(value) for name, value in metrics.items()}
            log.metrics(step, metrics | _learning_rates(model), batch_size=batch_size)
        if step % run.log_every == 0:  # not after the last line: it may go on
            model.reset_metrics()
        for hook in due:
            hook.act(Moment(model, run, log, step))
        stopping, _ = self.hosts.agreed(stopping=bool(self.received))
        if to_save or stopping:  # at the end: what it holds has been shown
            self._save(log, step, needed=stopping or last)
        if stopping:
            raise Stopped(self.received[0] if self.received else signal.SIGTERM, step)

    def _save(self, log, step, *, needed=False):
        """Writes a checkpoint. One that is not needed may fail: another will come."""
        log.flush()
        try:
            self.checkpoints.save(step)
        except NotSaved as error:
            if needed:
                raise
            logging.warning("%s. Training goes on; free some space.", error)


def _refuse_alarm(model):
    if alarm := model.alarm():
        raise Diverged(*alarm)


@contextlib.contextmanager
def _open(batches, first_step) -> Iterator[Iterator]:
    """The batches of the steps to come; at the end their reader is closed."""
    upcoming = iter(batches(first_step))
    try:
        yield itertools.chain(upcoming, _ended())
    finally:
        if hasattr(upcoming, "close"):
            upcoming.close()


def _ended():
    raise DatasetError(
        "`batches` ended before the training did. Let them repeat, or train for fewer "
        "`num_iterations`."
    )
    yield


def _size(batch):
    """Observed images of a batch."""
    return len(tf.nest.flatten(batch)[0])


def _roll_back(model, run, checkpoints, error):
    """Goes back to a healthy checkpoint and on to another stream of noise."""
    rollbacks = int(model.rollbacks) + 1
    if rollbacks > run.max_rollbacks:
        done = f"after {rollbacks - 1} of {run.max_rollbacks} rollbacks"
        error.ending = done if rollbacks > 1 else "and no rollback is allowed"
        raise error
    before = folder.rollbacks(run.folder)
    last = before[-1]["step"] if before else None
    way_back = checkpoints.way_back(diverged=error.step, last=last)
    begins_anew = bool(way_back) and step_of(way_back[0]) == 0
    if begins_anew and error.step <= EARLY and not _rollbacks_change_rates(model):
        error.ending = "and from step 0 the same rates would lead there again"
        raise error
    try:
        step = checkpoints.roll_back(diverged=error.step, last=last)
    except RunError as unreadable:
        error.ending = f"and the run cannot go back: {unreadable}"
        raise error from unreadable
    story = f"{error}. Back to step {step}, {rollbacks} of {run.max_rollbacks} times"
    logging.warning("%s", story)
    folder.add_rollback(run.folder, step=step, story=story)
    model.rollbacks.assign(rollbacks)


def _rollbacks_change_rates(model):
    """Whether the learning rates would be others after one more."""
    rates = _learning_rates(model)
    model.rollbacks.assign_add(1)
    changed = rates != _learning_rates(model)
    model.rollbacks.assign_sub(1)
    return changed


def _learning_rates(model):
    rates = {name: net.optimizer.learning_rate for name, net in model.nets.items()}
    return {
        f"{name}_learning_rate": float(keras.ops.convert_to_numpy(rate))
        for name, rate in rates.items()
    }
