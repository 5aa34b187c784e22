"""`steadyframe.export` and `steadyframe.compare`: any module to a bundle, and the proof that both are the same.

Owns what the front door offers of this layer; the work is done in `module` and `parity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..calibration.frames import frames_for
from ..runtime.bundle.bundle import Bundle
from ..runtime.bundle.manifest import Preprocess
from ..runtime.errors import UsageError
from ..runtime.frame import Frame
from ..runtime.tasks.custom import IMAGE, ROLE
from .bundle import BundleFacts
from .module import CustomNetwork, ModuleReference, export_module
from .parity.compare import Target, compare_all
from .parity.report import ParityReport

_MULTIPLE = 8


def export(
    module: nn.Module, folder: str | Path, *, example: NDArray[np.uint8], name: str = "",
    licence: str = "not stated", **description: Any,
) -> Bundle:  # fmt: skip
    """Export a module as a bundle that every engine, `steadyframe run` and `calibrate` take.

    Parameters
    ----------
    module : takes (1, 3, H, W) float32 and gives a tensor or a tuple of them
    folder : of the bundle; an older bundle there is replaced
    example : (H, W, 3) uint8 BGR, an image as your camera gives it. Frames are resized to its shorter side, and one
        run of the module on it tells whether the result is an image, (1, 3, h, w) in [0, 1], or named arrays
    name : of the bundle; the folder's, if it is not given
    licence : of your weights, such as MIT
    description : further fields of `CustomNetwork`: `preprocess`, `outputs`, `rgb`, `mean`, `std`, `tolerances`,
        `classes`, `palette`, `depth_range`

    Returns
    -------
    Bundle
        As it was written, with its hashes.

    Raises
    ------
    ShapeMismatch
        If `example` is no image.
    UsageError
        If the description does not fit.
    BundleError
        If the module cannot be exported, or `folder` holds something that is no bundle.
    """
    frame = Frame(np.asarray(example))
    height, width = frame.pixels.shape[:2]
    preprocess = description.pop("preprocess", None) or Preprocess(
        "area", short_side=max(_MULTIPLE, min(height, width) // _MULTIPLE * _MULTIPLE), multiple=_MULTIPLE
    )
    outputs = description.pop("outputs", None) or _output_names(module)
    network = CustomNetwork(module=module.eval(), preprocess=preprocess, outputs=outputs, **description)
    target = Path(folder)
    return export_module(network, target, BundleFacts(name=name or target.resolve().name, licence=licence))


def compare(
    bundle: Bundle | str | Path, module: nn.Module, source: str | Path, *,
    frames: int = 8, device: str = "cpu", precision: str = "fp32",
) -> ParityReport:  # fmt: skip
    """Run frames of a source through a module and through its bundle, and compare stage by stage.

    Parameters
    ----------
    bundle : made by `export`
    module : as it was exported
    source : a clip, an image, a folder or a camera
    frames : compared, spread over the source
    device, precision : how the bundle runs

    Returns
    -------
    ParityReport
        `check()` raises `ParityError`, which names the first stage that differs.

    Raises
    ------
    UsageError
        If the bundle was not made by `export`.
    BundleError, DeviceError
        If the precision or the device is not available.
    SourceError
        If there is nothing to read.
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    manifest = loaded.manifest
    if manifest.task != "custom":
        raise UsageError(
            "This compares a module with its bundle", expected="a bundle of task custom", found=manifest.task,
            todo="Compare a bundle of ours with `steadyframe parity BUNDLE CHECKPOINT INPUT`",
        )  # fmt: skip
    graph = manifest.graphs[ROLE]
    said = dict(manifest.provenance)
    assert graph.preprocess is not None  # the task cannot be opened without it
    network = CustomNetwork(
        module=module.eval(),
        preprocess=graph.preprocess,
        outputs=[spec.name for spec in graph.outputs],
        rgb=bool(said.get("rgb", True)),
        mean=_three(said.get("mean", (0.0, 0.0, 0.0))),
        std=_three(said.get("std", (1.0, 1.0, 1.0))),
        classes=tuple(manifest.settings.get("classes", ())),
    )
    chosen = frames_for(manifest, str(source), frames)
    targets = [Target(device, precision)]
    return compare_all(loaded, ModuleReference(network), chosen, targets, name=type(module).__name__)[0]


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    """Read three figures, which JSON keeps as a list."""
    first, second, third = (float(value) for value in values)
    return first, second, third


@torch.no_grad()
def _output_names(module: nn.Module) -> tuple[str, ...]:
    """Run the module once on noise, and name what it gives."""
    found = module.eval()(torch.rand(1, 3, 64, 64))
    tensors = (
        tuple(found.values()) if isinstance(found, dict) else found if isinstance(found, tuple | list) else (found,)
    )
    if len(tensors) == 1 and tensors[0].ndim == 4 and tensors[0].shape[1] == 3:
        return (IMAGE,)
    if isinstance(found, dict):
        return tuple(found)
    return ("output",) if len(tensors) == 1 else tuple(f"output_{number}" for number in range(len(tensors)))
