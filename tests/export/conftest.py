"""A small colorizer, untrained but with every statistic off its initial value, and its bundle."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.colorize.net import Colorizer, ColorizerOptions
from steadyframe.runtime.bundle.bundle import Bundle


def small_checkpoint(noise: str | None) -> Checkpoint:
    torch.manual_seed(0)
    options = ColorizerOptions(width=0.125, batch_norm=True, noise=noise)
    net = Colorizer(options)
    for _ in range(3):  # moves the batch norms' running statistics
        net(torch.rand(2, 1, 224, 224))
    return Checkpoint(task="colorize", config={"net": dataclasses.asdict(options)}, weights=net.state_dict())


@pytest.fixture(scope="session", params=[None, "nan", "nah"], ids=["plain", "nan", "nah"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return small_checkpoint(request.param)


@pytest.fixture(scope="session")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(checkpoint, tmp_path_factory.mktemp("bundle") / "small", BundleFacts(name="small"))
