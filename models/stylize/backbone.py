"""Frozen networks that judge or teach: rebuilt in torch from their ONNX files, so that they run anywhere torch does.

Owns the small ONNX reader and the perceptual backbones. Knows nothing of losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, nn

from ...runtime.errors import BundleError

# Layers of the two backbones: content, and style with equal weights.
# VGG-19: Ruder et al. 2016. Tiny darknet: the first layer of each resolution that is wide, ours.
VGG_CONTENT, VGG_STYLE = ("relu4_2",), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
DARKNET_CONTENT, DARKNET_STYLE = ("t14", "t27"), ("t3", "t7", "t14", "t27", "t40")


class OnnxNet(nn.Module):
    """A feed-forward convolutional ONNX graph as a torch module, differentiable in its input.

    Parameters
    ----------
    path : ONNX file made of Conv, ConvTranspose, BatchNormalization, InstanceNormalization, (Leaky)Relu, Tanh,
        MaxPool, GlobalAveragePool, Slice, Cast, Add, Mul and Clip
    outputs : names of the tensors to give; those of the graph if empty. Nodes that they do not need are left out.
    smooth_pooling : average where the graph takes the maximum

    Raises
    ------
    BundleError
        If the file is missing, or a node or an asked-for tensor is not known.
    """

    def __init__(self, path: Path, outputs: Sequence[str] = (), *, smooth_pooling: bool = False) -> None:
        super().__init__()
        if not path.is_file():
            raise BundleError(f"There is no network {path}", todo="Give the path of its ONNX file")
        graph = onnx.load(path).graph
        self.input = graph.input[0].name
        self.outputs = tuple(outputs) or tuple(value.name for value in graph.output)
        made = {name for node in graph.node for name in node.output}
        if missing := [name for name in self.outputs if name not in made]:
            raise BundleError(f"{path} has no tensors {missing}", expected="names that a node makes")
        constants = {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        self.steps: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        for node in _needed(graph.node, self.outputs):
            if node.op_type == "Cast" and node.input[0] in constants:  # weights are stored as fp16
                constants[node.output[0]] = constants[node.input[0]].astype(np.float32)
                continue
            if node.op_type not in _OPERATORS:
                known = " ".join(sorted(_OPERATORS))
                raise BundleError(f"{path} has a node of unknown kind", expected=known, found=node.op_type)
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if smooth_pooling and node.op_type == "MaxPool":
                attributes["smooth"] = True
            self.steps.append((node.op_type, tuple(node.input), node.output[0], attributes))
        self._whole: dict[str, list[int]] = {}
        for name in {name for _, names, _, _ in self.steps for name in names} & constants.keys():
            if np.issubdtype(constants[name].dtype, np.integer):
                self._whole[name] = [int(value) for value in constants[name].ravel()]
            else:
                self.register_buffer(_buffer(name), torch.from_numpy(constants[name].astype(np.float32)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the graph on its one input, (B, C, H, W), and return the requested tensors by name."""
        values: dict[str, Any] = {self.input: x} | self._whole
        weights = dict(self.named_buffers(recurse=False))
        for operator, names, output, attributes in self.steps:
            given = [values[name] if name in values else weights[_buffer(name)] for name in names if name]
            values[output] = _OPERATORS[operator](given, attributes)
        return {name: values[name] for name in self.outputs}


def _buffer(name: str) -> str:
    """Buffer names may not contain dots."""
    return "w_" + name.replace(".", "_")


def _needed(nodes: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
    """Nodes, in order, that some outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _conv(given: list[Any], attributes: Mapping[str, Any]) -> Tensor:
    x, weight, *bias = given
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    padding = (top, left)
    if (top, left) != (bottom, right):  # TensorFlow's SAME with stride 2
        x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
    stride = tuple(attributes.get("strides", (1, 1)))
    return F.conv2d(x, weight, *bias, stride=stride, padding=padding, groups=attributes.get("group", 1))


def _conv_transpose(given: list[Any], attributes: Mapping[str, Any]) -> Tensor:
    if any(attributes.get("pads", ())) or any(attributes.get("output_padding", ())):
        raise BundleError("Only transposed convolutions without padding are known here")
    return F.conv_transpose2d(*given, stride=tuple(attributes["strides"]))


def _batch_norm(given: list[Any], attributes: Mapping[str, Any]) -> Tensor:
    x, gain, shift, mean, variance = given
    return F.batch_norm(x, mean, variance, gain, shift, eps=attributes["epsilon"])


def _instance_norm(given: list[Any], attributes: Mapping[str, Any]) -> Tensor:
    x, gain, shift = given
    return F.instance_norm(x, weight=gain, bias=shift, eps=attributes["epsilon"])


def _max_pool(given: list[Any], attributes: Mapping[str, Any]) -> Tensor:
    pool = F.avg_pool2d if attributes.get("smooth") else F.max_pool2d
    return pool(given[0], tuple(attributes["kernel_shape"]), tuple(attributes["strides"]))


def _slice(given: list[Any], _: Mapping[str, Any]) -> Tensor:
    x, starts, ends, axes, steps = given
    cut = [slice(None)] * x.dim()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[axis] = slice(start, end, step)
    sliced: Tensor = x[tuple(cut)]
    return sliced


_OPERATORS: dict[str, Any] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "MaxPool": _max_pool,
    "Slice": _slice,
    "Relu": lambda given, _: F.relu(given[0]),
    "LeakyRelu": lambda given, attributes: F.leaky_relu(given[0], attributes.get("alpha", 0.01)),
    "Tanh": lambda given, _: torch.tanh(given[0]),
    "Add": lambda given, _: given[0] + given[1],
    "Mul": lambda given, _: given[0] * given[1],
    "Clip": lambda given, _: torch.clamp(given[0], float(given[1]), float(given[2])),
    "GlobalAveragePool": lambda given, _: given[0].mean((2, 3), keepdim=True),
}


class Teacher(nn.Module):
    """A per-frame style network from an ONNX file that takes and gives RGB in 0..255."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.net = OnnxNet(path).requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Restyle (B, 3, H, W) BGR in [0, 1]; H and W are multiples of 4."""
        (styled,) = self.net(frames.flip(1) * 255).values()
        return styled.float().flip(1) / 255


class Backbone(nn.Module):
    """Inner layers of an image classifier, for content and style.

    Parameters
    ----------
    layers : layer name -> `(B, C, h, w)` of one forward pass over RGB
    content, style : names of the layers to use
    """

    def __init__(self, layers: nn.Module, content: Sequence[str], style: Sequence[str]) -> None:
        super().__init__()
        self.layers = layers.requires_grad_(False).eval()
        self.content, self.style = tuple(content), tuple(style)

    def train(self, mode: bool = True) -> Backbone:
        """Stay frozen, whatever the network around it does."""
        return super().train(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Give the layers' activations for (B, 3, H, W) **BGR** in [0, 1]."""
        activations: dict[str, Tensor] = self.layers(images.flip(1))
        return activations


class _Vgg(nn.Module):
    """torchvision's VGG up to relu5_1, layers named as in the papers."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import torchvision

        features = getattr(torchvision.models, name)(weights="IMAGENET1K_V1").features
        block, index, self.names, kept = 1, 1, {}, []
        for position, layer in enumerate(features):
            kept.append(nn.ReLU() if isinstance(layer, nn.ReLU) else layer)
            if isinstance(layer, nn.ReLU):
                self.names[position] = f"relu{block}_{index}"
                index += 1
            elif isinstance(layer, nn.MaxPool2d):
                block, index = block + 1, 1
            if self.names.get(position) == "relu5_1":
                break
        self.features = nn.Sequential(*kept)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        x, found = (rgb - self.mean) / self.spread, {}
        for position, layer in enumerate(self.features):
            x = layer(x)
            if position in self.names:
                found[self.names[position]] = x
        return found


def load_backbone(name: str) -> Backbone:
    """Load a perceptual backbone by name.

    Parameters
    ----------
    name : ``vgg16`` or ``vgg19`` (torchvision, which fetches the weights if it does not have them), or the path of
        the tiny darknet's ONNX file

    Raises
    ------
    BundleError
        If it is neither.
    """
    if name in ("vgg16", "vgg19"):
        try:
            return Backbone(_Vgg(name), VGG_CONTENT, VGG_STYLE)
        except ModuleNotFoundError as error:
            raise BundleError(f"{name} comes with torchvision", todo="pip install torchvision") from error
    if Path(name).suffix != ".onnx":
        raise BundleError("There is no such backbone", expected="vgg16, vgg19 or an .onnx file", found=name)
    # Gatys et al. 2016 found averages to look better than maxima. Here they decide: gradients through the maxima
    # of this small network paint pixel noise instead of brush strokes.
    layers = OnnxNet(Path(name), sorted({*DARKNET_CONTENT, *DARKNET_STYLE}), smooth_pooling=True)
    return Backbone(layers, DARKNET_CONTENT, DARKNET_STYLE)
