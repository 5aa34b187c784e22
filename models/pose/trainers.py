"""The three stages as trainers of the shared loop: detector, spatial model on stored heat-maps, both together.

Owns what a step means in each stage, validation and sheets, and the learning rate that follows the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...runtime.bundle.manifest import Skeleton
from ..training import WorkClock
from .augment import Cropper
from .batches import Batch, PoseBatches, collate
from .edge import STRIDE
from .evaluate import evaluate
from .losses import box_loss, cell_loss, centre_loss, map_loss, presence_loss
from .net import PoseNet
from .people import People
from .scenes import person_targets
from .sheet import crop_sheet, scene_sheet
from .spatial import SpatialModel
from .targets import gaussians, to_cells, torso_cells, torso_maps

SIZES = ((0.42, 128), (0.6, 160))  # the detector's training sees crops of these sizes up to these shares of its time
CELL_WEIGHT = 0.15  # of the cross-entropy over cells beside the squared error
WARM_UP = 0.04  # share of a stage in which the learning rate climbs
EMPTY_WEIGHT = 0.3  # of the empty heat-maps that a scene without people should give


class ClockSchedule(torch.optim.lr_scheduler.LRScheduler):
    """Half a cosine over a budget of time, so that the rate has fallen to nothing when the time is up.

    A run on a shared machine does not know its number of steps, but it knows its minutes. Seconds of earlier parts of
    a resumed run count.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, seconds: float) -> None:
        self.budget, self.before, self.clock = seconds, 0.0, WorkClock()
        self.done = 0.0
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """Give the rate of now."""
        done = self.done = min(1.0, (self.before + self.clock()) / self.budget)
        if done < WARM_UP:
            factor = max(0.02, done / WARM_UP)
        else:
            factor = 0.5 * (1 + float(np.cos(np.pi * (done - WARM_UP) / (1 - WARM_UP)))) + 1e-3
        return [rate * factor for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Keep what a resumed run needs."""
        return {"spent": self.before + self.clock(), "last_epoch": self.last_epoch, "base_lrs": self.base_lrs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.before, self.last_epoch = float(state_dict["spent"]), int(state_dict["last_epoch"])
        self.base_lrs, self.clock = list(state_dict["base_lrs"]), WorkClock()


@dataclass(slots=True)
class Validation:
    """People to measure on, by the prefix of their figures; `size` follows the size that is trained at."""

    sets: Mapping[str, People]
    skeleton: Skeleton
    size: int
    device: str
    pairs: bool = False  # measure with a second person beside

    def measure(self, net: nn.Module) -> dict[str, float]:
        """Give mean PCK of the limb joints of every set, and of a few joints that matter."""
        figures: dict[str, float] = {}
        for prefix, people in self.sets.items():
            seen = evaluate(net, people, self.skeleton, size=self.size, device=self.device, pairs=self.pairs)
            shares = seen.pck()
            figures[f"{prefix}_pck"] = shares["limbs"]
            hard = [shares[name] for name in ("left_wrist", "right_wrist") if name in shares]
            if hard:
                figures[f"{prefix}_wrist"] = float(np.mean(hard))
        return figures

    def sheet(self, net: nn.Module, batches: PoseBatches | None) -> NDArray[np.uint8]:
        """Draw sixteen people of each set, and scenes if there is a maker of them: (H, W, 3) uint8 BGR."""
        parts = []
        for people in self.sets.values():
            cropper = Cropper(people, self.skeleton, np.random.default_rng(0))
            pick = np.linspace(0, len(people) - 1, 16).astype(int)
            batch = collate([cropper.plain(int(i), self.size) for i in pick], 16, self.device)
            parts.append(crop_sheet(batch.image, net(batch.image)["final"], self.skeleton))
        if batches is not None and batches.options.scenes:
            scenes = torch.cat([batches.draw(self.device).image[batches.options.crops :] for _ in range(2)])
            found = net(scenes)
            if "centre" in found and scenes.shape[-1] == self.size:
                parts.append(scene_sheet(scenes, found["centre"], found["box"]))
        return np.vstack(parts)


class NetTrainer:
    """Stage one (`net.spatial` is None) and stage three (both together)."""

    task = "pose"

    def __init__(
        self, net: PoseNet, batches: PoseBatches, validation: Validation, *, seconds: float, rate: float
    ) -> None:
        self.net, self.batches, self.validation = net, batches, validation
        self.batch_size = batches.options.crops
        kernels = None if net.spatial is None else net.spatial.kernels
        plain = [p for p in net.parameters() if p.ndim < 2 or p is kernels]
        ids = {id(p) for p in plain}
        decayed = [p for p in net.parameters() if id(p) not in ids]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=rate, fused=True)
        self.scheduler = ClockSchedule(self.optimizer, seconds)
        self.full_size = batches.options.size

    def config(self) -> dict[str, Any]:
        """Describe network, skeleton and image size."""
        return self.net.config() | {"joints": list(self.validation.skeleton.joints), "size": self.full_size}

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Draw a batch and compute the scalar losses."""
        alone = self.net.spatial is None
        sizes = [size for share, size in SIZES if alone and self.scheduler.done < share and size < self.full_size]
        self.batches.size = sizes[0] if sizes else self.full_size
        batch = self.batches.draw(self.validation.device)
        with torch.autocast(batch.image.device.type, enabled=False):
            target = map_targets(batch)
        outputs = self.net.detector(batch.image)
        weight, maps = batch.weight[: batch.crops], outputs["maps"][: batch.crops]
        shown = batch.shown[: batch.crops]
        losses = {
            "maps": map_loss(maps, target, weight),
            "cells": CELL_WEIGHT * cell_loss(maps, target, weight, shown),
        }
        if self.net.spatial is not None:
            cells, names = to_cells(batch.joints[: batch.crops], STRIDE), self.validation.skeleton.joints
            torso = torso_maps(cells, shown, names, (maps.shape[-2], maps.shape[-1]))
            losses["final"] = map_loss(self.net.spatial(maps, torso), target, weight)
        if "centre" in outputs and len(batch.image) > batch.crops:
            losses |= person_losses(outputs, batch)
        return losses | {"loss": torch.stack(list(losses.values())).sum()}

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure on the validation sets."""
        return self.validation.measure(net)

    def sheet(self, net: nn.Module) -> NDArray[np.uint8] | None:
        """Draw people and scenes: (H, W, 3) uint8 BGR."""
        return self.validation.sheet(net, self.batches)


def map_targets(batch: Batch) -> Tensor:
    """Give the crops' heat-map targets (B, J, h, w), empty where the joint is not shown."""
    grid = batch.image.shape[-1] // STRIDE
    joints, shown = batch.joints[: batch.crops], batch.shown[: batch.crops]
    return gaussians(to_cells(joints, STRIDE), (grid, grid)) * shown[..., None, None]


def person_losses(outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Compute the scalar losses of finding people; a crop labels its own person only, an empty scene labels all."""
    heat, heat_weight, value, value_weight = person_targets(
        batch.boxes, batch.sure, batch.image.shape[-1], batch.ignored
    )
    visible = batch.shown.sum(1) >= 4
    known = visible.float()
    known[batch.crops :] = 0
    nobody = batch.empty.float()
    empty_maps = outputs["maps"].float().square().sum((2, 3)).mean(1)
    return {
        "centre": 0.5 * centre_loss(outputs["centre"], heat, heat_weight),
        "box": 0.5 * box_loss(outputs["box"], value, value_weight),
        "presence": 0.5 * presence_loss(outputs["presence"], visible, known + nobody),
        "empty": EMPTY_WEIGHT * (empty_maps * nobody).sum() / nobody.sum().clamp(min=1),
    }


@dataclass(slots=True)
class StoredMaps:
    """Heat-maps of random crops, kept on the device as half floats, with what they should have been."""

    maps: Tensor
    cells: Tensor
    shown: Tensor
    weight: Tensor

    @classmethod
    @torch.no_grad()
    def make(cls, net: PoseNet, batches: PoseBatches, count: int, device: str) -> StoredMaps:
        """Run the detector over `count` random crops."""
        net.eval()
        kept: list[tuple[Tensor, ...]] = []
        batches.size = batches.options.size
        while len(kept) * batches.options.crops < count:
            batch = batches.draw(device)
            crops = slice(0, batch.crops)
            if batch.image.shape[-1] != batches.size:
                continue  # made before the size was set
            with torch.autocast(batch.image.device.type, torch.bfloat16):
                maps = net.detector(batch.image[crops])["maps"]
            kept.append((maps.half(), to_cells(batch.joints, STRIDE)[crops], batch.shown[crops], batch.weight[crops]))
        return cls(*(torch.cat(parts) for parts in zip(*kept, strict=True)))

    def start(self, spatial: SpatialModel, names: Sequence[str]) -> None:
        """Start a spatial model from these people's displacements."""
        cells, shown, maps = self.cells, self.shown, self.maps[:256].float()
        if spatial.options.torso:
            torso, known = torso_cells(cells, shown, names)
            drawn = torso_maps(cells[:256], shown[:256], names, (maps.shape[-2], maps.shape[-1]))
            cells, shown, maps = (
                torch.cat((cells, torso), 1),
                torch.cat((shown, known), 1),
                torch.cat((maps, drawn), 1),
            )
        spatial.start_from(cells, shown, maps)


class SpatialTrainer:
    """Stage two: the spatial model alone, on stored heat-maps; the detector stands still."""

    task = "pose"

    def __init__(
        self,
        net: PoseNet,
        stored: StoredMaps,
        validation: Validation,
        *,
        seconds: float,
        rate: float,
        batch_size: int,
    ) -> None:
        assert net.spatial is not None
        self.net: nn.Module = net.spatial
        self.whole, self.stored, self.validation, self.batch_size = net, stored, validation, batch_size
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(net.spatial.parameters(), lr=rate, fused=True)
        self.scheduler = ClockSchedule(self.optimizer, seconds)

    def config(self) -> dict[str, Any]:
        """Describe the whole network."""
        return self.whole.config() | {"joints": list(self.validation.skeleton.joints), "size": self.validation.size}

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Draw stored maps and compute the scalar losses."""
        stored = self.stored
        index = torch.randint(len(stored.maps), (self.batch_size,), device=stored.maps.device)
        maps = stored.maps[index].float()
        cells, shown, grid = stored.cells[index], stored.shown[index], (maps.shape[-2], maps.shape[-1])
        target = gaussians(cells, grid) * shown[..., None, None]
        torso = torso_maps(cells, shown, self.validation.skeleton.joints, grid)
        return {"loss": map_loss(self.net(maps, torso), target, stored.weight[index])}

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure the detector with this spatial model behind it."""
        assert isinstance(net, SpatialModel)
        return self.validation.measure(PoseNet(self.whole.detector.eval(), net))

    def sheet(self, net: nn.Module) -> NDArray[np.uint8] | None:
        """Draw people: (H, W, 3) uint8 BGR."""
        assert isinstance(net, SpatialModel)
        return self.validation.sheet(PoseNet(self.whole.detector, net), None)
