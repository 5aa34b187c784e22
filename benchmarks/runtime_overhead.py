"""What the runtime adds to ONNX Runtime: `Session.run` and a task's `infer` against a bare loop of `session.run`.

A task plays a clip, and every run of its graphs is recorded. The bare loop runs the same graphs on the same feeds, in
an ONNX Runtime session with the same options; they take turns, round by round. `task.infer` also does the task's own
arithmetic, such as turning chroma into another color space. Last, and by itself, comes ONNX Runtime with its own
options: its threads spin while they wait, and would take the core from the others. Usage::

    python benchmarks/runtime_overhead.py ../shared/data/videos/webcam_hungry.mkv
"""

from __future__ import annotations

import time
from itertools import islice

import click
import numpy as np
import onnxruntime as ort
from steadyframe.calibration.recording import RecordingSession
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.engines.registry import open_session
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.tasks.registry import build_task
from steadyframe.runtime.tasks.task import Task

LIMIT_MS, LIMIT_SHARE = 1.0, 0.05
Runs = list[list[tuple[str, dict]]]  # frame -> its runs: role and feeds


def bare_sessions(bundle: Bundle, precision: str, *, spinning: bool) -> dict[str, ort.InferenceSession]:
    """ONNX Runtime itself; without spinning, its threads sleep while they wait, as the runtime's do."""
    found = {}
    for role in bundle.manifest.graphs:
        options = ort.SessionOptions()
        if not spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = bundle.graph_bytes(role, precision)
        found[role] = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return found


def record(task: Task, sessions: dict[str, RecordingSession], frames: list[Frame]) -> Runs:
    """Play frames, and note what every graph is fed with."""
    runs: Runs = []
    with Processor(task) as processor:
        for frame in frames:
            before = {role: len(session.runs) for role, session in sessions.items()}
            processor.process(frame)
            runs.append([(role, fed) for role, session in sessions.items() for fed in session.runs[before[role] :]])
    return runs


def play_ms(task: Task, frames: list[Frame]) -> float:
    """Milliseconds a frame that `infer` takes; what is before and behind it is not counted."""
    with Processor(task) as processor:
        results = processor.process_all(frames)
        return sum(result.timings_ms["infer"] for result in results) / len(frames)


def replay_ms(run, runs: Runs) -> float:
    """Milliseconds a frame of the same runs, each by `run(role, feeds)`."""
    started = time.perf_counter_ns()
    for frame in runs:
        for role, feeds in frame:
            run(role, feeds)
    return (time.perf_counter_ns() - started) / 1e6 / len(runs)


def measure(bundle: Bundle, precision: str, frames: list[Frame], rounds: int) -> tuple[dict[str, np.ndarray], Runs]:
    """Milliseconds a frame of every way, one a round."""
    ours = {role: open_session(bundle, role, device="cpu", precision=precision) for role in bundle.manifest.graphs}
    recording = {role: RecordingSession(session) for role, session in ours.items()}
    runs = record(build_task(bundle.manifest, recording), recording, frames)
    names = {role: [spec.name for spec in session.outputs] for role, session in ours.items()}
    quiet, spinning = (bare_sessions(bundle, precision, spinning=each) for each in (False, True))
    task = build_task(bundle.manifest, ours)
    ways = {
        "bare session.run": lambda: replay_ms(lambda role, feeds: quiet[role].run(names[role], feeds), runs),
        "Session.run": lambda: replay_ms(lambda role, feeds: ours[role].run(feeds), runs),
        "task.infer": lambda: play_ms(task, frames),
        "bare, threads that spin": lambda: replay_ms(lambda r, feeds: spinning[r].run(names[r], feeds), runs),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for group in (tuple(ways)[:-1], tuple(ways)[-1:]):
        for turn in range(rounds + 1):  # the first round warms up
            for name in group:
                took = ways[name]()
                if turn:
                    spent[name].append(took)
    task.close()
    return {name: np.array(times) for name, times in spent.items()}, runs


@click.command()
@click.argument("clip", default="sample://")
@click.option(
    "--bundle", "names", multiple=True, help="Only these; may be repeated. All that are shipped if not given."
)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--frames", default=20, show_default=True)
@click.option("--rounds", default=15, show_default=True)
def main(clip: str, names: tuple[str, ...], precision: str, frames: int, rounds: int) -> None:
    """Print one table a bundle, in Markdown."""
    source = open_source(clip)
    shown = list(islice(source, frames))
    source.close()
    print(f"ONNX Runtime {ort.__version__}; {rounds} rounds of {len(shown)} frames in turns after one; ms a frame")
    for name in names or shipped_bundles():
        bundle = Bundle.load(name)
        spent, runs = measure(bundle, precision, shown, rounds)
        base = float(np.median(spent["bare session.run"]))
        total = sum(map(len, runs)) / len(runs)
        print(f"\n**{name}**, {precision}, {total:.2f} runs a frame\n")
        print("| what | median | 25 % | 75 % | over bare, ms | over bare, % |\n|---|---|---|---|---|---|")
        for what, times in spent.items():
            low, middle, high = np.percentile(times, (25, 50, 75))
            over = middle - base
            print(f"| {what} | {middle:.3f} | {low:.3f} | {high:.3f} | {over:+.3f} | {100 * over / base:+.1f} |")
        over = float(np.median(spent["Session.run"])) - base
        kept = over <= LIMIT_MS and over <= LIMIT_SHARE * base
        print(f"\nSession.run: {'within' if kept else 'ABOVE'} the limits of {LIMIT_MS:g} ms and {LIMIT_SHARE:.0%}")


if __name__ == "__main__":
    main()
