"""Where results go: windows, videos, images, lines of JSON, nowhere.

Owns the choice of a sink by its address. Each kind lives in a file of its own, exports a `SinkDescriptor`, and has
one line ``name = "module:descriptor"`` a scheme or ending in the entry points ``steadyframe.sinks`` of an installed
package.
"""

from __future__ import annotations

from pathlib import Path

from ...descriptors import find_descriptor, names_of
from ...errors import UsageError
from ..address import redact, scheme_of
from ..info import SourceInfo
from .descriptor import SinkDescriptor
from .sink import Sink

GROUP = "steadyframe.sinks"


def open_sink(address: str, info: SourceInfo, *, task: str = "") -> Sink:
    """Open a sink by its address, and prove that it can be written.

    Parameters
    ----------
    address : ``display://``, ``null://``, ``-`` (JSON lines on stdout), ``folder/``, ``'out_%05d.png'``, or a file
        with the ending of an installed sink
    info : of the source: its rate, its count, the folders that must not be written over
    task : name of the task, for lines of JSON

    Raises
    ------
    SinkError
        If nothing could be written there.
    UsageError
        If there is no such kind of output.
    """
    name = _name_of(address)
    descriptor: SinkDescriptor | None = find_descriptor(GROUP, name) if name else None
    if descriptor is None:
        named = bool(scheme_of(address))
        problem = f"There is no kind of output {name}://" if named else "The ending of this output says nothing"
        raise UsageError(problem, found=redact(address), available=names_of(GROUP))
    return descriptor.open(address, info, task)


def _name_of(address: str) -> str:
    """Name of the entry point for an address: its scheme, its ending, or ``folder``."""
    scheme = scheme_of(address)
    if scheme:
        return scheme
    if address == "-":
        return "jsonl"
    ending = Path(address).suffix.lower().removeprefix(".")
    if address.endswith("/") or Path(address).is_dir():
        return "folder"
    return ending
