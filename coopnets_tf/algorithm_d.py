"""Algorithm D: a descriptor alone."""

import math
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import conditional, replicas, seeds
from coopnets_tf.algorithms import CHAIN_INITS, REVISION_METRICS, revision_metrics
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.errors import ArgumentError, refuse_below
from coopnets_tf.models.batches import as_batch
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.seeds import Integer, Purpose, draw_seed


@keras.saving.register_keras_serializable("coopnets_tf")
class AlgorithmD(ImageModel):
    """Algorithm D: a descriptor alone.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import AlgorithmD, Descriptor, Langevin
    from coopnets_tf.data import datasets
    from coopnets_tf.networks import built_in

    net = built_in.descriptor("digits", (8, 8, 1))
    descriptor = Descriptor(net, revision=Langevin(10, 0.002), reference_stddev=0.016)
    model = AlgorithmD(descriptor, num_chains=64, chain_init="noise")
    model.compile(keras.optimizers.Adam(0.001, 0.5))
    model.fit(datasets.load("digits")[np.arange(128)], batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    Args:
      num_chains: n~, parallel chains in one training step.
      chain_init: where D1 starts. "noise": draws of the reference q; "uniform": pixels
        from [-1, 1); "data": the observed images (contrastive divergence; they are
        repeated where there are more chains); "persistent": where it ended before.
      num_persistent_chains: each step moves `num_chains` of them, drawn at random.
      refresh_probability: of a persistent chain that is to move to start anew, from
        noise, or uniform without a reference; in [0, 1].
      **kwargs: run_seed and limits of `Learner`, revision_noise_until of
        `ImageLearner`.

    The metrics are those of `revision_metrics`.

    Raises:
      ValueError: on another `chain_init`, fewer persistent chains than one step moves,
        a refresh probability outside [0, 1], noise without a reference, or persistent
        chains of classes.

    Sources: Xie, Lu, Zhu and Wu, arXiv:1602.03264; many persistent chains that are
    refreshed: Du and Mordatch, arXiv:1903.08689; uniform starts without a reference:
    Nijkamp et al., arXiv:1904.09770.
    """

    descriptor: Descriptor

    def __init__(
        self,
        descriptor: Descriptor,
        *,
        num_chains: int,
        chain_init: str,
        num_persistent_chains: int = 1_000,
        refresh_probability: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(descriptor=descriptor, metrics=REVISION_METRICS, **kwargs)
        self.num_chains = num_chains
        self.chain_init = chain_init
        self.num_persistent_chains = num_persistent_chains
        self.refresh_probability = refresh_probability
        self._refuse_impossible_chains()
        finite = math.isfinite(descriptor.reference_stddev)
        self._noise = "noise" if finite and chain_init != "uniform" else "uniform"
        if chain_init == "persistent":
            seed = draw_seed(self.run_seed, step=0, purpose=Purpose.CHAINS)
            begin = descriptor.initial(
                num_persistent_chains, chain_init=self._noise, seed=seed
            )
            self.chains = self.keep("chains", begin)
            self.num_independent = num_persistent_chains

    def compile(self, *arguments: Any, **kwargs: Any) -> None:
        """As `Learner.compile`."""
        if kwargs.get("jit_compile") and self.chain_init == "persistent":
            raise ArgumentError(
                "XLA has no shuffle that could choose among persistent chains. Take "
                "another `chain_init`, or leave out `jit_compile`."
            )
        super().compile(*arguments, **kwargs)

    def _refuse_impossible_chains(self):
        if self.chain_init not in CHAIN_INITS:
            raise ValueError(
                f"`chain_init` must be one of {', '.join(CHAIN_INITS)}. "
                f"Received: chain_init={self.chain_init!r}"
            )
        if not 0 <= self.refresh_probability <= 1:
            raise ValueError(
                "`refresh_probability` must be in [0, 1]. "
                f"Received: refresh_probability={self.refresh_probability}"
            )
        stddev = self.descriptor.reference_stddev
        if self.chain_init == "noise" and not math.isfinite(stddev):
            raise ValueError(
                "`chain_init` noise needs a finite reference. "
                f"Received: reference_stddev={stddev}"
            )
        if self.chain_init == "persistent" and self.class_shares:
            raise ValueError(
                "Persistent chains have no class. Take another `chain_init`, such as "
                "noise, for a descriptor of classes."
            )
        fewer = self.num_persistent_chains < self.num_chains
        if self.chain_init == "persistent" and fewer:
            raise ValueError(
                "`num_persistent_chains` must be `num_chains` or more. Received: "
                f"num_persistent_chains={self.num_persistent_chains}, "
                f"num_chains={self.num_chains}"
            )

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One iteration of Algorithm D. Arguments and result as for `CoopNets`."""
        batch = as_batch(data, self.image_shape)
        observed, labels = batch["images"], self.labels_of(batch)
        of_chains = conditional.repeated(labels, self.num_chains)
        # Chains start from noise, observed images, or where they ended before.
        start, places = self._start_training(observed, self.step_seed(Purpose.CHAINS))
        # D1: the descriptor revises images (Langevin on images).
        revised, info = self.descriptor.given(of_chains).revise(
            start,
            seed=self.step_seed(Purpose.REVISION),
            noise_scale=self.revision_noise_scale(),
        )
        if self.chain_init == "persistent":
            moved = tf.IndexedSlices(*replicas.gathered((revised, places)))
            self.chains.scatter_update(moved)
        # D2: the descriptor shifts its score from revised to observed images.
        both = self.descriptor.given(conditional.joined(labels, of_chains))
        seed = self.step_seed(Purpose.AUGMENTATION)
        loss = both.update(observed, revised, seed=seed)
        return self.report(
            revision_metrics(self.descriptor, observed, start, revised, info, loss)
        )

    def _start_training(self, observed, seed):
        """Where the chains of a step start; the places of those that persist."""
        if self.chain_init == "data":
            observed = replicas.gathered(observed)
            repeated = tf.range(self.num_chains) % tf.shape(observed)[0]
            return tf.gather(observed, replicas.own(repeated)), None
        if self.chain_init != "persistent":
            return self._initial(seed), None
        places = tf.random.experimental.stateless_shuffle(
            tf.range(self.num_persistent_chains), seeds.fold_in(seed, 1)
        )[: self.num_chains]
        places = replicas.own(places)
        kept = tf.gather(self.chains, places)
        if not self.refresh_probability:
            return kept, places
        shape = [replicas.share(self.num_chains), *[1] * len(self.image_shape)]
        draws = seeds.uniform(shape, seed=seeds.fold_in(seed, 2), low=0, high=1)
        refreshed = draws < self.refresh_probability
        return tf.where(refreshed, self._initial(seed), kept), places

    def _initial(self, seed):
        return self.descriptor.initial(
            replicas.share(self.num_chains),
            chain_init=self._noise,
            seed=seeds.fold_in(seed, 0),
        )

    def start(
        self,
        num_images: Integer,
        *,
        seed: tf.Tensor,
        first: Integer | None = None,
        labels: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """As `ImageLearner.start`: where D1 begins on fresh images of whatever class.

        At the persistent chains in random order, from the front again after the last;
        else as in training, with noise in place of observed images.
        """
        if self.chain_init != "persistent":
            seed = self._start_seed(num_images, seed, first)
            return self.descriptor.initial(
                num_images, chain_init=self._noise, seed=seed
            )
        order = tf.random.experimental.stateless_shuffle(
            tf.range(self.num_persistent_chains), seed
        )
        numbers = tf.range(num_images) + (0 if first is None else first)
        places = tf.gather(order, numbers % self.num_persistent_chains)
        images = tf.gather(self.chains, places)
        return tf.ensure_shape(images, [None, *self.image_shape])

    def shown(
        self, num_images: int, *, seed: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], None]:
        """Fresh images. Arguments and result as for `CoopNets.shown`."""
        refuse_below(1, num_images=num_images)
        labels = self.labels_in_order(num_images)
        revised, _ = self.descriptor.given(labels).revise(
            self.start(num_images, seed=seed),
            seed=seeds.fold_in(seed, 0),
            noise_scale=self.revision_noise_scale(),
        )
        return {"descriptor": revised}, None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_chains": self.num_chains,
            "chain_init": self.chain_init,
            "num_persistent_chains": self.num_persistent_chains,
            "refresh_probability": self.refresh_probability,
        }
