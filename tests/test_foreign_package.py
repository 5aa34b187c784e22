"""An installed package adds a task, a source, a sink and an engine by name; no file of ours knows of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import steadyframe as sf

PACKAGE = '''
import numpy as np
from steadyframe.runtime.engines.registry import EngineDescriptor
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.info import Signal, SourceInfo
from steadyframe.runtime.io.sinks.descriptor import SinkDescriptor
from steadyframe.runtime.io.sources.descriptor import SourceDescriptor
from steadyframe.runtime.tasks.task import Image, Placement, TaskDescriptor
from steadyframe.runtime.temporal.dense import make_dense_stage
from steadyframe.runtime.temporal.options import PropagatedOutput


class Darker:
    name = "darker"
    propagated = PropagatedOutput(name="dark")

    def __init__(self, manifest, sessions, options):
        self._sessions, self._by = sessions, float(options.get("by", 2))
        self.device = sessions.device

    def make_stage(self, options, *, live=False):
        return make_dense_stage(self.propagated, options, live=live)

    def preprocess(self, frame, motion=None):
        return {"frame": frame.pixels[None]}, Placement(frame)

    def infer(self, feeds):
        return {"dark": self._sessions.run("net", feeds)["dark"][0] / self._by}

    def postprocess(self, outputs, placement):
        return Image(outputs["dark"].astype(np.uint8))

    def close(self):
        self._sessions.close()


class Ramp:
    info = SourceInfo("ramp://", fps=25.0, count=4)
    signal = Signal.LIVE

    def __iter__(self):
        for index in range(4):
            yield Frame(np.full((16, 24, 3), 40 * index, np.uint8), index, source="ramp://")

    def stop(self):
        pass

    def close(self):
        pass


class Means:
    in_callers_thread, wants = False, "every"

    def __init__(self, address):
        self.address, self._means = address, []

    def write(self, result):
        self._means.append(float(result.draw().mean()))

    def close(self):
        with open(self.address, "w") as file:
            file.write(" ".join(f"{mean:g}" for mean in self._means))

    def discard(self):
        pass


class Identity:
    """An engine that gives its input back, whatever the graph says."""

    def __init__(self, content, graph, *, name):
        self.device, self.inputs, self.outputs = "mirror", graph.inputs, graph.outputs

    def run(self, feeds):
        return {"dark": feeds["frame"].astype(np.float32)}

    def close(self):
        pass


task = TaskDescriptor(
    name="darker", open=Darker, options={"by": "divisor"}, steady="keyframe",
)
source = SourceDescriptor(open=lambda address, *, sequence=False: Ramp())
sink = SinkDescriptor(open=lambda address, info, *, task, video: Means(address))
engine = EngineDescriptor(device="mirror", open=Identity)
'''
ENTRY_POINTS = """
[steadyframe.tasks]
darker = foreign:task
[steadyframe.sources]
ramp = foreign:source
[steadyframe.sinks]
means = foreign:sink
[steadyframe.engines]
mirror = foreign:engine
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which the package is installed."""
    site = tmp_path / "site"
    (site / "foreign-1.0.dist-info").mkdir(parents=True)
    (site / "foreign.py").write_text(PACKAGE)
    (site / "foreign-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (site / "foreign-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    return {**os.environ, "PYTHONPATH": os.fspath(site)}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of the foreign task, with a graph of ours in it for the hash."""
    shipped = sf.Bundle.load("colorize")
    content = shipped.graph_bytes("color", "fp32")
    folder = tmp_path / "darker"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(content)
    graph = shipped.manifest.graphs["color"].files["fp32"].sha256
    axes = [1, "height", "width", 3]
    manifest = {
        "schema": 1, "name": "darker", "task": "darker", "version": "1", "licence": "CC0-1.0",
        "graphs": {
            "net": {
                "files": {"fp32": {"file": "net.onnx", "sha256": graph}},
                "inputs": [{"name": "frame", "dtype": "uint8", "axes": axes, "layout": "NHWC"}],
                "outputs": [{"name": "dark", "dtype": "float32", "axes": axes, "layout": "NHWC"}],
            }
        },
        "provenance": {},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def run(installed: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steadyframe", *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=installed)


def test_all_four_run_by_name(installed: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.means"
    done = run(installed, "run", bundle, "ramp://", out, "--device", "mirror", "--steady", "off", "--set", "by=4")
    assert done.returncode == 0, done.stderr
    assert out.read_text() == "0 10 20 30"


def test_it_is_steadied_like_ours(installed: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.means"
    done = run(installed, "run", bundle, "ramp://", out, "--device", "mirror")
    assert done.returncode == 0, done.stderr
    assert "steady keyframe" in done.stderr
    assert len(out.read_text().split()) == 4


def test_an_unknown_option_of_it_is_told(installed: dict[str, str], bundle: Path) -> None:
    done = run(installed, "run", bundle, "ramp://", "null://", "--device", "mirror", "--set", "bye=4")
    assert done.returncode == 2
    assert "Available: by." in done.stderr


def test_without_the_package_the_names_are_unknown(bundle: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = run(environment, "run", bundle, "ramp://", "null://")
    assert done.returncode == 5
    assert "There is no kind of source ramp://" in done.stderr
