"""From a checkpoint to a bundle on disk.

Owns the writing of bundles: graphs, hashes, manifest and card appear together or not at all.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch

from ..models.checkpoint import Checkpoint, code_commit
from ..runtime.bundle.bundle import CARD_FILE, MANIFEST_FILE, WEIGHTS_FILE, Bundle
from ..runtime.bundle.folder import replace_folder
from ..runtime.bundle.manifest import Graph, GraphFile, Manifest, TensorSpec
from ..runtime.errors import BundleError
from .graphs import TaskGraphs, task_graphs
from .to_onnx import OPSET, export_onnx

_ELEMENT_TYPES = {
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.BOOL: "bool",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """What a user states about a bundle at export.

    Parameters
    ----------
    name, version, licence : as in the manifest
    settings : overrides of the task's settings
    card : text of `card.md`, or None to keep the card that an earlier bundle in the same place has
    """

    name: str
    version: str = "1"
    licence: str = "Apache-2.0"
    settings: Mapping[str, Any] = field(default_factory=dict)
    card: str | None = None


def export_bundle(checkpoint: Checkpoint, folder: Path, facts: BundleFacts) -> Bundle:
    """Export every graph of a checkpoint and write the bundle, with the checkpoint itself in it.

    Weights that float16 holds exactly, as those at the end of a training, are stored as float16 in the graphs, too.
    The bundle is made in a neighbouring folder and takes its place only when it is whole; an older bundle there
    is replaced.

    Raises
    ------
    BundleError
        If a graph cannot be exported, or `folder` holds something that is no bundle.
    """
    _refuse_other_content(folder)
    return write_bundle(
        task_graphs(checkpoint), checkpoint.task, _provenance(checkpoint), folder, facts,
        weights=checkpoint.to_safetensors(), half_weights=checkpoint.is_rounded(),
    )  # fmt: skip


def write_bundle(
    parts: TaskGraphs, task: str, provenance: Mapping[str, Any], folder: Path, facts: BundleFacts, *,
    weights: bytes | None = None, half_weights: bool = False,
) -> Bundle:  # fmt: skip
    """Export graphs and write them as a bundle of a task, as `export_bundle` does with a checkpoint's.

    Parameters
    ----------
    weights : content of the bundle's `weights.safetensors`, from which it can be trained on
    half_weights : as in `export_onnx`

    Raises
    ------
    BundleError
        As `export_bundle`.
    """
    _refuse_other_content(folder)
    models = {role: export_onnx(source, half_weights=half_weights) for role, source in parts.graphs.items()}
    return write_models(models, parts, task, provenance, folder, facts, weights)


def write_models(
    models: Mapping[str, onnx.ModelProto], parts: TaskGraphs, task: str, provenance: Mapping[str, Any], folder: Path,
    facts: BundleFacts, weights: bytes | None = None,
) -> Bundle:  # fmt: skip
    """Write graphs that are ONNX already as a bundle; of `parts` all but the modules is taken.

    Raises
    ------
    BundleError
        If `folder` holds something that is no bundle.
    """
    _refuse_other_content(folder)
    contents = {f"{role}.onnx": model.SerializeToString() for role, model in models.items()}
    graphs = {role: _graph(role, model, contents[f"{role}.onnx"], parts) for role, model in models.items()}
    manifest = Manifest(
        name=facts.name, task=task, version=facts.version, licence=facts.licence, graphs=graphs,
        skeleton=parts.skeleton, state=parts.state, settings={**parts.settings, **facts.settings},
        provenance=provenance,
    )  # fmt: skip
    contents[MANIFEST_FILE] = manifest.to_json().encode()
    if weights is not None:
        contents[WEIGHTS_FILE] = weights
    card = facts.card
    if card is None and (folder / CARD_FILE).is_file():
        card = (folder / CARD_FILE).read_text(encoding="utf-8")
    if card is not None:
        contents[CARD_FILE] = card.encode()
    replace_folder(folder, contents)
    return Bundle.load(folder)


def _refuse_other_content(folder: Path) -> None:
    """Refuse a folder that holds something which is no bundle, before minutes are spent."""
    if folder.exists() and not (folder / MANIFEST_FILE).is_file() and any(folder.iterdir()):
        raise BundleError(f"{folder} is not empty and holds no bundle", todo="Name another folder, or empty this one")


def tensor_specs(values: Any, layouts: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    """Describe the inputs or outputs of an ONNX graph for a manifest."""
    specs = []
    for value in values:
        tensor = value.type.tensor_type
        axes = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
        dtype = _ELEMENT_TYPES.get(tensor.elem_type, str(tensor.elem_type))
        specs.append(TensorSpec(value.name, dtype, axes, layouts.get(value.name, "")))
    return tuple(specs)


def _graph(role: str, model: onnx.ModelProto, content: bytes, parts: TaskGraphs) -> Graph:
    file = GraphFile(f"{role}.onnx", hashlib.sha256(content).hexdigest())
    return Graph(
        files={"fp32": file},
        inputs=tensor_specs(model.graph.input, parts.layouts),
        outputs=tensor_specs(model.graph.output, parts.layouts),
        preprocess=parts.preprocess.get(role),
    )


def _provenance(checkpoint: Checkpoint) -> dict[str, Any]:
    tools = {"python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__}
    return {
        "trained_at_commit": checkpoint.commit,
        "exported_at_commit": code_commit(),
        "steps": checkpoint.step,
        "minutes": round(checkpoint.seconds / 60, 1),
        "metrics": {name: round(value, 4) for name, value in checkpoint.metrics.items()},
        "config": checkpoint.config,
        "opset": OPSET,
        "tools": tools,
    }
