"""Training of the colorizer on any folder of photos.

Owns what a batch is, how photos are varied, and the command line. The loop is `models.training`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .. import parallel
from ..checkpoint import Checkpoint
from ..data import BatchSource, PhotoCrops, prefix_weights
from ..schedule import Budget, one_cycle
from ..shards import ShardSet, ShardSource, is_shards
from ..training import LoopOptions, fit, seed_all
from . import labels as photo_labels
from .augment import ab_of, luma_of, random_crops, vary_luma
from .bins import num_bins, rarity, soft_bins
from .evaluate import PhotoSet, colorized_sheet, measure
from .losses import ColorLoss
from .net import FUSIONS, HEADS, Colorizer, ColorizerOptions
from .start import start_from

_SMALL_CROP, _SMALL_SIDE = 160, 192  # crops this small are cut from smaller photos, which takes half the memory
LAST_PART = 0.6  # share of the budget after which crops have their last size
LEAST_CHROMA = 4.0  # CIELAB units; photos duller than this on average teach grey (the paper's own limit is unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorizeOptions:
    """What and how to train.

    Parameters
    ----------
    net : the network
    data : folders of photos, or of shards of them (`models.shards`)
    val : folder of photos to measure on
    cache : folder for decoded photos
    classifier : ONNX classifier whose opinion serves as soft labels, or None
    class_folders : take the folder that a photo lies in as its class
    optimizer : ``adadelta`` (the paper) or ``adamw`` with one cycle of the learning rate
    rebalance : share of rarity in the weights of the color bins, 0 trains on the photos' own frequencies
    white_weight : factor on bright neutral pixels in the loss of the distribution
    crop, last_crop : side of the training crops, at first and for the last part of the run. Small ones train several
        times as fast; the last ones show things as large as the network will see them (192 pixels to a photo)
    start : checkpoint whose weights the network starts from, or None
    prefixes : sampling factors by the beginning of a photo's name
    """

    net: ColorizerOptions
    data: tuple[Path, ...]
    val: Path
    cache: Path
    classifier: Path | None = None
    class_folders: bool = False
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    batch_size: int = 32
    rebalance: float = 0.5
    white_weight: float = 2.0
    crop: int = 112
    last_crop: int = 160
    start: Path | None = None
    prefixes: Mapping[str, float] = field(default_factory=dict)


class ColorizeTrainer:
    """The colorizer's part of the training loop; see `models.training.Trainer`."""

    task = "colorize"

    def __init__(self, options: ColorizeOptions, loop: LoopOptions) -> None:
        self.options, self.device, self.batch_size = options, loop.device, options.batch_size
        net_options = self._read_photos(options, loop)
        self.net = Colorizer(net_options)
        if options.start is not None:
            self.fresh = start_from(self.net, Checkpoint.load(options.start, task=self.task).weights)
        if self.net.options.head == "distribution" and options.rebalance:
            self._count_colors()
        self.val = PhotoSet.of_folder(options.val)
        self.budget = Budget(loop.steps, loop.minutes)
        self._optimize()

    def _read_photos(self, options: ColorizeOptions, loop: LoopOptions) -> ColorizerOptions:
        """Open the photos, and the classes that the options ask for; give the network's options with their number."""
        side = _SMALL_SIDE if max(options.crop, options.last_crop) <= _SMALL_CROP else 256
        self.labels: Tensor | None = None
        self.photos: BatchSource | ShardSource
        if all(is_shards(folder) for folder in options.data):
            self.photos = _open_shards(options, loop, side)
            if not options.class_folders:
                return options.net
            self.labels = torch.eye(len(self.photos.classes), device=loop.device)
            return dataclasses.replace(options.net, classes=len(self.labels))
        if any(is_shards(folder) for folder in options.data):
            raise UsageError("Photos come from folders or from shards", expected="one of the two in --data")
        with parallel.first_alone():
            crops = PhotoCrops.of_folders(options.data, side=side, cache=options.cache)
            colorful = photo_labels.mean_chroma(crops) >= LEAST_CHROMA
            labels = _labels(crops, options)
        weights = prefix_weights(crops.names, options.prefixes) * colorful
        self.photos = BatchSource(
            crops.pixels, batch_size=options.batch_size, device=loop.device, seed=loop.seed, weights=weights
        )
        if labels is None:
            return options.net
        self.labels = torch.from_numpy(labels).to(loop.device)
        return dataclasses.replace(options.net, classes=labels.shape[1])

    def _optimize(self) -> None:
        options = self.options
        self.scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        self.optimizer: torch.optim.Optimizer
        if options.optimizer == "adadelta":
            self.optimizer = torch.optim.Adadelta(self.net.parameters(), lr=1.0)
            return
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.scheduler = one_cycle(self.optimizer, self.budget)

    def config(self) -> dict[str, Any]:
        """Give the options as plain values."""
        plain = dataclasses.asdict(self.options)
        plain |= {"data": [path.name for path in self.options.data], "val": self.options.val.name}
        plain["net"] = dataclasses.asdict(self.net.options)
        for name in ("classifier", "start"):
            plain[name] = getattr(plain[name], "name", None)
        del plain["cache"]
        return plain

    def losses(self, step: int) -> dict[str, Tensor]:
        """Draw a batch, augment it, and compute the scalar losses."""
        with torch.autocast(torch.device(self.device).type, enabled=False), torch.no_grad():
            photos, indices = self.photos.draw()
            late = self.budget.spent(step) >= LAST_PART
            rgb = random_crops(photos, self.options.last_crop if late else self.options.crop)
            ab, luma = ab_of(rgb), luma_of(rgb)
            varied = vary_luma(luma).contiguous(memory_format=torch.channels_last)
        labels = None if self.labels is None else self.labels[indices].float()
        # The network's own weights: a resumed run keeps those that it was started with.
        weights = self.net.log_weights.exp() if self.net.options.head == "distribution" else None
        loss = ColorLoss(weights, white_weight=self.options.white_weight)
        return loss(self.net(varied), luma, ab, labels)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure on whole validation photos."""
        assert isinstance(net, Colorizer)
        return measure(net, self.val, self.device)

    def sheet(self, net: nn.Module) -> NDArray[np.uint8]:
        """Draw grey, colorized and original photos side by side: (H, W, 3) uint8 BGR."""
        assert isinstance(net, Colorizer)
        return colorized_sheet(net, self.val, self.device)

    def _count_colors(self) -> None:
        """Give the network the weights of its color bins, counted on a sample of the training photos."""
        count = torch.zeros(num_bins())
        for _ in range(max(1, 1024 // self.batch_size)):
            rgb, _ = self.photos.draw()
            count += soft_bins(ab_of(nn.functional.avg_pool2d(rgb.cpu(), 8))).sum((0, 2, 3))
        self.net.log_weights.copy_(rarity(count, mix=1 - self.options.rebalance).log())


def _open_shards(options: ColorizeOptions, loop: LoopOptions, side: int) -> ShardSource:
    """Open shards of photos; dull ones and some of those with a factor below 1 are left out as they come."""
    if options.classifier is not None:
        raise UsageError("A classifier is asked about a folder's photos once", expected="--class-folders with shards")
    factors, random = options.prefixes, np.random.default_rng(loop.seed)
    most = max([1.0, *factors.values()])

    def wanted(crop: NDArray[np.uint8], name: str) -> bool:
        factor = float(prefix_weights([name], factors)[0])
        return photo_labels.chroma_of(crop) >= LEAST_CHROMA and random.random() * most < factor

    sets = [ShardSet.of_folder(folder) for folder in options.data]
    return ShardSource(
        sets, side=side, batch_size=options.batch_size, device=loop.device, seed=loop.seed, wanted=wanted
    )


def _labels(crops: PhotoCrops, options: ColorizeOptions) -> NDArray[np.float16] | None:
    """Find the class labels that the options ask for, (N, classes), or none."""
    if options.classifier is not None and options.class_folders:
        raise UsageError("Labels come from a classifier or from folders", expected="one of the two")
    if options.classifier is not None:
        return photo_labels.of_classifier(crops, options.classifier)
    return photo_labels.of_folders(crops) if options.class_folders else None


def parse_prefixes(words: Sequence[str]) -> dict[str, float]:
    """Read `PREFIX=FACTOR` words."""
    factors = {}
    for word in words:
        prefix, _, factor = word.partition("=")
        try:
            factors[prefix] = float(factor)
        except ValueError:
            raise click.BadParameter(f"{word!r} is not PREFIX=FACTOR, for example osie=2") from None
    return factors


@click.command("colorize")
@click.option("--data", type=click.Path(path_type=Path, exists=True), multiple=True, required=True, help="Photos.")
@click.option("--val", type=click.Path(path_type=Path, exists=True), required=True, help="Photos to measure on.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/colorize"), show_default=True)
@click.option("--width", default=0.25, show_default=True, help="1.0 is the paper's network.")
@click.option("--color-width", type=float, help="Width of the color branch, if it differs.")
@click.option("--batch-norm/--no-batch-norm", default=True, show_default=True)
@click.option("--fusion", type=click.Choice(FUSIONS), default="relu", show_default=True)
@click.option("--head", type=click.Choice(HEADS), default="distribution", show_default=True)
@click.option("--temperature", default=0.5, show_default=True, help="Of the annealed mean; lower is more vivid.")
@click.option("--undo", default=0.5, show_default=True, help="Share of the rebalancing that is taken back, 0..1.")
@click.option("--noise", type=click.Choice(["none", "nan", "nah"]), default="none", show_default=True)
@click.option("--classifier", type=click.Path(path_type=Path, exists=True), help="ONNX net for soft labels.")
@click.option("--class-folders", is_flag=True, help="The folder of a photo is its class.")
@click.option("--optimizer", type=click.Choice(["adamw", "adadelta"]), default="adamw", show_default=True)
@click.option("--learning-rate", default=2e-3, show_default=True)
@click.option("--rebalance", default=0.5, show_default=True, help="Weight of rare colors in training, 0..1.")
@click.option("--white-weight", default=2.0, show_default=True, help="Weight of white pixels in training.")
@click.option("--crop", default=112, show_default=True, help="Side of the training crops at first.")
@click.option("--last-crop", default=160, show_default=True, help="Side of the crops in the last part of the run.")
@click.option("--start", type=click.Path(path_type=Path), help="Checkpoint, or bundle, to go on from.")
@click.option("--prefix", multiple=True, metavar="PREFIX=FACTOR", help="Sample such photos more or less often.")
@click.option("--batch", default=32, show_default=True)
@click.option("--steps", default=20_000, show_default=True)
@click.option("--minutes", type=float, help="Stop after this time; a later call resumes.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@parallel.process_options
@click.option("--bf16/--no-bf16", default=torch.cuda.is_available(), help="Compute in bfloat16.", show_default=True)
@click.option("--validate-every", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def command(**given: Any) -> None:
    """Train a colorizer on folders of photos. A run in the same --out folder is resumed."""
    given["device"] = parallel.launch(given["device"], devices=given["devices"], nodes=given["nodes"])
    given["seed"] += 1000 * parallel.number()  # every process draws photos of its own
    seed_all(given["seed"])
    cv2.setNumThreads(1)
    out: Path = given["out"]
    same = ("steps", "minutes", "device", "bf16", "seed", "validate_every")
    loop = LoopOptions(out=out, save_every=100, **{name: given[name] for name in same})
    same = ("width", "color_width", "batch_norm", "fusion", "head", "temperature", "undo")
    noise = None if given["noise"] == "none" else given["noise"]
    net = ColorizerOptions(noise=noise, **{name: given[name] for name in same})
    same = ("data", "val", "classifier", "class_folders", "optimizer", "learning_rate", "rebalance", "white_weight",
            "crop", "last_crop", "start")  # fmt: skip
    options = ColorizeOptions(
        net=net, cache=out.parent / "cache", batch_size=given["batch"], prefixes=parse_prefixes(given["prefix"]),
        **{name: given[name] for name in same},
    )  # fmt: skip
    fit(ColorizeTrainer(options, loop), loop)
