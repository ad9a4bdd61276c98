"""Settings of all tests, and fixtures that many of them use.

Imports stand in the fixtures: the process that only hands out tests does without
TensorFlow.
"""

import gc
import os
import shutil
import signal
import tempfile

import pytest

# The user's own cache stays as it is; those who test side by side share one.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["KERAS_HOME"] = tempfile.mkdtemp()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
# Toy models are too small to share one among threads; the next worker has the core.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# Graphs are millions of small objects, through which the collector went all the time.
gc.set_threshold(100_000, 50, 100)
# A shell without job control has SIGINT ignored by what it runs in the background, and
# so by the programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config):
    """Takes away that cache at the end."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["KERAS_HOME"], ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def exports(request):
    """Trainings end without an export, half of their time, but in modules that say
    `EXPORTS = True`.
    """
    from coopnets_tf.runs import training

    original = training.export
    if not getattr(request.module, "EXPORTS", False):
        training.export = lambda model, directory, dataset=None: None
    yield
    training.export = original
    gc.collect()  # models and graphs are cycles, of gigabytes by the end


@pytest.fixture
def model():
    from tests.helpers import make_model

    return make_model()


@pytest.fixture
def observed():
    """Eight images of the toy size, in [-1, 1]."""
    import numpy as np

    return np.random.default_rng(5).uniform(-1, 1, (8, 8, 8, 1)).astype(np.float32)
