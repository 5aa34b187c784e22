"""The cache folder: measured precisions and built engines.

Owns the root of the cache. Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Folder of one kind of cache; it need not exist.

    Parameters
    ----------
    name : of the kind, such as ``engines``

    Returns
    -------
    Path
        ``$STEADYFRAME_CACHE/name`` where that is set, with ``~`` as the home folder, else
        ``steadyframe/name`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """
    named = os.environ.get("STEADYFRAME_CACHE")
    if named:
        return Path(named).expanduser() / name
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "steadyframe" / name
