"""What a learner of images has besides its steps: classes, where fresh images begin,
noise that ends, frozen nets.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from coopnets_tf import conditional, seeds
from coopnets_tf.conditional import Shares
from coopnets_tf.errors import DatasetError, NetworkError
from coopnets_tf.freezing import averaged, freeze, frozen, take_average
from coopnets_tf.models.learner import Learner
from coopnets_tf.seeds import Integer, Purpose, draw_seed


class ImageLearner(Learner):
    """A learner whose nets are for images of one shape.

    Args:
      revision_noise_until, inference_noise_until: training steps after which D1 or G1
        adds no noise. None: it always does.
      **kwargs: of `Learner`.

    Raises:
      NetworkError: if the nets are for images of two shapes, or are not told the same
        classes.
    """

    num_independent: int | None = None  # fresh images that are independent; None: all

    def __init__(
        self,
        *,
        revision_noise_until: int | None = None,
        inference_noise_until: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        shapes = {name: net.image_shape for name, net in self.nets.items()}
        if len(set(shapes.values())) > 1:
            raise NetworkError(
                "Both nets must be for images of one shape. Received: "
                + ", ".join(f"{name} {list(one)}" for name, one in shapes.items())
            )
        if len({net.class_shares for net in self.nets.values()}) > 1:
            raise NetworkError(
                "Both nets must have the same `class_shares`. Received: "
                + ", ".join(f"{n} {net.class_shares}" for n, net in self.nets.items())
            )
        self.revision_noise_until = revision_noise_until
        self.inference_noise_until = inference_noise_until
        self._frozen_at: int | None = None  # the step of the frozen weights

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, such as (height, width, channels)."""
        return next(iter(self.nets.values())).image_shape

    def revision_noise_scale(self) -> float | tf.Tensor:
        """The scale of the noise of D1 at the present step: 1, or 0 later on."""
        return self._noise_until(self.revision_noise_until)

    def inference_noise_scale(self) -> float | tf.Tensor:
        """The same for G1."""
        return self._noise_until(self.inference_noise_until)

    def _noise_until(self, number):
        if not number:  # None: always; 0: never, and for a Python zero none is drawn
            return float(number is None)
        return tf.cast(self.step < number, tf.float32)

    @property
    def class_shares(self) -> Shares | None:
        """How frequent the classes are that the nets are told; None without classes."""
        return next(iter(self.nets.values())).class_shares

    @property
    def num_classes(self) -> int:
        """How many classes the nets are told; 0 for images without classes."""
        return len(self.class_shares or ())

    def labels_of(self, batch: dict[str, tf.Tensor]) -> tf.Tensor | None:
        """The classes of a batch as rows, see `conditional`; None without classes.

        Raises:
          DatasetError: if the nets have classes and the batch has not.
        """
        if self.class_shares is None:
            return None
        if "labels" not in batch:
            raise DatasetError(
                "Batches must be {images, labels} for nets that are told classes. "
                f"Received: {', '.join(batch)} alone."
            )
        return tf.one_hot(tf.reshape(batch["labels"], [-1]), len(self.class_shares))

    def labels_in_order(self, number: int) -> tf.Tensor | None:
        """Rows of all classes in order, as many of each, for `number` images."""
        if self.class_shares is None:
            return None
        classes = len(self.class_shares)
        return tf.one_hot(tf.range(number) * classes // number, classes)

    def draw_labels(self, number: int, *, seed: int) -> tf.Tensor | None:
        """Rows of the classes of fresh images, as frequent as in the training; that of
        image k depends on (seed, k) alone.
        """
        if self.class_shares is None:
            return None
        # The first n of these numbers are the same, whatever their number is.
        uniform = np.random.default_rng([seed, Purpose.CLASSES]).random(number)
        return conditional.drawn(self.class_shares, uniform.astype(np.float32))

    def start(
        self,
        num_images: Integer,
        *,
        seed: tf.Tensor,
        first: Integer | None = None,
        labels: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Where D1 begins on fresh images, float32 [num_images, *image_shape].

        Here at drafts of the generator (G0), which without a descriptor are the images.

        Args:
          seed: int32 [2].
          first: the images are number first, first + 1, ... of this seed, each with its
            noise. None: they are drawn together.
          labels: rows of their classes, of nets that are told them.
        """
        seed = self._start_seed(num_images, seed, first)
        generator: Any = self.generator  # models without one have another `start`
        return generator.given(labels).propose(num_images, seed=seed)[1]

    def _start_seed(self, num_images, seed, first):
        if first is None:
            return seed
        return seeds.fold_in(seeds.seed_each(seed, first, num_images), Purpose.LATENTS)

    @property
    def revision_steps(self) -> int:
        """Langevin steps of D1 in training; 0 without a descriptor."""
        return self.descriptor.revision.num_steps if self.descriptor else 0

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside this context the generator is frozen, and of the descriptor there is
        the average, where one is kept; on leaving both are as they were.
        """
        if self._frozen_at == int(self.step):
            yield
            return
        with self._averaged(), contextlib.ExitStack() as stack:
            if self.generator:
                seed = self._statistics_seed()
                stack.enter_context(frozen(self.generator, seed=seed))
            # So that nothing within measures the statistics again.
            self._frozen_at = int(self.step)
            try:
                yield
            finally:
                self._frozen_at = None

    def _averaged(self):
        """What `frozen` does to the descriptor alone."""
        if self.descriptor is None or self._frozen_at == int(self.step):
            return contextlib.nullcontext()
        return averaged(self.descriptor)

    def freeze(self) -> None:
        """Freezes the nets for good, for use without further training."""
        if self.descriptor:
            take_average(self.descriptor)
        if self.generator:
            freeze(self.generator, seed=self._statistics_seed())
        self._frozen_at = int(self.step)

    def _statistics_seed(self):
        return draw_seed(self.run_seed, step=self.step, purpose=Purpose.STATISTICS)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "revision_noise_until": self.revision_noise_until,
            "inference_noise_until": self.inference_noise_until,
        }
