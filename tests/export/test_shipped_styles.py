"""The shipped styles on images that no camera should give: black, white, noise, and each after itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from steadyframe.calibration.activation_ranges import refuse_not_finite, scan
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor

STYLES = [name for name in shipped_bundles() if name.startswith("stylize-")]
KINDS = ("black", "white", "noise")


def images(kind: str, count: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    for _ in range(count):
        if kind == "noise":
            yield rng.integers(0, 256, (96, 128, 3), np.uint8)
        else:
            yield np.full((96, 128, 3), 255 * (kind == "white"), np.uint8)


def test_the_four_styles_are_there() -> None:
    assert STYLES == ["stylize-scream", "stylize-udnie", "stylize-wave", "stylize-wreck"]


@pytest.mark.parametrize("name", STYLES)
def test_every_value_inside_is_finite(name: str) -> None:
    def feeds() -> Iterator[dict[str, NDArray[np.uint8]]]:
        for kind in KINDS:
            for previous in KINDS:
                for trust in (0, 255):
                    (frame,), (before,) = images(kind, 1), images(previous, 1)
                    mask = np.full((1, 96, 128, 1), trust, np.uint8)
                    yield {"frame": frame[None], "previous": before[None], "mask": mask}

    model = onnx.load_from_string(Bundle.load(name).graph_bytes("stylize", "fp32"))
    ranges = scan(model, feeds())
    refuse_not_finite(ranges, name)
    assert max(max(abs(found.low), abs(found.high)) for found in ranges.values()) < 6e4, "float16 holds it as well"


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fed_back_settles(name: str, kind: str) -> None:
    frames = (Frame(pixels, index, time_ns=index * 10**9 // 30) for index, pixels in enumerate(images(kind, 60)))
    with open_processor(name, steady="blend") as processor:
        means = [result.output.pixels.reshape(-1, 3).mean(0) for result in processor.process_all(frames)]
    assert len(means) == 60
    before, after = (np.mean(part, 0) for part in (means[-20:-10], means[-10:]))
    assert np.abs(after - before).max() < 3, "levels; a drift would go on"
