"""Weights of a bundle: read as they were written, halved where nothing is lost, refused where the file is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from steadyframe.models import weights_file
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.runtime.errors import BundleError

WEIGHTS = {
    "conv.weight": torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    "bn.num_batches_tracked": torch.tensor(123456),
    "bn.running_var": torch.tensor([1e5, 2.0, 3.3]),
    "tiny": torch.tensor([1e-7, 0.0]),
    "none": torch.zeros(0, 4),
}


def test_rounding_is_within_half_a_step_and_leaves_what_does_not_fit() -> None:
    rounded = weights_file.rounded(WEIGHTS)
    error = (rounded["conv.weight"] - WEIGHTS["conv.weight"]).abs() / WEIGHTS["conv.weight"].abs()
    assert 0 < float(error.max()) <= 2.0**-11
    assert weights_file.is_half_exact(rounded["conv.weight"])
    for name in ("bn.num_batches_tracked", "bn.running_var", "tiny", "none"):
        assert torch.equal(rounded[name], WEIGHTS[name])


def test_a_checkpoint_comes_back_from_safetensors_at_half_the_size(tmp_path: Path) -> None:
    config, metrics = {"net": {"width": 0.5}, "sizes": [1, 2]}, {"psnr": 21.25}
    checkpoint = Checkpoint("colorize", config, dict(WEIGHTS), step=7, seconds=1.5, metrics=metrics, commit="abc")
    assert not checkpoint.is_rounded()
    full = len(checkpoint.to_safetensors())
    checkpoint.round_weights()
    assert checkpoint.is_rounded()
    content = checkpoint.to_safetensors()
    assert full - len(content) == 2 * WEIGHTS["conv.weight"].numel()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    again = Checkpoint.load(path, task="colorize")
    assert (again.config, again.metrics, again.step, again.seconds, again.commit) == (config, metrics, 7, 1.5, "abc")
    for name, value in checkpoint.weights.items():
        assert again.weights[name].dtype == value.dtype and torch.equal(again.weights[name], value)
    with pytest.raises(BundleError, match="another task"):
        Checkpoint.load(path, task="pose")


def test_the_library_reads_the_file() -> None:
    library = pytest.importorskip("safetensors.numpy")
    read = library.load(weights_file.to_bytes(weights_file.rounded(WEIGHTS), {"format": "1"}))
    assert read["conv.weight"].dtype == np.float16 and set(read) == set(WEIGHTS)
    assert np.array_equal(read["bn.running_var"], WEIGHTS["bn.running_var"].numpy())


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-5], lambda b: b[:6], lambda b: b"\xff" * 8 + b[8:], lambda b: b"[1]"]
)
def test_a_damaged_file_is_refused(damage, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(damage(Checkpoint("pose", {}, dict(WEIGHTS)).to_safetensors()))
    with pytest.raises(BundleError, match="safetensors"):
        Checkpoint.load(path)


def test_a_bundle_without_weights_says_what_to_do(tmp_path: Path) -> None:
    from steadyframe.runtime.bundle.bundle import SHIPPED

    (tmp_path / "manifest.json").write_bytes((SHIPPED / "stylize-wave" / "manifest.json").read_bytes())
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        Checkpoint.load(tmp_path)
    with pytest.raises(BundleError, match="no checkpoint"):
        Checkpoint.load(tmp_path / "nothing.pt")
