"""Command line of the recall experiment: every field of `Args` is an option."""

from __future__ import annotations

from ..options import parse
from .train import ROWS, Args, train


def _main() -> None:
    args = parse(Args, program="python -m steadyframe.models.recall", choices={"row": ROWS})
    result = train(args)
    last = result["progress"]["validation_nll"][-1]
    for i, lr in enumerate(args.lr):
        each = " ".join(f"{x:.3f}" for x in last[i * args.seeds : (i + 1) * args.seeds])
        print(f"{args.row}, lr {lr:g}: validation nll {each} after {result['updates']} updates; guessing costs 2.079")


if __name__ == "__main__":
    _main()
