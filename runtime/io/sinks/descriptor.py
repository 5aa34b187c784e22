"""How a kind of sink is opened.

Owns `SinkDescriptor`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..info import SourceInfo
from .sink import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkDescriptor:
    """A kind of sink; its entry points are named by the schemes and by the endings of its addresses.

    Parameters
    ----------
    open : ``open(address, info, task)`` opens an address for the results of a source, made by a task of that name
    """

    open: Callable[[str, SourceInfo, str], Sink]
