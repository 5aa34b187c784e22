"""An image of every noisy activation: `python -m steadyframe.models.activations.curves noisy-activations.png`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from .factory import KINDS, Noise, sigmoid, tanh

SHOWN_P, DRAWS = 1.0, 4000
# The authors' noise is too small to be seen in an image of this size.
SHOWN_C = {"nan": 4.0, "nah": 4.0, "nani": 0.5, "nanis": 0.5, "nanil": 0.5}


def draw_curves(path: Path) -> None:
    """Draw hard function, mean and one standard deviation of each kind, tanh above and sigmoid below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(2, len(KINDS), figsize=(13, 5), sharex=True, sharey="row", constrained_layout=True)
    x = torch.linspace(-4, 4, 401)[:, None]
    for axes, make in zip(rows, (tanh, sigmoid), strict=True):
        for axis, kind in zip(axes, KINDS, strict=True):
            made = make(Noise(kind=kind, c=SHOWN_C[kind]), 1, dim=-1)
            if made.p is not None:
                made.p.data.fill_(SHOWN_P)
            with torch.no_grad():
                samples = made.train()(x.expand(DRAWS, *x.shape)).squeeze(-1)
                mean = made.eval()(x).flatten()
            spread = (samples - mean).square().mean(0).sqrt()
            axis.fill_between(
                x.flatten(), mean - spread, mean + spread, alpha=0.3, linewidth=0, label="± 1 deviation"
            )
            axis.plot(x, mean, label="mean: eval mode, export")
            axis.plot(x, made.function(x), color="black", linestyle=":", linewidth=1, label="hard function")
            if make is tanh:
                axis.set_title(f"{kind.upper()}, c = {SHOWN_C[kind]:g}", fontsize=10)
        axes[0].set_ylabel(f"hard {make.__name__}")
    rows[0][0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m steadyframe.models.activations.curves", description=__doc__)
    parser.add_argument("image", type=Path)
    draw_curves(parser.parse_args().image)
