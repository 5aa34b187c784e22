"""The table of the counting experiment beside the paper's, and its curves.

`python -m steadyframe.models.counting.table runs/counting --image counting.png`
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from .task import majority_error
from .train import ROWS

LABELS = {
    "reference": "LSTM + MLP",
    "nan": "NAN, c fixed at 0.5",
    "curriculum": "LSTM + MLP, curriculum",
    "nan-annealed": "NAN, c annealed",
    "nanil-annealed": "NANIL, c annealed",
    "hard": "hard functions, no noise (ours)",
}


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Read every `*/result.json` of a folder, row -> result.

    Raises
    ------
    SystemExit
        If there is none, or two belong to the same row.
    """
    results: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*/result.json")):
        result = json.loads(path.read_text())
        if result["row"] in results:
            raise SystemExit(f"{folder} holds two results of row {result['row']}; give a folder with one of each")
        results[result["row"]] = result
    if not results:
        raise SystemExit(f"There is no */result.json in {folder}; train a row first, see `Args`")
    return results


def chosen(result: dict[str, Any]) -> int:
    """Give the index of the setting with the lowest mean validation error."""
    errors = [fmean(setting["validation_error"]) for setting in result["settings"]]
    return errors.index(min(errors))


def table(results: dict[str, dict[str, Any]]) -> str:
    """Write the table, test errors in percent with the standard deviation over seeds, as Markdown."""
    lines = ["| row | test error % | seeds | updates | setting | paper |", "|---|---|---|---|---|---|"]
    for name, row in ROWS.items():
        if name not in results:
            continue
        result = results[name]
        setting = result["settings"][chosen(result)]
        errors = [100 * error for error in setting["test_error"]]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        what = f"lr {setting['lr']:g}" + (f", floor at {setting['anneal_until']:g}" if row.annealed else "")
        paper = "-" if row.paper is None else f"{row.paper:.2f}"
        cells = (LABELS[name], f"{fmean(errors):.2f}{spread}", len(errors), result["updates"], what, paper)
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    lines.append(f"\nAlways answering the most frequent count errs in {100 * majority_error():.1f} %.")
    return "\n".join(lines)


def draw_curves(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the validation error of each row's chosen setting over the updates: every seed, and their mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (errors, scale) = pyplot.subplots(
        2, 1, figsize=(7, 5.5), sharex=True, height_ratios=(4, 1), constrained_layout=True
    )
    for index, name in enumerate(name for name in ROWS if name in results):
        result, color = results[name], f"C{index}"
        seeds, best = result["args"]["seeds"], chosen(result)
        steps = result["progress"]["step"]
        curves = [
            [100 * error for error in entry[best * seeds : (best + 1) * seeds]]
            for entry in result["progress"]["validation_error"]
        ]
        errors.plot(steps, curves, color=color, linewidth=0.6, alpha=0.4)
        errors.plot(steps, [fmean(entry) for entry in curves], color=color, linewidth=2, label=LABELS[name])
        if ROWS[name].noise.startswith("nan"):
            scale.plot(steps, [entry[best * seeds] for entry in result["progress"]["c"]], color=color)
    errors.axhline(100 * majority_error(), color="grey", linestyle=":", label="always the most frequent count")
    errors.set(ylabel="validation error, %", ylim=(0, 62))
    errors.legend(fontsize=8)
    scale.set(ylabel="c", xlabel="updates of 64 sequences", yscale="log", ylim=(0.4, 40))
    scale.set_yticks([0.5, 1, 3, 10, 30], labels=["0.5", "1", "3", "10", "30"])
    scale.minorticks_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m steadyframe.models.counting.table", description=__doc__)
    parser.add_argument("folder", type=Path, help="has one folder for each row, each with a result.json")
    parser.add_argument("--image", type=Path, help="draw the curves here (PNG)")
    options = parser.parse_args()
    results = read_results(options.folder)
    print(table(results))
    if options.image:
        draw_curves(results, options.image)


if __name__ == "__main__":
    _main()
