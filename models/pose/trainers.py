"""The three stages as trainers of the shared loop: detector, spatial model on stored heat-maps, both together.

Owns what a step means in each stage, validation and sheets, and the learning rate that follows the clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...runtime.manifest import Skeleton
from .augment import Crops, PeopleOnDevice, plain_crops
from .batches import PoseBatches
from .edge import STRIDE
from .evaluate import evaluate
from .losses import box_loss, centre_loss, map_loss, presence_loss
from .net import PoseNet
from .people import People
from .scenes import Scenes, person_targets
from .sheet import crop_sheet, scene_sheet
from .spatial import SpatialModel
from .targets import gaussians, to_cells

WARM_UP = 0.04  # share of a stage in which the learning rate climbs
EMPTY_WEIGHT = 0.3  # of the empty heat-maps that a scene without people should give


class ClockSchedule(torch.optim.lr_scheduler.LRScheduler):
    """Half a cosine over a budget of time, so that the rate has fallen to nothing when the time is up.

    A run on a shared machine does not know its number of steps, but it knows its minutes. Seconds of earlier parts of
    a resumed run count.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, seconds: float) -> None:
        self.budget, self.spent, self.marked = seconds, 0.0, time.monotonic()
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """Give the rate of now."""
        now = time.monotonic()
        self.spent += min(now - self.marked, 60.0)  # a long pause is no training
        self.marked = now
        done = min(1.0, self.spent / self.budget)
        if done < WARM_UP:
            factor = max(0.02, done / WARM_UP)
        else:
            factor = 0.5 * (1 + float(np.cos(np.pi * (done - WARM_UP) / (1 - WARM_UP)))) + 1e-3
        return [rate * factor for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Keep what a resumed run needs."""
        return {"spent": self.spent, "last_epoch": self.last_epoch, "base_lrs": self.base_lrs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.spent, self.last_epoch = float(state_dict["spent"]), int(state_dict["last_epoch"])
        self.base_lrs, self.marked = list(state_dict["base_lrs"]), time.monotonic()


@dataclass(frozen=True, slots=True)
class Validation:
    """People to measure on, by the prefix of their figures; the first set also fills the sheet."""

    sets: Mapping[str, People]
    skeleton: Skeleton
    size: int
    device: str

    def measure(self, net: nn.Module) -> dict[str, float]:
        """Give mean PCK of the limb joints of every set, and of a few joints that matter."""
        figures: dict[str, float] = {}
        for prefix, people in self.sets.items():
            seen = evaluate(net, people, self.skeleton, size=self.size, device=self.device)
            shares = seen.pck()
            figures[f"{prefix}_pck"] = shares["limbs"]
            hard = [shares[name] for name in ("left_wrist", "right_wrist") if name in shares]
            if hard:
                figures[f"{prefix}_wrist"] = float(np.mean(hard))
        return figures

    def sheet(self, net: nn.Module, batches: PoseBatches | None) -> NDArray[np.uint8]:
        """Draw sixteen people of each set, and scenes if there is a maker of them."""
        parts = []
        for people in self.sets.values():
            pick = np.linspace(0, len(people) - 1, 16).astype(int)
            few = people.only(np.isin(np.arange(len(people)), pick))
            resident = PeopleOnDevice(few, self.skeleton, self.device)
            crops = plain_crops(resident, torch.arange(len(few), device=self.device), self.size)
            parts.append(crop_sheet(crops.image, net(crops.image)["final"], self.skeleton))
        scenes = batches.draw()[1] if batches is not None else None
        if scenes is not None:
            found = net(scenes.image[-16:])  # composed ones lie before, whole pictures at the end
            if "centre" in found:
                both = torch.cat((scenes.image[:16], scenes.image[-16:]))
                found = net(both)
                parts.append(scene_sheet(both, found["centre"], found["box"]))
        return np.vstack(parts)


class NetTrainer:
    """Stage one (`net.spatial` is None) and stage three (both together).

    Parameters
    ----------
    compiled : compile the detector's steps; falls back with a word if that fails
    """

    task = "pose"

    def __init__(
        self,
        net: PoseNet,
        batches: PoseBatches,
        validation: Validation,
        *,
        seconds: float,
        rate: float,
        compiled: bool = False,
    ) -> None:
        self.net, self.batches, self.validation = net, batches, validation
        self.batch_size = batches.options.crops
        plain = [p for p in net.parameters() if p.ndim < 2 or (net.spatial is not None and p is net.spatial.kernels)]
        ids = {id(p) for p in plain}
        decayed = [p for p in net.parameters() if id(p) not in ids]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=rate, fused=batches.device != "cpu")
        self.scheduler = ClockSchedule(self.optimizer, seconds)
        self._detect: Callable[[Tensor], dict[str, Tensor]] = net.detector
        if compiled:
            self._detect = torch.compile(net.detector)

    def without_compiler(self) -> None:
        """Go on in plain torch."""
        self._detect = self.net.detector

    def config(self) -> dict[str, Any]:
        """Describe network, skeleton and picture size."""
        return self.net.config() | {"joints": list(self.validation.skeleton.joints), "size": self.validation.size}

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Draw a batch and give the losses."""
        with torch.no_grad(), torch.autocast(self.batches.device.split(":")[0], enabled=False):
            crops, scenes = self.batches.draw()
            image = crops.image if scenes is None else torch.cat((crops.image, scenes.image))
            target, weight = map_targets(crops, self.validation.size)
        outputs = self._detect(image.contiguous(memory_format=torch.channels_last))
        count = len(crops.image)
        losses = {"maps": map_loss(outputs["maps"][:count], target, weight)}
        total = losses["maps"]
        if self.net.spatial is not None:
            losses["final"] = map_loss(self.net.spatial(outputs["maps"][:count]), target, weight)
            total = total + losses["final"]
        if scenes is not None and "centre" in outputs:
            people = self._person_losses(outputs, crops, scenes, count)
            losses |= people
            total = total + sum(people.values())
        return losses | {"loss": total}

    def _person_losses(
        self, outputs: dict[str, Tensor], crops: Crops, scenes: Scenes, count: int
    ) -> dict[str, Tensor]:
        """Give the losses of finding people; crops know their own person only."""
        size = self.validation.size
        unsure = torch.zeros(count, dtype=torch.bool, device=scenes.sure.device)
        own = torch.zeros(count, scenes.box.shape[1], 4, device=scenes.box.device)
        own[:, 0] = crops.box
        box, sure = torch.cat((own, scenes.box)), torch.cat((unsure, scenes.sure))
        heat, heat_weight, value, value_weight = person_targets(box, sure, size)
        visible = crops.shown.sum(1) >= 4
        nobody = scenes.empty.float()
        empty_maps = outputs["maps"][count:].float().square().sum((2, 3)).mean(1)
        return {
            "centre": 0.5 * centre_loss(outputs["centre"], heat, heat_weight),
            "box": 0.5 * box_loss(outputs["box"], value, value_weight),
            "presence": 0.5 * presence_loss(
                outputs["presence"], torch.cat((visible, ~scenes.empty)), torch.cat((visible.float(), nobody))
            ),
            "empty": EMPTY_WEIGHT * (empty_maps * nobody).sum() / nobody.sum().clamp(min=1),
        }  # fmt: skip

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure on the validation sets."""
        with self._full_precision():
            return self.validation.measure(net)

    def sheet(self, net: nn.Module) -> NDArray[np.uint8] | None:
        """Draw people and scenes."""
        with self._full_precision():
            return self.validation.sheet(net, self.batches)

    def _full_precision(self) -> contextlib.AbstractContextManager[None]:
        return torch.autocast(self.batches.device.split(":")[0], enabled=False)


def map_targets(crops: Crops, size: int) -> tuple[Tensor, Tensor]:
    """Give heat-map targets (B, J, h, w), empty where the joint is not shown, and weights (B, J)."""
    grid = size // STRIDE
    target = gaussians(to_cells(crops.joints, STRIDE), (grid, grid)) * crops.shown[..., None, None]
    return target, crops.weight


@dataclass(slots=True)
class StoredMaps:
    """Heat-maps of random crops, kept on the device as half floats, with what they should have been."""

    maps: Tensor
    cells: Tensor
    shown: Tensor
    weight: Tensor

    @classmethod
    @torch.no_grad()
    def make(cls, net: PoseNet, batches: PoseBatches, count: int) -> StoredMaps:
        """Run the detector over `count` random crops."""
        net.eval()
        kept: list[tuple[Tensor, ...]] = []
        size, options = batches.options.size, batches.options
        device = batches.device.split(":")[0]
        while len(kept) * options.crops < count:
            crops, _ = batches.draw()
            with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
                maps = net.detector(crops.image.contiguous(memory_format=torch.channels_last))["maps"]
            kept.append((maps.half(), to_cells(crops.joints, STRIDE), crops.shown, crops.weight))
        assert maps.shape[-1] == size // STRIDE
        return cls(*(torch.cat(parts) for parts in zip(*kept, strict=True)))


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
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(net.spatial.parameters(), lr=rate)
        self.scheduler = ClockSchedule(self.optimizer, seconds)

    def config(self) -> dict[str, Any]:
        """Describe the whole network."""
        return self.whole.config() | {"joints": list(self.validation.skeleton.joints), "size": self.validation.size}

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Draw stored maps and give the loss."""
        stored = self.stored
        index = torch.randint(len(stored.maps), (self.batch_size,), device=stored.maps.device)
        maps = stored.maps[index].float()
        target = gaussians(stored.cells[index], maps.shape[-2:]) * stored.shown[index][..., None, None]
        return {"loss": map_loss(self.net(maps), target, stored.weight[index])}

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure the detector with this spatial model behind it."""
        assert isinstance(net, SpatialModel)
        return self.validation.measure(PoseNet(self.whole.detector.eval(), net))

    def sheet(self, net: nn.Module) -> NDArray[np.uint8] | None:
        """Draw people."""
        assert isinstance(net, SpatialModel)
        return self.validation.sheet(PoseNet(self.whole.detector, net), None)
