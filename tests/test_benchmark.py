import pytest

from benchmarks.step import step_flops
from coopnets_tf import CoopNets, Descriptor, Generator, Langevin


@pytest.mark.parametrize(
    ("network", "shape", "up", "down"),
    [
        # Multiplications of one pass, by layer: places of the output (of the input,
        # going down) times the kernel's entries.
        (
            "mnist",
            (28, 28, 1),
            [196 * 1_024, 49 * 131_072, 16 * 524_288, 409_600],
            [819_200, 16 * 2_097_152, 49 * 524_288, 196 * 2_048],
        ),
        (
            "scene",
            (64, 64, 3),
            [1_024 * 4_800, 256 * 73_728, 256 * 294_912, 6_553_600],
            [819_200, 16 * 3_276_800, 64 * 819_200, 256 * 204_800, 1_024 * 4_800],
        ),
    ],
)
@pytest.mark.parametrize("inference_steps", [0, 2])
def test_step_flops(network, shape, up, down, inference_steps):
    descriptor = Descriptor(
        network, shape, revision=Langevin(15, 0.002), reference_stddev=0.016
    )
    generator = Generator(
        network, shape, inference=Langevin(inference_steps, 0.1), residual_stddev=0.3
    )
    model = CoopNets(descriptor, generator, num_chains=144)
    expected = 144 * 15 * 2 * sum(up) + 244 * (3 * sum(up) - up[0])
    expected += 144 * (3 * sum(down) - down[0])
    if inference_steps:
        expected += 144 * (2 * 2 * sum(down) + sum(down))
    assert step_flops(model, 100) == 2 * expected
