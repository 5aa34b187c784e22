"""Latency of every shipped graph, batch 1, on every device that works here: ours, the bare engine, and PyTorch.

What does not work here is named, with the reason; a machine without a GPU gives the rows of its processor.

*Ours* is `Session.run`, arrays in and arrays out. *Bare* is the engine's own call on tensors that are bound already:
on a GPU without any copy to or from it, so that the difference is what copies and checks cost. PyTorch runs the
network that a checkpoint holds, eager and compiled, with the same copies as ours. All take turns, round by round, on
the same feeds. Usage::

    python benchmarks/engines.py --checkpoint colorize=runs/colorize-final/last.pt --json engines.json
    python benchmarks/engines.py --devices cpu,openvino --rounds 50
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.bundle.manifest import Graph
from steadyframe.runtime.engines.cuda import find_gpu
from steadyframe.runtime.engines.probe import probe
from steadyframe.runtime.engines.registry import devices as all_devices
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.engines.session import Session
from steadyframe.runtime.engines.shape_range import shape_ranges_of
from steadyframe.runtime.errors import DeviceError, SteadyframeError

Call = Callable[[], Any]
WARM_UP = 10


def feeds_of(graph: Graph) -> dict[str, np.ndarray]:
    """Random feeds of the shape to optimize for: what they hold does not change the time."""
    random, shape_ranges = np.random.default_rng(0), shape_ranges_of(graph)
    arrays = {spec.name: random.random(shape_ranges[spec.name].opt, np.float32) for spec in graph.inputs}
    return {
        spec.name: (arrays[spec.name] * 255).astype(spec.dtype) if spec.dtype == "uint8" else arrays[spec.name]
        for spec in graph.inputs
    }


def bare_call(session: Session, feeds: dict[str, np.ndarray]) -> Call:
    """Reach behind a session for the engine's own call, on tensors that stay where they are."""
    session.run(feeds)
    session.run(feeds)
    inner: Any = session
    if session.device in ("tensorrt", "tensorrt-rtx"):
        lane = inner._idle[0]

        def run_context() -> None:
            lane._context.execute_async_v3(int(lane._stream.handle))
            lane._stream.wait()

        return run_context
    if session.device in ("cuda", "tensorrt-ort"):
        (binding,) = inner._bindings.values()
        return lambda: inner._session.run_with_iobinding(binding.bound, binding.options)
    if session.device.startswith("openvino"):
        request = inner._compiled.create_infer_request()
        return lambda: request.infer(feeds, share_inputs=True, share_outputs=True)
    names = [spec.name for spec in session.outputs]
    return lambda: inner._session.run(names, feeds)


def torch_calls(checkpoint: Path, role: str, feeds: dict[str, np.ndarray]) -> Iterator[tuple[str, Call]]:
    """Yield calls of the trained network itself, on the GPU where there is one."""
    import torch
    from steadyframe.export.graphs import task_graphs
    from steadyframe.models.checkpoint import Checkpoint

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_grad_enabled(False)
    eager = task_graphs(Checkpoint.load(checkpoint)).graphs[role].module.eval().to(device)
    for name, module in (("eager", eager), ("compiled", torch.compile(eager, mode="reduce-overhead"))):

        def run(module: Any = module) -> None:
            outputs = module(*(torch.from_numpy(array).to(device) for array in feeds.values()))
            for output in outputs if isinstance(outputs, tuple) else (outputs,):
                output.cpu()

        yield f"PyTorch {name} {device}", run


def in_turn(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every call, one of each a round; what else the machine does meets all alike."""
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter_ns()
            call()
            times[name].append((time.perf_counter_ns() - started) / 1e6)
    return times


@contextmanager
def open_calls(bundle: Bundle, role: str, devices: list[str], checkpoint: Path | None) -> Iterator[dict[str, Call]]:
    """Every call for one graph; what a device refuses is said and left out."""
    graph = bundle.manifest.graphs[role]
    feeds, calls, sessions = feeds_of(graph), {}, []
    for device in devices:
        for precision in graph.files:
            try:
                session = open_session(bundle, role, device=device, precision=precision)
                calls[f"{device} {precision} bare"] = bare_call(session, feeds)
            except SteadyframeError as error:
                click.echo(f"{bundle.manifest.name}/{role} {precision} does not run on {device}: {error}", err=True)
                continue
            sessions.append(session)
            calls[f"{device} {precision} ours"] = lambda session=session: session.run(feeds)
    if checkpoint is not None:
        calls.update(torch_calls(checkpoint, role, feeds))
    try:
        yield calls
    finally:
        for session in sessions:
            session.close()


@click.command()
@click.option("--devices", help="Comma between them; all that work here if not given.")
@click.option("--bundle", "names", multiple=True, help="Only these; may be repeated.")
@click.option("--checkpoint", "checkpoints", multiple=True, metavar="BUNDLE=FILE", help="What PyTorch runs.")
@click.option("--rounds", default=200, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    devices: str | None, names: tuple[str, ...], checkpoints: tuple[str, ...], rounds: int, json_path: Path | None
) -> None:
    """Print one table a graph, in Markdown."""
    asked = devices.split(",") if devices else list(all_devices())
    probes = [probe(device) for device in asked]
    chosen = [one.device for one in probes if one.works]
    missing = {one.device: one.problem for one in probes if not one.works}
    if any("=" not in pair for pair in checkpoints):
        raise click.BadParameter("BUNDLE=FILE is wanted", param_hint="--checkpoint")
    files = dict(pair.split("=", 1) for pair in checkpoints)
    try:
        gpu = str(find_gpu())
    except DeviceError:
        gpu = "no GPU"
    click.echo(f"{platform.machine()}, {gpu}; devices {', '.join(chosen)}; {rounds} rounds after {WARM_UP}")
    for device, problem in missing.items():
        click.echo(f"- not run on {device}: {problem}")
    rows = []
    for name in names or shipped_bundles():
        bundle = Bundle.load(name)
        for role, graph in bundle.manifest.graphs.items():
            checkpoint = Path(files[name]) if name in files else None
            with open_calls(bundle, role, chosen, checkpoint) as calls:
                times = in_turn(calls, rounds)
            shapes = ", ".join(f"{key} {list(array.shape)}" for key, array in feeds_of(graph).items())
            click.echo(
                f"\n**{name}/{role}**, {shapes}\n\n| what | median ms | 25 % | 75 % | 99 % |\n|---|---|---|---|---|"
            )
            for what, spent in times.items():
                low, middle, high = statistics.quantiles(spent, n=4)
                last = float(np.percentile(spent, 99))
                click.echo(f"| {what} | {middle:.3f} | {low:.3f} | {high:.3f} | {last:.3f} |")
                row = {"bundle": name, "role": role, "what": what, "median_ms": middle, "quartiles_ms": [low, high]}
                rows.append(row | {"p99_ms": last, "rounds": rounds})
    if json_path is not None:
        json_path.write_text(json.dumps({"gpu": gpu, "not_run": missing, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
