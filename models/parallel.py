"""Training one network in several processes, on one machine or on several.

Owns the processes of a run: how they meet, which one is the first, and what it tells the others. Lightning Fabric
starts them, averages their gradients (PyTorch's DistributedDataParallel) and carries the messages. Small convolutions
do not fill a second thread of one process: two threads took 1.5 times as many people a second as one. A second
process has a whole batch of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import click
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from ..runtime.errors import UsageError

_here: Fabric | None = None


def launch(device: str = "cpu", *, devices: int = 1, nodes: int = 1) -> str:
    """Start the other processes, or meet those that `torchrun` started; give this one's torch device.

    Parameters
    ----------
    device : ``cpu``, ``cuda`` or ``cuda:1``
    devices : processes on each machine, each on a GPU of its own or on the CPU; what `torchrun` says comes first
    nodes : machines; each starts the same command with MASTER_ADDR, MASTER_PORT and NODE_RANK set, or by `torchrun`

    Raises
    ------
    UsageError
        If there are not so many GPUs, or one GPU is named for several processes.
    """
    global _here  # noqa: PLW0603  one process takes part in one run
    kind, _, number = device.partition(":")
    world, local = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world > 1:
        devices, nodes = local or world, world // (local or world)
    together = devices * nodes > 1
    if number and together:
        raise UsageError("One GPU cannot serve several processes", expected=f"--device {kind}", found=device)
    # A parameter that a batch does not need, such as a classifier's without labels, must not stop the others.
    strategy: Any = DDPStrategy(find_unused_parameters=True) if together else "auto"
    try:
        _here = Fabric(
            accelerator=kind, devices=[int(number)] if number else devices, num_nodes=nodes, strategy=strategy
        )
        _here.launch()
    except (ValueError, RuntimeError) as error:
        name = f"{devices} processes on {kind}"
        raise UsageError(f"{name} cannot be started ({str(error).splitlines()[0]})") from error
    except Exception as error:  # Fabric's own class for a wrong configuration is not public
        if type(error).__name__ != "MisconfigurationException":
            raise
        raise UsageError(f"{devices} devices of kind {kind} are not there ({error})") from error
    return device if not together else str(_here.device)


def current() -> Fabric | None:
    """Give the run that this process takes part in; None where it trains by itself."""
    return _here if together() else None


def together() -> bool:
    """Tell whether several processes have met."""
    return _here is not None and _here.world_size > 1


def number() -> int:
    """Give this process's number, 0 being the first."""
    return 0 if _here is None else _here.global_rank


def first() -> bool:
    """Tell whether this process is the one that measures, draws, logs and saves."""
    return number() == 0


def refuse_strangers() -> None:
    """Refuse to run beside processes that have not met: each would train for itself and write the same files.

    Raises
    ------
    UsageError
        If `torchrun` started several processes and the trainer did not meet them (`launch`).
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if int(world) > 1 and not together():
        raise UsageError(
            "This trainer runs in one process only", expected="one process", found=f"{world} by torchrun"
        )


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process through before the others: it makes the files that they then find."""
    with nullcontext() if _here is None else _here.rank_zero_first():
        yield


def share(values: Iterable[float]) -> list[float]:
    """Give the first process's numbers to all: decisions that hang on its clock."""
    numbers = [float(value) for value in values]
    if _here is None or not together():
        return numbers
    return list(_here.broadcast(numbers))


class LossModule(nn.Module):
    """A trainer's losses as the forward pass of a module: what averages gradients watches that of one module.

    Parameters
    ----------
    net : whose parameters are trained
    losses : step -> named scalar losses
    """

    def __init__(self, net: nn.Module, losses: Callable[[int], Any]) -> None:
        super().__init__()
        self.net = net
        self._losses = losses

    def forward(self, step: int) -> dict[str, Tensor]:
        """Compute the scalar losses of a step."""
        return dict(self._losses(step))


def averaged(net: nn.Module, losses: Callable[[int], Any]) -> nn.Module:
    """Make a module that computes losses, and whose gradients are the mean over all processes.

    Every process gets the first one's weights and statistics.
    """
    module = LossModule(net, losses)
    run = current()
    return module if run is None else run.setup_module(module, move_to_device=False)


def backward(loss: Tensor) -> None:
    """Compute the gradients of a scalar loss; in several processes, their mean."""
    run = current()
    if run is None:
        loss.backward()
    else:
        run.backward(loss)


def process_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--devices` and `--nodes` to a trainer's command."""
    command = click.option(
        "--nodes", type=click.IntRange(min=1), default=1, show_default=True,
        help="Machines; each starts the same command, with MASTER_ADDR and NODE_RANK set.",
    )(command)  # fmt: skip
    return click.option(
        "--devices", type=click.IntRange(min=1), default=1, show_default=True,
        help="Processes on this machine: one a GPU, or several on the CPU.",
    )(command)  # fmt: skip
