"""The layers: what may import what, and what is packaged."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("runtime", "models", "calibration", "export")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_on_disk():
    """Every folder of a layer that holds Python files."""
    return {"steadyframe"} | {
        ".".join(("steadyframe", *path.parent.relative_to(ROOT).parts))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
    }


def modules_of(layer):
    """Names of all modules of a layer."""
    return sorted(
        name.removesuffix(".__init__")
        for name in (
            ".".join(("steadyframe", *path.relative_to(ROOT).with_suffix("").parts))
            for path in (ROOT / layer).rglob("*.py")
        )
    )


def modules_after(code):
    """Names in `sys.modules` after a fresh interpreter ran some code."""
    code += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd="/"
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def import_all(modules):
    return "import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in modules)


@pytest.mark.parametrize("layer", ["runtime", "calibration"])
def test_no_module_loads_torch_or_a_layer_above(layer):
    names = [name for name in modules_of(layer) if not name.endswith("__main__")]
    assert f"steadyframe.{layer}" in names
    loaded = modules_after(import_all(_importable(names)))
    allowed = {"runtime": {"runtime"}, "calibration": {"runtime", "calibration"}}[layer]
    others = {f"steadyframe.{other}" for other in LAYERS if other not in allowed}
    assert loaded >= set(_importable(names))
    assert not loaded & {"torch", "onnxscript", "kornia", *others}
    assert layer == "calibration" or "onnx" not in loaded


def _importable(names):
    """Leave out engines whose library is not installed; they are imported only for their device."""
    libraries = {"openvino": "openvino", "tensorrt": "tensorrt", "dds_topics": "cyclonedds"}
    missing = {engine for engine, library in libraries.items() if importlib.util.find_spec(library) is None}
    return [name for name in names if name.rsplit(".", 1)[-1] not in missing]


def test_importing_the_runtime_loads_next_to_nothing():
    loaded = modules_after("import steadyframe.runtime")
    assert not loaded & {"numpy", "cv2", "onnxruntime", "click", "rich"}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_refuses_to_be_imported_without_its_namespace(layer):
    done = subprocess.run(
        [sys.executable, "-c", f"import {layer}"], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode != 0
    assert f"import steadyframe.{layer}" in done.stderr


def test_every_folder_is_packaged_and_nothing_else():
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_packaged_folder_has_an_init():
    for name in PROJECT["tool"]["setuptools"]["packages"]:
        folder = ROOT.joinpath(*name.split(".")[1:]) if "." in name else ROOT / name
        assert (folder / "__init__.py").is_file(), name


def test_the_type_checkers_see_every_layer():
    for layer in LAYERS:
        assert (ROOT / ".typing" / "steadyframe" / layer).resolve() == ROOT / layer


def test_every_extra_of_a_subcommand_exists():
    commands = PROJECT["project"]["entry-points"]["steadyframe.commands"]
    extras = PROJECT["project"]["optional-dependencies"]
    for name, target in commands.items():
        if "[" in target:
            assert target.split("[")[1].rstrip("]") in extras, name


def test_the_import_contracts_hold():
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache", "../pyproject.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT / ".typing")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_loop_over_the_three_parts_of_a_task_but_the_processor():
    """Whoever runs a task calls `Processor.process`, or its three parts; nobody imitates it."""
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in (*LAYERS, "benchmarks", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"(?<!processor)\.(infer|postprocess)\(", path.read_text(encoding="utf-8"))
    ]
    # `infer` of OpenVINO's requests, and of a model server's client
    others = {"runtime/engines/openvino.py", "benchmarks/engines.py", "runtime/engines/triton.py"}
    bare = {"benchmarks/stream_overhead.py"}  # the loop by hand that a stream is measured against
    assert set(found) - others - bare == {"runtime/processor.py"}
