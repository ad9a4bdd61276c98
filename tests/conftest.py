"""Settings of all tests, and fixtures that many of them use."""

import os
import shutil
import tempfile

# The user's own cache stays as it is; those who test side by side share one.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["KERAS_HOME"] = tempfile.mkdtemp()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import pytest

from coopnets_tf.runs import training
from tests.helpers import make_model


def pytest_unconfigure(config):
    """Takes away that cache at the end."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["KERAS_HOME"], ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def exports(request):
    """Trainings end without an export, half of their time, but in modules that say
    `EXPORTS = True`.
    """
    original = training.export
    if not getattr(request.module, "EXPORTS", False):
        training.export = lambda model, directory, dataset=None: None
    yield
    training.export = original


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def observed():
    """Eight images of the toy size, in [-1, 1]."""
    return np.random.default_rng(5).uniform(-1, 1, (8, 8, 8, 1)).astype(np.float32)
