"""`steadyframe train pose`: the paper's three stages, one after the other, each within its share of the time.

Owns the order of the stages, the folders of a run and the command line. A run that was cut goes on where it stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from rich.console import Console

from .. import parallel
from ..checkpoint import Checkpoint
from ..training import LoopOptions, fit, half_is_fast, seed_all
from .batches import BatchOptions, PoseBatches
from .calibrate import fit_calibration
from .detector import PaperDetector, PaperOptions
from .edge import DEPTH, STRIDE, EdgeDetector, EdgeOptions
from .evaluate import evaluate
from .net import PoseNet, deepened
from .people import People, load_people
from .skeleton import SKELETONS
from .spatial import SpatialModel, SpatialOptions
from .trainers import NetTrainer, SpatialTrainer, StoredMaps, Validation

STAGES = ("detector", "spatial", "joint")
SHARES = {"detector": 0.68, "spatial": 0.08, "joint": 0.24}  # of the minutes, when all three stages run
RATES = {"detector": 1e-3, "spatial": 2e-2, "joint": 5e-4}
FOREVER = 10_000_000
PAIRS = 0.8  # share of crops with a second person, where the spatial model is told the torso


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """One run.

    Parameters
    ----------
    data : folder laid out as in the design's section 6; out : folder of the run; cache : folder for cut people
    minutes : of training in all stages that run, start-up not counted
    network : "edge" or "paper"; banks, noise : of the detector
    depth : of the edge detector, as in `EdgeOptions`; None is its own default, or what `start` has
    coarsen : of the edge network's spatial model, as in `SpatialOptions`
    torso : tell the spatial model the true torso, as in the paper's evaluation, and show a second person beside most
        people; for comparison, since such a network is not exported
    stages : which of the three; a later one needs the earlier one's result in `out` or at `start`
    start : checkpoint whose detector is taken over, and whose spatial model, unless the detector is trained on
    stored : heat-maps kept for the spatial stage
    labels : further COCO-keypoints files
    shards : folders of people in shards, from which half of the crops come
    devices, nodes : processes on a machine, and machines; see `parallel.launch`
    """

    data: Path
    out: Path
    cache: Path
    minutes: float = 60.0
    network: str = "edge"
    banks: int = 2
    depth: tuple[int, int, int] | None = None
    noise: str | None = None
    coarsen: int = 4
    torso: bool = False
    stages: tuple[str, ...] = STAGES
    start: Path | None = None
    batch: BatchOptions = field(default_factory=BatchOptions)
    stored: int = 6_000
    labels: tuple[Path, ...] = ()
    shards: tuple[Path, ...] = ()
    device: str = "cpu"
    devices: int = 1
    nodes: int = 1
    seed: int = 0


def train(options: TrainOptions, console: Console | None = None) -> Path:
    """Run the stages; give the path of the final checkpoint, without optimizer state.

    N processes (`devices`, or `torchrun --nproc-per-node N`) train one network on N times as many people a step.

    Raises
    ------
    BundleError
        If a stage needs an earlier one that is not there.
    SourceNotFound
        If labels or images are missing.
    """
    device = parallel.launch(options.device, devices=options.devices, nodes=options.nodes)
    console = console or Console(stderr=True, quiet=not parallel.first())
    options = replace(options, device=device, seed=options.seed + 1000 * parallel.number())
    seed_all(options.seed)
    torch.backends.cudnn.benchmark = True  # every batch has the same shape
    torch.set_float32_matmul_precision("high")
    skeleton = SKELETONS["union-19"]
    if options.network == "paper":
        options = replace(options, batch=replace(options.batch, scenes=0))
    if options.torso:
        options = replace(options, batch=replace(options.batch, neighbours=PAIRS))
    begun = time.monotonic()
    with parallel.first_alone():
        batches = PoseBatches(
            options.data, skeleton, options.batch, cache=options.cache, seed=options.seed, extra=options.labels,
            shards=options.shards,
        )  # fmt: skip
        validation = Validation(
            _validation_sets(options), skeleton, options.batch.size, options.device, pairs=options.torso
        )
    console.print(f"{len(batches.people)} people ready after {time.monotonic() - begun:.0f} s", highlight=False)
    net = _fresh(options)
    if options.start:
        net = deepened(Checkpoint.load(options.start, task="pose"), options.depth or (1, 1, 1))
        if "detector" in options.stages:
            net.spatial = None  # the one that is there was made for other heat-maps
    total = sum(SHARES[stage] for stage in options.stages)
    for stage in options.stages:
        checkpoint = _stage(
            stage, net, batches, validation, replace(options, minutes=options.minutes * SHARES[stage] / total)
        )
        if stage == "spatial":
            assert net.spatial is not None
            net.spatial.load_state_dict(checkpoint.weights)
            checkpoint.weights = net.state_dict()
        else:
            net.load_state_dict(checkpoint.weights)
        if not parallel.first():
            continue
        checkpoint.training = {}
        checkpoint.config["calibration"] = list(_calibrate(net.eval(), validation, options))
        checkpoint.save(options.out / f"{stage}.pt")
        console.print(f"{stage}: {options.out / f'{stage}.pt'}", highlight=False)
    return options.out / f"{options.stages[-1]}.pt"


def _calibrate(net: PoseNet, validation: Validation, options: TrainOptions) -> tuple[float, float]:
    """Fit the scores on the validation sets."""
    sets = list(validation.sets.values())
    how: dict[str, Any] = {"size": options.batch.size, "device": options.device, "pairs": options.torso}
    seen = [evaluate(net, people, validation.skeleton, **how) for people in sets]
    return fit_calibration(seen, [people.absent for people in sets])


def _fresh(options: TrainOptions) -> PoseNet:
    """Build a network with new weights."""
    joints = len(SKELETONS["union-19"].joints)
    if options.network == "paper":
        return PoseNet(PaperDetector(PaperOptions(joints=joints, banks=options.banks)))
    shape = EdgeOptions(joints=joints, banks=options.banks, depth=options.depth or DEPTH, noise=options.noise)
    return PoseNet(EdgeDetector(shape))


def _validation_sets(options: TrainOptions) -> dict[str, People]:
    """Load the people to measure on: human labels of sport, and everyday images that no training sees."""
    skeleton, data, cache = SKELETONS["union-19"], options.data, options.cache
    size = options.batch.stored_size
    lsp = load_people([data / "pose/lspet/val.json"], skeleton, root=data, size=size, cache=cache)
    new = load_people([data / "pose/teacher/people_val.json"], skeleton, root=data, size=size, cache=cache)
    pseudo = load_people(
        [data / "pose/pseudo/videos.json", data / "pose/pseudo/photos.json"],
        skeleton,
        root=data,
        size=size,
        cache=cache,
    )
    webcam = pseudo.in_groups(["webcam_hungry", "webcam_want", "webcam_eat", "webcam_bird"])
    return {
        "lsp": lsp.only(np.arange(len(lsp)) % 2 == 0),
        "new": new,
        "webcam": pseudo.only(webcam & (np.arange(len(pseudo)) % 2 == 0)),
    }


def _stage(
    stage: str, net: PoseNet, batches: PoseBatches, validation: Validation, options: TrainOptions
) -> Checkpoint:
    """Run one stage, or what is left of it."""
    out = options.out / stage
    last = out / "last.pt"
    before = Checkpoint.load(last, task="pose").seconds if last.exists() else 0.0
    seconds = 60 * options.minutes
    if stage != "detector" and net.spatial is None:
        net.spatial = _spatial(net, options)
    net.to(options.device)
    trainer: NetTrainer | SpatialTrainer
    if stage == "spatial":
        stored = StoredMaps.make(net, batches, options.stored, options.device)
        assert net.spatial is not None
        if not last.exists():
            stored.start(net.spatial, validation.skeleton.joints)
        trainer = SpatialTrainer(
            net, stored, validation, seconds=seconds, rate=RATES[stage], batch_size=min(48, options.batch.crops)
        )
    else:
        trainer = NetTrainer(net, batches, validation, seconds=seconds, rate=_rate(stage, net))
    every = _steps_in(max(60.0, seconds / 12), trainer, options)
    loop = LoopOptions(
        out=out, steps=FOREVER, minutes=max(0.02, options.minutes - before / 60), device=options.device,
        bf16=stage != "spatial" and half_is_fast(options.device), clip=5.0, ema=0.998,
        validate_every=max(1, every), save_every=max(1, every // 2),
        seed=options.seed,
    )  # fmt: skip
    return fit(trainer, loop)


def _rate(stage: str, net: PoseNet) -> float:
    """Learning rate; the paper's detector has no batch norm and bears less."""
    return RATES[stage] * (0.1 if isinstance(net.detector, PaperDetector) else 1.0)


def _spatial(net: PoseNet, options: TrainOptions) -> SpatialModel:
    """Build a fresh spatial model that fits the detector."""
    grid = options.batch.size // STRIDE
    edge = isinstance(net.detector, EdgeDetector)
    joints = net.detector.options.joints
    coarsen = options.coarsen if edge else 1
    return SpatialModel(SpatialOptions(joints=joints, grid_hw=(grid, grid), coarsen=coarsen, torso=options.torso))


def _steps_in(seconds: float, trainer: NetTrainer | SpatialTrainer, options: TrainOptions) -> int:
    """Measure how many steps fit into some seconds; the weights stay as they are."""
    device = options.device.split(":")[0]
    trainer.net.to(options.device, memory_format=torch.channels_last).train()
    state = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    count, marked = 0, time.monotonic()
    for step in range(12):
        if step == 4:  # the first ones warm up allocators and kernels
            count, marked = 0, time.monotonic()
        with torch.autocast(device, torch.bfloat16, enabled=half_is_fast(device)):
            trainer.losses(step)["loss"].backward()
        count += 1
        if device == "cuda":
            torch.cuda.synchronize()
        if step >= 4 and time.monotonic() - marked > 10:
            break
    rate = count / (time.monotonic() - marked)
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.net.load_state_dict(state)
    return round(seconds * rate)


@click.command("pose")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True, help="Data folder."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; going on where it stopped."
)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for cut people. Default: OUT/cache.")
@click.option("--minutes", default=60.0, show_default=True, help="Training time of all stages together.")
@click.option("--network", type=click.Choice(["edge", "paper"]), default="edge", show_default=True)
@click.option("--banks", type=click.IntRange(1, 3), default=2, show_default=True)
@click.option(
    "--depth", nargs=3, type=click.IntRange(min=1),
    help=f"Residual blocks at strides 8, 16, 32.  [default: {DEPTH}, or those of --start]",
)  # fmt: skip
@click.option("--noise", type=click.Choice(["nan", "nah"]), help="Noisy activations in the gates.")
@click.option(
    "--coarsen",
    type=click.IntRange(1, 4),
    default=4,
    show_default=True,
    help="Heat-map cells to a cell of the spatial model.",
)
@click.option(
    "--torso", is_flag=True, help="Tell the spatial model the true torso, on crops of two people, as the paper does."
)
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="Only these stages. Default: all.")
@click.option("--start", type=click.Path(path_type=Path), help="Checkpoint, or bundle, whose weights are taken over.")
@click.option(
    "--labels", multiple=True, type=click.Path(path_type=Path, exists=True), help="More COCO-keypoints files."
)
@click.option(
    "--shards", multiple=True, type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="People in WebDataset shards, by `steadyframe shards --people`; half of the crops come from them.",
)  # fmt: skip
@click.option("--batch", default=48, show_default=True, help="Images a batch, a quarter of them scenes.")
@click.option(
    "--wild", type=click.FloatRange(0, 1), default=BatchOptions().wild, show_default=True,
    help="Share of crops from people in any posture: sports, lying, upside down.",
)  # fmt: skip
@click.option(
    "--size", type=click.Choice(["128", "160", "192", "224", "256"]), default=str(BatchOptions().size),
    show_default=True, help="Pixels of the crops at the end of the training, and in the bundle.",
)  # fmt: skip
@click.option("--stored", default=6_000, show_default=True, help="Heat-maps kept for the spatial stage.")
@click.option("--device", default="cpu", show_default=True)
@parallel.process_options
@click.option("--seed", default=0, show_default=True)
def command(**given: Any) -> None:
    """Train part detector and spatial model on people with marked joints."""
    cv2.setNumThreads(1)  # the threads that make batches leave the processor to the network
    images = given.pop("batch")
    given["cache"] = given["cache"] or given["out"] / "cache"
    given["stages"] = given["stages"] or STAGES
    batch = BatchOptions(
        crops=images - images // 4, scenes=images // 4, wild=given.pop("wild"), size=int(given.pop("size"))
    )
    click.echo(train(TrainOptions(batch=batch, **given)))
