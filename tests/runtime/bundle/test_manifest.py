"""Every field of a manifest, damaged one at a time."""

from __future__ import annotations

import copy
import json

import pytest
from steadyframe.runtime.bundle.manifest import Manifest, Preprocess
from steadyframe.runtime.errors import BundleError


@pytest.fixture
def good(make_manifest):
    manifest = make_manifest()
    manifest["skeleton"] = {"name": "arm", "joints": ["left", "right"], "bones": [[0, 1]], "mirror": [1, 0]}
    manifest["state"] = {"global_features": "global_features"}
    return manifest


def test_a_manifest_survives_the_way_to_json_and_back(good):
    manifest = Manifest.from_json(json.dumps(good))
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.graphs["color"].inputs[0].axes == (1, "height", "width", 3)
    assert manifest.graphs["color"].preprocess == Preprocess("area", short_side=96, multiple=8)


# path in the manifest -> values that must be refused there
DAMAGE = {
    "schema": [0, 2, "1", None, True, 1.0],
    "name": ["", "Upper", "a/b", "../x", 3, None, "x" * 65],
    "task": ["", "a b", "../x", 7, None],
    "version": [1, None, ["1"]],
    "licence": [0, None],
    "graphs": [{}, [], None, "color.onnx", {"../x": {}}, {"A": {}}],
    "graphs.color": [None, [], {}, "color.onnx"],
    "graphs.color.files": [{}, None, [], {"fp64": {"file": "a.onnx", "sha256": "0" * 64}}, {"fp32": "color.onnx"}],
    "graphs.color.files.fp32.file": [
        "",
        "../color.onnx",
        "/etc/passwd",
        "a/b.onnx",
        ".hidden",
        "a\\b",
        "a\0",
        None,
        5,
    ],
    "graphs.color.files.fp32.sha256": ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, None, 0],
    "graphs.color.inputs": [[], None, {}, "frame", [[]]],
    "graphs.color.outputs": [[], None, {}],
    "graphs.color.inputs.0.name": ["", None, 1, "global_features"],
    "graphs.color.inputs.0.dtype": ["", "uint7", "float64", None, 8],
    "graphs.color.inputs.0.axes": [[0], [-1, 3], [1.5], [""], [True, 3], [None], [99999999], "NHWC", None],
    "graphs.color.inputs.0.layout": ["NHW", "NHWCX", None, 4],
    "graphs.color.preprocess": [{}, {"kernel": "area"}, [], "area"],
    "graphs.color.preprocess.kernel": ["", "lanczos", None, 2],
    "graphs.color.preprocess.short_side": [0, -8, 1.5, "96", True, 100_000],
    "graphs.color.preprocess.multiple": [0, -1, None, "8", True],
    "graphs.global.preprocess.size_hw": [[224], [224, 224, 3], [0, 224], [224, -1], 224, "224x224", [224.0, 224]],
    "skeleton": [[], "coco", {}],
    "skeleton.name": [None, 3],
    "skeleton.joints": [[], ["left", "left"], "left", [1, 2], ["one"]],
    "skeleton.bones": [[[0, 2]], [[-1, 0]], [[0]], [0, 1], None],
    "skeleton.mirror": [[0], [1, 1], [0, 2], [1, 0, 2], None],
    "state": [[], None, {"global_features": "nowhere"}, {"nowhere": "frame"}, {"global_features": 3}],
    "settings": [[], None, 3],
    "provenance": [[], None, "commit"],
    "parity": [[], None, True],
}


def set_at(manifest, path, value):
    *parents, last = (int(part) if part.isdecimal() else part for part in path.split("."))
    for part in parents:
        manifest = manifest[part]
    manifest[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value) for path, values in DAMAGE.items() for value in values],
    ids=[f"{path}={json.dumps(value)[:24]}" for path, values in DAMAGE.items() for value in values],
)
def test_a_damaged_field_is_refused(good, path, value):
    damaged = copy.deepcopy(good)
    set_at(damaged, path, value)
    with pytest.raises(BundleError) as raised:
        Manifest.from_json(json.dumps(damaged))
    assert raised.value.exit_code == 3
    assert raised.value.expected is not None


def test_every_field_is_damaged_above(good):
    covered = {path.split(".")[0] for path in DAMAGE}
    assert covered == set(good) | {"parity"}


@pytest.mark.parametrize("key", ["schema", "name", "task", "version", "graphs", "licence"])
def test_a_missing_key_is_named(good, key):
    del good[key]
    if key == "schema":  # the only one of them that has a default
        assert Manifest.from_json(json.dumps(good)).schema == 1
        return
    with pytest.raises(BundleError, match=f"missing keys.*{key}"):
        Manifest.from_json(json.dumps(good))


@pytest.mark.parametrize(
    "where", ["", "graphs.color", "graphs.color.files.fp32", "graphs.color.inputs.0", "skeleton"]
)
def test_an_unknown_key_is_named(good, where):
    set_at(good, f"{where}.surprise".lstrip("."), 1)
    with pytest.raises(BundleError, match="surprise"):
        Manifest.from_json(json.dumps(good))


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", '"x"', "{}", "\x00", "[" * 100_000, '{"schema": NaN}', '{"name": 1, "name": 2}'],
)
def test_what_is_no_manifest_at_all_is_refused(text):
    with pytest.raises(BundleError):
        Manifest.from_json(text)


def test_the_file_name_of_a_graph_cannot_leave_the_folder(good):
    set_at(good, "graphs.color.files.fp32.file", "..")
    with pytest.raises(BundleError, match="plain file name"):
        Manifest.from_json(json.dumps(good))
