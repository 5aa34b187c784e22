"""Command line of the counting experiment: every field of `Args` is an option."""

from __future__ import annotations

import argparse
from dataclasses import fields
from statistics import fmean

from .task import majority_error
from .train import ROWS, Args, train


def _parse() -> Args:
    parser = argparse.ArgumentParser(prog="python -m steadyframe.models.counting", description=__doc__)
    for option in fields(Args):
        name, default = "--" + option.name.replace("_", "-"), option.default
        if option.name == "row":
            parser.add_argument(name, choices=sorted(ROWS), default=default)
        elif isinstance(default, bool):
            parser.add_argument(name, action="store_true")
        elif isinstance(default, tuple):
            parser.add_argument(name, type=float, nargs="+", default=default, help="several values are searched over")
        else:
            parser.add_argument(name, type=type(default), default=default)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args()).items()}
    return Args(**given)


def _main() -> None:
    result = train(_parse())
    print(f"{result['row']}: always answering the most frequent count errs in {100 * majority_error():.1f} %")
    for setting in result["settings"]:
        errors = 100 * fmean(setting["test_error"])
        what = ", ".join(f"{k} {setting[k]:g}" for k in ("lr", "c_start", "anneal_until"))
        each = " ".join(f"{100 * e:.2f}" for e in setting["test_error"])
        print(f"  {what}: test error {errors:.2f} % ({each}) after {result['updates']} updates")


if __name__ == "__main__":
    _main()
