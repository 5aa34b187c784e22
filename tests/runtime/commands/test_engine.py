"""`steadyframe engine`: the engines that a run would build."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from steadyframe.runtime.commands.engine import engine
from steadyframe.runtime.errors import BundleError, DeviceError

pytest.importorskip("tensorrt_rtx", reason="the extra [tensorrt-rtx] is not installed")


def call(*arguments):
    return CliRunner().invoke(engine, [str(argument) for argument in arguments])


def test_every_graph_is_built_once_and_its_path_printed(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("STEADYFRAME_CACHE", str(tmp_path))
    first = call(tiny_bundle, "--target", "tensorrt-rtx")
    assert first.exit_code == 0, first.output
    paths = [Path(line) for line in first.stdout.splitlines()]
    assert [path.name.split("-tensorrt")[0] for path in paths] == ["tiny-global-fp32", "tiny-color-fp32"]
    assert all(path.parent == tmp_path / "engines" and path.stat().st_mode & 0o777 == 0o600 for path in paths)
    assert first.stderr.count("building the tensorrt-rtx engine") == 2
    again = call(tiny_bundle, "--target", "tensorrt-rtx", "--precision", "fp32")
    assert again.stdout == first.stdout and again.stderr == ""


def test_rebuild_and_a_folder_of_ones_own(tiny_bundle, tmp_path):
    arguments = (tiny_bundle, "--target", "tensorrt-rtx", "--cache", tmp_path / "own")
    first = call(*arguments)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "own" / "engines").iterdir()}
    assert len(times) == 2 and first.exit_code == 0
    second = call(*arguments, "--rebuild")
    assert second.stdout == first.stdout and second.stderr.count("--rebuild was given") == 2
    assert all(path.stat().st_mtime_ns > before for path, before in times.items())


def test_what_cannot_be_had_is_told(tiny_bundle, tmp_path):
    missing = call(tiny_bundle, "--target", "tensorrt-rtx", "--precision", "int8")
    assert isinstance(missing.exception, BundleError) and missing.exception.available == ("fp32",)
    (tmp_path / "open" / "engines").mkdir(parents=True)
    (tmp_path / "open" / "engines").chmod(0o755)
    refused = call(tiny_bundle, "--target", "tensorrt-rtx", "--cache", tmp_path / "open")
    assert isinstance(refused.exception, DeviceError) and "open to others" in str(refused.exception)
    assert call(tiny_bundle, "--target", "abacus").exit_code == 2


def test_a_graph_that_cannot_be_built_does_not_stop_the_others(make_bundle, tmp_path):
    content = b"not a graph"
    digest = hashlib.sha256(content).hexdigest()
    folder = make_bundle(lambda manifest: manifest["graphs"]["global"]["files"]["fp32"].update(sha256=digest))
    (folder / "global.onnx").write_bytes(content)
    result = call(folder, "--target", "tensorrt-rtx", "--cache", tmp_path)
    assert isinstance(result.exception, BundleError) and "tiny/global/fp32" in str(result.exception)
    assert [Path(line).name.split("-tensorrt")[0] for line in result.stdout.splitlines()] == ["tiny-color-fp32"]


def test_tensorrt_needs_its_library_or_its_gpu(tiny_bundle, tmp_path):
    """Where neither is there, no engine is built that nothing could load."""
    result = call(tiny_bundle, "--target", "tensorrt", "--cache", tmp_path)
    assert isinstance(result.exception, DeviceError) or result.exit_code == 0
    assert (tmp_path / "engines").exists() is (result.exit_code == 0)


def test_the_version_of_the_library_is_in_the_engine(tiny_bundle, tmp_path):
    call(tiny_bundle, "--target", "tensorrt-rtx", "--cache", tmp_path)
    numbers = bytes(int(part) for part in version("tensorrt-rtx").split("."))
    assert all(numbers in path.read_bytes()[:2048] for path in (tmp_path / "engines").iterdir())
