"""The trainer of the counting experiment: one readable loop, every seed and setting of a row at once.

The whole update (draw, forward, backward, Adam, annealing) is a function of tensors alone, so that on a GPU it is
captured once as a CUDA graph and replayed; nothing in it waits for Python.

Details the paper leaves open, and what is done here: fresh sequences in every batch; Adam; gradients clipped by
norm; the learning rate falls linearly to 0 at `updates`; weights uniform in +-1/sqrt(fan in); noise in every gate and
both tanhs; the test error is that of the weights with the lowest validation error.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import Checkpoint, code_commit
from ..ensemble import adam, fastest
from .net import ALPHA, CountingNet, losses
from .task import LENGTH, count_unique, draw, majority_error, one_hot

VALIDATION_SEED, TEST_SEED = 10_001, 10_002
VALIDATION_SIZE, TEST_SIZE, CHUNK = 4096, 20_480, 1024  # whole chunks: one shape to compile


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of one run; tuples are searched over, each combination with every seed."""

    row: str = "reference"  # a key of ROWS
    seeds: int = 5
    seed: int = 0
    updates: int = 20_000
    minutes: float = 1e9  # stop (and resume later) after this much time
    device: str = "cpu"
    out: str = "runs/counting/reference"
    hidden: int = 64
    mlp: int = 64
    batch: int = 64
    lr: tuple[float, ...] = (2e-3,)
    clip: float = 1.0
    forget_bias: float = 0.0
    c_start: tuple[float, ...] = (30.0,)  # the paper's
    c_floor: float = 0.5  # the paper's; also the fixed c of the row without annealing
    alpha_sigmoid: float = ALPHA[0]
    alpha_tanh: float = ALPHA[1]
    anneal_until: tuple[float, ...] = (0.5,)  # share of `updates` after which c has come down to its floor
    curriculum_until: float = 0.5  # share of `updates` after which sequences have their full length
    evaluate_every: int = 500
    compile: bool = False  # fuse the cell: twice as fast on a CPU, after half a minute; always on with CUDA


@dataclass(frozen=True)
class Row:
    """What a row of the paper's table is made of, and the paper's test error in percent."""

    noise: str
    annealed: bool
    curriculum: bool
    paper: float | None


ROWS = {
    "reference": Row("soft", False, False, 33.28),
    "nan": Row("nan", False, False, 31.12),
    "curriculum": Row("soft", False, True, 14.83),
    "nan-annealed": Row("nan", True, False, 9.53),
    "nanil-annealed": Row("nanil", True, False, 20.94),
    "hard": Row("hard", False, False, None),  # ours: what the hard functions do without the noise
}


@dataclass
class Progress:
    """How far a run came: one entry per evaluation; errors are one figure a copy, in 0..1."""

    step: list[int] = field(default_factory=list)
    loss: list[list[float]] = field(default_factory=list)
    validation_error: list[list[float]] = field(default_factory=list)
    c: list[list[float]] = field(default_factory=list)


class Run:
    """Every copy of one row, its optimizer, and the update that advances them all.

    Copies are ordered by setting, then by seed: copy = setting * seeds + seed.
    """

    def __init__(self, args: Args) -> None:
        self.args, self.row = args, ROWS[args.row]
        self.device = torch.device(args.device)
        self.settings = [
            {"lr": lr, "c_start": start, "anneal_until": until}
            for lr, start, until in itertools.product(args.lr, args.c_start, args.anneal_until)
        ]
        torch.manual_seed(args.seed)
        copies = len(self.settings) * args.seeds
        self.net = CountingNet(
            copies=copies,
            hidden=args.hidden,
            mlp=args.mlp,
            noise=self.row.noise,
            forget_bias=args.forget_bias,
            alpha=(args.alpha_sigmoid, args.alpha_tanh),
        ).to(self.device)
        self.parameters = list(self.net.parameters())
        self.moments = [torch.zeros_like(w) for w in self.parameters]
        self.squares = [torch.zeros_like(w) for w in self.parameters]
        self.best = [w.detach().clone() for w in self.parameters]
        self.best_error = torch.full((copies,), math.inf, device=self.device)
        self.step = torch.zeros((), device=self.device)
        self.loss_sum = torch.zeros(copies, device=self.device)
        self.lr, self.c_start, self.anneal_until = (
            self._per_copy([setting[name] for setting in self.settings]) for name in ("lr", "c_start", "anneal_until")
        )
        self.progress = Progress()
        self.seconds = 0.0

    def _per_copy(self, values: list[float]) -> Tensor:
        """Spread one value a setting over its seeds, (M, 1, 1)."""
        return torch.tensor(values, device=self.device).repeat_interleave(self.args.seeds)[:, None, None]

    def c(self) -> Tensor:
        """Give the scale of the noise of this update, (M, 1, 1).

        The paper's schedule is c_start / sqrt(t + 1) with t one more every 200 updates; it comes down to its floor
        0.5 after 720,000 updates. Here t advances so fast that the floor is reached at `anneal_until` of the run.
        """
        if not self.row.annealed:
            return torch.full_like(self.c_start, self.args.c_floor)
        ticks_to_floor = (self.c_start / self.args.c_floor) ** 2 - 1
        ticks = self.step / (self.anneal_until * self.args.updates) * ticks_to_floor
        return (self.c_start / torch.sqrt(ticks + 1)).clamp_min(self.args.c_floor)

    def seen(self) -> Tensor:
        """Give the steps that count in this update, (T,): all, or with a curriculum a growing number."""
        time_steps = torch.arange(LENGTH, device=self.device)
        if not self.row.curriculum:
            return torch.ones(LENGTH, device=self.device)
        share = (self.step / (self.args.curriculum_until * self.args.updates)).clamp_max(1)
        return (time_steps < (2 + share * (LENGTH - 2)).floor()).float()

    def update(self) -> None:
        """Take one step of every copy."""
        args, copies = self.args, len(self.best_error)
        hot, seen = one_hot(draw((copies, args.batch), device=self.device)), self.seen()
        each = losses(self.net(hot, seen, self.c()), count_unique(hot, seen))
        gradients = torch.autograd.grad(each.sum(), self.parameters)
        with torch.no_grad():
            self.loss_sum += each
            self.step += 1
            lr = self.lr * (1 - self.step / args.updates).clamp_min(0)
            adam(self.parameters, gradients, (self.moments, self.squares), lr, self.step, args.clip)

    @torch.no_grad()
    def errors(self, hot: Tensor) -> Tensor:
        """Give each copy's share of wrong counts, (M,), on sequences (N, T, SYMBOLS), with the noise's mean."""
        seen, copies = torch.ones(LENGTH, device=self.device), len(self.best_error)
        c, wrong = self.c(), torch.zeros(copies, device=self.device)
        self.net.eval()
        for part in hot.split(CHUNK):
            counts = count_unique(part, seen)
            scores = self.net(part.expand(copies, *part.shape), seen, c)
            wrong += (scores.argmax(-1) != counts).sum(-1)
        self.net.train()
        return wrong / len(hot)

    def keep_best(self, error: Tensor) -> None:
        """Keep the weights of those copies whose error, (copies,), is lower than ever before."""
        better = error < self.best_error
        self.best_error = torch.where(better, error, self.best_error)
        for kept, weight in zip(self.best, self.parameters, strict=True):
            kept[better] = weight.detach()[better]


def train(args: Args) -> dict[str, Any]:
    """Train (or go on with) one row and give its result, which is also written to `out/result.json`."""
    run, out = Run(args), Path(args.out)
    if (out / "last.pt").exists():
        _resume(run, out / "last.pt")
    if args.compile or run.device.type == "cuda":
        run.net.cell = torch.compile(run.net.cell, dynamic=False)  # type: ignore[assignment]
    validation, test = (
        one_hot(draw((size,), device=torch.device("cpu"), generator=torch.Generator().manual_seed(seed)))
        for size, seed in ((VALIDATION_SIZE, VALIDATION_SEED), (TEST_SIZE, TEST_SEED))
    )
    validation, test = validation.to(run.device), test.to(run.device)
    step, begun, saved, before = int(run.step), time.monotonic(), time.monotonic(), run.seconds
    state = [run.step, run.loss_sum, *run.parameters, *run.moments, *run.squares]
    update = fastest(run.update, state) if step < args.updates else run.update
    while step < args.updates and time.monotonic() - begun < 60 * args.minutes:
        since = min(args.evaluate_every, args.updates - step)
        for _ in range(since):
            update()
        step += since
        error = run.errors(validation)
        run.keep_best(error)
        run.seconds = before + time.monotonic() - begun
        _note(run, step, since, error)
        if time.monotonic() - saved > 30:
            _save(run, out)
            saved = time.monotonic()
    last = run.errors(test)
    for weight, best in zip(run.parameters, run.best, strict=True):
        weight.data, best.data = best.data, weight.data
    result = _result(run, run.errors(test), last)
    for weight, best in zip(run.parameters, run.best, strict=True):
        weight.data, best.data = best.data, weight.data
    _save(run, out)
    _write_json(out / "result.json", result)
    return result


def _note(run: Run, step: int, since: int, error: Tensor) -> None:
    loss = run.loss_sum / since
    if not bool(torch.isfinite(loss).all()):
        print(f"step {step}: the loss of some copies is not finite", file=sys.stderr)
    run.loss_sum.zero_()
    progress, c = run.progress, run.c()
    progress.step.append(step)
    progress.loss.append([round(x, 5) for x in loss.tolist()])
    progress.validation_error.append([round(x, 5) for x in error.tolist()])
    progress.c.append([round(x, 4) for x in c.flatten().tolist()])
    mean = error.view(len(run.settings), -1).mean(1)
    figures = " ".join(f"{100 * x:.1f}" for x in mean.tolist())
    print(
        f"{run.args.row} step {step} error % {figures} | {60 * step / run.seconds:.0f} updates/min", file=sys.stderr
    )


def _result(run: Run, best: Tensor, last: Tensor) -> dict[str, Any]:
    """Collect everything the table needs."""
    seeds = run.args.seeds
    return {
        "row": run.args.row,
        "args": asdict(run.args),
        "commit": code_commit(),
        "device": torch.cuda.get_device_name() if run.device.type == "cuda" else "cpu",
        "updates": int(run.step),
        "seconds": round(run.seconds, 1),
        "majority_error": majority_error(),
        "settings": [
            setting | {"test_error": best[i * seeds : (i + 1) * seeds].tolist(),
                       "last_test_error": last[i * seeds : (i + 1) * seeds].tolist(),
                       "validation_error": run.best_error[i * seeds : (i + 1) * seeds].tolist()}
            for i, setting in enumerate(run.settings)
        ],
        "progress": asdict(run.progress),
    }  # fmt: skip


def _save(run: Run, out: Path) -> None:
    training: dict[str, Any] = {
        "moments": run.moments, "squares": run.squares, "weights": [w.detach() for w in run.parameters],
        "best": run.best, "best_error": run.best_error, "progress": asdict(run.progress),
        "rng": torch.get_rng_state(),
    }  # fmt: skip
    weights = dict(zip((name for name, _ in run.net.named_parameters()), run.best, strict=True))
    Checkpoint(
        task="counting", config=asdict(run.args), weights=weights, training=training, step=int(run.step),
        seconds=run.seconds, commit=code_commit(),
    ).save(out / "last.pt")  # fmt: skip


def _resume(run: Run, path: Path) -> None:
    checkpoint = Checkpoint.load(path, task="counting")
    comparable = {"minutes": 0.0, "device": "", "out": "", "compile": False}
    old = replace(
        Args(**{k: tuple(v) if isinstance(v, list) else v for k, v in checkpoint.config.items()}), **comparable
    )
    if old != replace(run.args, **comparable):
        raise SystemExit(f"{path} was trained with other options; take another --out or delete it")
    state = checkpoint.training
    pairs = (("weights", run.parameters), ("moments", run.moments), ("squares", run.squares), ("best", run.best))
    with torch.no_grad():
        for name, tensors in pairs:
            for ours, theirs in zip(tensors, state[name], strict=True):
                ours.copy_(theirs)
    run.best_error = state["best_error"].to(run.device)
    run.step.fill_(checkpoint.step)
    run.seconds, run.progress = checkpoint.seconds, Progress(**state["progress"])
    torch.manual_seed(run.args.seed + checkpoint.step)
    print(f"resumed {path} at update {checkpoint.step}", file=sys.stderr)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write under a temporary name and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)
