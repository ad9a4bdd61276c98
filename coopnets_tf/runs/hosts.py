"""Several hosts that train one run: who writes, and what they agree on.

Each runs the same steps on its part of the images and chains. The first one leads: it
alone writes, and tells the others what only it knows.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from coopnets_tf import replicas
from coopnets_tf.errors import HostLost

# What a collective operation raises when a host has gone.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)
NOWHERE = (-1, -1)


class Hosts:
    """The hosts of a `tf.distribute` strategy; of most strategies this one alone.

    `number` is how many there are, `index` which this one is, and `leads` whether it is
    the one that writes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.number, self.index = 1, 0
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            tasks = resolver.cluster_spec().as_dict()
            self.number = sum(len(tasks.get(kind, [])) for kind in ("chief", "worker"))
            chiefs = len(tasks.get("chief", []))
            self.index = resolver.task_id
            if resolver.task_type == "worker":
                self.index += chiefs
        self.leads = self.index == 0

    def agreed(
        self, *, stopping: bool = False, begin: tuple[int, int] = NOWHERE
    ) -> tuple[bool, tuple[int, int] | None]:
        """What goes for all after a step, or before the first one: all call this.

        Args:
          stopping: whether this host was asked to stop.
          begin: of the host that leads, the step from which all go on and the rollbacks
            until then.

        Returns:
          Whether one was asked to stop; `begin` of the host that leads, None for on.
        """
        own = [int(stopping), *self._leading(begin)]
        stop, step, rollbacks = self._summed(own)
        whence = step, rollbacks
        return stop > 0, None if whence == NOWHERE else whence

    def have_same(self, text: str) -> bool:
        """Whether all hosts have the same text: all call this."""
        digest = hashlib.blake2b(text.encode(), digest_size=7).digest()  # of 56 bits
        own = int.from_bytes(digest)
        (leading,) = self._summed(self._leading([own]))
        return self._summed([int(own != leading)]) == [0]

    def told(self, text: str, most: int = 4096) -> str:
        """The text of the host that leads, of at most `most` bytes: all call this."""
        code = text.encode()
        padded = [*code, *[0] * (most - len(code))]
        return bytes(self._summed(self._leading(padded))).rstrip(b"\0").decode()

    def _leading(self, values):
        return values if self.leads else [0] * len(values)

    def _summed(self, values: Sequence[int]) -> list[int]:
        """Whole numbers of each host, added up."""
        if self.number == 1:
            return [*values]
        beside = replicas.beside(self._strategy)

        def of_one_replica(context):
            first = context.replica_id_in_sync_group % beside == 0
            return tf.constant(np.asarray(values) * first, tf.int64)

        strategy = self._strategy
        each = strategy.experimental_distribute_values_from_function(of_one_replica)
        return strategy.reduce("SUM", each, axis=None).numpy().tolist()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """In this context the loss of another host is an error that says so.

        Raises:
          HostLost: if another host has ended, or no longer answers.
        """
        try:
            yield
        except LOST as error:
            if self.number == 1:
                raise
            raise HostLost(self.number, str(error)) from error
