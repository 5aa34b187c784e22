"""Finding bundles, and handing out checked bytes only."""

from __future__ import annotations

import re

import pytest
from steadyframe.runtime.bundle.bundle import SHIPPED, Bundle, shipped_bundles
from steadyframe.runtime.errors import BundleError


def test_a_bundle_is_found_by_folder_and_by_its_manifest(tiny_bundle):
    assert Bundle.load(tiny_bundle).manifest.name == "tiny"
    assert Bundle.load(tiny_bundle / "manifest.json").folder == tiny_bundle


def test_bytes_come_out_as_they_were_written(tiny_bundle, tiny_graphs):
    assert Bundle.load(tiny_bundle).graph_bytes("color", "fp32") == tiny_graphs["color.onnx"]


@pytest.mark.parametrize("damage", ["flip", "append", "cut", "empty", "remove", "folder"])
def test_a_graph_that_is_not_the_exported_one_never_gets_out(tiny_bundle, damage):
    path = tiny_bundle / "color.onnx"
    content = path.read_bytes()
    if damage in ("remove", "folder"):
        path.unlink()
    if damage == "folder":
        path.mkdir()
    cut, appended, flipped = content[:-1], content + b"\0", bytes([content[0] ^ 1]) + content[1:]
    changed = {"flip": flipped, "append": appended, "cut": cut, "empty": b""}
    if damage in changed:
        path.write_bytes(changed[damage])
    with pytest.raises(BundleError, match=r"color\.onnx"):
        Bundle.load(tiny_bundle).graph_bytes("color", "fp32")


def test_a_wrong_hash_is_told_with_both_hashes(make_bundle):
    def edit(manifest):
        manifest["graphs"]["color"]["files"]["fp32"]["sha256"] = "0" * 64

    with pytest.raises(BundleError) as raised:
        Bundle.load(make_bundle(edit)).graph_bytes("color", "fp32")
    assert raised.value.expected == "sha256 " + "0" * 64
    assert str(raised.value.found).startswith("sha256 ")


def test_a_link_out_of_the_folder_is_refused_even_with_the_right_hash(tiny_bundle, tmp_path, tiny_graphs):
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(tiny_graphs["color.onnx"])
    (tiny_bundle / "color.onnx").unlink()
    (tiny_bundle / "color.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        Bundle.load(tiny_bundle).graph_bytes("color", "fp32")


def test_a_bundle_may_itself_be_reached_through_a_link(tiny_bundle, tmp_path, tiny_graphs):
    link = tmp_path / "link"
    link.symlink_to(tiny_bundle)
    assert Bundle.load(link).graph_bytes("global", "fp32") == tiny_graphs["global.onnx"]


def test_missing_roles_and_precisions_name_what_there_is(tiny_bundle):
    bundle = Bundle.load(tiny_bundle)
    with pytest.raises(BundleError) as raised:
        bundle.graph_bytes("chroma", "fp32")
    assert set(raised.value.available) == {"global", "color"}
    with pytest.raises(BundleError) as raised:
        bundle.graph_bytes("color", "int8")
    assert raised.value.available == ("fp32",)


def test_precisions_are_those_of_every_graph(make_bundle):
    def edit(manifest):
        files = manifest["graphs"]["color"]["files"]
        files["int8"] = dict(files["fp32"])

    assert Bundle.load(make_bundle(edit)).precisions() == ("fp32",)


@pytest.mark.parametrize("make", ["nothing", "empty", "file", "huge", "binary"])
def test_what_is_no_bundle_is_refused(tmp_path, make):
    folder = tmp_path / "thing"
    if make == "file":
        folder.write_text("x")
    elif make != "nothing":
        folder.mkdir()
    if make == "huge":
        (folder / "manifest.json").write_bytes(b" " * ((1 << 20) + 1))
    if make == "binary":
        (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError):
        Bundle.load(folder)


def test_shipped_bundles_name_no_folder_of_the_machine_that_made_them():
    for name in shipped_bundles():
        for path in (SHIPPED / name).iterdir():
            found = re.findall(rb'"(?:/[\w.-]+){2,}\\*"', path.read_bytes())
            assert not found, f"{name}/{path.name} holds {found}"


def test_shipped_bundles_are_whole():
    for name in shipped_bundles():
        bundle = Bundle.load(name)
        assert bundle.folder == SHIPPED / name
        for role, graph in bundle.manifest.graphs.items():
            for precision in graph.files:
                assert bundle.graph_bytes(role, precision)
