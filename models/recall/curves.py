"""The curves of the recall experiment.

`python -m steadyframe.models.recall.curves runs/recall --image recall.png`
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import fmean, median
from typing import Any

from .task import ANSWER
from .train import ROWS

GUESSING = ANSWER * math.log(2)


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Read `plain/result.json` and `noisy/result.json`, whichever is there.

    Raises
    ------
    SystemExit
        If neither is there.
    """
    paths = {row: folder / row / "result.json" for row in ROWS}
    results = {row: json.loads(path.read_text()) for row, path in paths.items() if path.is_file()}
    if not results:
        raise SystemExit(f"There is no plain/result.json or noisy/result.json in {folder}; train a row first")
    return results


def best_rate(result: dict[str, Any]) -> tuple[float, list[list[float]]]:
    """Give the learning rate whose seeds end lowest in the mean, and its curves: one list of seeds a step."""
    args, curves = result["args"], result["progress"]["validation_nll"]
    parts = [[entry[i * args["seeds"] : (i + 1) * args["seeds"]] for entry in curves] for i in range(len(args["lr"]))]
    ends = [fmean(part[-1]) for part in parts]
    best = ends.index(min(ends))
    return args["lr"][best], parts[best]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Write, as Markdown, the last validation NLL of each seed at the best learning rate."""
    lines = ["| controller | lr | updates | NLL of each seed | median |", "|---|---|---|---|---|"]
    for row, result in results.items():
        lr, curves = best_rate(result)
        each = ", ".join(f"{x:.3f}" for x in sorted(curves[-1]))
        lines.append(f"| {row} | {lr:g} | {result['updates']} | {each} | {median(curves[-1]):.3f} |")
    return "\n".join([*lines, f"\nGuessing costs {GUESSING:.3f}."])


def draw_curves(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw validation NLL over updates: every seed, and the median."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), constrained_layout=True)
    for index, (row, result) in enumerate(results.items()):
        lr, curves = best_rate(result)
        steps, color = result["progress"]["step"], f"C{index}"
        axes.plot(steps, curves, color=color, linewidth=0.6, alpha=0.5)
        axes.plot(steps, [median(entry) for entry in curves], color=color, linewidth=2, label=f"{row}, lr {lr:g}")
    axes.axhline(GUESSING, color="grey", linestyle=":", label="guessing")
    axes.set(xlabel="updates", ylabel="validation NLL (mean over bits, sum of 3 vectors)", ylim=(0, 2.3))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m steadyframe.models.recall.curves", description=__doc__)
    parser.add_argument("folder", type=Path, help="has the folders plain and noisy")
    parser.add_argument("--image", type=Path, help="draw the curves here (PNG)")
    options = parser.parse_args()
    results = read_results(options.folder)
    print(table(results))
    if options.image:
        draw_curves(results, options.image)


if __name__ == "__main__":
    _main()
