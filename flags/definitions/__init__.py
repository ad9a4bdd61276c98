"""Every flag of main.py. The defaults of nets, chains and optimizers are those of
the official code (scenes, MNIST).

Paper symbols: Y image, X latent vector, delta step size, l number of Langevin steps,
n images of one step, n~ chains, s and sigma standard deviations.
"""

# The order of the pages of help.
# isort: off
from flags.definitions import run
from flags.definitions import data
from flags.definitions import networks
from flags.definitions import training
from flags.definitions import evaluation
from flags.definitions import output
from flags.definitions import use

__all__ = ["data", "evaluation", "networks", "output", "run", "training", "use"]
