"""The training loop that every trainer shares: steps, progress, validation, images, checkpoints, resume.

Owns the loop and its log. What is trained, on what and with which loss belongs to the trainers.
"""

from __future__ import annotations

import copy
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from ..runtime.errors import BundleError, UsageError
from . import parallel
from .checkpoint import Checkpoint, code_commit
from .schedule import WorkClock


class Trainer(Protocol):
    """One trainer: a network, its optimizer, and what a step means."""

    task: str
    net: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None

    def config(self) -> dict[str, Any]:
        """Give plain values that are stored in the checkpoint and suffice to build the network again."""

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Draw a batch and compute named scalar losses; the one named `loss` is minimized."""

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure the network (in eval mode) on the validation set."""

    def sheet(self, net: nn.Module) -> NDArray[np.uint8] | None:
        """Draw an image sheet of the validation set, (H, W, 3) BGR, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How long and how to train; the same for every trainer.

    Parameters
    ----------
    out : folder of the run: `last.pt`, `log/` (TensorBoard), `sheets/`
    steps : optimizer steps in all, over every resumed part
    minutes : stop earlier when this much time has been spent in this part
    device : torch device
    bf16 : autocast to bfloat16 (weights stay float32)
    clip : largest gradient norm; 0 leaves gradients alone
    ema : decay of the running average of weights that is validated and exported; 0 keeps none
    validate_every, save_every : in steps; `validate_every` also draws a sheet
    """

    out: Path
    steps: int
    minutes: float | None = None
    device: str = "cpu"
    bf16: bool = True
    clip: float = 0.0
    ema: float = 0.999
    validate_every: int = 1000
    save_every: int = 500
    seed: int = 0


def half_is_fast(device: str) -> bool:
    """Say whether bfloat16 is computed by the device itself; a processor without AVX-512 imitates it, slowly."""
    return not device.startswith("cpu") or "AVX512" in torch.backends.cpu.get_cpu_capability()


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def fit(trainer: Trainer, options: LoopOptions, *, console: Console | None = None) -> Checkpoint:
    """Train until `options.steps`, resuming from `out/last.pt` if it is there.

    Ctrl-C (SIGINT) and SIGTERM end the run after the step in progress: the checkpoint is saved, and the console says
    how to go on. A second Ctrl-C ends it at once.

    Processes that have met (`parallel.launch`) train one network: the first one's clock, weights and files count.

    Returns
    -------
    Checkpoint
        The final one, also written to `out/last.pt`.

    Raises
    ------
    UsageError
        If there are several processes that have not met, or that go on from different steps.
    BundleError
        If the run in `out` trains another network.
    """
    parallel.refuse_strangers()
    return _Loop(trainer, options, console or Console(stderr=True)).run()


class _Loop:
    """State of one `fit` call."""

    def __init__(self, trainer: Trainer, options: LoopOptions, console: Console) -> None:
        self.trainer, self.options, self.console = trainer, options, console
        self.path = options.out / "last.pt"
        self.commit = code_commit()  # of the code that runs; by the end of a long run the folder may hold another
        self.step, self.seconds_before = 0, 0.0
        self.metrics: dict[str, float] = {}
        trainer.net.to(options.device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(trainer.net).requires_grad_(False) if options.ema else None
        if self.path.exists():
            self._resume()
        if parallel.share([self.step]) != [self.step]:
            raise UsageError(
                "The processes go on from different steps", expected=f"the same {self.path} on every machine"
            )
        self.module = parallel.averaged(trainer.net, trainer.losses)
        self.clock = WorkClock()
        self.stopped = False

    def run(self) -> Checkpoint:
        options = self.options
        columns = (
            TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        if not parallel.first():
            return self._follow()
        with (
            _signals(self._stop),
            SummaryWriter(str(options.out / "log")) as log,
            Progress(*columns, console=self.console) as bar,
        ):
            row = bar.add_task("train", total=options.steps, completed=self.step, note="")
            sums: dict[str, Tensor] = {}
            since, marked = 0, time.monotonic()
            while self.step < options.steps and self._goes_on():
                for name, value in self._one_step().items():
                    sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value
                since += 1
                if time.monotonic() - marked > 1.0 or self.step >= options.steps:
                    rate = since / (time.monotonic() - marked)
                    note = self._log_losses(log, {name: float(value) / since for name, value in sums.items()})
                    bar.update(row, completed=self.step, note=f"{note} | {rate * self._batch():.0f} samples/s")
                    sums, since, marked = {}, 0, time.monotonic()
                if self.step % options.validate_every == 0 or self.step == options.steps:
                    self._validate(log)
                    marked = time.monotonic()
                if self.step % options.save_every == 0:
                    self._checkpoint().save(self.path)
            if not self.stopped and self.metrics.get("validated_at") != self.step:
                self._validate(log)
        final = self._checkpoint()
        final.round_weights()
        final.save(self.path)
        self._close(final)
        return final

    def _stop(self) -> None:
        """Ask the loop to end after the step in progress."""
        self.stopped = True

    def _log_losses(self, log: SummaryWriter, means: dict[str, float]) -> str:
        """Log mean losses and give them as text."""
        self._check(means)
        for name, value in means.items():
            log.add_scalar(f"train/{name}", value, self.step)
        return " ".join(f"{name} {value:.4g}" for name, value in means.items())

    def _close(self, final: Checkpoint) -> None:
        """Say where everything is and what to do next."""
        options = self.options
        say = "stopped" if self.stopped else "done"
        self.console.print(
            f"{say} at step {self.step} of {options.steps}, {final.seconds / 60:.1f} minutes in all\n"
            f"checkpoint: {self.path}\npreviews:   {options.out / 'sheets'}\n"
            f"curves:     tensorboard --logdir {options.out / 'log'}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        if self.step < options.steps:
            self.console.print("go on:      the same command again", highlight=False)
        self.console.print(
            f"next:       steadyframe export {self.path} -o BUNDLE_FOLDER", highlight=False, soft_wrap=True
        )

    def _follow(self) -> Checkpoint:
        """Take the first process's steps with it, for as long as it takes them."""
        with _signals(lambda: None):  # the first one says when it ends
            while self.step < self.options.steps and self._goes_on():
                self._one_step()
        return self._checkpoint()

    def _batch(self) -> int:
        return int(getattr(self.trainer, "batch_size", 1))

    def _goes_on(self) -> bool:
        """Whether another step follows, and with the first process's learning rates: its clock and stop count."""
        minutes = self.options.minutes
        over = self.stopped or self.clock() > 60 * (math.inf if minutes is None else minutes)
        groups = self.trainer.optimizer.param_groups
        ends, *rates = parallel.share([over, *(group["lr"] for group in groups)])
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        return not ends

    def _one_step(self) -> dict[str, Tensor]:
        """Take one optimizer step; give detached losses, left on their device so that nothing waits for them."""
        trainer, options = self.trainer, self.options
        trainer.net.train()
        with torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=options.bf16):
            losses = self.module(self.step)
        trainer.optimizer.zero_grad(set_to_none=True)
        parallel.backward(losses["loss"])
        if options.clip:
            nn.utils.clip_grad_norm_(trainer.net.parameters(), options.clip)
        trainer.optimizer.step()
        if trainer.scheduler is not None:
            trainer.scheduler.step()
        self.step += 1
        if self.average is not None:
            self._update_average()
        return {name: value.detach().float() for name, value in losses.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the running average; its decay warms up so that early weights are soon forgotten."""
        assert self.average is not None
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        ours, theirs = self.average.state_dict(), self.trainer.net.state_dict()
        floats = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[n] for n in floats], [theirs[n] for n in floats], 1 - decay)
        for name in ours.keys() - set(floats):
            ours[name].copy_(theirs[name])

    def _check(self, means: dict[str, float]) -> None:
        if not all(np.isfinite(value) for value in means.values()):
            raise FloatingPointError(
                f"The loss is not finite at step {self.step}: {means}; {self.path} has the last good weights"
            )

    def _exported_net(self) -> nn.Module:
        return self.trainer.net if self.average is None else self.average

    def _validate(self, log: SummaryWriter) -> None:
        net = self._exported_net().eval()
        with torch.no_grad():
            metrics = self.trainer.validate(net)
            sheet = self.trainer.sheet(net)
        self.metrics = {name: float(value) for name, value in metrics.items()} | {"validated_at": self.step}
        for name, value in metrics.items():
            log.add_scalar(f"val/{name}", value, self.step)
        if sheet is not None:
            folder = self.options.out / "sheets"
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{self.step:07d}.png"), sheet)
            log.add_image("val/sheet", np.ascontiguousarray(sheet[..., ::-1]), self.step, dataformats="HWC")
        figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        self.console.print(f"step {self.step}: {figures}", highlight=False)

    def _checkpoint(self) -> Checkpoint:
        trainer = self.trainer
        training = {"net": trainer.net.state_dict(), "optimizer": trainer.optimizer.state_dict()}
        if trainer.scheduler is not None:
            training["scheduler"] = trainer.scheduler.state_dict()
        seconds = self.seconds_before + self.clock()
        return Checkpoint(
            task=trainer.task, config=trainer.config(), weights=self._exported_net().state_dict(), training=training,
            step=self.step, seconds=seconds, metrics=self.metrics, commit=self.commit,
        )  # fmt: skip

    def _resume(self) -> None:
        trainer = self.trainer
        checkpoint = Checkpoint.load(self.path, task=trainer.task)
        wanted = [
            {name: value for name, value in g.items() if name != "params"} for g in trainer.optimizer.param_groups
        ]
        try:
            trainer.net.load_state_dict(checkpoint.training["net"])
            trainer.optimizer.load_state_dict(checkpoint.training["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(checkpoint.weights)
        except (KeyError, RuntimeError, ValueError) as error:
            raise BundleError(
                f"The run in {self.options.out} cannot go on with these options ({str(error)[:300]})",
                todo="Give the options that it was started with, or another --out folder",
            ) from error
        if trainer.scheduler is not None:
            trainer.scheduler.load_state_dict(checkpoint.training["scheduler"])
        # The optimizer's state holds the old rates as well; what this run was told counts.
        for group, options in zip(trainer.optimizer.param_groups, wanted, strict=True):
            group.update(options)
        if trainer.scheduler is not None:
            trainer.scheduler.base_lrs = [group["initial_lr"] for group in trainer.optimizer.param_groups]
        self.step, self.seconds_before, self.metrics = (
            checkpoint.step,
            checkpoint.seconds,
            dict(checkpoint.metrics),
        )
        self.console.print(f"resumed {self.path} at step {self.step}", highlight=False)
        for line in _differences(checkpoint.config, trainer.config()):
            self.console.print(f"  other than before: {line}", highlight=False)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name the options that two configurations differ in."""
    lines = []
    for name in sorted({*before, *now}):
        old, new = _plain(before.get(name)), _plain(now.get(name))
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            lines.append(f"{prefix}{name} {new} (was {old})")
    return lines


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; a second SIGINT raises as usual."""
    if threading.current_thread() is not threading.main_thread():  # Python lets only that one set handlers
        yield
        return

    def handle(number: int, frame: Any) -> None:
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
