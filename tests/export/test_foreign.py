"""Somebody else's ONNX files become bundles that run."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from steadyframe.export.bundle import BundleFacts
from steadyframe.export.commands import export
from steadyframe.export.foreign import ForeignNetwork, export_foreign
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def saved(path, *, opset=9, shape=("n", 3, "h", "w"), kind=TensorProto.FLOAT, nodes=None, outputs=("y",)):
    """A small network: y = x * (1, 2, 3) by channel."""
    factors = np.array([1, 2, 3], np.float32).reshape(3, 1, 1) if shape[1] == 3 else np.array([1, 2, 3], np.float32)
    constant = numpy_helper.from_array(factors.astype(helper.tensor_dtype_to_np_dtype(kind)), "factors")
    graph = helper.make_graph(
        nodes or [helper.make_node("Mul", ["x", "factors"], ["y"])],
        "theirs",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, kind, shape) for name in outputs],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.save(model, path)
    return path


def output_of(bundle, pixels=PIXELS):
    with open_processor(str(bundle), device="cpu") as processor:
        return processor.process(Frame(pixels))[0].output


def seen(pixels=PIXELS, *, rgb=True, mean=(0, 0, 0), std=(1, 1, 1)):
    """What such a network should see, (H, W, 3)."""
    image = (pixels[..., ::-1] if rgb else pixels).astype(np.float32) / 255
    return (image - np.array(mean, np.float32)) / np.array(std, np.float32)


CASES = [
    ({}, {}),
    ({"shape": (1, 3, 64, 96)}, {}),
    ({"shape": (1, 64, 96, 3)}, {}),
    ({"opset": 11}, {"rgb": False}),
    ({"opset": 18}, {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}),
    ({"kind": TensorProto.FLOAT16}, {}),
]


@pytest.mark.parametrize(("made", "told"), CASES, ids=str)
def test_it_sees_what_was_told(tmp_path, made, told):
    path = saved(tmp_path / "net.onnx", **made)
    network = ForeignNetwork(short_side=64, multiple=32, **told)
    bundle = export_foreign(path, network, tmp_path / "bundle", BundleFacts(name="theirs"))
    assert bundle.manifest.task == "custom"
    found = output_of(tmp_path / "bundle").values["y"][0]
    wanted = seen(**told) * (1, 2, 3)
    wanted = wanted if made.get("shape", (0, 3))[1] != 3 else wanted.transpose(2, 0, 1)
    assert np.abs(found - wanted).max() < (0.02 if made.get("kind") else 1e-4)


@pytest.mark.parametrize("white", [1.0, 255.0])
@pytest.mark.parametrize("name", ["y", "image"])
def test_an_image_comes_back_as_pixels(tmp_path, white, name):
    scale = numpy_helper.from_array(np.array(white, np.float32), "white")
    nodes = [
        helper.make_node("Constant", [], ["white"], value=scale),
        helper.make_node("Mul", ["x", "white"], [name]),
    ]
    path = saved(tmp_path / "net.onnx", nodes=nodes, outputs=(name,), opset=13)
    network = ForeignNetwork(image=name, image_range=white, short_side=64)
    export_foreign(path, network, tmp_path / "bundle", BundleFacts(name="theirs"))
    assert np.abs(output_of(tmp_path / "bundle").pixels.astype(int) - PIXELS).max() <= 1


@pytest.mark.parametrize(
    ("made", "told", "error", "text"),
    [
        ({"shape": (1, 1, 64, 96)}, {"layout": "nchw"}, UsageError, "does not take color"),
        ({"shape": ("a", "b", "c", "d")}, {}, UsageError, "--layout"),
        ({"shape": (1, 3)}, {}, BundleError, "does not take one image"),
        ({}, {"image": "z"}, UsageError, "no such output"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, made, told, error, text):
    with pytest.raises(error, match=text):
        export_foreign(
            saved(tmp_path / "net.onnx", **made), ForeignNetwork(**told), tmp_path / "b", BundleFacts(name="n")
        )
    assert not (tmp_path / "b").exists()


def test_what_is_no_onnx_is_told(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"hello")
    with pytest.raises(BundleError, match="cannot be read as ONNX"):
        export_foreign(tmp_path / "net.onnx", ForeignNetwork(), tmp_path / "b", BundleFacts(name="n"))


def test_the_command_makes_a_bundle_and_the_way_there_is_told(tmp_path):
    path = saved(tmp_path / "net.onnx")
    with pytest.raises(BundleError, match=r"steadyframe export net\.onnx -o"):
        Bundle.load(str(path))
    words = [str(path), "-o", str(tmp_path / "b"), "--color", "bgr", "--mean", "0.5", "--std", "0.25"]
    done = CliRunner().invoke(export, words)
    assert done.exit_code == 0, done.output
    found = output_of(tmp_path / "b", np.full((256, 320, 3), 255, np.uint8)).values["y"]
    assert found.shape == (1, 3, 256, 320)
    assert found[0, :, 0, 0] == pytest.approx([2, 4, 6])
