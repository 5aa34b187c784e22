"""`steadyframe info`: the installed libraries and bundles, or the description of one bundle."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from ..bundle.bundle import CARD_FILE, Bundle, shipped_bundles
from ..bundle.manifest import PRECISIONS, Preprocess, TensorSpec
from ..engines.autotune import Choice, recall
from ..engines.registry import devices
from ..errors import UsageError
from ..opening import tune_precision

# distribution -> what it is for
LIBRARIES = {
    "numpy": "arrays",
    "opencv-python": "video, windows",
    "opencv-python-headless": "video, no windows",
    "onnxruntime": "device cpu",
    "onnxruntime-gpu": "device cpu, cuda",
    "openvino": "Intel devices",
    "tensorrt": "NVIDIA engines",
    "tensorrt-rtx": "NVIDIA engines",
    "cuda-python": "NVIDIA engines",
    "scikit-image": "sample:// [demo]",
    "torch": "train, export",
    "onnx": "export",
}


def installed() -> dict[str, str]:
    """Versions of the libraries that are installed; nothing is imported for it."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@click.command()
@click.argument("bundle", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--measure", metavar="DEVICE", help="Measure now what `--precision auto` is on this device.")
def info(bundle: str | None, as_json: bool, measure: str | None) -> None:
    """Show what is installed and which bundles there are, or all about BUNDLE."""
    console = Console(highlight=False, markup=False)
    if measure is not None and bundle is None:
        raise UsageError("--measure needs a bundle", expected="steadyframe info BUNDLE")
    if bundle is not None:
        loaded = Bundle.load(bundle)
        if measure is not None:
            tune_precision(loaded, measure, progress=lambda line: click.echo(line, err=True), again=True)
        _show_bundle(loaded, as_json, console)
        return
    bundles = {name: _facts(Bundle.load(name)) for name in shipped_bundles()}
    if as_json:
        facts = {"steadyframe": version("steadyframe"), "python": platform.python_version()}
        click.echo(json.dumps({**facts, "libraries": installed(), "bundles": bundles}, indent=2))
        return
    console.print(f"steadyframe {version('steadyframe')}, Python {platform.python_version()}, {platform.platform()}")
    libraries = Table("library", "version", "for")
    for name, found in installed().items():
        libraries.add_row(name, found, LIBRARIES[name])
    console.print(libraries)
    if not bundles:
        console.print("No bundles are shipped.")
        return
    columns = ("task", "version", "precisions", "size_mb", "licence")
    table = Table("bundle", *columns)
    for name, facts in bundles.items():
        table.add_row(name, *(str(facts[column]) for column in columns))
    console.print(table)


def _facts(bundle: Bundle) -> dict[str, Any]:
    """Summarize a bundle."""
    manifest = bundle.manifest
    files = {entry.file for graph in manifest.graphs.values() for entry in graph.files.values()}
    size = sum((bundle.folder / file).stat().st_size for file in files if (bundle.folder / file).is_file())
    return {
        "task": manifest.task,
        "version": manifest.version,
        "precisions": ", ".join(bundle.precisions()) or "none that every graph has",
        "size_mb": round(size / 1e6, 2),
        "licence": manifest.licence,
    }


def _show_bundle(bundle: Bundle, as_json: bool, console: Console) -> None:
    """Print one bundle: facts, graphs, provenance, parity, card."""
    manifest = bundle.manifest
    choices = {device: choice for device in devices() if (choice := recall(bundle, device)) is not None}
    if as_json:
        auto = {device: dataclasses.asdict(choice) for device, choice in choices.items()}
        told = {**json.loads(manifest.to_json()), "folder": str(bundle.folder), "auto": auto}
        click.echo(json.dumps(told, indent=2))
        return
    console.print(f"{manifest.name} in {bundle.folder}", soft_wrap=True)
    facts = Table(show_header=False)
    for name, value in _facts(bundle).items():
        facts.add_row(name, str(value))
    for title, section in (
        ("settings", manifest.settings),
        ("provenance", manifest.provenance),
        ("parity", manifest.parity),
    ):
        for name, value in section.items():
            facts.add_row(f"{title}: {name}", value if isinstance(value, str) else json.dumps(value))
    console.print(facts)
    graphs = Table("graph", "precisions", "inputs", "outputs", "preprocess")
    for role, graph in manifest.graphs.items():
        sides = ("\n".join(_tensor(spec) for spec in side) for side in (graph.inputs, graph.outputs))
        graphs.add_row(role, ", ".join(graph.files), *sides, _preprocess(graph.preprocess))
    console.print(graphs)
    if len(bundle.precisions()) > 1:
        _show_choices(choices, console)
    card = bundle.folder / CARD_FILE
    if card.is_file():
        console.print(Markdown(card.read_text(encoding="utf-8")))


def _show_choices(choices: Mapping[str, Choice], console: Console) -> None:
    """Explain what `--precision auto` is on every device where it was measured."""
    if not choices:
        console.print("--precision auto: not measured here yet; the first run does it, or --measure DEVICE")
        return
    table = Table("--device", "precision", "ms a frame", "why", title="--precision auto, as measured on this machine")
    for device, choice in choices.items():
        first = f"{device}, {choice.measured_on}"
        for name in sorted(choice.reasons, key=PRECISIONS.index):
            time = ""
            if name in choice.median_ms:
                time = "{:.2f} ({:.2f}–{:.2f})".format(choice.median_ms[name], *choice.quartiles_ms[name])
            table.add_row(first, name, time, choice.reasons[name])
            first = ""
    console.print(table)
    console.print("Median and quartiles of the network's own time, all precisions in turn on the same frames.")


def _tensor(spec: TensorSpec) -> str:
    axes = " x ".join(str(axis) for axis in spec.axes)
    return f"{spec.name}: {spec.dtype} {axes} {spec.layout}".rstrip()


def _preprocess(preprocess: Preprocess | None) -> str:
    if preprocess is None:
        return "none"
    if preprocess.size_hw is not None:
        return "to {1}x{0}, {kernel}".format(*preprocess.size_hw, kernel=preprocess.kernel)
    multiple = f", multiples of {preprocess.multiple}" if preprocess.multiple > 1 else ""
    return f"short side to {preprocess.short_side}{multiple}, {preprocess.kernel}"
