"""Many small networks trained side by side as one batched network: their Adam, and their captured graph.

The experiments on noise need several seeds and settings of networks so small that a processor mostly waits for the
next launch. Weights carry the copies as their first axis; no copy sees another's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def adam(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], state: tuple[Sequence[Tensor], Sequence[Tensor]],
    lr: Tensor, step: Tensor, clip: float,
) -> None:  # fmt: skip
    """Take Adam's step in place, with tensors for all that changes, so that a captured graph sees the changes.

    Parameters
    ----------
    weights, gradients : (M, A, B) each
    state : running means of the gradients and of their squares, updated in place
    lr : (M, 1, 1), each copy's own learning rate
    step : () number of this step, from 1
    clip : largest norm of a copy's gradient

    References
    ----------
    Kingma and Ba 2015, with beta 0.9 and 0.999, epsilon 1e-8.
    """
    squared = torch.stack([g.square().sum((1, 2), keepdim=True) for g in gradients]).sum(0)
    scale = (clip / (torch.sqrt(squared) + 1e-6)).clamp_max(1)
    first, second = 1 - 0.9**step, 1 - 0.999**step
    for weight, gradient, moment, square in zip(weights, gradients, *state, strict=True):
        clipped = gradient * scale
        moment.lerp_(clipped, 0.1)
        square.lerp_(clipped.square(), 0.001)
        weight.sub_(lr * (moment / first) / (torch.sqrt(square / second) + 1e-8))


def fastest(update: Callable[[], None], state: Sequence[Tensor]) -> Callable[[], None]:
    """Choose the fastest call of `update`: unchanged on a CPU, a captured graph on a GPU; tensors of any shape.

    Parameters
    ----------
    update : one training step, of tensors alone: it must not look at a value
    state : every tensor that `update` changes; put back after the warm-up
    """
    if state[0].device.type != "cuda":
        return update
    torch.backends.cuda.matmul.allow_tf32 = True
    before = [tensor.detach().clone() for tensor in state]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            update()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update()
    with torch.no_grad():
        for tensor, old in zip(state, before, strict=True):
            tensor.copy_(old)
    return graph.replay
