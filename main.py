"""Trains cooperative networks: python main.py --dataset=digits|mnist|...|FOLDER
and uses them:               python main.py --mode=sample|evaluate|recover|...

Two nets learn together. The generator drafts images, the descriptor revises them by
Langevin dynamics; the descriptor learns from the difference to real images, the
generator from how its drafts were revised. Or one learns alone, by
--algorithm=descriptor or --algorithm=generator. Each run fills a folder of its own with
metrics, pictures, TensorBoard events, checkpoints and a SavedModel of the nets.

The flags by what they are about; all of them are explained below. Defaults are those
without a preset: flags/<dataset>.cfg and flags/<algorithm>.cfg change some, and a run's
flags.cfg has them all.
  run         dataset algorithm data_dir workdir resume init_from seed deterministic
              mode debug
  data        image_size color_mode resize normalize skip_bad_images num_held_out
              training_mask
  networks    network latent_size num_outputs
  descriptor  descriptor_learning_rate descriptor_num_steps descriptor_step_size
              reference_stddev num_noise_steps descriptor_gradient_weight chain_init
              num_persistent_chains refresh_probability
  generator   generator_learning_rate generator_num_steps generator_step_size
              residual_stddev generator_num_noise_steps
  training    num_iterations batch_size num_chains adam_beta_1 langevin_loop
  stabilisers learning_rate_schedule final_rate_factor schedule_steps
              descriptor_clip_norm generator_clip_norm descriptor_gradient_cap
              generator_gradient_cap langevin_clamp energy_penalty generator_average
  divergence  guard max_loss max_gradient_norm max_displacement max_saturation
              max_rollbacks rollback_rate_factor
  evaluation  evaluate_every metrics evaluation_samples evaluation_seed extractor
              inception_weights split parzen_protocol evaluate_real export_samples
  output      log_every sample_every num_samples checkpoint_every keep_checkpoints
              keep_best
  use         checkpoint output num_images images revise_steps infer_steps num_draws
              format interpolation animation mask export_format hub license
"""

import contextlib
import functools
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from importlib import metadata

from absl import app, logging
from absl import flags as absl_flags

import flags
from flags import definitions as f

absl_flags.adopt_module_key_flags(f)


@contextlib.contextmanager
def quiet_stderr():
    """Holds back what C++ libraries print; it is shown if an exception passes."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def load_tensorflow():
    """Imports TensorFlow, which `--help` and a wrong flag do without."""
    logging.set_verbosity(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's keras.json says
    with quiet_stderr():
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            # The step is one operation after the other: two at a time only compete.
            tf.config.threading.set_inter_op_parallelism_threads(1)
        if f.DETERMINISTIC.value:
            tf.config.experimental.enable_op_determinism()


def build_model(image_shape, num_images):
    """The one place where flag values become keyword arguments of the model."""
    from coopnets_tf import AlgorithmD, AlgorithmG, CoopNets

    noise = {"num_noise_steps": f.NUM_NOISE_STEPS.value}
    inference_noise = {"num_inference_noise_steps": f.GENERATOR_NUM_NOISE_STEPS.value}
    common = {"run_seed": f.SEED.value, "limits": guard_limits()}
    if f.ALGORITHM.value == "descriptor":
        model = AlgorithmD(
            build_descriptor(image_shape),
            num_chains=f.NUM_CHAINS.value,
            chain_init=f.CHAIN_INIT.value,
            num_persistent_chains=f.NUM_PERSISTENT_CHAINS.value,
            refresh_probability=f.REFRESH_PROBABILITY.value,
            **noise,
            **common,
        )
    elif f.ALGORITHM.value == "generator":
        model = AlgorithmG(
            build_generator(image_shape),
            num_images=num_images,
            **inference_noise,
            **common,
        )
    else:
        model = CoopNets(
            build_descriptor(image_shape),
            build_generator(image_shape),
            num_chains=f.NUM_CHAINS.value,
            **noise,
            **inference_noise,
            **common,
        )
    model.compile(
        build_optimizer(
            f.DESCRIPTOR_LEARNING_RATE.value,
            model.rollbacks,
            global_clipnorm=f.DESCRIPTOR_CLIP_NORM.value,
            gradient_cap=f.DESCRIPTOR_GRADIENT_CAP.value,
        ),
        build_optimizer(
            f.GENERATOR_LEARNING_RATE.value,
            model.rollbacks,
            global_clipnorm=f.GENERATOR_CLIP_NORM.value,
            gradient_cap=f.GENERATOR_GRADIENT_CAP.value,
            use_ema=f.GENERATOR_AVERAGE.value is not None,
            ema_momentum=f.GENERATOR_AVERAGE.value or 0.0,
        ),
    )
    return model


def build_descriptor(image_shape):
    import keras

    from coopnets_tf import Descriptor, Langevin

    # Initial weights: a net's own seed, so that they do not hang on the other net.
    keras.utils.set_random_seed(2 * f.SEED.value)
    return Descriptor(
        f.NETWORK.value,
        image_shape,
        revision=Langevin(
            f.DESCRIPTOR_NUM_STEPS.value,
            f.DESCRIPTOR_STEP_SIZE.value,
            unroll=f.LANGEVIN_LOOP.value == "unrolled",
            max_gradient=f.LANGEVIN_CLAMP.value,
            gradient_weight=f.DESCRIPTOR_GRADIENT_WEIGHT.value,
        ),
        reference_stddev=f.REFERENCE_STDDEV.value,
        num_outputs=f.NUM_OUTPUTS.value,
        penalty=f.ENERGY_PENALTY.value or 0.0,
    )


def build_generator(image_shape):
    import keras

    from coopnets_tf import Generator, Langevin

    keras.utils.set_random_seed(2 * f.SEED.value + 1)
    return Generator(
        f.NETWORK.value,
        image_shape,
        inference=Langevin(
            f.GENERATOR_NUM_STEPS.value,
            f.GENERATOR_STEP_SIZE.value,
            unroll=f.LANGEVIN_LOOP.value == "unrolled",
        ),
        residual_stddev=f.RESIDUAL_STDDEV.value,
        latent_size=f.LATENT_SIZE.value,
    )


def build_optimizer(rate, rollbacks, **options):
    """Adam with the flags that both nets share."""
    from coopnets_tf import optimizers

    rate = optimizers.rate_schedule(
        f.LEARNING_RATE_SCHEDULE.value,
        rate,
        num_steps=f.SCHEDULE_STEPS.value,
        final_factor=f.FINAL_RATE_FACTOR.value,
    )
    if f.ROLLBACK_RATE_FACTOR.value != 1:
        rate = optimizers.RateAfterRollbacks(
            rate, rollbacks, f.ROLLBACK_RATE_FACTOR.value
        )
    return optimizers.CappedAdam(
        rate, beta_1=f.ADAM_BETA_1.value, epsilon=1e-8, **options
    )


def guard_limits():
    """The largest sizes of the metrics before a rollback; none without a guard."""
    if not f.GUARD.value:
        return None
    return {
        "descriptor_loss": f.MAX_LOSS.value,
        "generator_loss": f.MAX_LOSS.value,
        "gradient_norm": f.MAX_GRADIENT_NORM.value,
        "latent_gradient_norm": f.MAX_GRADIENT_NORM.value,
        "displacement": f.MAX_DISPLACEMENT.value,
        "saturation": f.MAX_SATURATION.value,
    }


def load_dataset():
    from coopnets_tf import datasets

    return datasets.load(f.DATASET.value, **dataset_options())


def dataset_and_evaluations():
    """The training images, and how nets are evaluated on the way: keyword arguments."""
    from coopnets_tf import datasets, evaluation

    if f.EVALUATE_EVERY.value is None:
        return incomplete(load_dataset()), {}
    splits = datasets.load_splits(f.DATASET.value, **dataset_options())
    protocol = build_protocol(split="validation")
    evaluation.real_images(splits, protocol)  # refused now rather than in an hour
    evaluate = functools.partial(
        evaluation.evaluate,
        splits=splits,
        protocol=protocol,
        extractor=choose_extractor(splits, protocol),
    )
    every = f.EVALUATE_EVERY.value
    return incomplete(splits.training), {"evaluate_every": every, "evaluate": evaluate}


def incomplete(dataset):
    """The images without the pixels that `--training_mask` hides."""
    from coopnets_tf import recovery

    if f.TRAINING_MASK.value is None:
        return dataset
    mask = recovery.training_masks(f.TRAINING_MASK.value, dataset.image_shape)
    return dataset.incomplete(mask)


def dataset_options():
    """Flag values as the keyword arguments of `datasets.load`."""
    from coopnets_tf import datasets

    folder_options = {}
    if f.DATASET.value not in datasets.NAMES:
        folder_options = {
            "image_size": f.IMAGE_SIZE.value,
            "color_mode": f.COLOR_MODE.value,
            "resize": f.RESIZE.value,
            "skip_bad": f.SKIP_BAD_IMAGES.value,
        }
    return {
        "data_dir": f.DATA_DIR.value,
        "num_held_out": f.NUM_HELD_OUT.value,
        "per_image": f.NORMALIZE.value == "per_image",
        **folder_options,
    }


def device():
    """Where TensorFlow will run."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"CPU, {os.cpu_count()} cores"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")


def describe(model, dataset):
    """One line: what runs where."""
    height, width, channels = dataset.image_shape
    skipped = f", {dataset.num_skipped} skipped" if dataset.num_skipped else ""
    sizes = [f"{name} {net.count_params():,}" for name, net in model.nets.items()]
    if model.descriptor:
        chains = f"{model.num_chains} chains of {model.revision_steps}"
    else:
        chains = f"G1 with {model.generator.inference.num_steps} steps"
    return (
        f"{device()} | "
        f"{f.NETWORK.value} nets: {', '.join(sizes)} parameters | "
        f"{dataset.name}: {dataset.num_images:,} images "
        f"{height}x{width}x{channels}{skipped} | "
        f"{dataset.steps_per_epoch(f.BATCH_SIZE.value):,} steps an epoch, {chains}"
    )


def train():
    """Trains the nets, in a new run folder or on with `--resume`."""
    from coopnets_tf import checkpoints, runs

    run_dir = runs.find_run(f.WORKDIR.value) if f.RESUME.value else None
    dataset, evaluations = dataset_and_evaluations()
    model = build_model(dataset.image_shape, dataset.num_images)
    print(describe(model, dataset), flush=True)
    if f.INIT_FROM.value and (not run_dir or checkpoints.last_step(run_dir) is None):
        print(init_from(model), flush=True)
    if not run_dir:
        run_dir = runs.create_run(f.WORKDIR.value, dataset=f.DATASET.value)
    with runs.locked(run_dir):
        try:
            train_in(run_dir, model, dataset, evaluations)
        except OSError as error:
            raise OSError(f"{error}. It happened in {run_dir}") from error
    folder = shlex.quote(str(run_dir))
    print(
        f"Done. Pictures of the nets: {run_dir}/samples; the nets, a SavedModel: "
        f"{run_dir}/export; curves: tensorboard --logdir {folder}\n"
        f"Use it: python main.py --mode=sample --workdir={folder} (or "
        f"{'interpolate, reconstruct, ' if model.generator else ''}recover, evaluate, "
        "export)\n"
        f"Longer: python main.py --resume --workdir={folder} --num_iterations=N; once "
        f"more from the start: python main.py --flagfile={folder}/flags.cfg"
    )


def train_in(run_dir, model, dataset, evaluations):
    from coopnets_tf import checkpoints, runs, saving, training

    folder = shlex.quote(str(run_dir))
    step = checkpoints.last_step(run_dir) or 0
    if step > f.NUM_ITERATIONS.value:
        raise runs.RunError(
            f"{run_dir} is at step {step} already. Received: "
            f"--num_iterations={f.NUM_ITERATIONS.value}. Give a larger one."
        )
    fingerprint = dataset.fingerprint()
    if f.RESUME.value:
        runs.check_data(
            run_dir,
            fingerprint=fingerprint,
            way_out="Bring the old ones back, or begin a new run without --resume.",
        )
        print(f"from step {step} on | ", end="")
    print(f"{run_dir} | look inside: tensorboard --logdir {folder}", flush=True)
    flags.save(
        run_dir / "flags.cfg",
        [
            shlex.join(["python", *sys.argv]),
            f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}, Python "
            f"{platform.python_version()}, tensorflow "
            f"{metadata.version('tensorflow')}, keras {metadata.version('keras')}",
        ],
    )
    runs.record_data(run_dir, fingerprint=fingerprint)
    saving.describe(model, run_dir, dataset=f.DATASET.value)
    try:
        training.train(
            model,
            dataset,
            run_dir,
            checkpoints.Checkpoints(
                model,
                run_dir,
                every=f.CHECKPOINT_EVERY.value,
                keep=f.KEEP_CHECKPOINTS.value,
                margin=f.LOG_EVERY.value,
                best=f.KEEP_BEST.value,
            ),
            num_iterations=f.NUM_ITERATIONS.value,
            batch_size=f.BATCH_SIZE.value,
            log_every=f.LOG_EVERY.value,
            sample_every=f.SAMPLE_EVERY.value,
            checkpoint_every=f.CHECKPOINT_EVERY.value,
            max_rollbacks=f.MAX_ROLLBACKS.value if f.GUARD.value else 0,
            num_samples=f.NUM_SAMPLES.value,
            settings=flags.values(),
            **evaluations,
        )
    except training.Stopped as stop:
        print(f"{stop}. Go on with: python main.py --resume --workdir={folder}")
        sys.exit(128 + stop.signal)


def init_from(model):
    """Begins with the nets of `--init_from`; says what does not fit."""
    from coopnets_tf import checkpoints

    path, misfits = checkpoints.load_networks(model, f.INIT_FROM.value)
    return "\n  does not fit and begins anew: ".join([f"Nets of {path}", *misfits])


def run_folder(*, needs_generator=False):
    """The run that is used, and its nets, frozen."""
    import coopnets_tf
    from coopnets_tf import runs

    run_dir = runs.find_run(f.WORKDIR.value)
    model = coopnets_tf.load(run_dir, checkpoint=f.CHECKPOINT.value)
    if needs_generator and model.generator is None:
        raise runs.RunError(
            f"--mode={f.MODE.value} needs a generator. Received: {run_dir}, a run of "
            "--algorithm=descriptor. Use --mode=sample, recover, evaluate or export."
        )
    return run_dir, model


def refuse_revision(model):
    from coopnets_tf import runs

    if f.REVISE_STEPS.value and model.descriptor is None:
        raise runs.RunError(
            f"--revise_steps={f.REVISE_STEPS.value} needs a descriptor, and this is a "
            "run of --algorithm=generator. Leave it out."
        )


def output_folder(run_dir):
    """Where a mode writes: the user's choice, or a new folder within the run's."""
    from coopnets_tf import runs

    return runs.new_output(f.OUTPUT.value, run_dir, f.MODE.value)


def chosen_images(model, number):
    """The user's own images, or some of the run's data set; says which."""
    from coopnets_tf import datasets, folders, images

    if f.IMAGES.value:
        pixels = folders.read_files(
            f.IMAGES.value,
            image_shape=model.image_shape,
            resize=f.RESIZE.value,
            number=number,
        )
        print(f"{len(pixels)} of your own images")
        scaled = images.from_uint8(pixels)
        per_image = f.NORMALIZE.value == "per_image"
        return images.normalize_per_image(scaled) if per_image else scaled
    test = datasets.load_splits(f.DATASET.value, **dataset_options()).test
    chosen = test[:number]
    print(f"{test.name}: {len(chosen)} {test.kind}")
    return chosen


def sample():
    """Fresh images of the nets."""
    from coopnets_tf import modes

    run_dir, model = run_folder()
    refuse_revision(model)
    folder = output_folder(run_dir)
    modes.sample(
        model,
        folder,
        num_images=f.NUM_IMAGES.value,
        num_steps=f.REVISE_STEPS.value,
        seed=f.SEED.value,
        file_format=f.FORMAT.value,
    )
    print(f"Samples of step {int(model.step)}: {folder}")


def interpolate():
    """Paths between latents, or between two of the user's images."""
    from coopnets_tf import folders, modes

    run_dir, model = run_folder(needs_generator=True)
    kind, ends = f.INTERPOLATION.value, None
    if f.IMAGES.value:
        ends = chosen_images(model, 3)
        if len(ends) != 2:
            raise folders.DatasetError(
                f"--images: an interpolation has two ends. Received: {len(ends)}."
            )
        if kind == "corners":
            kind = "spherical"
    folder = output_folder(run_dir)
    modes.interpolate(
        model,
        folder,
        kind=kind,
        seed=f.SEED.value,
        ends=ends,
        num_steps=f.INFER_STEPS.value,
        animation=f.ANIMATION.value,
    )
    print(f"Interpolation: {folder}")


def reconstruct():
    """Latents of given images, and what the generator makes of them."""
    from coopnets_tf import modes, reports

    run_dir, model = run_folder(needs_generator=True)
    images = chosen_images(model, f.NUM_IMAGES.value)
    folder = output_folder(run_dir)
    errors = modes.reconstruct(
        model, folder, images, num_steps=f.INFER_STEPS.value, seed=f.SEED.value
    )
    print(reports.table({"reconstruction": errors}))
    print(f"Original, reconstruction, difference: {folder}/reconstruct.png")


def recover():
    """The hidden part of given images, filled by the nets."""
    from coopnets_tf import modes, recovery, reports

    run_dir, model = run_folder()
    refuse_revision(model)
    if f.MASK.value == "training":
        images, visible, occluded = training_images(run_dir, f.NUM_IMAGES.value)
    else:
        images = chosen_images(model, f.NUM_IMAGES.value)
        visible, occluded = recovery.hide(images, f.MASK.value, seed=f.SEED.value)
    folder = output_folder(run_dir)
    errors = modes.recover(
        model,
        folder,
        images,
        visible,
        occluded,
        num_steps=f.INFER_STEPS.value,
        revise_steps=f.REVISE_STEPS.value,
        num_draws=f.NUM_DRAWS.value,
        seed=f.SEED.value,
    )
    print(reports.table(errors))
    print(f"Original, occluded, recovered: {folder}/recover.png")


def training_images(run_dir, number):
    """Training images, their pixels that were seen, and images of those alone."""
    import numpy as np

    from coopnets_tf import recovery, runs

    whole = load_dataset()
    dataset = incomplete(whole)
    runs.check_data(
        run_dir,
        fingerprint=dataset.fingerprint(),
        way_out="Bring the old ones back, or name another --mask.",
    )
    seen = dataset[:number]
    print(f"{whole.name}: the first {len(seen)} {whole.kind}, as they were trained on")
    visible = np.isfinite(seen).astype(np.float32)
    recovery.refuse_extremes(
        visible, f"--training_mask={f.TRAINING_MASK.value}", "Take fewer --num_images."
    )
    return whole[:number], visible, np.nan_to_num(seen)


def evaluate():
    """The scores of the nets by the protocol of `evaluation`."""
    from coopnets_tf import datasets, modes, reports, runs

    run_dir, model = run_folder()
    splits = datasets.load_splits(f.DATASET.value, **dataset_options())
    runs.check_data(
        run_dir,
        fingerprint=incomplete(splits.training).fingerprint(),
        way_out="Bring the old ones back: an evaluation needs what was not trained on.",
    )
    protocol = build_protocol(
        split=f.SPLIT.value,
        parzen=f.PARZEN_PROTOCOL.value,
        ceiling=f.EVALUATE_REAL.value,
    )
    extractor = choose_extractor(splits, protocol)
    if f.EXPORT_SAMPLES.value:
        runs.new_output(
            f.EXPORT_SAMPLES.value, run_dir, f.MODE.value, flag="--export_samples"
        )
    folder = output_folder(run_dir)
    found = modes.evaluate(
        model,
        folder,
        splits,
        protocol,
        extractor=extractor,
        tell=functools.partial(print, flush=True),
    )
    if f.EXPORT_SAMPLES.value:
        sets = {**found.scored, "reference": found.reference}
        modes.export_samples(f.EXPORT_SAMPLES.value, sets)
    print(reports.text(found.report))
    print(f"Report and pictures of step {int(model.step)}: {folder}")
    if f.EXPORT_SAMPLES.value:
        print(f"Images that were scored: {f.EXPORT_SAMPLES.value}")


def build_protocol(**options):
    """Flag values as the `Protocol` of evaluations in and after training."""
    from coopnets_tf import evaluation

    return evaluation.Protocol(
        num_samples=f.EVALUATION_SAMPLES.value,
        seed=f.EVALUATION_SEED.value,
        metrics=tuple(f.METRICS.value or evaluation.METRICS),
        **options,
    )


def choose_extractor(splits, protocol):
    """The feature extractor; None where no metric needs one, or none can be had.

    What was asked for and cannot be had is an error, what nobody asked for a sentence.
    """
    from coopnets_tf import evaluation, features

    if not evaluation.FEATURE_METRICS & set(protocol.metrics):
        return None
    # On the way nobody looks at the test images, not even to know the classifier.
    test = splits.test if protocol.split == "test" else splits.validation
    labelled = splits.training.labels is not None and test.labels is not None
    usual = "classifier" if labelled and not f.INCEPTION_WEIGHTS.value else "inception"
    try:
        if (f.EXTRACTOR.value or usual) == "classifier":
            return features.classifier(splits.training, test)
        return features.inception(weights=f.INCEPTION_WEIGHTS.value)
    except features.ExtractorError as error:
        if f.EXTRACTOR.value or f.INCEPTION_WEIGHTS.value or f.METRICS.value:
            raise
        print(f"Without metrics of features. {error}")
        return None


def export():
    """The trained nets in a format for others."""
    from coopnets_tf import export as exporting
    from coopnets_tf import runs

    run_dir, model = run_folder()
    if f.EXPORT_FORMAT.value == "hub":
        push(model, run_dir)
        return
    if f.EXPORT_FORMAT.value == "savedmodel":
        path = output_folder(run_dir) if f.OUTPUT.value else run_dir / "export"
        exporting.export(model, path, dataset=f.DATASET.value)
    elif f.EXPORT_FORMAT.value == "keras":
        path = output_folder(run_dir) / "model.keras"
        model.save(path)
    else:
        if model.generator is None:
            raise runs.RunError(
                "--export_format=litert is for generators. Received: a run of "
                "--algorithm=descriptor. Take savedmodel or keras."
            )
        path = output_folder(run_dir) / "generator.tflite"
        exporting.export_litert(model.generator, path)
    print(f"Nets of step {int(model.step)}: {path}")


def push(model, run_dir):
    """The trained nets and their card, for the Hugging Face hub."""
    from coopnets_tf import cards

    cards.push(
        model,
        run_dir,
        f.HUB.value,
        dataset=f.DATASET.value,
        license=f.LICENSE.value,
    )
    print(f"Nets of step {int(model.step)} and their card: hf://{f.HUB.value}")


MODES = {
    "train": train,
    "sample": sample,
    "interpolate": interpolate,
    "reconstruct": reconstruct,
    "recover": recover,
    "evaluate": evaluate,
    "export": export,
}


def main(argv):
    if len(argv) > 1:
        text = f"Flags begin with --. Received: {shlex.join(argv[1:])}. See --help."
        sys.exit(_failed(None, code=2, text=text))
    try:
        run_mode()
    except KeyboardInterrupt as error:
        text = "Interrupted. What was saved before can be continued with --resume."
        sys.exit(_failed(error, code=130, text=text))


def run_mode():
    load_tensorflow()
    import tensorflow as tf
    from PIL import Image

    from coopnets_tf import datasets, evaluation, features, runs, training

    # A picture large enough to exhaust the memory is an error, not a line of warning.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        MODES[f.MODE.value]()
    except (
        datasets.DatasetError,
        runs.RunError,
        features.ExtractorError,
        evaluation.NotFinite,
    ) as error:
        sys.exit(_failed(error, code=2))
    except tf.errors.ResourceExhaustedError as error:
        chains = "" if f.ALGORITHM.value == "generator" else "--num_chains and "
        text = f"Out of memory. Give a smaller {chains}--batch_size."
        sys.exit(_failed(error, code=1, text=text))
    except OSError as error:
        sys.exit(_failed(error, code=1))
    except training.Diverged as error:
        nets = ["descriptor", "generator"]
        if f.ALGORITHM.value in nets:
            nets = [f.ALGORITHM.value]
        names = ", ".join(f"--{net}_learning_rate, --{net}_step_size" for net in nets)
        advice = (
            "In a new run (--init_from=<this one> keeps its nets) try a smaller "
            f"{names}, or --rollback_rate_factor=0.5."
        )
        tried = "after all rollbacks" if f.GUARD.value else "without a guard"
        text = f"{error}, {tried}. {advice}"
        sys.exit(_failed(error, code=1, text=text))


def _failed(error, *, code, text=None):
    """Says what went wrong, and on demand where; returns the exit code."""
    if f.DEBUG.value and error:
        traceback.print_exception(error)
    print(f"Error: {text or error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse)
