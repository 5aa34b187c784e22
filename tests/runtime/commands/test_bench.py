"""`steadyframe bench` as a user calls it."""

from __future__ import annotations

import json

import cv2
import pytest
from click.testing import CliRunner
from steadyframe.runtime.commands import main


def call(*arguments):
    result = CliRunner().invoke(main, ["bench", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def test_a_table_figures_and_a_image(tiny_bundle, tmp_path):
    out, plot = tmp_path / "b.json", tmp_path / "b.png"
    result = call(
        tiny_bundle, "test://?size=96x64&frames=14", "--rounds", 2, "--limit", 12, "--json", out, "--plot", plot
    )
    assert result.exit_code == 0, result.output
    for word in ("blend", "keyframe", "flicker", "PSNR", "Delta-E", "fps", "times off", "flow", "age as a camera"):
        assert word in result.stderr
    figures = json.loads(out.read_text())
    assert list(figures["modes"]) == ["off", "blend", "keyframe"]
    for mode in figures["modes"].values():
        assert mode["frames"] == 12
        assert mode["fps"]["rounds"] == 2
        assert {"masked_mean", "masked_p95", "all_pixels_mean", "all_pixels_p95"} <= mode["flicker"].keys()
        assert {"p50", "p95", "p99"} <= mode["stages_ms"]["decode"].keys()
        assert mode["live"]["decoded"] == 12
    assert figures["modes"]["off"]["fidelity"]["psnr_db"] is None  # the same images: no finite figure
    image = cv2.imread(str(plot))
    assert image.shape[1] > 1000
    assert image.std() > 5
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".json", ".png")) == ["b.json", "b.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--json", "nowhere/b.json"), 5, "no folder"),
        (("--plot", "b.jpg"), 5, "PNG"),
        (("--every", "often"), 2, "a number or auto"),
        (("--flow", "slow"), 2, "ultrafast"),
        (("--flow", "fast:big"), 2, "fast:180"),
        (("--limit", "1"), 2, "limit"),
    ],
)
def test_wrong_arguments_are_told_clearly(tiny_bundle, arguments, code, words):
    result = call(tiny_bundle, "test://?size=64x48&frames=4", *arguments)
    assert result.exit_code == code, result.output
    assert words in result.output


def test_a_camera_is_refused(tiny_bundle, camera_server):
    result = call(tiny_bundle, camera_server().address)
    assert result.exit_code == 2
    assert "several times" in result.output
