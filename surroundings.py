"""What has to be right before TensorFlow is used: output, settings, threads.

No module that imports TensorFlow is imported here at the top: `--help` and the refusal
of a flag do without.
"""

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from logging import Formatter
from typing import Any

from absl import logging

GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO}  # for good


class Unusable(Exception):
    """Something that has to be mended before anything can begin."""


class Harmless:
    """A stream for text that may fail: then what is written is lost, and no more.

    A terminal may be closed and a pipe's reader may end while a training runs.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._losing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._losing():
            self._stream.flush()

    @contextlib.contextmanager
    def _losing(self):
        try:
            yield
        except OSError as error:
            if error.errno in GONE:  # also for what waits in the buffer
                with open(os.devnull, "wb") as void:
                    os.dup2(void.fileno(), self._stream.fileno())


def harmless_output() -> None:
    """Lets nothing that is printed, by anyone, end the program."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would get its number
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")
        if hasattr(stream, "reconfigure"):  # letters that a terminal has not
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Harmless(stream))


def plain_warnings() -> None:
    """Warnings begin as errors do, without the place in the code."""
    logging.set_verbosity(logging.WARNING)
    logging.use_absl_handler()
    handler = logging.get_absl_handler()
    handler.setFormatter(Formatter("Warning: %(message)s"))


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Holds back what C++ libraries print; it is shown if an exception passes."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            with contextlib.suppress(OSError):
                os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _set_up_cpu(tf, parts):
    if parts == 1:
        # The step is one operation after the other: two at a time only compete.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    else:
        part = tf.config.LogicalDeviceConfiguration()
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [part] * parts)


def load_tensorflow(
    *, deterministic: bool = False, devices: str = "1", precision: str = "float32"
) -> None:
    """Imports TensorFlow and Keras with the settings that the package needs.

    Args:
      devices: how many share the work, or "all"; without a GPU the CPU has as many
        parts.
      precision: "tf32" lets GPUs multiply so; other values do not.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's keras.json says
    if not os.path.isabs(os.path.expanduser("~")):  # parts of TensorFlow would make a ~
        os.environ.setdefault("KERAS_HOME", "/tmp/.keras")
    with quiet_stderr():
        try:
            import keras
            import tensorflow as tf
        except (AttributeError, AssertionError, TypeError, ValueError) as error:
            raise Unusable(
                f"Keras cannot begin: {error}. Mend its keras.json, or remove it."
            ) from error
        # Whatever keras.json says: the nets and their steps are made for these alone.
        keras.config.set_image_data_format("channels_last")
        keras.config.set_dtype_policy("float32")
        keras.config.set_floatx("float32")
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
        if not tf.config.list_physical_devices("GPU"):
            with contextlib.suppress(RuntimeError):  # somebody used TensorFlow before
                _set_up_cpu(tf, 1 if devices == "all" else int(devices))
        if deterministic:
            tf.config.experimental.enable_op_determinism()
