"""Modules of the kinds that people have: exported right, or refused in one plain line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from steadyframe.export.adapt import plain_cause
from steadyframe.export.bundle import BundleFacts
from steadyframe.export.module import CustomNetwork, ModuleReference, export_module
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.runtime.bundle.manifest import Preprocess
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor
from torch import nn

ANY_SIZE = Preprocess("area", short_side=96, multiple=8)
PIXELS = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


class Made(nn.Module):
    """A module from a function."""

    def __init__(self, function, **layers):
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.function = function

    def forward(self, image):
        return self.function(image, self.layers)


class TwoInputs(nn.Module):
    def forward(self, image, mask):
        return image * mask


def conv():
    torch.manual_seed(0)
    return nn.Conv2d(3, 3, 3, padding=1)


def exported(tmp_path, module, outputs, preprocess=ANY_SIZE):
    network = CustomNetwork(module=module, preprocess=preprocess, outputs=outputs)
    export_module(network, tmp_path / "b", BundleFacts(name="b"))
    with open_processor(str(tmp_path / "b"), device="cpu") as processor:
        return network, processor.process(Frame(PIXELS))[0].output


WORK = {
    "dict": (Made(lambda x, _: {"a": x.mean((2, 3)), "b": x.amax((2, 3))}), ("b", "a")),
    "half": (Made(lambda x, net: net["conv"](x), conv=conv()).half(), ("y",)),
    "bfloat16": (Made(lambda x, net: net["conv"](x), conv=conv()).bfloat16(), ("y",)),
    "grey": (Made(lambda x, _: x.mean(1, keepdim=True)), ("image",)),
}


@pytest.mark.parametrize("name", WORK)
def test_it_is_exported_and_is_the_same(tmp_path, name):
    module, outputs = WORK[name]
    network, found = exported(tmp_path, module, outputs)
    stages = ModuleReference(network).stages(PIXELS)
    if outputs == ("image",):
        assert np.abs(found.pixels.astype(int) - stages["image"]).max() <= 1
        assert (found.pixels[..., 0] == found.pixels[..., 2]).all()
        return
    for output in outputs:
        wanted = next(value for stage, value in stages.items() if stage.endswith(f".{output}"))
        assert np.abs(found.values[output] - wanted).max() < 1e-4


PAIR = Made(lambda x, net: ((y := net["conv"](x)).mean((2, 3)), y.argmax(1)), conv=conv())
REFUSED = {
    "too few names": (PAIR, ("a",), UsageError, "Expected: 2 names"),
    "too many names": (Made(lambda x, net: net["conv"](x), conv=conv()), ("a", "b"), UsageError, "Expected: 1 names"),
    "other names than the dict's": (WORK["dict"][0], ("a", "c"), UsageError, "names are not those"),
    "an image of two channels": (Made(lambda x, _: x[:, :2]), ("image",), UsageError, "is no image"),
    "an image of rank 2": (Made(lambda x, _: x.mean((2, 3))), ("image",), UsageError, "is no image"),
    "two inputs": (TwoInputs(), ("y",), UsageError, r"forward\(image, mask\)"),
    "a script": (torch.jit.script(nn.Sequential(conv(), nn.Sigmoid())), ("y",), UsageError, "TorchScript"),
    "a state dict": (conv().state_dict(), ("y",), UsageError, "holds weights only"),
    "adaptive pooling": (
        Made(lambda x, _: F.adaptive_avg_pool2d(x, (7, 7)).mean((2, 3))), ("y",), BundleError, "size_hw="
    ),
    "a branch on data": (
        Made(lambda x, net: net["conv"](x) if x.mean() > 0.5 else x * 0.5, conv=conv()), ("y",), BundleError,
        "branch depends on the values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_plain_line(tmp_path, name):
    module, outputs, error, text = REFUSED[name]
    with pytest.raises(error, match=text) as caught:
        exported(tmp_path, module, outputs)
    said = str(caught.value)
    assert "\x1b" not in said and "\n" not in said
    assert len(said) < 800
    assert not (tmp_path / "b").exists()


def test_adaptive_pooling_is_exported_for_one_size(tmp_path):
    module = Made(lambda x, _: F.adaptive_avg_pool2d(x, (7, 7)).mean((2, 3)))
    exported(tmp_path, module, ("y",), Preprocess("area", size_hw=(112, 112)))


def test_the_last_cause_is_told_without_color_codes():
    try:
        try:
            raise ValueError("\x1b[96mthe reason\x1b[0m")
        except ValueError as error:
            raise RuntimeError("This is step 1/3") from error
    except RuntimeError as error:
        assert plain_cause(error) == "ValueError: the reason"


@pytest.mark.parametrize(
    ("content", "text"),
    [(conv().state_dict(), "a bare state dict of 2 tensors"), ({"model": 1}, "a dict of model"), (3, "Found: int")],
    ids=["state dict", "dict", "number"],
)
def test_a_file_that_is_no_checkpoint_says_what_is_missing(tmp_path, content, text):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(BundleError, match=text):
        Checkpoint.load(tmp_path / "w.pt")


@pytest.mark.parametrize(("content", "text"), [(b"", "is empty"), (b"hello", "cannot be read")])
def test_a_file_that_is_nothing_says_so(tmp_path, content, text):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(BundleError, match=text):
        Checkpoint.load(tmp_path / "w.pt")
