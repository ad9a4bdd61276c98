"""Which hosts SLURM names."""

import pytest

from commands import devices
from coopnets_tf.errors import ArgumentError


def of_slurm(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return devices._of_slurm()


@pytest.mark.parametrize(
    ("node", "place", "own"),
    [("n9", "0", "n9:8888"), ("n10", "0", "n10:8888"), ("n10", "1", "n10:8889")],
)
def test_hosts_of_slurm(monkeypatch, node, place, own):
    """Each task is where the others look for it, in whatever order nodes are named."""
    monkeypatch.setenv("SLURMD_NODENAME", node)
    hosts, index = of_slurm(
        monkeypatch,
        PROCID="0",
        LOCALID=place,
        STEP_NUM_TASKS="3",
        STEP_NODELIST="n[9-10]",
        STEP_TASKS_PER_NODE="1,2",
    )
    assert sorted(hosts) == ["n10:8888", "n10:8889", "n9:8888"]
    assert hosts[index] == own


def test_without_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(ArgumentError, match="srun.*SLURM_PROCID not found"):
        of_slurm(monkeypatch)
