"""Built engines, kept between runs so that they can never be the wrong ones.

Owns the file format, the key, the permissions and the atomic write. An engine file is code, and so it is read only
from a folder and a file that only their owner can write or read. Imports no engine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cache import cache_folder
from ...errors import DeviceError

_MAGIC = b"SFENGINE"
_SCHEMA = 1
_PREFIX = struct.Struct("<8sII")  # magic, schema, bytes of the header
_MAX_HEADER = 1 << 16
_MAX_PLAN = 1 << 34
_STALE_S = 3600.0
_PART = ".part"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that an engine depends on; one that differs in any of it is another engine.

    Parameters
    ----------
    graph : sha256 of the ONNX file
    shapes : range of every input, `extent.shapes_text`
    library, version : which builds and runs it
    compute_capability : of the GPU, or which ones it was built for
    driver : of the GPU
    """

    graph: str
    shapes: str
    library: str
    version: str
    compute_capability: str
    driver: str

    def file_name(self, name: str) -> str:
        """Name of the file: another graph, shape or GPU gets its own; another version or driver replaces."""
        text = json.dumps([self.graph, self.shapes, self.library, self.compute_capability])
        readable = "".join(letter if letter.isalnum() else "-" for letter in name)[:80]
        return f"{readable}-{self.library}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.engine"

    def difference(self, found: EngineKey) -> str:
        """Say in one line why another engine is not this one."""
        parts = [
            f"{field.name.replace('_', ' ')} was {getattr(found, field.name)}, is {getattr(self, field.name)}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(found, field.name)
        ]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the plan in an engine file.

    Parameters
    ----------
    key : what it was built for
    plan_bytes, plan_sha256 : of the plan behind it
    built_s : how long building took, for the next estimate
    graph_bytes : size of the ONNX file it was built from
    """

    key: EngineKey
    plan_bytes: int
    plan_sha256: str
    built_s: float
    graph_bytes: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the cache has: a plan, or the reason why there is none."""

    plan: bytes | None
    reason: str = ""


class EngineCache:
    """A private folder of engine files.

    Parameters
    ----------
    folder : made with mode 0700 when the first engine is kept; the default is `engines` in
        ``$STEADYFRAME_CACHE``, else in `steadyframe` of the user's caches

    Raises
    ------
    DeviceError
        By every method, if the folder is there and is not private.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder("engines").absolute()

    def find(self, key: EngineKey, name: str) -> Lookup:
        """Look an engine up; every check comes before a byte of it reaches an engine library."""
        path = self.folder / key.file_name(name)
        if not self._exists():
            return Lookup(None, "there is no engine for this graph, these shapes and this GPU yet")
        try:
            with _open_private(path) as file:
                header = _read_header(file)
                if header.key != key:
                    return Lookup(None, key.difference(header.key))
                return Lookup(_read_plan(file, header))
        except FileNotFoundError:
            return Lookup(None, "there is no engine for this graph, these shapes and this GPU yet")
        except _Refused as refused:
            return Lookup(None, f"{path.name} {refused}")
        except OSError as error:
            return Lookup(None, f"{path.name} cannot be read ({error.strerror})")

    def keep(self, key: EngineKey, name: str, plan: bytes, *, built_s: float, graph_bytes: int) -> Path:
        """Write an engine, whole or not at all; the one of another version or driver is replaced.

        Raises
        ------
        DeviceError
            If it cannot be written, or the folder is not private.
        """
        header = Header(key, len(plan), hashlib.sha256(plan).hexdigest(), round(built_s, 3), graph_bytes)
        text = json.dumps(dataclasses.asdict(header)).encode()
        path = self.folder / key.file_name(name)
        try:
            self._make()
            self._remove_stale()
            handle, unfinished = tempfile.mkstemp(prefix=".", suffix=_PART, dir=self.folder)  # mode 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_PREFIX.pack(_MAGIC, _SCHEMA, len(text)) + text)
                    file.write(plan)
                    file.flush()
                    os.fsync(file.fileno())
                Path(unfinished).replace(path)
            except BaseException:
                Path(unfinished).unlink(missing_ok=True)
                raise
        except OSError as error:
            todo = "Make room, or set STEADYFRAME_CACHE to another folder"
            raise DeviceError(f"The engine {path} cannot be written ({error.strerror})", todo=todo) from error
        return path

    def headers(self) -> Iterator[Header]:
        """Headers of all engines; files that are none are passed over, as nothing is built on them."""
        if not self._exists():
            return
        for path in sorted(self.folder.glob("*.engine")):
            with contextlib.suppress(OSError, _Refused), _open_private(path) as file:
                yield _read_header(file)

    def private_folder(self, name: str) -> Path:
        """Make a folder within, for a library that keeps engines by itself; it is as private as this one.

        Raises
        ------
        DeviceError
            If it cannot be made, or is there and is not private.
        """
        within = EngineCache(self.folder / name)
        try:
            self._make()
            within._make()
        except OSError as error:
            todo = "Set STEADYFRAME_CACHE to another folder"
            raise DeviceError(f"{within.folder} cannot be made ({error.strerror})", todo=todo) from error
        return within.folder

    def _make(self) -> None:
        """Make the folder where there is none; what is there must be private."""
        if not self._exists():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._exists()

    def _exists(self) -> bool:
        """Whether the folder is there; one that is not private is refused."""
        try:
            found = os.lstat(self.folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DeviceError(f"The engine cache {self.folder} cannot be read ({error.strerror})") from error
        problem = "is not a folder" if not stat.S_ISDIR(found.st_mode) else _not_private(found)
        if problem:
            raise DeviceError(
                f"The engine cache {self.folder} {problem}, and an engine file is code",
                expected="a folder that belongs to you, mode 0700",
                todo=f"Run `chmod 700 {self.folder}` if you trust what is in it, else remove it; "
                f"or set STEADYFRAME_CACHE to another folder",
            )
        return True

    def _remove_stale(self) -> None:
        """Remove what a process that was killed while writing left behind."""
        for path in self.folder.glob(f".*{_PART}"):
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > _STALE_S:
                    path.unlink()


class _Refused(Exception):
    """An engine file is not to be used; the text completes a sentence that begins with its name."""


def _not_private(found: os.stat_result) -> str:
    """Say why a file or folder is not private, or nothing; where there are no such modes, the system sees to it."""
    if os.name != "posix":
        return ""
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, not to you"
    if found.st_mode & 0o077:
        return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


@contextlib.contextmanager
def _open_private(path: Path) -> Iterator[Any]:
    """Open a regular file of ours that no other user can open; the checked file is the one that is read."""
    if path.is_symlink():
        raise _Refused("is a link, and was not followed")
    handle = os.open(path, os.O_RDONLY | _NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        problem = "is not a file" if not stat.S_ISREG(found.st_mode) else _not_private(found)
        if problem:
            raise _Refused(f"{problem}, and was not loaded")
        yield file


def _read_header(file: Any) -> Header:
    """Read and check what stands before the plan."""
    prefix = file.read(_PREFIX.size)
    if len(prefix) != _PREFIX.size:
        raise _Refused("is cut off")
    magic, schema, length = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise _Refused("is not an engine file of steadyframe")
    if schema != _SCHEMA or length > _MAX_HEADER:
        raise _Refused("is an engine file of another version of steadyframe")
    try:
        data = json.loads(file.read(length))
        key = EngineKey(**data.pop("key"))
        header = Header(key=key, **data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _Refused("has a damaged header") from error
    texts = (*(getattr(key, field.name) for field in dataclasses.fields(key)), header.plan_sha256)
    sizes = (header.plan_bytes, header.graph_bytes)
    if not all(isinstance(text, str) for text in texts) or not all(
        type(size) is int and 0 <= size <= _MAX_PLAN for size in sizes
    ):
        raise _Refused("has a damaged header")
    if type(header.built_s) not in (int, float) or not 0 <= header.built_s < 1e9:
        raise _Refused("has a damaged header")
    return header


def _read_plan(file: Any, header: Header) -> bytes:
    """Read the plan behind a header; it must be all there, and be what was written."""
    here = file.tell()
    if os.fstat(file.fileno()).st_size - here != header.plan_bytes:
        raise _Refused("is cut off, or has bytes too many")
    plan: bytes = file.read(header.plan_bytes)
    if hashlib.sha256(plan).hexdigest() != header.plan_sha256:
        raise _Refused("is damaged: its plan has another sha256")
    return plan
