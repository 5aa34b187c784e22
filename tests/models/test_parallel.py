"""Several processes train one network as one process does on all their samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from steadyframe.models import parallel
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions
from steadyframe.models.training import LoopOptions, fit
from steadyframe.runtime.errors import UsageError

STEPS = 7


class Recording:
    """What both trainers below share: every loss and the gradients of the first step are kept."""

    scheduler = None

    def __init__(self) -> None:
        self.curve: list[float] = []
        self.gradients: dict[str, torch.Tensor] = {}

    def watch(self) -> None:
        step = self.optimizer.step

        def watched() -> None:
            if not self.gradients:
                named = self.net.named_parameters()
                self.gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
            step()

        self.optimizer.step = watched

    def config(self):
        return {}

    def validate(self, net):
        return {"weight": float(next(net.parameters()).sum())}

    def sheet(self, net):
        return None


class Line(Recording):
    """Fits a line by plain gradient descent; every process sees its share of the points, or the only one all."""

    task = "line"

    def __init__(self, number: int, count: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = torch.nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1 / (1 + number))  # the first one's rate counts
        points = torch.randn(8, 3, generator=torch.Generator().manual_seed(5))
        self.points = points.chunk(count)[number]
        self.watch()

    def losses(self, step):
        value = self.net(self.points * (1 + 0.1 * step))
        loss = (value - self.points.sum(1, keepdim=True)).square().mean()
        self.curve.append(float(loss.detach()))
        return {"loss": loss}


class Colors(Recording):
    """The colorizer itself, without batch norm: it sees some images, and knows their colors by their luma."""

    task = "colors"

    def __init__(self, number: int, count: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        # The classifier's head gets no loss: parameters that a batch does not need stop nobody.
        self.net = Colorizer(ColorizerOptions(width=0.125, batch_norm=False, classes=3))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.5)
        images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(7))
        self.images = images.chunk(count)[number]
        self.watch()

    def losses(self, step):
        chroma = self.net(self.images)["chroma"]
        small = torch.nn.functional.interpolate(self.images, size=chroma.shape[-2:])
        loss = (chroma - 0.2 - 0.6 * small).square().mean()
        self.curve.append(float(loss.detach()))
        return {"loss": loss}


class Uneven(Recording):
    """Draws from a shard of its own, over and over; the shards have 3 and 50 samples."""

    task = "uneven"

    def __init__(self, number: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01)
        self.shard = torch.randn((3, 50)[number], 3)
        self.at = 0

    def losses(self, step):
        if self.at >= len(self.shard):
            self.at = 0
        sample, self.at = self.shard[self.at], self.at + 1
        return {"loss": self.net(sample).square().mean()}


def options(out: Path, steps: int = STEPS) -> LoopOptions:
    return LoopOptions(out=out, steps=steps, bf16=False, ema=0.9, validate_every=3, save_every=3)


def main(out: Path, devices: int = 1) -> None:
    """What each of two processes does."""
    parallel.launch("cpu", devices=devices)
    number = parallel.number()
    with parallel.first_alone():
        order = out / "order.txt"
        order.write_text((order.read_text() if order.exists() else "") + str(number))
    trainer = Line(number, 2, seed=0 if number == 0 else 99)
    done = fit(trainer, options(out / ("shared" if number == 0 else "other")))
    done.save(out / f"{number}.pt")
    (out / f"line{number}.json").write_text(json.dumps(trainer.curve))
    colors = Colors(number, 2)
    fit(colors, options(out / f"colors{number}"))
    torch.save({"gradients": colors.gradients, "curve": colors.curve}, out / f"colors{number}.pt")
    fit(Uneven(number), options(out / f"uneven{number}", steps=60))
    (out / f"finished{number}").touch()


def launch(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words, __file__, str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes, started by torchrun, left behind."""
    out = tmp_path_factory.mktemp("two")
    ran = launch(out, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert ran.returncode == 0, ran.stderr[-3000:]
    return out


def test_two_processes_take_the_steps_that_one_takes_on_all_points(run_of_two, tmp_path):
    trainer = Line(0, 1, seed=0)
    alone = fit(trainer, options(tmp_path / "alone"))
    first, second = (Checkpoint.load(run_of_two / f"{number}.pt") for number in (0, 1))
    for name, value in alone.training["net"].items():
        torch.testing.assert_close(first.training["net"][name], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(first.training["net"][name], second.training["net"][name])
    assert first.step == second.step == STEPS
    assert (run_of_two / "shared" / "last.pt").is_file() and not (run_of_two / "other").exists()
    assert (run_of_two / "order.txt").read_text() == "01"


def test_gradients_and_curves_are_those_of_one_process_with_the_same_global_batch(run_of_two, tmp_path):
    alone = Colors(0, 1)
    fit(alone, options(tmp_path))
    both = [torch.load(run_of_two / f"colors{number}.pt") for number in (0, 1)]
    assert alone.gradients.keys() == both[0]["gradients"].keys() and len(alone.gradients) > 10
    largest = max(float(gradient.abs().max()) for gradient in alone.gradients.values())
    assert largest > 1e-3  # or an error of 1e-6 would say nothing
    for name, gradient in alone.gradients.items():
        for each in both:
            torch.testing.assert_close(each["gradients"][name], gradient, rtol=0, atol=1e-6)
    curve = [(one + other) / 2 for one, other in zip(both[0]["curve"], both[1]["curve"], strict=True)]
    assert alone.curve == pytest.approx(curve, rel=1e-4)
    assert alone.curve[-1] < alone.curve[0]


def test_uneven_shards_do_not_hang(run_of_two):
    assert (run_of_two / "finished0").exists() and (run_of_two / "finished1").exists()


def test_a_program_starts_its_own_processes(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_parallel as t\n"
    code += f"from pathlib import Path; t.main(Path({str(tmp_path)!r}), devices=2)\n"
    program = tmp_path / "program.py"
    program.write_text(code)
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=280)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert (tmp_path / "finished0").exists() and (tmp_path / "finished1").exists()


def test_processes_that_have_not_met_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        fit(Line(0, 1, seed=0), options(tmp_path))
    assert not any(tmp_path.iterdir())


def test_what_is_not_there_is_not_started():
    with pytest.raises(UsageError, match="One GPU cannot serve"):
        parallel.launch("cuda:1", devices=2)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="cuda"):
            parallel.launch("cuda", devices=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
