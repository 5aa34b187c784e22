"""A training that starts from other weights keeps what they know."""

from __future__ import annotations

import pytest
import torch
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions
from steadyframe.models.colorize.start import start_from
from steadyframe.runtime.errors import BundleError


def test_equal_networks_become_equal() -> None:
    options = ColorizerOptions(width=0.125, batch_norm=True)
    old, new = Colorizer(options).eval(), Colorizer(options).eval()
    assert start_from(new, old.state_dict()) == []
    luma = torch.rand(1, 1, 224, 224)
    assert torch.equal(old(luma)["chroma"], new(luma)["chroma"])


def test_wider_layers_keep_the_narrow_ones_values() -> None:
    torch.manual_seed(0)
    old = Colorizer(ColorizerOptions(width=0.125, fusion="relu")).eval()
    new = Colorizer(ColorizerOptions(width=0.125, color_width=0.25, fusion="relu", head="distribution")).eval()
    fresh = start_from(new, old.state_dict())
    assert all(name.startswith(("bins.", "centers", "log_weights")) for name in fresh)
    low = old.low_level(torch.rand(1, 1, 32, 32) - 0.45)
    features = torch.rand(1, old.global_features)
    narrow, wide = (net.color2(net.color1(net._fuse(low, features))) for net in (old, new))
    assert wide.shape[1] == 2 * narrow.shape[1]
    torch.testing.assert_close(wide[:, : narrow.shape[1]], narrow)
    assert wide[:, narrow.shape[1] :].abs().sum() > 0  # the new channels are there, and are not dead


def test_the_new_training_keeps_its_own_weights_of_colors() -> None:
    options = ColorizerOptions(width=0.125, head="distribution")
    old, new = Colorizer(options), Colorizer(options)
    old.log_weights.fill_(3.0)
    assert set(start_from(new, old.state_dict())) == {"centers", "log_weights"}
    assert new.log_weights.abs().max() == 0


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(BundleError, match="cannot start"):
        start_from(Colorizer(ColorizerOptions(width=0.125)), {"detector.weight": torch.zeros(3)})
