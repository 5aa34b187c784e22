"""Training one network in several processes on one machine, as `torchrun` starts them.

Owns what the processes tell each other: the first one's weights and learning rates, and the mean of all gradients.
Small convolutions do not fill a second thread of one process: two threads took 1.5 times as many people a second as
one. A second process has a whole batch of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..runtime.errors import UsageError


def join() -> int:
    """Meet the other processes, if `torchrun` started several; give this one's number, 0 being the first."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank() if together() else 0


def together() -> bool:
    """Tell whether several processes have met."""
    return dist.is_initialized() and dist.get_world_size() > 1


def first() -> bool:
    """Tell whether this process is the one that measures, draws, logs and saves."""
    return not together() or dist.get_rank() == 0


def refuse_strangers() -> None:
    """Refuse to run beside processes that have not met: each would train for itself and write the same files.

    Raises
    ------
    UsageError
        If `torchrun` started several processes and the trainer did not join them.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if int(world) > 1 and not together():
        raise UsageError(
            "This trainer runs in one process only", expected="one process", found=f"{world} by torchrun"
        )


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process through before the others: it makes the files that they then find."""
    if together() and not first():
        dist.barrier()
    yield
    if together() and first():
        dist.barrier()


def share_weights(net: nn.Module) -> None:
    """Give every process the first one's weights and statistics, in place."""
    if together():
        for value in net.state_dict().values():
            dist.broadcast(value, src=0)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by the mean over the processes, in one message."""
    if not together():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    means = [part.view_as(g) for part, g in zip(flat.split([g.numel() for g in gradients]), gradients, strict=True)]
    torch._foreach_copy_(gradients, means)


def share(values: Iterable[float], device: str = "cpu") -> list[float]:
    """Give the first process's numbers to all: decisions that hang on its clock."""
    numbers: Tensor = torch.tensor(list(values), dtype=torch.float64, device=device)
    if together():
        dist.broadcast(numbers, src=0)
    return [float(number) for number in numbers]
