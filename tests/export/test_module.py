"""A network that is not ours: exported, calibrated, proven equal, run; and the pytest fixture for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from steadyframe.calibration.diversity import diverse_frames
from steadyframe.calibration.precision import add_to_bundle, make_precision
from steadyframe.calibration.quality import QualityMetric, signal_db
from steadyframe.export.bundle import BundleFacts
from steadyframe.export.module import CustomNetwork, ModuleReference, export_module
from steadyframe.export.parity.compare import Target, compare_all
from steadyframe.runtime.bundle.manifest import Preprocess
from steadyframe.runtime.errors import ParityError, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor
from steadyframe.runtime.tasks.custom import NamedArrays
from torch import nn

import steadyframe as sf

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_network.py"


class Classifier(nn.Module):
    """Two outputs; the channels are weighed differently, so that their order matters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU()
        )
        self.scores = nn.Linear(8, 4)

    def forward(self, image):
        found = self.features(image)
        return self.scores(found.mean((2, 3))), found


class Swap(nn.Module):
    """Red and blue change places, green halves; no fixed size."""

    def forward(self, image):
        return torch.stack([image[:, 2], image[:, 1] / 2, image[:, 0]], dim=1)


@pytest.fixture(scope="module")
def frames(data_root):
    from steadyframe.runtime.io.sources import open_source

    source = open_source(str(data_root / "photos" / "val" / "osie*"))
    selection = diverse_frames((frame for frame, _ in zip(source, range(16), strict=False)), 8)
    source.close()
    return selection


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CustomNetwork(
        module=Classifier().eval(), outputs=("scores", "features"), preprocess=Preprocess("area", size_hw=(96, 96)),
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    return export_module(network, tmp_path_factory.mktemp("own") / "mine", BundleFacts(name="mine"))


@pytest.fixture(scope="module")
def whole(bundle, frames, tmp_path_factory):
    made = [make_precision(bundle, frames, precision) for precision in ("fp16", "int8")]
    return add_to_bundle(bundle, tmp_path_factory.mktemp("whole") / "whole", made)


def test_values_are_those_of_the_module_in_every_precision(network, whole, frames):
    targets = [Target("cpu", precision) for precision in ("fp32", "fp16", "int8")]
    reports = compare_all(whole, ModuleReference(network), frames.frames, targets)
    assert [report.passed for report in reports] == [True, True, True]
    assert [stage.name for stage in reports[0].stages] == ["net.frame", "net.scores", "net.features"]
    means = [report.task.mean for report in reports]
    assert means[0] > means[1] > means[2] > 20
    with open_processor(whole, device="cpu", precision="int8") as processor:
        (result,) = processor.process(frames.frames[0])
    assert isinstance(result.output, NamedArrays) and result.output.values["scores"].shape == (1, 4)


@pytest.mark.parametrize("change", [{"rgb": False}, {"mean": (0.4, 0.456, 0.406)}, {"std": (0.3, 0.224, 0.225)}])
def test_another_color_order_or_scaling_is_found(network, bundle, frames, change):
    import dataclasses

    other = ModuleReference(dataclasses.replace(network, **change))
    (report,) = compare_all(bundle, other, frames.frames[:2], [Target()])
    assert report.first_diverging == "net.scores"
    assert report.node is None  # the graph runs as it is written: what is written is another network


def test_an_image_network_takes_any_size(tmp_path):
    network = CustomNetwork(module=Swap(), preprocess=Preprocess("area", short_side=48, multiple=4))
    bundle = export_module(network, tmp_path / "swap", BundleFacts(name="swap"))
    processor = open_processor(bundle, device="cpu")
    for height, width in ((48, 64), (96, 48)):
        frame = Frame(np.full((height, width, 3), (200, 100, 50), np.uint8))
        (result,) = processor.process(frame)
        image = result.output.pixels
        assert image.shape == (height, width, 3)
        assert np.abs(image.reshape(-1, 3).mean(0) - (50, 50, 200)).max() < 1
    noise = [Frame(np.random.default_rng(i).integers(0, 256, (60, 80, 3), dtype=np.uint8)) for i in range(2)]
    (report,) = compare_all(bundle, ModuleReference(network), noise, [Target()])
    report.check()
    assert [stage.name for stage in report.stages] == ["net.frame", "net.image", "image"]


def test_a_measure_of_ones_own_replaces_the_tasks(network, whole, frames):
    metric = QualityMetric("dB that nobody reaches", signal_db, {"fp32": 1000.0}, higher_is_better=True)
    (report,) = compare_all(whole, ModuleReference(network), frames.frames[:1], [Target()], metric=metric)
    assert report.first_diverging == "dB that nobody reaches"
    with pytest.raises(UsageError, match="no limit for int8"):
        compare_all(whole, ModuleReference(network), frames.frames[:1], [Target("cpu", "int8")], metric=metric)


@pytest.mark.parametrize(
    "wrong", [{"outputs": ()}, {"outputs": ("a", "a")}, {"outputs": ("image", "a")}, {"tolerances": {"z": 1.0}}]
)
def test_descriptions_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        CustomNetwork(**{"module": Swap(), "preprocess": Preprocess("area", size_hw=(8, 8)), **wrong})


def test_the_fixture_passes_and_fails(steadyframe_parity, network, bundle, frames):
    (report,) = steadyframe_parity(bundle, network, frames.frames[:2])
    assert (report.device, report.precision, report.passed) == ("cpu", "fp32", True)
    with pytest.raises(ParityError, match=r"net\.scores"):
        steadyframe_parity(
            bundle.folder, network, [f.pixels for f in frames.frames[:1]], tolerances={"net.scores": 0}
        )
    with pytest.raises(ParityError, match="Nothing was compared"):
        steadyframe_parity(bundle, network, [])


def test_pytest_starts_without_pytorch(tmp_path):
    (tmp_path / "test_x.py").write_text("import sys\ndef test_x():\n    assert 'torch' not in sys.modules\n")
    command = [sys.executable, "-m", "pytest", "-q", "--steadyframe-device", "cpu", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_runs(data_root, tmp_path):
    clip = data_root / "videos" / "webcam_bird.mkv"
    command = [sys.executable, str(EXAMPLE), str(clip), str(tmp_path / "cleaner"), "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "cleaner" / "cleaned.mp4").stat().st_size > 10_000
    titles = [line for line in done.stdout.splitlines() if line.startswith("## Parity of cleaner")]
    assert [title.rpartition(": ")[2] for title in titles] == ["passed"] * 3


class Brightness(nn.Module):
    """Three classes by how bright a pixel is: (1, 3, h, w) scores."""

    def forward(self, image):
        grey = image.mean(1, keepdim=True)
        return torch.cat((0.33 - grey, 0.34 - (grey - 0.5).abs() * 2, grey - 0.66), 1)


def test_a_segmentation_is_exported_with_its_classes_steadied_and_written_as_a_video(tmp_path: Path) -> None:
    example = np.zeros((96, 128, 3), np.uint8)
    classes, palette = ["dark", "grey", "bright"], [(0, 0, 0), (0, 90, 200), (250, 200, 0)]
    sf.export(Brightness(), tmp_path / "seg", example=example, outputs=["segmentation"],
              classes=classes, palette=palette)  # fmt: skip
    sf.compare(tmp_path / "seg", Brightness(), "test://?size=128x96&frames=3", frames=2).check()
    out = tmp_path / "seg.mp4"
    stream = sf.open_stream(tmp_path / "seg", "test://?size=128x96&frames=12", [out], device="cpu", steady="keyframe")
    results = list(stream)
    assert len(results) == 12 and results[0].output.classes == tuple(classes)
    assert {int(label) for label in np.unique(results[5].output.values["segmentation"])} <= {0, 1, 2}
    written = [frame.pixels for frame in sf.open_source(str(out))]
    assert len(written) == 12
    shown = results[5].draw().astype(int)
    assert np.abs(written[5].astype(int) - shown).mean() < 12
    assert np.abs(shown - results[5].frame.pixels).mean() > 5  # something is drawn


def test_classes_without_a_segmentation_are_refused() -> None:
    with pytest.raises(UsageError, match="segmentation"):
        CustomNetwork(module=Swap(), preprocess=Preprocess("area", short_side=64, multiple=8), classes=["a"])


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"rgb": False}, "made for RGB"), ({"mean": (0.0,) * 3, "std": (1.0,) * 3}, "ImageNet"),
        ({"preprocess": Preprocess("nearest", size_hw=(96, 96))}, "kernel area"),
        ({"preprocess": Preprocess("area", size_hw=(64, 96))}, "96x96, the trained network 96x64"),
    ],
)  # fmt: skip
def test_the_usual_mistakes_are_named(network, bundle, frames, change, cause):
    import dataclasses

    other = ModuleReference(dataclasses.replace(network, **change))
    (report,) = compare_all(bundle, other, frames.frames[:2], [Target()])
    assert not report.passed and report.cause is not None and cause in report.cause
    with pytest.raises(ParityError, match="likely cause"):
        report.check()
    assert f"likely cause: {report.cause}" in report.to_markdown()


def test_a_mistake_that_is_none_of_the_usual_is_not_named(network, bundle, frames):
    import dataclasses

    torch.manual_seed(1)
    other = ModuleReference(dataclasses.replace(network, module=Classifier().eval()))
    (report,) = compare_all(bundle, other, frames.frames[:1], [Target()])
    assert not report.passed and report.cause is None
