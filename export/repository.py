"""A model repository that NVIDIA Triton and OpenVINO Model Server both read.

Owns the folder layout (``name/1/model.onnx``, ``config.pbtxt``, ``config.json``) and what the configuration says. One
model a graph, named by bundle and role; Triton reads ``config.pbtxt``, OpenVINO Model Server ``config.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.bundle.bundle import Bundle
from ..runtime.bundle.manifest import Graph, TensorSpec
from ..runtime.errors import BundleError, SinkError, UsageError
from ..runtime.files import write_whole
from ..runtime.image import network_size_wh

MODEL_FILE = "model.onnx"
CONFIG_FILE = "config.pbtxt"
SERVER_FILE = "config.json"
SEQUENCE = "sequence"
_IDLE_US = 5_000_000  # after which a stream's state is forgotten
_MOST_IN_BATCH = 64
_TYPES = {
    "uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "int64": "TYPE_INT64", "float16": "TYPE_FP16",
    "float32": "TYPE_FP32", "bool": "TYPE_BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryOptions:
    """How a repository is written.

    Parameters
    ----------
    precision : whose graphs are written
    version : folder of this version; the newest is served, an older one is there for rolling back
    frame_wh : size of the frames in pixels, which fixes the shapes of warm-up and of a state that the server keeps
    """

    precision: str = "fp32"
    version: int = 1
    frame_wh: tuple[int, int] = (1280, 720)

    def __post_init__(self) -> None:
        if self.version < 1 or min(self.frame_wh) < 1:
            raise UsageError("A version is 1 or more, a frame has pixels", found=(self.version, self.frame_wh))


def write_repository(bundle: Bundle, folder: Path, options: RepositoryOptions | None = None) -> list[Path]:
    """Write a bundle's graphs into a model repository, beside other models and older versions.

    Parameters
    ----------
    bundle : loaded
    folder : of the repository; made if it is not there
    options : precision, version, size of the frames

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    BundleError
        If the bundle has no such precision, or another graph is there under the same version.
    SinkError
        If the repository cannot be written.
    """
    options = options or RepositoryOptions()
    manifest = bundle.manifest
    written: list[Path] = []
    for role, graph in manifest.graphs.items():
        content = bundle.graph_bytes(role, options.precision)
        name = f"{manifest.name}-{role}"
        state = {out: into for out, into in manifest.state.items() if _has(graph.outputs, out)}
        configurations = {name: configuration(name, graph, options)}
        if state:
            sequence = f"{name}-{SEQUENCE}"
            configurations[sequence] = configuration(sequence, graph, options, state=state)
        for model, text in configurations.items():
            path = folder / model / str(options.version) / MODEL_FILE
            if path.exists() and path.read_bytes() != content:
                raise BundleError(
                    f"{path} is another graph", todo=f"Write it as --model-version {options.version + 1}"
                )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SinkError(f"{path.parent} cannot be made ({error.strerror})") from error
            # The graph first: a server that polls the folder never sees a configuration without one.
            write_whole(path, content)
            write_whole(folder / model / CONFIG_FILE, text.encode())
            written += [path, folder / model / CONFIG_FILE]
    write_whole(folder / SERVER_FILE, _server_list(folder).encode())
    return [*written, folder / SERVER_FILE]


def configuration(
    name: str, graph: Graph, options: RepositoryOptions, *, state: dict[str, str] | None = None
) -> str:  # fmt: skip
    """Write the configuration of one model, in the text format of Triton's `ModelConfig`.

    Parameters
    ----------
    name : of the model
    graph : entry in the manifest
    options : of the repository
    state : output -> input that the server feeds it back to; None keeps nothing on the server
    """
    kept = state or {}
    batched = not kept and all(isinstance(spec.axes[0], str) for spec in (*graph.inputs, *graph.outputs))
    sizes = _sizes(graph, options.frame_wh)
    shown = [spec for spec in graph.inputs if spec.name not in kept.values()]
    blocks = [
        f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {_MOST_IN_BATCH if batched else 0}",
        *(_tensor("input", spec, batched, sizes if kept else {}) for spec in shown),
        *(_tensor("output", spec, batched, sizes if kept else {}) for spec in graph.outputs),
        "version_policy { latest { num_versions: 1 } }",
    ]  # fmt: skip
    if batched:
        blocks.append("dynamic_batching { }")
    if kept:
        blocks.append(_sequence(graph, kept, sizes))
    blocks.append(_warm_up(shown, batched, sizes))
    return "\n".join(blocks) + "\n"


def _has(specs: Sequence[TensorSpec], name: str) -> bool:
    return any(spec.name == name for spec in specs)


def _sizes(graph: Graph, frame_wh: tuple[int, int]) -> dict[str, int]:
    """Lengths of the named axes for frames of a size; those of an output follow its layout."""
    found: dict[str, int] = {}
    if graph.preprocess is None:
        return found
    width, height = network_size_wh(frame_wh, graph.preprocess)
    for spec in graph.inputs:
        for letter, axis in zip(spec.layout, spec.axes, strict=False):
            if isinstance(axis, str) and letter in "HW":
                found[axis] = height if letter == "H" else width
            elif isinstance(axis, str) and letter == "N":
                found[axis] = 1  # what keeps a state belongs to one stream
    return found


def _dims(spec: TensorSpec, batched: bool, sizes: dict[str, int]) -> list[int]:
    """Lengths of the axes, -1 where any will do; the axis of independent inputs is left out."""
    axes = spec.axes[1:] if batched else spec.axes
    return [axis if isinstance(axis, int) else sizes.get(axis, -1) for axis in axes]


def _tensor(kind: str, spec: TensorSpec, batched: bool, sizes: dict[str, int]) -> str:
    dims = str(_dims(spec, batched, sizes))
    if dims == "[]":  # one number an input: the server wants an axis, and is told to take it away
        dims = "[1] reshape { shape: [] }"
    return f'{kind} {{ name: "{spec.name}" data_type: {_TYPES[spec.dtype]} dims: {dims} }}'


def _sequence(graph: Graph, state: dict[str, str], sizes: dict[str, int]) -> str:
    """Keep what is fed back on the server, one a stream; at the start of a stream it is zero."""
    inputs = {spec.name: spec for spec in graph.inputs}
    parts = []
    for output, into in state.items():
        spec = inputs[into]
        kind, dims = _TYPES[spec.dtype], _dims(spec, False, sizes)
        zero = f'initial_state {{ name: "zero" data_type: {kind} dims: {dims} zero_data: true }}'
        parts.append(
            f'state {{ input_name: "{into}" output_name: "{output}" data_type: {kind} dims: {dims} {zero} }}'
        )
    return "\n".join(
        ["sequence_batching {", f"max_sequence_idle_microseconds: {_IDLE_US}", "direct { }", *parts, "}"]
    )


def _warm_up(specs: Sequence[TensorSpec], batched: bool, sizes: dict[str, int]) -> str:
    """Run once when the model is loaded, before the first stream comes."""
    inputs = []
    for spec in specs:
        dims = [max(1, length) for length in _dims(spec, batched, sizes)]
        facts = f"data_type: {_TYPES[spec.dtype]} dims: {dims} zero_data: true"
        inputs.append(f'inputs {{ key: "{spec.name}" value {{ {facts} }} }}')
    return "\n".join(['model_warmup { name: "one frame" batch_size: 1', *inputs, "}"])


def _server_list(folder: Path) -> str:
    """List every model of the repository for OpenVINO Model Server; paths are relative to the list."""
    names = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
    # Its models keep no state between calls, so those that leave it to the server are not for it.
    stateless = [name for name in names if not name.endswith(f"-{SEQUENCE}")]
    models = [{"config": {"name": name, "base_path": name}} for name in stateless]
    return json.dumps({"model_config_list": models}, indent=1) + "\n"
