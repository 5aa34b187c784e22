"""The task: a list of items, then one of them again; answer with the item that followed it."""

from __future__ import annotations

import torch
from torch import Tensor

BITS, ITEM = 6, 3  # an item is ITEM vectors of BITS bits
CHANNELS = BITS + 2  # and two channels: start of an item, border of the query
ANSWER = ITEM


def steps(max_items: int) -> int:
    """Give the length of a sequence: items with their starts, the query between two borders, the answer."""
    return max_items * (ITEM + 1) + (ITEM + 2) + ANSWER


def draw(
    batch: tuple[int, ...], *, min_items: int, max_items: int, device: torch.device,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Draw sequences of `min_items` to `max_items` items, each sequence with its own number.

    Shorter lists start later: zeros come before them, so that all answers fall on the last steps.

    Returns
    -------
    inputs : (*batch, T, CHANNELS) float32
    answers : (*batch, ANSWER, BITS) float32 of zeros and ones

    References
    ----------
    Item size, delimiter channels, query in 0..n-2 and its successor as the target: the authors' generator
    (associative_recall.py). The zeros in front are ours; there, all sequences of a batch have one length.
    """

    def integers(low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(low, high, shape, device=device, generator=generator)

    items = integers(0, 2, (*batch, max_items, ITEM, BITS)).float()
    count = integers(min_items, max_items + 1, batch)
    place = torch.arange(max_items, device=device)
    listed = (place >= (max_items - count).unsqueeze(-1)).float()  # (*batch, max_items): the last `count` ones
    uniform = torch.rand(batch, device=device, generator=generator)
    query = max_items - count + (uniform * (count - 1)).long()  # never the last item
    chosen = (place == query.unsqueeze(-1)).float()[..., None, None]
    following = (place == (query + 1).unsqueeze(-1)).float()[..., None, None]

    inputs = torch.zeros((*batch, steps(max_items), CHANNELS), device=device)
    blocks = inputs[..., : max_items * (ITEM + 1), :].unflatten(-2, (max_items, ITEM + 1))
    blocks[..., 0, BITS] = listed
    blocks[..., 1:, :BITS] = items * listed[..., None, None]
    start = max_items * (ITEM + 1)
    inputs[..., start, BITS + 1] = 1
    inputs[..., start + 1 : start + 1 + ITEM, :BITS] = (items * chosen).sum(-3)
    inputs[..., start + 1 + ITEM, BITS + 1] = 1
    return inputs, (items * following).sum(-3)
