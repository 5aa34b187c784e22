"""The three stages on a few real people: they run, they resume, they lower the loss, they leave a checkpoint."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose import train as training
from steadyframe.models.pose.batches import Batch, BatchOptions, PoseBatches, collate
from steadyframe.models.pose.edge import EdgeDetector, EdgeOptions
from steadyframe.models.pose.graph import PoseGraph
from steadyframe.models.pose.net import PoseNet, build
from steadyframe.models.pose.shards import convert_people
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.models.pose.trainers import NetTrainer, Validation
from steadyframe.runtime.errors import BundleError

SMALL = BatchOptions(size=64, stored_size=96, crops=4, scenes=3)


@pytest.fixture(scope="module")
def options(pose_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return training.TrainOptions(
        data=pose_data, out=folder / "out", cache=folder / "cache", minutes=0.05, batch=SMALL, stored=8
    )


@pytest.fixture(scope="module")
def trained(options) -> Checkpoint:
    torch.set_num_threads(2)
    return Checkpoint.load(training.train(options), task="pose")


def test_every_stage_leaves_a_checkpoint_that_builds_the_network(trained, options):
    net = build(trained.config)
    net.load_state_dict(trained.weights)
    assert net.spatial is not None and trained.training == {}
    assert {"lsp_pck", "new_pck", "webcam_pck"} <= set(trained.metrics)
    assert np.isfinite(trained.config["calibration"]).all()
    assert trained.config["joints"] == list(SKELETONS["union-19"].joints) and trained.config["size"] == 64
    for stage in training.STAGES:
        assert (options.out / stage / "last.pt").is_file() and any((options.out / stage / "sheets").iterdir())
    detector = Checkpoint.load(options.out / "detector.pt", task="pose")
    assert detector.config["spatial"] is None


def test_a_run_that_is_repeated_goes_on_and_does_not_start_anew(trained, options):
    before = Checkpoint.load(options.out / "detector" / "last.pt").step
    training.train(replace(options, stages=("detector",), minutes=0.06))
    after = Checkpoint.load(options.out / "detector" / "last.pt")
    assert after.step > before >= 1


def test_a_detector_that_is_trained_on_leaves_its_spatial_model_behind(trained, options, tmp_path):
    again = replace(options, out=tmp_path, stages=("detector",), minutes=0.01, start=options.out / "joint.pt")
    detector = Checkpoint.load(training.train(again), task="pose")
    assert detector.config["spatial"] is None and not any("spatial" in name for name in detector.weights)


def test_a_spatial_model_can_be_told_the_torso_and_is_not_exported(trained, options, tmp_path):
    again = replace(
        options,
        out=tmp_path,
        stages=("spatial", "joint"),
        minutes=0.02,
        start=options.out / "detector.pt",
        torso=True,
    )
    checkpoint = Checkpoint.load(training.train(again), task="pose")
    net = build(checkpoint.config)
    net.load_state_dict(checkpoint.weights)
    assert net.spatial is not None and net.spatial.kernels.shape[:2] == (19, 20)
    with pytest.raises(BundleError, match="torso"):
        PoseGraph(net)


def test_network_paper_trains_the_papers_detector_and_spatial_model(options, tmp_path):
    paper = replace(
        options, out=tmp_path, network="paper", stages=("detector", "spatial"), minutes=0.02, stored=4,
        batch=replace(SMALL, crops=2),
    )  # fmt: skip
    checkpoint = Checkpoint.load(training.train(paper), task="pose")
    assert checkpoint.step >= 1 and checkpoint.config["network"] == "paper"
    net = build(checkpoint.config)
    net.load_state_dict(checkpoint.weights)
    wide = [m.weight.shape for m in net.detector.banks[1].modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(net.detector.banks) == 2 and wide[-1] == (512, 128, 9, 9)
    assert net.spatial is not None and net.spatial.options.coarsen == 1


def test_a_few_people_are_learned_by_heart(options):
    torch.manual_seed(0)
    batches = PoseBatches(options.data, SKELETONS["union-19"], replace(SMALL, crops=8), cache=options.cache)
    batch = batches.draw()

    class Same:
        options = batches.options

        def draw(self, device: str) -> Batch:
            return batch

    net = PoseNet(EdgeDetector(EdgeOptions(fine=16, coarse=(24, 32, 40))))
    trainer = NetTrainer(net, Same(), Validation({}, SKELETONS["union-19"], 64, "cpu"), seconds=600, rate=3e-3)
    for group in trainer.optimizer.param_groups:
        group["lr"] = 3e-3
    net.train()
    history = []
    for step in range(60):
        losses = trainer.losses(step)
        trainer.optimizer.zero_grad()
        losses["loss"].backward()
        trainer.optimizer.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    assert set(history[0]) == {"maps", "cells", "centre", "box", "presence", "empty", "loss"}
    assert history[-1]["maps"] < 0.5 * history[0]["maps"]
    assert history[-1]["centre"] < 0.7 * history[0]["centre"]


def test_batches_hold_crops_first_and_scenes_after(options):
    batches = PoseBatches(options.data, SKELETONS["union-19"], SMALL, cache=options.cache)
    batch = batches.draw()
    assert batch.crops == 4 and batch.image.shape == (7, 3, 64, 64)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert batch.image.min() >= 0 and batch.image.max() <= 1
    assert not batch.sure[:4].any() and not batch.weight[4:].any()
    batches.size = 96
    sizes = [batches.draw().image.shape[-1] for _ in range(8)]
    assert sizes[-1] == 96


def test_crops_come_from_shards_as_well(options, tmp_path):
    labels = options.data / "pose" / "teacher" / "people_train.json"
    convert_people([labels], tmp_path / "shards", roots=[options.data])
    streamed = replace(SMALL, scenes=0, streamed=1.0)
    batches = PoseBatches(
        options.data, SKELETONS["union-19"], streamed, cache=options.cache, shards=[tmp_path / "shards"]
    )
    batch = batches.draw()
    assert batch.crops == 4 and batch.image.shape == (4, 3, 64, 64) and batch.weight.any()
    again = replace(options, out=tmp_path / "out", stages=("detector",), minutes=0.01, shards=(tmp_path / "shards",))
    assert Checkpoint.load(training.train(again), task="pose").step >= 1


def test_a_failure_in_the_threads_reaches_the_trainer(options):
    batches = PoseBatches(options.data, SKELETONS["union-19"], replace(SMALL, threads=0), cache=options.cache)
    batches.size = -1
    batches.options = replace(batches.options, threads=1)
    batches._work(0)
    with pytest.raises((ValueError, AssertionError, cv2.error)):
        batches.draw()


def test_collate_keeps_blue_first(options):
    batches = PoseBatches(options.data, SKELETONS["union-19"], replace(SMALL, threads=0), cache=options.cache)
    from steadyframe.models.pose.augment import Cropper

    sample = Cropper(batches.people, batches.skeleton, np.random.default_rng(0)).plain(0, 64)
    image = collate([sample], 1, "cpu").image
    assert torch.allclose(image[0, 0] * 255, torch.from_numpy(sample.image[..., 0]).float(), atol=1e-3)


def test_the_command_names_what_is_missing(tmp_path):
    empty = tmp_path / "data"
    empty.mkdir()
    result = CliRunner().invoke(training.command, ["--data", str(empty), "--out", str(tmp_path / "out")])
    assert result.exit_code != 0 and "label file" in str(result.exception)
