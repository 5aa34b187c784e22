"""Two processes started by `torchrun` train one network, and one that did not join is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from steadyframe.models import parallel
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.training import LoopOptions, fit
from steadyframe.runtime.errors import UsageError

STEPS = 7


class Line:
    """Fits a line by plain gradient descent; every process sees one half of the points, or the only one all."""

    task = "line"
    scheduler = None

    def __init__(self, number: int, count: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.net = torch.nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1 / (1 + number))  # the first one's rate counts
        points = torch.randn(8, 3, generator=torch.Generator().manual_seed(5))
        self.points = points.chunk(count)[number]

    def config(self):
        return {}

    def losses(self, step):
        value = self.net(self.points * (1 + 0.1 * step))
        return {"loss": (value - self.points.sum(1, keepdim=True)).square().mean()}

    def validate(self, net):
        return {"weight": float(net.weight.sum())}

    def sheet(self, net):
        return None


def options(out: Path) -> LoopOptions:
    return LoopOptions(out=out, steps=STEPS, bf16=False, ema=0.9, validate_every=3, save_every=3)


def main(out: Path) -> None:
    """What each of two processes does."""
    number = parallel.join()
    with parallel.first_alone():
        order = out / "order.txt"
        order.write_text((order.read_text() if order.exists() else "") + str(number))
    trainer = Line(number, 2, seed=0 if number == 0 else 99)
    done = fit(trainer, options(out / ("shared" if number == 0 else "other")))
    done.save(out / f"{number}.pt")


def launch(program: Path, out: Path) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(program), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_two_processes_take_the_steps_that_one_takes_on_all_points(tmp_path):
    torch.set_num_threads(2)
    ran = launch(Path(__file__), tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    alone = fit(Line(0, 1, seed=0), options(tmp_path / "alone"))
    first, second = (Checkpoint.load(tmp_path / f"{number}.pt") for number in (0, 1))
    for name, value in alone.training["net"].items():
        torch.testing.assert_close(first.training["net"][name], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(first.training["net"][name], second.training["net"][name])
    assert first.step == second.step == STEPS
    assert (tmp_path / "shared" / "last.pt").is_file() and not (tmp_path / "other").exists()
    assert (tmp_path / "order.txt").read_text() == "01"


def test_processes_that_have_not_met_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        fit(Line(0, 1, seed=0), options(tmp_path))
    assert not any(tmp_path.iterdir())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
