"""`steadyframe doctor`: what works on this machine, and the command that repairs the rest."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
import cv2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..bundle.bundle import SHIPPED, Bundle, shipped_bundles
from ..engines.probe import probe, probe_engine
from ..engines.registry import devices
from ..errors import DeviceError, SteadyframeError
from ..io.sinks.display import display_problem
from ..io.sources.camera import cameras
from ..io.sources.capture import has_backend, open_capture
from .info import installed

_STYLES = {"works": "green", "missing": "yellow", "broken": "red"}
# Device -> library, where their names differ.
_LIBRARIES = {
    "cpu": "onnxruntime",
    "cuda": "onnxruntime",
    "tensorrt-ort": "onnxruntime",
    "openvino-bf16": "openvino",
    "openvino-throughput": "openvino",
}
# Two distributions that install the same module: whichever came last wins, and removing one breaks the other.
_RIVALS = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("opencv-python", "opencv-python-headless"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `state` is works, missing or broken."""

    what: str
    state: str
    detail: str


@click.command()
def doctor() -> None:
    """Try every device, codec and camera, and say what works.

    The exit code is 4 if no device at all can run a network.
    """
    console = Console(highlight=False, markup=False)
    console.print(f"steadyframe {version('steadyframe')}, Python {platform.python_version()}, {platform.platform()}")
    devices = device_findings()
    table = Table("what", "state", "detail")
    rest = (
        *engine_findings(),
        *bundle_findings(),
        *rival_findings(installed()),
        *opencv_findings(),
        *camera_findings(),
    )
    for finding in (*devices, *rest):
        table.add_row(finding.what, Text(finding.state, _STYLES[finding.state]), finding.detail)
    console.print(table)
    if not any(finding.state == "works" for finding in devices):
        raise DeviceError("No device can run a network", todo="pip install --force-reinstall onnxruntime")


def device_findings() -> list[Finding]:
    """Run a tiny graph on every device that has an engine."""
    findings = []
    for device in devices():
        result = probe(device)
        detail = result.problem
        if result.works:
            detail = f"{_engine_version(device)}; tiny graph {result.latency_ms:.3f} ms (median of {result.runs})"
        state = "works" if result.works else "missing" if result.absent else "broken"
        findings.append(Finding(f"device {device}", state, detail))
    return findings


def _engine_version(device: str) -> str:
    """Name and version of the library behind a device."""
    library = _LIBRARIES.get(device, device)
    found = {name.removesuffix("-gpu"): f"{name} {number}" for name, number in installed().items()}
    return found.get(library, library)


def engine_findings() -> list[Finding]:
    """Build an engine of the tiny graph without a GPU, where the library that can do that is installed."""
    if "tensorrt-rtx" not in installed():
        return []
    try:
        plan, seconds = probe_engine()
    except SteadyframeError as error:
        return [Finding("engines for tensorrt-rtx", "broken", str(error))]
    detail = f"{_engine_version('tensorrt-rtx')}; tiny engine built in {seconds:.1f} s, {len(plan) / 1e3:.0f} kB"
    return [Finding("engines for tensorrt-rtx", "works", f"{detail}; no GPU needed for that")]


def bundle_findings() -> list[Finding]:
    """Check the hashes of every shipped bundle."""
    findings = []
    for name in shipped_bundles():
        try:
            bundle = Bundle.load(SHIPPED / name)
            for role, graph in bundle.manifest.graphs.items():
                for precision in graph.files:
                    bundle.graph_bytes(role, precision)
        except SteadyframeError as error:
            findings.append(Finding(f"bundle {name}", "broken", str(error)))
        else:
            detail = f"every hash is right; {', '.join(bundle.precisions())}"
            findings.append(Finding(f"bundle {name}", "works", detail))
    return findings or [Finding("bundles", "missing", "none are shipped")]


def rival_findings(found: dict[str, str]) -> list[Finding]:
    """Find distributions that overwrite each other's files."""
    findings = []
    for plain, other in _RIVALS:
        if plain in found and other in found:
            repair = f"pip uninstall -y {plain} {other} && pip install {other}"
            findings.append(Finding(f"{plain} and {other}", "broken", f"both install the same module: {repair}"))
    return findings


def opencv_findings() -> list[Finding]:
    """Check how OpenCV can read and show video."""
    problem = display_problem()
    findings = [Finding("window", "missing" if problem else "works", problem or "display:// can be used")]
    uses = {"FFMPEG": "files, rtsp://, http://", "V4L2": "cameras on Linux", "GSTREAMER": "csi://"}
    for name, use in uses.items():
        there = has_backend(getattr(cv2, f"CAP_{name}"))
        findings.append(Finding(f"OpenCV {cv2.__version__} {name}", "works" if there else "missing", use))
    return findings


def camera_findings() -> list[Finding]:
    """Take one image with every camera; on Linux, where cameras are files."""
    findings = []
    for path in cameras():
        capture = open_capture(path, cv2.CAP_V4L2)
        good, pixels = capture.read() if capture is not None else (False, None)
        if capture is not None:
            capture.release()
        if good and pixels is not None:
            findings.append(Finding(f"camera {path}", "works", f"{pixels.shape[1]}x{pixels.shape[0]}"))
        elif _is_capture_device(path):
            findings.append(Finding(f"camera {path}", "broken", "it gives no image; another program may use it"))
    return findings or [Finding("cameras", "missing", "none found; sample:// needs none")]


def _is_capture_device(path: str) -> bool:
    """Whether the kernel calls the device file a camera's first; the others carry metadata and have no images."""
    index = Path("/sys/class/video4linux") / Path(path).name / "index"
    try:
        return index.read_text().strip() == "0"
    except OSError:
        return True
