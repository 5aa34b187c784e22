"""How a kind of source is opened.

Owns `SourceDescriptor`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..info import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescriptor:
    """A kind of source; its entry point is named by the scheme of its addresses.

    Parameters
    ----------
    open : ``open(address, sequence=False)`` opens an address; `sequence` says that images are frames of one video,
        which other kinds ignore. With `live` it takes ``policy=`` as well, a `LivePolicy` or None
    live : whether it opens live sources that take a policy
    reads_files : its name is also the ending of files, which it opens by their path
    """

    open: Callable[..., Source]
    live: bool = False
    reads_files: bool = False
