"""Associative recall: the sequences, the machine's addressing, training and its curves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from steadyframe.models.recall.curves import draw_curves, read_results, table
from steadyframe.models.recall.net import ADDRESS, TuringMachine, _address
from steadyframe.models.recall.task import ANSWER, BITS, CHANNELS, ITEM, draw, steps
from steadyframe.models.recall.train import ROWS, Args, train

CPU = torch.device("cpu")
SMALL = {"hidden": 8, "slots": 6, "width": 4, "batch": 4, "updates": 4, "evaluate_every": 2, "max_items": 3}


def test_the_answer_is_the_item_after_the_query() -> None:
    torch.manual_seed(0)
    inputs, answers = draw((200,), min_items=2, max_items=5, device=CPU)
    assert inputs.shape == (200, steps(5), CHANNELS)
    assert answers.shape == (200, ANSWER, BITS)
    lengths = set()
    for sequence, answer in zip(inputs, answers, strict=True):
        starts = sequence[:, BITS].nonzero().flatten().tolist()
        items = [sequence[start + 1 : start + 1 + ITEM, :BITS] for start in starts]
        lengths.add(len(items))
        first, last = sequence[:, BITS + 1].nonzero().flatten().tolist()
        assert (first, last) == (5 * (ITEM + 1), 5 * (ITEM + 1) + ITEM + 1)
        query = sequence[first + 1 : last, :BITS]
        places = [i for i, item in enumerate(items) if torch.equal(item, query)]
        assert any(i + 1 < len(items) and torch.equal(items[i + 1], answer) for i in places)
        assert not sequence[last + 1 :].any()  # nothing is shown while answering
        assert not sequence[: starts[0]].any()
    assert lengths == {2, 3, 4, 5}


def _say(key: list[float], strength: float, gate: float, shift: list[float], sharpness: float) -> torch.Tensor:
    """What one head would have to say, (1, 1, 2, ADDRESS + width), the same for both heads."""
    said = torch.tensor([strength, gate, *shift, sharpness, *key])
    assert len(said) == ADDRESS + len(key)
    return said.expand(1, 1, 2, -1)


def test_addressing_by_content_by_place_and_by_shift() -> None:
    memory = torch.eye(5).view(1, 1, 5, 5)
    places = torch.zeros(1, 1, 2, 5)
    places[..., 1] = 1
    key, none = [0.0, 0.0, 0.0, 5.0, 0.0], [0.0] * 5
    stay, on, back = [0.0, 50.0, 0.0], [0.0, 0.0, 50.0], [50.0, 0.0, 0.0]
    assert _address(_say(key, 50.0, 50.0, stay, 5.0), places, memory)[0, 0, 0].argmax() == 3
    assert _address(_say(none, 0.0, -50.0, stay, 5.0), places, memory)[0, 0, 0].argmax() == 1
    assert _address(_say(none, 0.0, -50.0, on, 5.0), places, memory)[0, 0, 1].argmax() == 2
    assert _address(_say(key, 50.0, 50.0, back, 5.0), places, memory)[0, 0, 0].argmax() == 2
    found = _address(_say(key, 1.0, 0.3, [0.1, 0.2, 0.3], 0.0), places, memory)
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 1, 2))


@pytest.mark.parametrize("noisy", [False, True])
def test_copies_do_not_see_each_other_and_guessing_costs_three_ln_two(noisy: bool) -> None:
    torch.manual_seed(0)
    net = TuringMachine(copies=2, hidden=8, slots=6, width=4, noisy=noisy)
    inputs, _ = draw((2, 3), min_items=2, max_items=3, device=CPU)
    scores = net(inputs, torch.full((1, 1, 1), 30.0))
    assert scores.shape == (2, 3, ANSWER, BITS)
    for name, gradient in zip(
        dict(net.named_parameters()),
        torch.autograd.grad(scores[0].square().sum(), list(net.parameters())),
        strict=True,
    ):
        assert not gradient[1].any(), name
        assert torch.isfinite(gradient).all(), name
    net.out.data.zero_()
    zero = net.eval()(inputs, torch.full((1, 1, 1), 30.0))
    nll = torch.nn.functional.binary_cross_entropy_with_logits(zero, torch.ones_like(zero)) * ANSWER
    assert nll.item() == pytest.approx(3 * math.log(2))


def test_rows_train_resume_and_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyframe.models.recall.train.VALIDATION_SIZE", 16)
    for row in ROWS:
        args = Args(row=row, seeds=2, lr=(0.001, 0.01), out=str(tmp_path / row), **SMALL)
        assert train(Args(**{**vars(args), "minutes": 0.0}))["updates"] == 0
        result = train(args)
        assert result["updates"] == 4
        assert result["progress"]["step"] == [2, 4]
        assert len(result["progress"]["validation_nll"][0]) == 4
        assert json.loads((tmp_path / row / "result.json").read_text())["row"] == row
        with pytest.raises(SystemExit, match="other options"):
            train(Args(**{**vars(args), "batch": 5}))
    results = read_results(tmp_path)
    assert "Guessing costs 2.079." in table(results)
    draw_curves(results, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="train a row first"):
        read_results(tmp_path / "plain")


def test_unknown_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no row 'loud'"):
        train(Args(row="loud", out=str(tmp_path)))
