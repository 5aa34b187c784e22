"""How a kind of source is opened.

Owns `SourceDescriptor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..info import Source


class OpenSource(Protocol):
    """Opens a source by its address."""

    def __call__(self, address: str, *, sequence: bool = False) -> Source:
        """Open it; `sequence` says that images are frames of one video, which other kinds ignore."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescriptor:
    """A kind of source; its entry point is named by the scheme of its addresses.

    Parameters
    ----------
    open : opens an address
    """

    open: OpenSource
