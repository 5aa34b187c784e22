"""The manifest of a bundle: graphs, tensors, preprocessing, origin.

Owns `Manifest` and its parts, and the reading and writing of `manifest.json`. Knows nothing of files beside it
(`bundle` does) and nothing of engines.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import BundleError

SCHEMA = 1
PRECISIONS = ("fp32", "fp16", "int8")
KERNELS = ("area", "linear", "cubic", "nearest")
DTYPES = ("uint8", "int32", "int64", "float16", "float32", "bool")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SIDE = 16_384


def _require(holds: bool, where: str, expected: object, found: object) -> None:
    if not holds:
        raise BundleError(
            f"The manifest's {where} is not valid",
            expected=expected,
            found=repr(found)[:200],
            todo="Export the bundle again with `steadyframe export`",
        )


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, type and named axes of one input or output of a graph.

    Parameters
    ----------
    name : as in the graph
    dtype : numpy name
    axes : one entry an axis: its fixed length, or the name of a dynamic one
    layout : one letter an axis, such as ``NHWC``
    """

    name: str
    dtype: str
    axes: tuple[int | str, ...]
    layout: str = ""

    def __post_init__(self) -> None:
        _require(bool(self.name), "tensor name", "a name", self.name)
        _require(self.dtype in DTYPES, f"dtype of {self.name!r}", " or ".join(DTYPES), self.dtype)
        fits = all((isinstance(a, str) and a) or (isinstance(a, int) and 0 < a <= _MAX_SIDE) for a in self.axes)
        _require(fits, f"axes of {self.name!r}", "positive lengths or names", self.axes)
        _require(
            not self.layout or len(self.layout) == len(self.axes),
            f"layout of {self.name!r}",
            f"{len(self.axes)} letters",
            self.layout,
        )


@dataclass(frozen=True, slots=True)
class GraphFile:
    """One ONNX file of a bundle and its hash; the file is in the folder of the manifest."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        _require(bool(_FILE.fullmatch(self.file)), "graph file", "a plain file name", self.file)
        _require(bool(_SHA256.fullmatch(self.sha256)), f"sha256 of {self.file!r}", "64 hex digits", self.sha256)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a frame becomes the network's image; only the resize happens outside the graph.

    Parameters
    ----------
    kernel : the cv2 kernel of the resize
    size_hw : fixed height and width in pixels; or None, and then
    short_side : pixels of the shorter side, the frame's shape kept
    multiple : both sides are rounded to multiples of this
    """

    kernel: str
    size_hw: tuple[int, int] | None = None
    short_side: int | None = None
    multiple: int = 1

    def __post_init__(self) -> None:
        _require(self.kernel in KERNELS, "resize kernel", " or ".join(KERNELS), self.kernel)
        one = (self.size_hw is None) != (self.short_side is None)
        _require(one, "preprocess", "either size_hw or short_side", (self.size_hw, self.short_side))
        sides = (*(self.size_hw or ()), self.multiple, *(() if self.short_side is None else (self.short_side,)))
        _require(all(0 < side <= _MAX_SIDE for side in sides), "preprocess size", f"1 to {_MAX_SIDE}", sides)

    def shrunk(self, share: float) -> Preprocess:
        """Return the same with a smaller shorter side; itself if the size is fixed."""
        if self.short_side is None:
            return self
        return replace(self, short_side=max(self.multiple, round(self.short_side * share)))


@dataclass(frozen=True, slots=True)
class Graph:
    """One role of a bundle: the same network in one or more precisions."""

    files: Mapping[str, GraphFile]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess | None = None

    def __post_init__(self) -> None:
        _require(bool(self.files), "graph files", "at least one precision", dict(self.files))
        for precision in self.files:
            _require(precision in PRECISIONS, "precision", " or ".join(PRECISIONS), precision)
        _require(bool(self.inputs) and bool(self.outputs), "graph", "inputs and outputs", (self.inputs, self.outputs))
        for specs, side in ((self.inputs, "inputs"), (self.outputs, "outputs")):
            names = [spec.name for spec in specs]
            _require(len(set(names)) == len(names), f"graph {side}", "distinct names", names)


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Joint names, the bones between them, and the mirror image of every joint.

    Parameters
    ----------
    joints : COCO's names, plus `neck` and `head_top` where the skeleton has them
    bones : pairs of joint indices
    mirror : index of each joint's left-right twin (itself if it has none)
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.joints)
        _require(count > 0 and len(set(self.joints)) == count, "skeleton joints", "distinct names", self.joints)
        inside = all(0 <= a < count and 0 <= b < count for a, b in self.bones)
        _require(inside, "skeleton bones", f"indices below {count}", self.bones)
        involution = len(self.mirror) == count and all(
            0 <= twin < count and self.mirror[twin] == joint for joint, twin in enumerate(self.mirror)
        )
        _require(involution, "skeleton mirror", "each joint's twin, both ways", self.mirror)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contract of a network, stored with its weights.

    Parameters
    ----------
    schema : version of this contract
    name, version : of the bundle
    task : ``colorize``, ``pose``, ``stylize``, ``policy`` or ``own``
    graphs : role -> `Graph`
    skeleton : of a pose bundle
    state : output name -> input name that it is fed back to on the next frame
    settings : the task's own figures (thresholds, intervals), validated by the task
    provenance : commit, data, metrics, opset, tool versions
    parity : summary of the parity report made at export
    licence : of the weights

    Raises
    ------
    BundleError
        If a key is missing, unknown, of the wrong type or out of range; the text names it.
    """

    name: str
    task: str
    version: str
    graphs: Mapping[str, Graph]
    licence: str
    skeleton: Skeleton | None = None
    state: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _require(self.schema == SCHEMA, "schema", SCHEMA, self.schema)
        _require(bool(_NAME.fullmatch(self.name)), "name", "lower-case letters, digits, - and _", self.name)
        _require(bool(_NAME.fullmatch(self.task)), "task", "a task name", self.task)
        _require(bool(self.graphs), "graphs", "at least one", dict(self.graphs))
        for role in self.graphs:
            _require(bool(_NAME.fullmatch(role)), "graph role", "a plain name", role)
        outputs = {spec.name for graph in self.graphs.values() for spec in graph.outputs}
        inputs = {spec.name for graph in self.graphs.values() for spec in graph.inputs}
        fed_back = set(self.state) <= outputs and set(self.state.values()) <= inputs
        _require(fed_back, "state", "output name -> input name, as in the graphs", dict(self.state))

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read and validate a manifest.

        Raises
        ------
        BundleError
            If it is not JSON, or a field is missing or wrong.
        """
        try:
            data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BundleError(
                f"The manifest is not JSON ({error})", todo="Export the bundle again with `steadyframe export`"
            ) from error
        manifest: Manifest = _build(cls, data, "manifest")
        return manifest

    def to_json(self) -> str:
        """Write the manifest as indented JSON with a final newline."""
        return json.dumps(_plain(self), indent=2) + "\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; a key that appears twice is an error, because it is ambiguous."""
    names = [name for name, _ in pairs]
    _require(len(set(names)) == len(names), "object", "every key once", names)
    return dict(pairs)


def _refuse_constant(text: str) -> None:
    """Refuse NaN and infinities, which Python reads and JSON does not have."""
    raise ValueError(f"{text} is not a number in JSON")


def _plain(value: Any) -> Any:
    """Convert dataclasses, mappings and tuples to JSON values; fields that are None are left out."""
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _build(kind: Any, value: Any, where: str) -> Any:
    """Build a value of an annotated type from parsed JSON; anything that does not fit is a `BundleError`."""
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    build = _BUILDERS.get(typing.get_origin(kind))
    if build is not None:
        return build(typing.get_args(kind), value, where)
    _require(type(value) is kind, where, getattr(kind, "__name__", kind), value)
    return value


def _build_union(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    """Build the first type that fits the JSON type of the value."""
    if value is None and type(None) in choices:
        return None
    for choice in choices:
        if type(value) is choice:
            return value
    larger = [choice for choice in choices if choice not in (int, str, type(None))]
    _require(bool(larger), where, " or ".join(getattr(choice, "__name__", str(choice)) for choice in choices), value)
    return _build(larger[0], value, where)


def _build_tuple(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """Build a tuple of one type and any length, or of a fixed length."""
    _require(isinstance(value, list), where, "a list", value)
    kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
    _require(len(value) == len(kinds), where, f"{len(kinds)} entries", value)
    return tuple(_build(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _build_mapping(parts: tuple[Any, ...], value: Any, where: str) -> dict[str, Any]:
    """Build a mapping from names."""
    _require(isinstance(value, dict), where, "an object", value)
    return {key: _build(parts[1], item, f"{where}.{key}") for key, item in value.items()}


_BUILDERS: dict[Any, Any] = {
    types.UnionType: _build_union,
    typing.Union: _build_union,
    tuple: _build_tuple,
    Mapping: _build_mapping,
}


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    """Build one dataclass; unknown and missing keys are errors."""
    _require(isinstance(value, dict), where, "an object", value)
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    _require(not unknown, where, f"only the keys {', '.join(fields)}", f"unknown keys {unknown}")
    needed = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(needed - set(value))
    _require(not missing, where, f"the keys {', '.join(sorted(needed))}", f"missing keys {missing}")
    return kind(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})
