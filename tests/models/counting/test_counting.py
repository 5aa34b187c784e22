"""The counting experiment: the task, the batched network against torch's, training and its table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from steadyframe.models.counting.net import CountingNet, losses
from steadyframe.models.counting.table import chosen, draw_curves, read_results, table
from steadyframe.models.counting.task import (
    LENGTH,
    SYMBOLS,
    count_distribution,
    count_unique,
    draw,
    majority_error,
    one_hot,
)
from steadyframe.models.counting.train import ROWS, Args, Run, train
from torch import nn

CPU = torch.device("cpu")
SMALL = {"hidden": 6, "mlp": 5, "batch": 8, "updates": 6, "evaluate_every": 3}


def test_counts_are_those_of_python() -> None:
    torch.manual_seed(0)
    sequences = draw((50,), device=CPU)
    assert sequences.shape == (50, LENGTH)
    for length in (26, 7, 1):
        seen = (torch.arange(LENGTH) < length).float()
        expected = [len(set(sequence[:length])) for sequence in sequences.tolist()]
        assert count_unique(one_hot(sequences), seen).tolist() == expected


def test_majority_error_is_that_of_the_generator() -> None:
    assert sum(count_distribution()) == pytest.approx(1)
    assert majority_error() == pytest.approx(0.558, abs=5e-4)
    torch.manual_seed(0)
    counts = Counter(count_unique(one_hot(draw((40_000,), device=CPU)), torch.ones(LENGTH)).tolist())
    for count, share in enumerate(count_distribution()):
        assert counts[count] / 40_000 == pytest.approx(share, abs=0.01)
    assert max(counts) <= SYMBOLS


def test_every_copy_is_torchs_lstm_with_a_mean_over_time_and_an_mlp() -> None:
    torch.manual_seed(0)
    net = CountingNet(copies=3, hidden=6, mlp=5, noise="soft")
    hot, seen = one_hot(draw((3, 4), device=CPU)), (torch.arange(LENGTH) < 20).float()
    scores = net(hot, seen, torch.ones(3, 1, 1))
    # Ours has the gates in the order i, f, o, g; torch has i, f, g, o.
    order = torch.cat([torch.arange(0, 12), torch.arange(18, 24), torch.arange(12, 18)])
    for copy in range(3):
        lstm = nn.LSTM(SYMBOLS, 6, batch_first=True)
        lstm.weight_ih_l0.data = net.from_input[copy].T[order]
        lstm.weight_hh_l0.data = net.from_hidden[copy].T[order]
        lstm.bias_ih_l0.data, lstm.bias_hh_l0.data = net.bias[copy, 0, order], torch.zeros(24)
        pooled = lstm(hot[copy])[0][:, :20].mean(1)
        hidden = (pooled @ net.mlp_weight[copy] + net.mlp_bias[copy]).relu()
        expected = hidden @ net.out_weight[copy] + net.out_bias[copy]
        torch.testing.assert_close(scores[copy], expected)


@pytest.mark.parametrize("noise", ["soft", "hard", "nan", "nanil"])
def test_copies_do_not_see_each_other(noise: str) -> None:
    torch.manual_seed(0)
    net = CountingNet(copies=2, hidden=6, mlp=5, noise=noise).train()
    hot, seen = one_hot(draw((2, 4), device=CPU)), torch.ones(LENGTH)
    each = losses(net(hot, seen, torch.full((2, 1, 1), 30.0)), count_unique(hot, seen))
    for gradient in torch.autograd.grad(each[0], list(net.parameters())):
        assert not gradient[1].any()
        assert torch.isfinite(gradient).all()


def test_noise_while_training_and_none_in_eval() -> None:
    torch.manual_seed(0)
    net = CountingNet(copies=1, hidden=6, mlp=5, noise="nan")
    for weight in (net.from_input, net.from_hidden):
        weight.data *= 10  # into the saturated zones
    hot, seen, c = one_hot(draw((1, 4), device=CPU)), torch.ones(LENGTH), torch.full((1, 1, 1), 30.0)
    assert not torch.equal(net.train()(hot, seen, c), net(hot, seen, c))
    assert torch.equal(net.eval()(hot, seen, c), net(hot, seen, c))


def test_annealing_and_curriculum_follow_the_update() -> None:
    run = Run(Args(row="nan-annealed", updates=1000, anneal_until=(0.5, 720.0), seeds=1, hidden=4, mlp=4))
    found = []
    for step in (0, 250, 499, 500, 999):
        run.step.fill_(step)
        found.append(run.c().flatten().tolist())
    assert found[0] == [30.0, 30.0]
    assert found[1][0] == pytest.approx(30 / (1 + 0.5 * 3599) ** 0.5, rel=1e-4)
    assert found[2][0] > 0.5
    assert found[3][0] == found[4][0] == pytest.approx(0.5, abs=1e-4)
    # 720 runs of 1000 updates is the paper's own schedule: one tick in 200 updates.
    assert found[4][1] == pytest.approx(30 / (1 + 999 / 200.06) ** 0.5, rel=1e-3)
    fixed = Run(Args(row="nan", seeds=1, hidden=4, mlp=4))
    assert fixed.c().flatten().tolist() == [0.5]
    lessons = Run(Args(row="curriculum", updates=1000, curriculum_until=0.5, seeds=1, hidden=4, mlp=4))
    lengths = []
    for step in (0, 250, 500, 900):
        lessons.step.fill_(step)
        lengths.append(int(lessons.seen().sum()))
    assert lengths == [2, 14, 26, 26]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains_resumes_and_reports(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyframe.models.counting.train.VALIDATION_SIZE", 64)
    monkeypatch.setattr("steadyframe.models.counting.train.TEST_SIZE", 64)
    args = Args(row=row, seeds=2, lr=(0.01, 0.001), out=str(tmp_path / row), **SMALL)
    first = train(Args(**{**vars(args), "minutes": 0.0}))
    assert first["updates"] == 0
    result = train(args)
    assert result["updates"] == 6
    assert result["progress"]["step"] == [3, 6]
    assert [len(setting["test_error"]) for setting in result["settings"]] == [2, 2]
    assert all(0 <= error <= 1 for setting in result["settings"] for error in setting["test_error"])
    assert json.loads((tmp_path / row / "result.json").read_text()) == json.loads(json.dumps(result))
    with pytest.raises(SystemExit, match="other options"):
        train(Args(**{**vars(args), "batch": 9}))


def test_training_learns_the_shortest_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps: whether they differ. Always saying 2 costs 0.305 nats."""
    run = Run(Args(row="hard", seeds=1, lr=(0.03,), updates=10**9, hidden=16, mlp=16, batch=128))
    monkeypatch.setattr(run, "seen", lambda: torch.cat((torch.ones(2), torch.zeros(LENGTH - 2))))
    for _ in range(270):
        run.update()
    run.loss_sum.zero_()
    for _ in range(30):
        run.update()
    assert float(run.loss_sum) / 30 < 0.05


def _result(row: str, errors: list[list[float]], validation: list[list[float]]) -> dict:
    settings = [
        {"lr": 0.01 * (i + 1), "anneal_until": 0.5, "test_error": e, "validation_error": v}
        for i, (e, v) in enumerate(zip(errors, validation, strict=True))
    ]
    flat = [x for e in validation for x in e]
    progress = {"step": [1, 2], "validation_error": [flat, flat], "c": [[30.0] * len(flat), [0.5] * len(flat)]}
    return {
        "row": row, "updates": 2, "args": {"seeds": len(errors[0])}, "settings": settings, "progress": progress,
    }  # fmt: skip


def test_the_table_chooses_by_validation_and_shows_the_spread(tmp_path: Path) -> None:
    result = _result("nan-annealed", [[0.5, 0.5], [0.1, 0.2]], [[0.3, 0.3], [0.2, 0.2]])
    assert chosen(result) == 1
    for row, content in (("a", result), ("b", _result("reference", [[0.4, 0.4]], [[0.4, 0.4]]))):
        (tmp_path / row).mkdir()
        (tmp_path / row / "result.json").write_text(json.dumps(content))
    results = read_results(tmp_path)
    text = table(results)
    assert "| 15.00 ± 7.07 | 2 | 2 | lr 0.02, floor at 0.5 | 9.53 |" in text
    assert "33.28" in text
    assert "errs in 55.8 %" in text
    draw_curves(results, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "result.json").write_text(json.dumps(result))
    with pytest.raises(SystemExit, match="two results"):
        read_results(tmp_path)
