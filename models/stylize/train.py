"""Training of the real-time stylizer, from a per-frame teacher or from a painting.

Owns what a batch is, the schedule and the command line. The loop is `models.training`, the losses are in `losses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...runtime.errors import BundleError, SourceNotFound
from .. import parallel
from ..checkpoint import Checkpoint
from ..schedule import Budget, one_cycle
from ..training import LoopOptions, fit, half_is_fast, seed_all
from .backbone import load_backbone
from .clips import find_clips
from .evaluate import HeldOut
from .losses import (
    amount_loss,
    detail_loss,
    feature_distance,
    gram,
    style_distance,
    temporal_loss,
    total_variation,
    weave_loss,
)
from .motion import Sequence, add_noise, joined, warp
from .net import NORMS, StylizeNet, StylizeOptions
from .scenes import LiveScenes, SceneOptions, ScenePool, Scenes
from .targets import Target, load_target

# Share of the budget -> frames run before the one that is learned from. The paper's 50k, 60k and 90k iterations are
# shares 0.55, 0.67 and 1; the last stage is ours: what is stylized for minutes must not blur or drift.
UNROLL = ((0.5, 1), (0.65, 2), (0.85, 4), (1.01, 8))
FREEZE_STATISTICS = 0.7  # share of the budget after which batch norm uses what it will use when exported
HOLD_OUT = (
    "webcam_hungry", "webcam_want", "webcam_eat", "webcam_bird", "davis_dog", "davis_scooter-black",
    "davis_blackswan",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weights of the losses, which are all relative or in squared units of [0, 1].

    Parameters
    ----------
    pixel : absolute difference to the teacher; `trusted` of it where the previous output is to be kept
    detail : fine detail beside the teacher's; see `losses.detail_loss`
    amount : how much detail there is, beside the teacher's; see `losses.amount_loss`
    weave : pattern of 4 or 8 pixels that the teacher does not have; see `losses.weave_loss`
    content, style : relative distances of activations and of Gram matrices
    temporal : squared difference to the warped previous output
    variation : total variation
    """

    pixel: float = 2.0
    trusted: float = 0.2
    detail: float = 2.0
    amount: float = 8.0
    weave: float = 150.0
    content: float = 1.0
    style: float = 1.0
    temporal: float = 60.0
    variation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What to train on.

    Parameters
    ----------
    style : a painting, or the ONNX file of a per-frame teacher
    backbone : see `backbone.load_backbone`
    scenes : what is seen
    pool : number of scenes to make once and keep, with the teacher's images; 0 makes new ones for every batch
    pool_length : frames of a kept scene: the last one and its run-up
    held_out : clips that are only measured on
    first : share of sequences whose last frame is treated as a first one
    jumps : share of batches whose network ran on the first frame only, as between keyframes; what it painted is
        propagated over all the others at once. In the rest it runs on every frame, as with `blend`
    style_size : longer side of a painting, pixels
    start : checkpoint of another style to begin with: half of what a network has to learn is common to all styles
    """

    style: Path
    backbone: str
    scenes: SceneOptions
    net: StylizeOptions = field(default_factory=StylizeOptions)
    weights: LossWeights = field(default_factory=LossWeights)
    pool: int = 0
    pool_length: int = UNROLL[-1][1] + 1
    held_out: tuple[Path, ...] = ()
    first: float = 0.4
    jumps: float = 0.4
    learning_rate: float = 2e-3
    style_size: int = 384
    start: Path | None = None


class StylizeTrainer:
    """The stylizer's part of the training loop; see `models.training.Trainer`."""

    task = "stylize"

    def __init__(self, options: TrainOptions, loop: LoopOptions) -> None:
        self.options, self.loop, self.batch_size = options, loop, options.scenes.batch_size
        self.net = StylizeNet(options.net)
        if options.start is not None:
            start_from(self.net, Checkpoint.load(options.start, task="stylize"))
        self.backbone = load_backbone(options.backbone).to(loop.device, memory_format=torch.channels_last)
        self.target = load_target(options.style, self.backbone, loop.device, style_size=options.style_size)
        live = LiveScenes(options.scenes, device=loop.device, seed=loop.seed)
        self.scenes: Scenes = live
        if options.pool:
            self.scenes = ScenePool(
                live,
                self.target,
                name=options.style.stem,
                count=options.pool,
                length=options.pool_length,
                seed=loop.seed,
            )
        self.held_out = None
        if options.held_out:
            cache, size = options.scenes.cache, options.scenes.size * 3 // 2
            self.held_out = HeldOut.of_clips(options.held_out, size=size, cache=cache, device=loop.device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=options.learning_rate, weight_decay=1e-4)
        self.budget = Budget(loop.steps, loop.minutes)
        self.scheduler = one_cycle(self.optimizer, self.budget, warm_up=0.03)

    def config(self) -> dict[str, Any]:
        """Give plain values; `net` suffices to build the network again."""
        options = self.options
        scenes = asdict(options.scenes) | {
            "photos": [folder.name for folder in options.scenes.photos],
            "clips": [clip.name for clip in options.scenes.clips],
        }
        del scenes["cache"]
        return asdict(options) | {
            "style": options.style.name,
            "start": options.start and options.start.name,
            "backbone": Path(options.backbone).name,
            "scenes": scenes,
            "held_out": [clip.name for clip in options.held_out],
        }

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Run several frames and compute the scalar losses of the last."""
        progress = self.budget.spent(step)
        unroll = next(frames for until, frames in UNROLL if progress < until)
        clean, image = self.scenes.draw(min(unroll + 1, self.scenes.longest))
        frames = add_noise(clean.frames)
        previous, mask = self._run_up(frames, clean)
        target = self.target.target(clean.frames[-1], image)
        if progress >= FREEZE_STATISTICS:
            freeze_statistics(self.net)
        output = self.net(frames[-1], previous, mask).float()
        return self._compare(output, previous, mask, target)

    @torch.no_grad()
    def _run_up(self, frames: Tensor, clip: Sequence) -> tuple[Tensor, Tensor]:
        """Stylize the frames before the last as they will be at run time; give what the last one is to know."""
        self.net.eval()
        mask = torch.zeros_like(frames[0, :, :1])
        previous = torch.zeros_like(frames[0])
        if len(frames) > 2 and float(torch.rand(())) < self.options.jumps:
            output = self.net(frames[0], previous, mask).float()
            flow, mask = joined(clip)
            previous = warp(output, flow, cubic=True).clamp(0, 1)
        else:  # from frame to frame the runtime's weights are bilinear, too
            for t in range(len(frames) - 1):
                output = self.net(frames[t], previous, mask).float()
                previous, mask = warp(output, clip.flows[t]), clip.masks[t]
        self.net.train()
        keep = torch.rand(len(mask), 1, 1, 1, device=mask.device) >= self.options.first
        mask = mask * keep
        return previous * (mask > 0), mask

    def _compare(self, output: Tensor, previous: Tensor, mask: Tensor, target: Target) -> dict[str, Tensor]:
        """Name and weigh the losses."""
        weights = self.options.weights
        layers = self.backbone(output)
        grams = {name: gram(layers[name]) for name in self.backbone.style}
        found = {
            "content": weights.content * feature_distance(layers, target.layers, self.target.content),
            "style": weights.style * style_distance(grams, target.grams),
            "temporal": weights.temporal * temporal_loss(output, previous, mask),
        }
        if target.image is not None:
            care = 1 - (1 - weights.trusted) * mask
            found["pixel"] = weights.pixel * (care * (output - target.image).abs()).mean()
            found["detail"] = weights.detail * detail_loss(output, target.image, mask)
            found["amount"] = weights.amount * amount_loss(output, target.image)
            found["weave"] = weights.weave * weave_loss(output, target.image)
        if weights.variation:
            found["variation"] = weights.variation * total_variation(output)
        return {"loss": torch.stack(list(found.values())).sum()} | found

    def validate(self, net: nn.Module) -> dict[str, float]:
        """Measure flicker and fidelity on clips that were not trained on."""
        if self.held_out is None:
            return {}
        return self.held_out.measure(net, self.target, self.backbone)

    def sheet(self, net: nn.Module) -> NDArray[np.uint8] | None:
        """Draw frames, the teacher's and the network's images side by side: (H, W, 3) uint8 BGR."""
        return None if self.held_out is None else self.held_out.sheet(net, self.target)


def find_in(folders: Many[Path], name: str, *places: str) -> Path:
    """Find a file by path, or by name at known places below some folders.

    Raises
    ------
    SourceNotFound
        If it is at none of them.
    """
    candidates = [Path(name), *(folder / place.format(name) for folder in folders for place in places)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise SourceNotFound(f"There is no {name!r}", expected=" or ".join(str(path) for path in candidates))


def start_from(net: StylizeNet, checkpoint: Checkpoint) -> None:
    """Take over the weights of another style; a last convolution that those do not have begins as identity.

    Raises
    ------
    BundleError
        If the two networks differ in anything else.
    """
    try:
        missing, unexpected = net.load_state_dict(checkpoint.weights, strict=False)
    except RuntimeError as error:
        raise BundleError(f"The network cannot start from these weights ({str(error)[:300]})") from error
    foreign = [name for name in (*missing, *unexpected) if not name.startswith("refine.")]
    if foreign or "refine.weight" in unexpected:
        found = foreign or unexpected
        raise BundleError("The network cannot start from these weights", found=f"differences in {found[:5]}")


def freeze_statistics(net: nn.Module) -> None:
    """Let batch norms use their running averages, as the exported network will."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _photo_folders(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Folders to look for photos in: a data folder's own `photos/train` where it has one."""
    inner = ((folder, folder / "photos" / "train") for folder in folders)
    return tuple(below if below.is_dir() else folder for folder, below in inner)


def load_net(path: Path) -> StylizeNet:
    """Build the network of a checkpoint, in eval mode."""
    checkpoint = Checkpoint.load(path, task="stylize")
    net = StylizeNet(StylizeOptions(**checkpoint.config["net"]))
    net.load_state_dict(checkpoint.weights)
    return net.eval()


@click.command("stylize")
@click.option("--style", required=True, help="A painting, a teacher's .onnx file, or the name of one in --data.")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), multiple=True, required=True, help="Photos and clips."
)
@click.option("--backbone", help="vgg16, vgg19 or the tiny darknet's .onnx file.  [default: the darknet in --data]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; resumed if it is there.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("runs/cache"), show_default=True)
@click.option("--norm", type=click.Choice(NORMS), default="batch", show_default=True)
@click.option(
    "--refine", default=3, show_default=True, help="Kernel of a last convolution, against a weave; 0: none."
)
@click.option("--batch", default=16, show_default=True)
@click.option("--clips", default=6, show_default=True, help="How many of a batch are real clips.")
@click.option("--size", default=256, show_default=True, help="Side of the training frames, pixels.")
@click.option("--pool", default=0, show_default=True, help="Make so many scenes once and keep them; for CPUs.")
@click.option("--temporal", default=LossWeights().temporal, show_default=True, help="Weight of steadiness.")
@click.option("--style-weight", default=None, type=float, help="[default: 1 with a teacher, 10 with a painting]")
@click.option("--style-size", default=384, show_default=True, help="Longer side of the painting: sets the strokes.")
@click.option("--start", type=click.Path(path_type=Path), help="Checkpoint, or bundle, to go on from; of any style.")
@click.option("--learning-rate", default=2e-3, show_default=True)
@click.option("--steps", default=60_000, show_default=True)
@click.option("--minutes", type=float, help="Stop after this time, the schedule fitted to it.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@parallel.process_options
@click.option("--validate-every", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def command(**given: Any) -> None:
    """Train a steady stylizer, from a painting or from a per-frame teacher."""
    given["device"] = parallel.launch(given["device"], devices=given["devices"], nodes=given["nodes"])
    given["seed"] += 1000 * parallel.number()  # every process draws scenes of its own
    seed_all(given["seed"])
    cv2.setNumThreads(1)
    torch.backends.cudnn.benchmark = True  # batches have one size
    style = find_in(given["data"], given["style"], "teachers/style/{}.onnx", "styles/{}.jpg")
    backbone = given["backbone"]
    if backbone not in ("vgg16", "vgg19"):
        backbone = str(find_in(given["data"], backbone or "darknet_tiny", "teachers/perceptual/{}.onnx"))
    out = given["out"] or Path("runs/stylize") / style.stem
    loop = LoopOptions(
        out=out, steps=given["steps"], minutes=given["minutes"], device=given["device"], seed=given["seed"],
        validate_every=given["validate_every"], save_every=min(500, given["validate_every"]), clip=1.0,
        bf16=half_is_fast(given["device"]),
    )  # fmt: skip
    taught = style.suffix == ".onnx"
    style_weight = given["style_weight"] or (1.0 if taught else 10.0)
    clips = find_clips(given["data"])
    scenes = SceneOptions(
        photos=_photo_folders(given["data"]), clips=tuple(clip for clip in clips if clip.stem not in HOLD_OUT),
        cache=given["cache"], batch_size=given["batch"], num_clips=given["clips"], size=given["size"],
    )  # fmt: skip
    options = TrainOptions(
        style=style, backbone=backbone, scenes=scenes, pool=given["pool"],
        net=StylizeOptions(norm=given["norm"], refine=given["refine"]),
        held_out=tuple(clip for clip in clips if clip.stem in HOLD_OUT),
        weights=LossWeights(temporal=given["temporal"], style=style_weight, variation=0.0 if taught else 0.5),
        style_size=given["style_size"], learning_rate=given["learning_rate"], start=given["start"],
    )  # fmt: skip
    with parallel.first_alone():  # what the first one decodes, the others find in the cache
        trainer = StylizeTrainer(options, loop)
    final = fit(trainer, loop)
    if not parallel.first():
        return
    final.training.clear()
    final.save(out / f"{style.stem}.pt")
