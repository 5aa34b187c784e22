"""A bundle: the folder that holds a manifest, its graphs and a card.

Owns finding bundles by name or path and handing out checked bytes. Never opens an engine.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError
from .manifest import Manifest

SHIPPED = Path(__file__).parents[1] / "bundles"
MANIFEST_FILE = "manifest.json"
CARD_FILE = "card.md"
WEIGHTS_FILE = "weights.safetensors"  # what the graphs were made from; only training and parity read it
_MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A validated manifest and its folder.

    Graph bytes are handed out only after their hash was checked, so that no engine ever sees a file that is not
    the one that was exported.

    Examples
    --------
    >>> Bundle.load("colorize").manifest.task
    'colorize'
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, name_or_path: str | Path) -> Bundle:
        """Load a shipped bundle by name, or any bundle by the path of its folder.

        Raises
        ------
        BundleError
            If there is no such bundle, or its manifest is damaged.
        """
        folder = _find(name_or_path)
        path = folder / MANIFEST_FILE
        try:
            if path.stat().st_size > _MAX_MANIFEST_BYTES:
                limit = f"at most {_MAX_MANIFEST_BYTES} bytes"
                raise BundleError(f"The manifest {path} is too large", expected=limit)
            manifest = Manifest.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(
                f"The manifest of {folder} cannot be read ({error})", expected=f"a file {MANIFEST_FILE}"
            ) from error
        return cls(folder=folder, manifest=manifest)

    def precisions(self) -> tuple[str, ...]:
        """Precisions that every graph of this bundle has."""
        graphs = list(self.manifest.graphs.values())
        return tuple(p for p in graphs[0].files if all(p in graph.files for graph in graphs))

    def graph_bytes(self, role: str, precision: str) -> bytes:
        """Read one graph and check its hash.

        Raises
        ------
        BundleError
            If the role or precision is not there, the file is missing, leaves the folder, or has another hash.
        """
        graphs = self.manifest.graphs
        if role not in graphs:
            raise BundleError(f"Bundle {self.manifest.name!r} has no graph {role!r}", available=graphs)
        files = graphs[role].files
        if precision not in files:
            raise BundleError(
                f"Graph {role!r} of bundle {self.manifest.name!r} has no precision {precision!r}",
                available=files,
                todo="Make it with `steadyframe calibrate`",
            )
        entry = files[precision]
        path = (self.folder / entry.file).resolve()
        if path.parent != self.folder.resolve():
            raise BundleError(f"Graph file {entry.file!r} leaves the bundle's folder", found=str(path))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(f"Graph file {path} cannot be read ({error.strerror})") from error
        found = hashlib.sha256(content).hexdigest()
        if found != entry.sha256:
            raise BundleError(
                f"Graph file {path} is not the one that was exported",
                expected=f"sha256 {entry.sha256}",
                found=f"sha256 {found}",
                todo="Fetch or export the bundle again",
            )
        return content


def shipped_bundles() -> tuple[str, ...]:
    """Names of the bundles that come with the runtime."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST_FILE}")))


def _find(name_or_path: str | Path) -> Path:
    """Folder of a bundle given by shipped name or by path."""
    text = str(name_or_path)
    if text in shipped_bundles():
        return SHIPPED / text
    folder = Path(text)
    if folder.name == MANIFEST_FILE:
        folder = folder.parent
    if not folder.is_dir():
        alike = difflib.get_close_matches(text, shipped_bundles(), n=1)
        raise BundleError(
            f"There is no bundle {text!r}",
            expected="the name of a shipped bundle, or a folder with a manifest.json",
            available=shipped_bundles(),
            todo=_how_to_make(folder) or (f"Did you mean {alike[0]}?" if alike else ""),
        )
    return folder


def _how_to_make(path: Path) -> str:
    """Say how a file that is no bundle becomes one."""
    if not path.is_file() or path.suffix.lower() not in (".onnx", ".pt", ".pth", ".safetensors"):
        return ""
    return f"Make a bundle of it with `steadyframe export {path.name} -o FOLDER`"
