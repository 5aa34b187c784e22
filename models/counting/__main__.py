"""Command line of the counting experiment: every field of `Args` is an option."""

from __future__ import annotations

from statistics import fmean

from ..options import parse
from .task import majority_error
from .train import ROWS, Args, train


def _main() -> None:
    args = parse(Args, program="python -m steadyframe.models.counting", choices={"row": ROWS})
    result = train(args)
    print(f"{args.row}: always answering the most frequent count errs in {100 * majority_error():.1f} %")
    for setting in result["settings"]:
        errors = 100 * fmean(setting["test_error"])
        what = ", ".join(f"{k} {setting[k]:g}" for k in ("lr", "c_start", "anneal_until"))
        each = " ".join(f"{100 * e:.2f}" for e in setting["test_error"])
        print(f"  {what}: test error {errors:.2f} % ({each}) after {result['updates']} updates")


if __name__ == "__main__":
    _main()
