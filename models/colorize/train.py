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
import kornia
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...runtime.errors import BundleError, UsageError
from ..checkpoint import Checkpoint
from ..data import BatchSource, Squares, prefix_weights
from ..training import LoopOptions, fit, one_cycle, seed_all
from . import labels as photo_labels
from .evaluate import PhotoSet, colorized_sheet, measure
from .losses import ColorLoss, bin_centres, rarity, soft_bins
from .net import GLOBAL_SIZE, Colorizer, ColorizerOptions, chroma_from_ab

# What may differ from the weights that a training starts from: noisy activations have parameters, heads come and go.
_REPLACEABLE = ("fuse_activation.", "output_activation.", "bins.", "classify.")
LEAST_CHROMA = 4.0  # CIELAB units; photos duller than this on average teach grey (the paper's own limit is unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorizeOptions:
    """What and how to train.

    Parameters
    ----------
    net : the network
    data : folders of photos
    val : folder of photos to measure on
    cache : folder for decoded photos
    classifier : ONNX classifier whose opinion serves as soft labels, or None
    class_folders : take the folder that a photo lies in as its class
    optimizer : ``adadelta`` (the paper) or ``adamw`` with one cycle of the learning rate
    rebalance : share of rarity in the chroma weights, 0 is the paper's plain squared error
    crop : side of the training squares; half of 224 trains nearly three times as fast, for a first stage
    init : checkpoint whose weights the network starts from, or None
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
    crop: int = GLOBAL_SIZE
    init: Path | None = None
    prefixes: Mapping[str, float] = field(default_factory=dict)


class ColorizeTrainer:
    """The colorizer's part of the training loop; see `models.training.Trainer`."""

    task = "colorize"

    def __init__(self, options: ColorizeOptions, loop: LoopOptions) -> None:
        self.options, self.device, self.batch_size = options, loop.device, options.batch_size
        squares = Squares.of_folders(options.data, side=256, cache=options.cache)
        colorful = photo_labels.mean_chroma(squares) >= LEAST_CHROMA
        weights = prefix_weights(squares.names, options.prefixes) * colorful
        self.photos = BatchSource(
            squares.pixels, batch_size=options.batch_size, device=loop.device, seed=loop.seed, weights=weights
        )
        self.labels: Tensor | None = None
        net_options = options.net
        labels = _labels(squares, options)
        if labels is not None:
            self.labels = torch.from_numpy(labels).to(loop.device)
            net_options = dataclasses.replace(net_options, classes=labels.shape[1])
        if options.rebalance:
            net_options = dataclasses.replace(net_options, bins=len(bin_centres()))
        self.net = Colorizer(net_options)
        if options.init is not None:
            start_from(self.net, Checkpoint.load(options.init, task=self.task))
        self.loss = ColorLoss(self._pixel_weights() if options.rebalance else None)
        self.augment = nn.Sequential(
            kornia.augmentation.RandomResizedCrop(
                (options.crop, options.crop), scale=(0.5, 1.0), ratio=(0.75, 1.33), cropping_mode="resample"
            ),
            kornia.augmentation.RandomHorizontalFlip(),
        )
        self.val = PhotoSet.of_folder(options.val)
        self._optimize(loop)

    def _optimize(self, loop: LoopOptions) -> None:
        options = self.options
        self.scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        self.optimizer: torch.optim.Optimizer
        if options.optimizer == "adadelta":
            self.optimizer = torch.optim.Adadelta(self.net.parameters(), lr=1.0)
            return
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.scheduler = one_cycle(self.optimizer, loop)

    def config(self) -> dict[str, Any]:
        """Give the options as plain values."""
        plain = dataclasses.asdict(self.options)
        plain |= {"data": [path.name for path in self.options.data], "val": self.options.val.name}
        plain["net"] = dataclasses.asdict(self.net.options)
        for name in ("classifier", "init"):
            plain[name] = getattr(plain[name], "name", None)
        del plain["cache"]
        return plain

    def losses(self, step: int) -> dict[str, Tensor]:
        """Draw a batch, vary it, and compare."""
        with torch.autocast(torch.device(self.device).type, enabled=False), torch.no_grad():
            rgb, indices = self.photos.draw()
            rgb = self.augment(rgb).clamp(0, 1)
            ab = kornia.color.rgb_to_lab(rgb)[:, 1:]
            target = chroma_from_ab(nn.functional.avg_pool2d(ab, 2))
            grey = vary_luma(kornia.color.rgb_to_grayscale(rgb)).contiguous(memory_format=torch.channels_last)
        labels = None if self.labels is None else self.labels[indices].float()
        return self.loss(self.net(grey), target, labels)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure on whole validation photos."""
        assert isinstance(net, Colorizer)
        return measure(net, self.val, self.device)

    def sheet(self, net: nn.Module) -> NDArray[np.uint8]:
        """Draw grey, colorized and original photos side by side."""
        assert isinstance(net, Colorizer)
        return colorized_sheet(net, self.val, self.device)

    def _pixel_weights(self) -> Tensor:
        """Rarity of every color bin, counted on a sample of the training photos."""
        count = torch.zeros(len(bin_centres()))
        for _ in range(max(1, 1024 // self.batch_size)):
            rgb, _ = self.photos.draw()
            ab = kornia.color.rgb_to_lab(nn.functional.interpolate(rgb.cpu(), scale_factor=1 / 8, mode="area"))[:, 1:]
            count += soft_bins(ab).sum((0, 2, 3))
        return rarity(count, mix=1 - self.options.rebalance).to(self.device)


def _labels(squares: Squares, options: ColorizeOptions) -> NDArray[np.float16] | None:
    """Find the class labels that the options ask for, (N, classes), or none."""
    if options.classifier is not None and options.class_folders:
        raise UsageError("Labels come from a classifier or from folders", expected="one of the two")
    if options.classifier is not None:
        return photo_labels.of_classifier(squares, options.classifier)
    return photo_labels.of_folders(squares) if options.class_folders else None


def start_from(net: Colorizer, checkpoint: Checkpoint) -> None:
    """Take over a checkpoint's weights; activations and training heads may differ.

    Raises
    ------
    BundleError
        If any other weight is missing or of another shape.
    """
    try:
        missing, unexpected = net.load_state_dict(checkpoint.weights, strict=False)
    except RuntimeError as error:
        raise BundleError(f"The network cannot start from these weights ({str(error)[:300]})") from error
    foreign = [name for name in (*missing, *unexpected) if not name.startswith(_REPLACEABLE)]
    if foreign:
        raise BundleError("The network cannot start from these weights", found=f"differences in {foreign[:5]}")


def vary_luma(luma: Tensor) -> Tensor:
    """Vary exposure, contrast and noise of the input only: webcams differ, the colors asked for do not.

    Parameters
    ----------
    luma : (B, 1, H, W) in [0, 1]
    """
    shape, device = (len(luma), 1, 1, 1), luma.device
    gamma = torch.exp(0.25 * torch.randn(shape, device=device))
    gain = 1 + 0.1 * torch.randn(shape, device=device)
    offset = 0.05 * torch.randn(shape, device=device)
    noise = 0.03 * torch.rand(shape, device=device) * torch.randn_like(luma)
    return (gain * luma.clamp_min(1e-4) ** gamma + offset + noise).clamp(0, 1)


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
@click.option("--batch-norm/--no-batch-norm", default=True, show_default=True)
@click.option("--noise", type=click.Choice(["none", "nan", "nah"]), default="none", show_default=True)
@click.option("--classifier", type=click.Path(path_type=Path, exists=True), help="ONNX net for soft labels.")
@click.option("--class-folders", is_flag=True, help="The folder of a photo is its class.")
@click.option("--optimizer", type=click.Choice(["adamw", "adadelta"]), default="adamw", show_default=True)
@click.option("--learning-rate", default=2e-3, show_default=True)
@click.option("--rebalance", default=0.5, show_default=True, help="Weight of rare colors; 0 is plain MSE.")
@click.option("--crop", default=GLOBAL_SIZE, show_default=True, help="Side of the training squares.")
@click.option("--init", type=click.Path(path_type=Path, exists=True), help="Checkpoint to start from.")
@click.option("--prefix", multiple=True, metavar="PREFIX=FACTOR", help="Sample such photos more or less often.")
@click.option("--batch", default=32, show_default=True)
@click.option("--steps", default=20_000, show_default=True)
@click.option("--minutes", type=float, help="Stop after this time; a later call resumes.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--validate-every", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def command(**given: Any) -> None:
    """Train a colorizer on folders of photos. A run in the same --out folder is resumed."""
    seed_all(given["seed"])
    cv2.setNumThreads(1)
    out: Path = given["out"]
    loop = LoopOptions(
        out=out, steps=given["steps"], minutes=given["minutes"], device=given["device"], seed=given["seed"],
        validate_every=given["validate_every"],
    )  # fmt: skip
    noise = None if given["noise"] == "none" else given["noise"]
    same = ("data", "val", "classifier", "class_folders", "optimizer", "learning_rate", "rebalance", "crop", "init")
    options = ColorizeOptions(
        net=ColorizerOptions(width=given["width"], batch_norm=given["batch_norm"], noise=noise),
        cache=out.parent / "cache",
        batch_size=given["batch"],
        prefixes=parse_prefixes(given["prefix"]),
        **{name: given[name] for name in same},
    )
    fit(ColorizeTrainer(options, loop), loop)
