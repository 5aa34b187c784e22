"""Damaged manifests, graphs, engine files and caches: no crash, no hang, no way out of the folder, a clear error.

``STEADYFRAME_FUZZ=10`` runs ten times as many cases as the suite does.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, TensorSpec
from steadyframe.runtime.engines.probe import probe_graph
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.engines.tensorrt.plan import build_plan
from steadyframe.runtime.errors import BundleError

TIMES = int(os.environ.get("STEADYFRAME_FUZZ", "1"))
WORKER = Path(__file__).with_name("fuzzing.py")
PROBE = Graph(
    {"fp32": GraphFile("probe.onnx", "0" * 64)},
    (TensorSpec("x", "float32", (128, 128)),),
    (TensorSpec("y", "float32", (128, 128)),),
)
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
needs_rtx = pytest.mark.skipif(not HAS_RTX, reason="the extra [tensorrt-rtx] is not installed")


def fuzz(kind: str, count: int, folder: Path) -> Counter[str]:
    """Run cases in a process of their own; count what came of them."""
    command = [sys.executable, str(WORKER), kind, "0", str(count), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + count, check=False)
    lines = done.stdout.splitlines()
    last = [line for line in lines if line.startswith("case ")][-1:]
    assert done.returncode == 0 and lines[-1] == "end", f"{last}: exit {done.returncode}\n{done.stderr[-3000:]}"
    bad = [f"{lines[i - 1]}: {line}" for i, line in enumerate(lines) if line.split()[0].isupper()]
    assert not bad, "\n".join(bad[:5])
    return Counter(line.split()[0] for line in lines if not line.startswith(("case ", "end")))


@pytest.fixture
def folder(tiny_bundle: Path) -> Path:
    """The tiny bundle with its originals beside, and something next to it that must not be read."""
    for name in ("global", "color"):
        (tiny_bundle / f"{name}.original").write_bytes((tiny_bundle / f"{name}.onnx").read_bytes())
    (tiny_bundle / "manifest.original").write_bytes((tiny_bundle / "manifest.json").read_bytes())
    (tiny_bundle.parent / "secret").mkdir()
    (tiny_bundle.parent / "secret" / "color.onnx").write_bytes((tiny_bundle / "color.onnx").read_bytes())
    return tiny_bundle


def test_manifests(folder):
    seen = fuzz("manifest", 800 * TIMES, folder)
    assert seen.total() == 800 * TIMES and seen["error"] > seen["fine"] > 0


def test_graphs(folder):
    seen = fuzz("graph", 450 * TIMES, folder)
    assert seen.total() == 450 * TIMES and seen["error"] > 0 and seen["fine"] > 0


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="the extra [openvino] is not installed")
def test_graphs_in_openvino(folder):
    seen = fuzz("openvino", 100 * TIMES, folder)
    assert seen.total() == 100 * TIMES and seen["error"] > 0


@pytest.fixture
def plan(folder: Path) -> bytes:
    content = bytes(range(256)) * 16
    if HAS_RTX:
        content = build_plan(probe_graph(), shape_ranges_of(PROBE), library="tensorrt-rtx")
    (folder / "plan.original").write_bytes(content)
    return content


def test_engine_files_and_caches(folder, plan):
    seen = fuzz("engine", 450 * TIMES, folder)
    assert seen.total() == 450 * TIMES


def test_memories_of_the_precision(folder):
    assert fuzz("memory", 100 * TIMES, folder) == {"fine": 100 * TIMES}


@needs_rtx
def test_plans(folder, plan):
    seen = fuzz("plan", 100 * TIMES, folder)
    assert seen == {"fine": 100 * TIMES}


@needs_rtx
def test_what_makes_a_native_parser_crash_is_only_an_error(tmp_path):
    """Every graph is built in a process of its own; whatever becomes of that one, this one goes on."""
    import random

    spec = importlib.util.spec_from_file_location("fuzzing", WORKER)
    fuzzing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzzing)
    refused = 0
    for number in range(10 * TIMES):
        content = fuzzing.mutate_bytes(probe_graph(), random.Random(f"build {number}"))
        try:
            build_plan(content, shape_ranges_of(PROBE), library="tensorrt-rtx", timeout_s=60)
        except BundleError as error:
            assert "cannot build" in str(error) or "a process of its own" in str(error)
            refused += 1
    assert refused
