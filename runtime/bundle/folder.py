"""A folder that is replaced whole or not at all.

Owns the neighbouring folder that a bundle is made in. Standard library only, so that PyTorch is not needed for it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..errors import BundleError


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a new folder, then rename it over the old one.

    Raises
    ------
    BundleError
        If it cannot be written; then the old folder is unchanged.
    """
    folder = folder.resolve()
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        fresh.mkdir(parents=True)
        for name, content in contents.items():
            (fresh / name).write_bytes(content)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise BundleError(f"The bundle {folder} cannot be written ({error})") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
