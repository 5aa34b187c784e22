"""Find what installed packages offer, by entry point.

Owns the look-up in a group of entry points; each is imported at its first use.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import BackendNotInstalled


@lru_cache(maxsize=16)
def entries_of(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name, those of other packages first, so that one may replace ours."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        ours = entry.value.startswith("steadyframe.")
        if entry.name not in found or not ours:
            found[entry.name] = entry
    return found


def names_of(group: str) -> tuple[str, ...]:
    """Names in a group, sorted."""
    return tuple(sorted(entries_of(group)))


def find_descriptor(group: str, name: str) -> Any:
    """Import the descriptor of a name; None if there is no such name.

    Raises
    ------
    BackendNotInstalled
        If a library that it needs is missing; the error holds the line that installs it.
    """
    entry = entries_of(group).get(name)
    if entry is None:
        return None
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if not error.name or error.name.split(".")[0] == "steadyframe":
            raise
        extra = f"'steadyframe[{','.join(entry.extras)}]'" if entry.extras else error.name
        raise BackendNotInstalled(
            f"{name!r} needs the library {error.name}, which is not installed", todo=f"pip install {extra}"
        ) from error
