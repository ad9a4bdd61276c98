"""What trained nets, or nets in training, can do: images, energies, latents."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from coopnets_tf import conditional, replicas
from coopnets_tf.errors import ArgumentError, NetworkError, refuse_below
from coopnets_tf.models import endpoints, sizes
from coopnets_tf.models.image_learner import ImageLearner
from coopnets_tf.networks import checks

MOST_AT_ONCE = 100 * 64 * 64 * 3  # numbers of images that pass through nets together


class ImageModel(ImageLearner):
    """A learner of images that can do what its nets can do.

    A subclass has a `train_step`, and `shown`, what a picture of the training shows.
    Without a generator there are no latents (`generate`, `infer`, `reconstruct`);
    without a descriptor no Langevin dynamics on images (`revise`, `energy`). The
    constructor is that of `ImageLearner`.
    """

    _endpoints: dict[str, Callable] | None = None
    _draw_each: Callable | None = None  # `draw` on each device

    @property
    def num_at_once(self) -> int:
        """How many images pass through the nets together: 100, of large ones fewer."""
        return max(min(MOST_AT_ONCE // math.prod(self.image_shape), 100), 1)

    def _rows(self, labels, number):
        """The user's labels of images as another array of `_in_batches`, if any."""
        rows = conditional.rows(labels, self.class_shares, number)
        if rows is None and self.class_shares:
            raise ArgumentError("These nets are told classes. Give `labels`.")
        return [] if rows is None else [rows]

    def _check_images(self, *, any_size=False, **arrays):
        """Only floats of the nets' shape are images; masks are of any kind."""
        for name, array in arrays.items():
            _check_shape(name, array, self.image_shape, any_size=any_size)
        kind = tf.as_dtype(getattr(arrays["images"], "dtype", float))
        if not kind.is_floating:
            raise ArgumentError(
                f"`images` must be floats in [-1, 1]. Received: {kind.name}. Pixels of "
                "0 to 255 become such by `pixels / 127.5 - 1`."
            )

    def _in_batches(self, function, *arrays):
        return endpoints.in_batches(function, *arrays, batch_size=self.num_at_once)

    def of_size(
        self,
        *,
        image_size: Sequence[int] | None = None,
        latent_size: Sequence[int] | None = None,
    ) -> "ImageModel":
        """The same nets for images of another size, frozen.

        A larger map of latents makes a larger image of the same grain, such as more of
        a texture, by networks that are convolutional all over.

        ```python
        large = model.of_size(image_size=(448, 448))
        images = large.sample(4, seed=0)
        ```

        Args:
          image_size: (height, width).
          latent_size: in its place (rows, columns) of the map of latents.

        Raises:
          NetworkError: if a net makes images of one size alone, or none of this size.
        """
        shapes = sizes.shapes(self.nets, image_size, latent_size)
        config = self.get_config()
        inputs = {"descriptor": "image_shape", "generator": "latent_shape"}
        for name, shape in shapes.items():
            config[name]["config"][inputs[name]] = shape
        if config.get("num_images"):
            config["num_images"] = 1  # no latents of training images are of this size
        with self.distribute_strategy.scope():
            other = type(self).from_config(config)
        with self.frozen():
            for name, net in self.nets.items():
                other.nets[name].set_weights(net.get_weights())
        other.step.assign(self.step)
        other._frozen_at = int(other.step)
        return other

    def endpoints(self) -> dict[str, Callable]:
        """The graph functions of `endpoints.build`, made once. See `frozen`."""
        if self._endpoints is None:
            self._endpoints = endpoints.build(self)
        return self._endpoints

    def _endpoint(self, name):
        if name not in self.endpoints():
            lacking = "generator" if self.generator is None else "descriptor"
            raise NetworkError(
                f"`{name}` needs a {lacking}. Received: a model of the "
                f"{next(iter(self.nets))} alone."
            )
        return self.endpoints()[name]

    def sample(
        self,
        num_images: int,
        *,
        seed: int = 0,
        num_steps: int | None = None,
        labels: Any = None,
    ) -> tf.Tensor:
        """Fresh images, float32 [num_images, *image_shape] in [-1, 1].

        Drafts of the generator (G0), revised by the descriptor (D1). Without a
        generator chains start as in training (from noise where that was at observed
        images).

        ```python
        images = model.sample(64, seed=0)
        ```

        Args:
          num_images: 1 or more.
          seed: in [0, 2**31); image k depends on (seed, k) alone.
          num_steps: Langevin steps of D1, 0 for the drafts. Default: as in training.
          labels: of nets that are told classes: one class for all, int [num_images], or
            rows, see `conditional`. Default: those of `draw_labels`.
        """
        batches = self.sample_batches(
            num_images, seed=seed, num_steps=num_steps, labels=labels
        )
        return tf.concat(list(batches), 0)

    def sample_batches(
        self,
        num_images: int,
        *,
        seed: int = 0,
        num_steps: int | None = None,
        batch_size: int | None = None,
        labels: Any = None,
    ) -> Iterator[tf.Tensor]:
        """The images of `sample`, in batches of at most `batch_size`, as they come.

        None: `num_at_once`.
        """
        batch_size = self.num_at_once if batch_size is None else batch_size
        refuse_below(1, num_images=num_images, batch_size=batch_size)
        refuse_below(0, seed=seed)
        draw, steps = self._endpoint("draw"), self._revision_steps(num_steps)
        together = replicas.beside(self.distribute_strategy)
        rows = conditional.rows(labels, self.class_shares, num_images)
        if rows is None:
            rows = self.draw_labels(num_images, seed=seed)

        def batches():
            first = 0
            while first < num_images:
                number = min(batch_size, num_images - first)
                own = [] if rows is None else [rows[first : first + number]]
                with self.frozen():
                    if not own and 1 < together <= (num_images - first) // number:
                        images = self._drawn_together(first, number, steps, seed)
                    else:
                        images = [draw(first, number, steps, seed, *own)]
                yield from images
                first += number * len(images)

        return batches()

    def _drawn_together(self, first, number, steps, seed):
        """Batches of images from number `first` on, one of each device of this host."""
        strategy, draw = self.distribute_strategy, self._endpoint("draw")
        if self._draw_each is None:
            self._draw_each = tf.function(
                lambda *arguments: strategy.run(draw, arguments), autograph=False
            )
        places = itertools.count()
        firsts = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(first + number * next(places))
        )
        images = self._draw_each(firsts, *map(tf.constant, (number, steps, seed)))
        return strategy.experimental_local_results(images)

    def generate(
        self, latents: np.ndarray | tf.Tensor, *, labels: Any = None
    ) -> tf.Tensor:
        """g of latents, float32 [batch, *latent_shape]: images in [-1, 1].

        ```python
        import tensorflow as tf

        latents = tf.random.normal([16, *model.generator.latent_shape])
        images = model.generate(latents)
        ```

        `labels` as for `sample`, but of nets that are told classes they are needed.
        """
        generate, rows = self._endpoint("generate"), self._rows(labels, len(latents))
        generator: Any = self.generator  # there is one
        shape = generator.latent_shape
        _check_shape("latents", latents, shape, any_size=checks.takes_any(generator))
        with self.frozen():
            return self._in_batches(
                lambda *parts: generate(*parts[:-1]), latents, *rows
            )

    def revise(
        self,
        images: np.ndarray | tf.Tensor,
        *,
        num_steps: int | None = None,
        seed: int = 0,
        visible: np.ndarray | tf.Tensor | None = None,
        labels: Any = None,
    ) -> tf.Tensor:
        """D1 on any images: Langevin dynamics towards a lower energy.

        ```python
        images = model.sample(16, seed=0, num_steps=0)
        better = model.revise(images, num_steps=15, seed=0)
        ```

        Args:
          images: float32 [batch, *image_shape] in [-1, 1], as is the result.
          num_steps, seed: see `sample`.
          visible: as `images`; 1 for pixels that stay as they are.
          labels: see `generate`.
        """
        refuse_below(0, seed=seed)
        steps = self._revision_steps(num_steps)
        function = self._endpoint("revise" if visible is None else "revise_hidden")
        arrays = {"images": images}
        if visible is not None:
            arrays["visible"] = visible
        self._check_images(any_size=checks.takes_any(self.descriptor), **arrays)
        number, rows = len(arrays), self._rows(labels, len(images))

        def of_parts(*parts):
            own = parts[number:-1]  # the classes
            return function(*parts[:number], steps, seed, parts[-1], *own)

        with self._averaged():
            return self._in_batches(of_parts, *arrays.values(), *rows)

    def energy(
        self, images: np.ndarray | tf.Tensor, *, labels: Any = None
    ) -> tf.Tensor:
        """E(Y) of each image, [batch]: -log p of the descriptor up to a constant.

        ```python
        energies = model.energy(model.sample(16, seed=0))
        ```

        Of nets that are told classes it is that of an image as one of its class,
        `labels`, see `generate`; up to a constant for each class.
        """
        energy, rows = self._endpoint("energy"), self._rows(labels, len(images))
        self._check_images(any_size=checks.takes_any(self.descriptor), images=images)
        with self._averaged():
            return self._in_batches(lambda *parts: energy(*parts[:-1]), images, *rows)

    def infer(
        self,
        images: np.ndarray | tf.Tensor,
        *,
        num_steps: int,
        seed: int = 0,
        visible: np.ndarray | tf.Tensor | None = None,
        draw: int = 0,
        labels: Any = None,
    ) -> tf.Tensor:
        """G1 on any images: latents that explain them, float32 [batch, *latent_shape].

        ```python
        images = model.sample(16, seed=0)
        latents = model.infer(images, num_steps=100)
        ```

        Args:
          images: float32 [batch, *image_shape] in [-1, 1].
          num_steps: Langevin steps, from latents of the prior.
          seed: in [0, 2**31).
          visible: as `images`; 1 for pixels to explain, 0 for unknown ones.
          draw: which of several independent draws.
          labels: see `generate`.
        """
        refuse_below(0, num_steps=num_steps, seed=seed, draw=draw)
        visible = tf.ones_like(images) if visible is None else visible
        self._check_images(images=images, visible=visible)
        function, rows = self._endpoint("infer"), self._rows(labels, len(images))

        def of_parts(*parts):
            own = parts[2:-1]  # the classes
            return function(*parts[:2], num_steps, seed, draw, parts[-1], *own)

        with self.frozen():
            return self._in_batches(of_parts, images, visible, *rows)

    def reconstruct(
        self,
        images: np.ndarray | tf.Tensor,
        *,
        num_steps: int,
        seed: int = 0,
        labels: Any = None,
    ) -> tf.Tensor:
        """g of the latents that `infer` finds: float32, as `images`, in [-1, 1].
        `labels`: see `generate`.

        ```python
        images = model.sample(16, seed=0)
        found = model.reconstruct(images, num_steps=100)
        ```
        """
        latents = self.infer(images, num_steps=num_steps, seed=seed, labels=labels)
        return self.generate(latents, labels=labels)

    def recover(
        self,
        images: np.ndarray | tf.Tensor,
        visible: np.ndarray | tf.Tensor,
        *,
        infer_steps: int,
        revise_steps: int | None = None,
        num_draws: int = 1,
        seed: int = 0,
        labels: Any = None,
    ) -> tf.Tensor:
        """Fills the hidden part of images.

        ```python
        import numpy as np

        images = model.sample(16, seed=0)
        visible = np.ones(images.shape, np.float32)
        visible[:, 2:6, 2:6] = 0
        whole = model.recover(images, visible, infer_steps=100)
        ```

        Latents are inferred from the visible pixels (G1), g fills the hidden ones, and
        the descriptor revises those (D1) while the visible ones stay as they are.
        Without a generator the hidden ones are at first as where fresh images begin.

        Args:
          images: float32 [batch, *image_shape] in [-1, 1], as is the result; what is in
            their hidden part does not matter.
          visible: as `images`; 1 visible, 0 hidden.
          infer_steps, revise_steps: of G1, and of D1 (default: as in training).
          num_draws: latents of the posterior, whose images are averaged. 1 gives one
            plausible image; more have smaller errors and less contrast.
          seed: in [0, 2**31).
          labels: see `generate`.
        """
        refuse_below(1, num_draws=num_draws)
        refuse_below(0, infer_steps=infer_steps)
        steps = self._revision_steps(revise_steps, argument="revise_steps")
        if self.generator is None:
            draws = [self.sample(len(images), seed=seed, num_steps=0, labels=labels)]
        else:
            draws = []
            for draw in range(num_draws):
                latents = self.infer(
                    images,
                    num_steps=infer_steps,
                    seed=seed,
                    visible=visible,
                    draw=draw,
                    labels=labels,
                )
                draws.append(self.generate(latents, labels=labels))
        filled = tf.where(visible > 0, images, tf.reduce_mean(draws, axis=0))
        if not steps:
            return filled
        return self.revise(
            filled, num_steps=steps, seed=seed, visible=visible, labels=labels
        )

    def _revision_steps(self, num_steps, argument="num_steps"):
        if num_steps is None:
            return self.revision_steps
        refuse_below(0, **{argument: num_steps})
        if num_steps and self.descriptor is None:
            raise ArgumentError(
                f"`{argument}` must be 0 without a descriptor. Received: {num_steps}."
            )
        return num_steps


def _check_shape(name, array, shape, *, any_size):
    """Only batches of that shape, or of any size; the last side is always the same."""
    sides = [None] * (len(shape) - 1) if any_size else shape[:-1]
    asked = (None, *sides, shape[-1])
    if not tf.TensorShape(asked).is_compatible_with(found := np.shape(array)):
        text = ", ".join("any" if side is None else str(side) for side in asked)
        raise ArgumentError(
            f"`{name}` must have the shape [{text}]. Received: {list(found)}."
        )
