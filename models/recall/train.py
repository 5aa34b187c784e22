"""The trainer of the recall experiment: one readable loop, every seed and learning rate of a row at once.

Details: fresh sequences in every batch, lists of `min_items` to `max_items`; Adam; gradients clipped to norm 10 (the
authors' code); validated on lists of `max_items` with the noise's mean. The error is the paper's unit as far as its
figure tells: cross-entropy, mean over bits, summed over the answer's three vectors, so that guessing costs
3 ln 2 = 2.079 and the figure's curves start at 2.07.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..checkpoint import Checkpoint, code_commit
from ..ensemble import adam, fastest
from .net import TuringMachine
from .task import draw

VALIDATION_SEED, VALIDATION_SIZE = 10_001, 512
ROWS = ("plain", "noisy")


@dataclass(frozen=True, kw_only=True)
class Args:
    """Options of one run; every learning rate is run with every seed."""

    row: str = "noisy"  # one of ROWS
    seeds: int = 3
    seed: int = 0
    updates: int = 100_000  # the extent of the paper's figure
    minutes: float = 1e9  # stop (and resume later) after this much time
    device: str = "cpu"
    out: str = "runs/recall/noisy"
    hidden: int = 100
    slots: int = 32
    width: int = 16
    batch: int = 32
    min_items: int = 2
    max_items: int = 6  # the authors' later default; this paper's runs used up to 16
    lr: tuple[float, ...] = (1e-3,)
    clip: float = 10.0
    c_start: float = 30.0  # the paper's schedule: c_start / sqrt(t + 1), t one more every `anneal_every` updates
    c_floor: float = 0.5
    anneal_every: float = 200.0
    evaluate_every: int = 500
    compile: bool = False  # fuse the step; on by default with CUDA


@dataclass
class Progress:
    """One entry per evaluation; figures are one a copy."""

    step: list[int] = field(default_factory=list)
    train_nll: list[list[float]] = field(default_factory=list)
    validation_nll: list[list[float]] = field(default_factory=list)
    wrong_bits: list[list[float]] = field(default_factory=list)
    c: list[float] = field(default_factory=list)


class Run:
    """Every copy of one row, its optimizer and its update. Copies are ordered by learning rate, then by seed."""

    def __init__(self, args: Args) -> None:
        self.args, self.device = args, torch.device(args.device)
        torch.manual_seed(args.seed)
        self.copies = len(args.lr) * args.seeds
        self.net = TuringMachine(
            copies=self.copies, hidden=args.hidden, slots=args.slots, width=args.width, noisy=args.row == "noisy"
        ).to(self.device)
        self.parameters = list(self.net.parameters())
        self.moments = [torch.zeros_like(w) for w in self.parameters]
        self.squares = [torch.zeros_like(w) for w in self.parameters]
        self.step = torch.zeros((), device=self.device)
        self.nll_sum = torch.zeros(self.copies, device=self.device)
        self.lr = torch.tensor(args.lr, device=self.device).repeat_interleave(args.seeds)[:, None, None]
        self.progress, self.seconds = Progress(), 0.0

    def c(self) -> Tensor:
        """Give the scale of the noise of this update, (1, 1, 1)."""
        ticks = torch.floor(self.step / self.args.anneal_every)
        return (self.args.c_start / torch.sqrt(ticks + 1)).clamp_min(self.args.c_floor).view(1, 1, 1)

    def nll(self, inputs: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Give each copy's cross-entropy and share of wrong bits, (M,) each."""
        scores = self.net(inputs, self.c())
        each = functional.binary_cross_entropy_with_logits(scores, answers, reduction="none")
        return each.mean((1, 3)).sum(-1), ((scores > 0) != (answers > 0.5)).float().mean((1, 2, 3))

    def update(self) -> None:
        """Take one step of every copy."""
        args = self.args
        inputs, answers = draw(
            (self.copies, args.batch), min_items=args.min_items, max_items=args.max_items, device=self.device
        )
        nll, _ = self.nll(inputs, answers)
        gradients = torch.autograd.grad(nll.sum(), self.parameters)
        with torch.no_grad():
            self.nll_sum += nll
            self.step += 1
            adam(self.parameters, gradients, (self.moments, self.squares), self.lr, self.step, args.clip)

    @torch.no_grad()
    def validate(self, inputs: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Measure every copy on the same sequences (N, T, CHANNELS)."""
        self.net.eval()
        measured = self.nll(inputs.expand(self.copies, *inputs.shape), answers.expand(self.copies, *answers.shape))
        self.net.train()
        return measured


def train(args: Args) -> dict[str, Any]:
    """Train one row, or continue it, and return its result, which is also written to `out/result.json`.

    Raises
    ------
    SystemExit
        If there is no such row.
    """
    if args.row not in ROWS:
        raise SystemExit(f"There is no row {args.row!r}; take one of {', '.join(ROWS)}")
    run, out = Run(args), Path(args.out)
    if (out / "last.pt").exists():
        _resume(run, out / "last.pt")
    if args.compile or run.device.type == "cuda":
        run.net.advance = torch.compile(run.net.advance, dynamic=False)  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    held_out = draw(
        (VALIDATION_SIZE,), min_items=args.max_items, max_items=args.max_items, device=torch.device("cpu"),
        generator=generator,
    )  # fmt: skip
    inputs, answers = (tensor.to(run.device) for tensor in held_out)
    step, begun, saved, before = int(run.step), time.monotonic(), time.monotonic(), run.seconds
    state = [run.step, run.nll_sum, *run.parameters, *run.moments, *run.squares]
    update = fastest(run.update, state) if step < args.updates else run.update
    while step < args.updates and time.monotonic() - begun < 60 * args.minutes:
        since = min(args.evaluate_every, args.updates - step)
        for _ in range(since):
            update()
        step += since
        nll, wrong = run.validate(inputs, answers)
        run.seconds = before + time.monotonic() - begun
        _note(run, step, since, (nll, wrong))
        if time.monotonic() - saved > 60:
            _save(run, out)
            saved = time.monotonic()
    _save(run, out)
    return _write_result(run, out)


def _note(run: Run, step: int, since: int, measured: tuple[Tensor, Tensor]) -> None:
    nll, wrong = measured
    progress = run.progress
    progress.step.append(step)
    progress.train_nll.append([round(x, 5) for x in (run.nll_sum / since).tolist()])
    progress.validation_nll.append([round(x, 5) for x in nll.tolist()])
    progress.wrong_bits.append([round(x, 5) for x in wrong.tolist()])
    progress.c.append(round(float(run.c()), 4))
    run.nll_sum.zero_()
    figures = " ".join(f"{x:.3f}" for x in nll.tolist())
    rate = 60 * step / run.seconds
    print(f"{run.args.row} step {step} nll {figures} | {rate:.0f} updates/min", file=sys.stderr)


def _write_result(run: Run, out: Path) -> dict[str, Any]:
    """Write under a temporary name and rename."""
    result = {
        "row": run.args.row, "args": asdict(run.args), "commit": code_commit(),
        "device": torch.cuda.get_device_name() if run.device.type == "cuda" else "cpu",
        "updates": int(run.step), "seconds": round(run.seconds, 1), "progress": asdict(run.progress),
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / ".result.json.tmp"
    temporary.write_text(json.dumps(result))
    temporary.replace(out / "result.json")
    return result


def _save(run: Run, out: Path) -> None:
    training: dict[str, Any] = {
        "moments": run.moments, "squares": run.squares, "progress": asdict(run.progress),
    }  # fmt: skip
    Checkpoint(
        task="recall", config=asdict(run.args), weights=run.net.state_dict(), training=training, step=int(run.step),
        seconds=run.seconds, commit=code_commit(),
    ).save(out / "last.pt")  # fmt: skip


def _resume(run: Run, path: Path) -> None:
    checkpoint = Checkpoint.load(path, task="recall")
    may_change = {"minutes": 0.0, "device": "", "out": "", "compile": False}
    if replace(Args(**checkpoint.config), **may_change) != replace(run.args, **may_change):
        raise SystemExit(f"{path} was trained with other options; take another --out or delete it")
    run.net.load_state_dict(checkpoint.weights)
    with torch.no_grad():
        for name, tensors in (("moments", run.moments), ("squares", run.squares)):
            for ours, theirs in zip(tensors, checkpoint.training[name], strict=True):
                ours.copy_(theirs)
    run.step.fill_(checkpoint.step)
    run.seconds, run.progress = checkpoint.seconds, Progress(**checkpoint.training["progress"])
    torch.manual_seed(run.args.seed + checkpoint.step)
    print(f"resumed {path} at update {checkpoint.step}", file=sys.stderr)
