"""What a noisy activation costs in an exported graph: nodes, and time against the plain one, in two engines.

Two graphs each: the activation alone on (1, 64, 56, 56), and a network of four 3x3 convolutions of 64 channels with
the activation after each. All graphs take turns, on one thread; figures are medians with the quartiles over rounds.
Usage::

    python benchmarks/activation_cost.py
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime as ort
import openvino
import torch
from numpy.typing import NDArray
from steadyframe.export.to_onnx import GraphSource, export_onnx
from steadyframe.models.activations import HARD_SIGMOID, HARD_TANH, KINDS, sigmoid, tanh
from torch import Tensor, nn

CHANNELS, SIDE = 64, 56
Run = Callable[[NDArray[np.float32]], object]


class Hard(nn.Module):
    """The hard function without noise, the cheapest there is."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Clip the line."""
        return self.function(x)


def activations(name: str) -> dict[str, Callable[[], nn.Module]]:
    make = {"sigmoid": sigmoid, "tanh": tanh}[name]
    hard = {"sigmoid": HARD_SIGMOID, "tanh": HARD_TANH}[name]
    noisy = {kind: (lambda kind=kind: make(kind, CHANNELS)) for kind in KINDS}
    return {"plain": lambda: make(None, CHANNELS), "hard": lambda: Hard(hard), **noisy}


def network(make: Callable[[], nn.Module]) -> nn.Module:
    layers = [nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), make()) for _ in range(4)]
    return nn.Sequential(*layers)


def graph(module: nn.Module) -> onnx.ModelProto:
    example = {"x": torch.zeros(1, CHANNELS, SIDE, SIDE)}
    return export_onnx(GraphSource(module=module.eval(), example=example, outputs=["y"]))


def in_onnxruntime(model: onnx.ModelProto) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})


def in_openvino(model: onnx.ModelProto) -> Run:
    engine = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return engine.compile_model(engine.read_model(model.SerializeToString()), "CPU", settings)


def time_ms(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    x = 2 * np.random.default_rng(0).standard_normal((1, CHANNELS, SIDE, SIDE), dtype=np.float32)
    for run in runs.values():
        for _ in range(3):
            run(x)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run(x)
            times[name].append(1000 * (time.perf_counter() - started))
    return times


@click.command()
@click.option("--rounds", default=30, show_default=True)
@click.option("--function", type=click.Choice(["sigmoid", "tanh"]), default="tanh", show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(rounds: int, function: str, path: Path | None) -> None:
    """Print one line for each kind of noise."""
    torch.manual_seed(0)
    figures: dict[str, dict[str, object]] = {}
    for name, engine in (("ONNX Runtime", in_onnxruntime), ("OpenVINO", in_openvino)):
        for where, wrap in (("alone", lambda make: make()), ("network", network)):
            graphs = {kind: graph(wrap(make)) for kind, make in activations(function).items()}
            times = time_ms({kind: engine(model) for kind, model in graphs.items()}, rounds)
            for kind, values in times.items():
                low, middle, high = statistics.quantiles(values, n=4)
                ratio = statistics.median(a / b for a, b in zip(values, times["plain"], strict=True))
                line = figures.setdefault(kind, {"nodes": len(graphs[kind].graph.node)})
                line[f"{name}, {where}"] = {"ms": middle, "quartiles": [low, high], "ratio": ratio}
    click.echo(f"{function}, {rounds} rounds, ms (quartiles) x ratio to plain")
    for kind, line in figures.items():
        cells = [
            "{}: {ms:.2f} ({quartiles[0]:.2f}-{quartiles[1]:.2f}) x{ratio:.2f}".format(key, **value)
            for key, value in line.items()
            if isinstance(value, dict)
        ]
        click.echo(f"{kind:6} {line['nodes']:3} nodes | " + " | ".join(cells))
    if path is not None:
        path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
