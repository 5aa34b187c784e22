"""Any PyTorch module on the same path as ours: exported, calibrated, proven equal, run.

Owns the graph that stands around a user's module, and its trained side for parity. The trained side prepares pixels
in numpy on its own, so that a mistake in the graph's color order or scaling shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..runtime.bundle.bundle import Bundle
from ..runtime.bundle.manifest import KERNELS, Graph, GraphFile, Manifest, Preprocess, TensorSpec
from ..runtime.engines.session import Tensors
from ..runtime.errors import UsageError
from ..runtime.frame import Frame
from ..runtime.image import network_size_wh
from ..runtime.processor import Processor
from ..runtime.tasks.custom import IMAGE, ROLE, SEGMENTATION, Custom, NamedArrays
from ..runtime.tasks.dense_drawing import Palette
from ..runtime.tasks.sessions import TaskSessions
from .adapt import Adapted, adapted
from .bundle import BundleFacts, write_bundle
from .graphs import TaskGraphs
from .prove import prove_sizes
from .to_onnx import FrameToTensor, GraphSource

_RGB = [2, 1, 0]
_NORMALIZATIONS = {  # name -> mean and std, for values in [0, 1]
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mean and std of 0.5": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "values 0 to 255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
_OTHER_SHAPES = ((320, 480), (640, 360))  # a portrait and a wide frame, which the export does not see


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomNetwork:
    """A module of yours, and what it wants to see.

    Parameters
    ----------
    module : takes (1, 3, H, W) float32, gives a tensor, a tuple or a dict of them; a module of half or bfloat16
        weights is exported as float32
    preprocess : how a frame is resized; with `short_side` the graph takes any size
    outputs : names of what the module gives; one named `image`, (1, 3, h, w) in [0, 1], becomes the result
    rgb : the module's color order is RGB (as in torchvision) and not BGR
    mean, std : one figure a channel, in the module's order; the module sees (pixels / 255 - mean) / std
    tolerances : output -> largest absolute difference in fp32; 1e-3 where none is given, 1 grey level for `image`
    classes : names of the classes of an output `segmentation`, (1, C, h, w) scores
    palette : (R, G, B) of each class, 0 to 255; black lets the frame through. Made from their number where not given
    depth_range : values of an output `depth` that become the darkest and the lightest color; None follows the frames
    """

    module: nn.Module
    preprocess: Preprocess
    outputs: Sequence[str] = (IMAGE,)
    rgb: bool = True
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tolerances: Mapping[str, float] = field(default_factory=dict)
    classes: Sequence[str] = ()
    palette: Sequence[tuple[int, int, int]] = ()
    depth_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tolerances) - set(self.outputs))
        if not self.outputs or len(set(self.outputs)) != len(self.outputs) or unknown or "frame" in self.outputs:
            raise UsageError(
                "The outputs of the network are not valid",
                expected="distinct names, none of them `frame`, and tolerances only for them",
                found=f"outputs {list(self.outputs)}, tolerances for {sorted(self.tolerances)}",
            )
        if IMAGE in self.outputs and len(self.outputs) > 1:
            raise UsageError("A network gives an image or values", expected="`image` as the only output")
        if (self.classes or self.palette) and tuple(self.outputs) != (SEGMENTATION,):
            raise UsageError(
                "Classes and colors belong to a segmentation", expected=f"outputs=[{SEGMENTATION!r}]",
                found=list(self.outputs),
            )  # fmt: skip
        if self.palette:
            Palette(self.classes, self.palette)

    def settings(self) -> dict[str, Any]:
        """Give what the runtime draws by, as plain values."""
        plain = {
            "classes": list(self.classes), "palette": [list(color) for color in self.palette],
            "depth_range": list(self.depth_range or ()),
        }  # fmt: skip
        return {name: value for name, value in plain.items() if value}


class CustomGraph(nn.Module):
    """Frame, (1, H, W, 3) uint8 BGR, to the module's outputs; an image becomes (1, h, w, 3) uint8 BGR."""

    def __init__(self, network: CustomNetwork) -> None:
        super().__init__()
        self.net, self.to_tensor = network.module, FrameToTensor()
        self._rgb, self._image = network.rgb, IMAGE in network.outputs
        std = torch.tensor(network.std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / std)
        self.register_buffer("shift", -torch.tensor(network.mean).view(1, 3, 1, 1) / std)
        self._plain = network.mean == (0.0, 0.0, 0.0) and network.std == (1.0, 1.0, 1.0)

    def forward(self, frame: Tensor) -> Any:
        """Normalize (1, H, W, 3) uint8 BGR, run the module, and convert an image output to (1, h, w, 3) uint8 BGR."""
        image = self.to_tensor(frame)
        image = image[:, _RGB] if self._rgb else image
        outputs = self.net(image if self._plain else image * self.scale + self.shift)
        if not self._image:
            return outputs
        image = outputs[:, _RGB] if self._rgb else outputs
        return (image.clamp(0, 1) * 255 + 0.5).permute(0, 2, 3, 1).to(torch.uint8)


def export_module(network: CustomNetwork, folder: Path, facts: BundleFacts) -> Bundle:
    """Export a module as a bundle that `steadyframe run`, `calibrate`, `engine` and parity take like ours.

    Raises
    ------
    BundleError
        If the module cannot be exported, or `folder` holds something that is no bundle.
    """
    wanted = network.preprocess
    width, height = network_size_wh((640, 480), wanted)
    example = {"frame": torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)}
    step = wanted.multiple
    dynamic = {} if wanted.size_hw is not None else {"frame": {1: ("height", step), 2: ("width", step)}}
    network = replace(network, module=adapted(network.module, network.outputs, (width, height)))
    graph = CustomGraph(network).eval()
    sizes = [] if wanted.size_hw is not None else [network_size_wh(shape, wanted) for shape in _OTHER_SHAPES]
    source = GraphSource(
        module=graph, example=example, outputs=network.outputs, dynamic=dynamic,
        prove=lambda model: prove_sizes(model, graph, tuple(network.outputs), sizes),
    )  # fmt: skip
    parts = TaskGraphs(
        graphs={ROLE: source},
        preprocess={ROLE: wanted},
        layouts={"frame": "NHWC", IMAGE: "NHWC"},
        settings=network.settings(),
    )
    provenance = {
        "network": type(network.module.module).__name__, "torch": torch.__version__, "rgb": network.rgb,
        "mean": list(network.mean), "std": list(network.std),
    }  # fmt: skip
    return write_bundle(parts, "custom", provenance, folder, facts)


class ModuleReference:
    """A module of yours as it was trained, for parity.

    Parameters
    ----------
    network : the same description that was exported
    """

    def __init__(self, network: CustomNetwork) -> None:
        self._network = network
        self._network.module.eval()
        default = {name: 1.0 if name == IMAGE else 1e-3 for name in network.outputs}
        tolerances = {f"{ROLE}.{name}": value for name, value in (default | dict(network.tolerances)).items()}
        result = {"image": 2.0} if IMAGE in network.outputs else {}
        self.tolerances: Mapping[str, float] = {f"{ROLE}.frame": 0.0, **tolerances, **result}
        self.exact = (f"{ROLE}.frame",)
        self.result: Any = None
        spec = TensorSpec("frame", "uint8", (1, "height", "width", 3), "NHWC")
        outputs = tuple(TensorSpec(name, "float32", ()) for name in network.outputs)
        file = GraphFile("none.onnx", "0" * 64)
        graph = Graph({"fp32": file}, (spec,), outputs, network.preprocess)
        manifest = Manifest(
            name="reference", task="custom", version="1", licence="none", graphs={ROLE: graph},
            settings=network.settings(),
        )  # fmt: skip
        self._session = _TorchSession(network)
        self._processor = Processor(Custom(manifest, TaskSessions({ROLE: self._session})))

    def variants(self) -> Iterator[tuple[str, ModuleReference]]:
        """Give the mistakes that are usual in a description, and the module as it would be described then."""
        network = self._network
        flipped = "BGR" if network.rgb else "RGB"
        yield f"red and blue are swapped: the bundle was made for {flipped}", self._with(rgb=not network.rgb)
        for name, (mean, std) in _NORMALIZATIONS.items():
            if (mean, std) != (tuple(network.mean), tuple(network.std)):
                yield f"another normalization: the bundle was made with {name}", self._with(mean=mean, std=std)
        wanted = network.preprocess
        for kernel in KERNELS:
            if kernel != wanted.kernel:
                yield (
                    f"another resize: the bundle was made with the kernel {kernel}",
                    self._with(preprocess=replace(wanted, kernel=kernel)),
                )

    def _with(self, **changes: Any) -> ModuleReference:
        return ModuleReference(replace(self._network, **changes))

    def stages(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run one image, (H, W, 3) BGR, and give every stage under the name it has in the bundle."""
        (made,) = self._processor.process(Frame(pixels, independent=True))
        self.result = made.output
        stages = {f"{ROLE}.{name}": value for name, value in self._session.seen.items()}
        return stages if isinstance(self.result, NamedArrays) else stages | {"image": self.result.pixels}

    def reset(self) -> None:
        """Nothing is remembered."""


class _TorchSession:
    """The module in the place of an engine, with pixels prepared in numpy."""

    device = "torch"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(self, network: CustomNetwork) -> None:
        self._network = network
        self._module = Adapted(network.module, network.outputs)
        self.seen: dict[str, NDArray[Any]] = {}

    @torch.no_grad()
    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run once."""
        network = self._network
        image = feeds["frame"].astype(np.float32) / 255
        image = image[..., ::-1] if network.rgb else image
        image = (image - np.array(network.mean, np.float32)) / np.array(network.std, np.float32)
        found = self._module(torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2))))
        tensors = found if isinstance(found, tuple) else (found,)
        named = {name: tensor.numpy() for name, tensor in zip(network.outputs, tensors, strict=True)}
        if IMAGE not in named:
            self.seen = {**feeds, **named}
            return named
        image = np.rint(np.clip(named[IMAGE], 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        pixels = np.ascontiguousarray(image[..., ::-1] if network.rgb else image)
        self.seen = {**feeds, IMAGE: pixels}
        return {IMAGE: pixels}

    def close(self) -> None:
        """Do nothing: memory is freed with the object."""
