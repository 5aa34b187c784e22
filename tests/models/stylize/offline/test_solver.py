"""The solver: it finds minima, stops by the paper's rule, and does not take an early exit for an answer."""

from __future__ import annotations

import pytest
import torch
from steadyframe.models.stylize.offline.solver import SolverOptions, minimize
from torch import Tensor

START = torch.zeros(1, 1, 4, 4)


def bowl(image: Tensor) -> Tensor:
    scales = torch.arange(1, 17, dtype=torch.float32).view(1, 1, 4, 4)
    return (scales * (image - 0.5).square()).mean() + 1.0


def test_finds_the_minimum_and_leaves_the_start_alone() -> None:
    start = START.clone()
    found = minimize(bowl, start, SolverOptions(iterations=200))
    assert torch.allclose(found.image, torch.full_like(START, 0.5), atol=1e-3)
    assert found.loss == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(start, START)


def test_stops_when_an_interval_brings_less_than_the_tolerance() -> None:
    found = minimize(bowl, START, SolverOptions(iterations=10_000, restarts=0))
    assert found.reason in ("converged", "restarts")
    assert found.iterations <= 200


def test_runs_all_iterations_without_a_tolerance() -> None:
    def valley(image: Tensor) -> Tensor:  # Rosenbrock's: slow enough for any solver
        x, y = image[..., :2, :], image[..., 2:, :]
        return ((1 - x).square() + 100 * (y - x.square()).square()).mean()

    seen: list[int] = []
    options = SolverOptions(iterations=30, interval=10, tolerance=0.0)
    found = minimize(valley, START, options, lambda iterations, _: seen.append(iterations))
    assert found.reason == "iterations" and found.iterations == 30
    assert seen == [10, 20, 30]


def test_an_early_exit_is_answered_by_a_restart() -> None:
    """A loss that turns to NaN once makes L-BFGS lose its way; the best image is kept and the run goes on."""
    calls = 0

    def treacherous(image: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return bowl(image) * (float("nan") if 5 <= calls <= 6 else 1.0)

    found = minimize(treacherous, START, SolverOptions(iterations=300))
    assert found.restarts >= 1
    assert torch.allclose(found.image, torch.full_like(START, 0.5), atol=1e-2)


def test_the_guard_gives_up_in_the_end() -> None:
    flat = minimize(lambda image: (0 * image).sum() + 2.0, START, SolverOptions(restarts=3))
    assert flat.reason == "restarts" and flat.restarts == 3


def test_a_start_without_a_loss_is_an_error() -> None:
    with pytest.raises(FloatingPointError):
        minimize(lambda image: image.sum() * float("nan"), START, SolverOptions())
    with pytest.raises(ValueError, match="at least 1"):
        SolverOptions(iterations=0)
