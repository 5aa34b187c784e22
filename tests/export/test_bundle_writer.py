"""A bundle appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from steadyframe.export.bundle import BundleFacts, export_bundle
from steadyframe.export.commands import _licence_of, export
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import BundleError

from .conftest import small_checkpoint


@pytest.fixture(scope="module")
def plain() -> Checkpoint:
    return small_checkpoint(None)


def test_round_trip(plain: Checkpoint, tmp_path: Path) -> None:
    facts = BundleFacts(name="mine", version="7", licence="MIT", settings={"saturation": 1.5}, card="# Mine\n")
    bundle = export_bundle(plain, tmp_path / "out", facts)
    again = Bundle.load(tmp_path / "out")
    assert again.manifest == bundle.manifest
    assert (again.manifest.version, again.manifest.licence) == ("7", "MIT")
    assert again.manifest.settings == {"saturation": 1.5}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "card.md", "color.onnx", "global.onnx", "manifest.json", "weights.safetensors",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_second_export_replaces_the_first_and_keeps_its_card(plain: Checkpoint, tmp_path: Path) -> None:
    export_bundle(plain, tmp_path / "out", BundleFacts(name="mine", card="# Mine\n"))
    export_bundle(plain, tmp_path / "out", BundleFacts(name="mine", version="2"))
    assert Bundle.load(tmp_path / "out").manifest.version == "2"
    assert (tmp_path / "out" / "card.md").read_text() == "# Mine\n"


def test_a_folder_that_is_no_bundle_is_left_alone(plain: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="holds no bundle"):
        export_bundle(plain, tmp_path, BundleFacts(name="mine"))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_weights_that_do_not_fit_are_an_error(plain: Checkpoint, tmp_path: Path) -> None:
    wrong = Checkpoint(task="colorize", config={"net": {"width": 0.25}}, weights={"x": torch.zeros(1)})
    with pytest.raises(BundleError, match="do not fit"):
        export_bundle(wrong, tmp_path / "out", BundleFacts(name="mine"))
    assert not list(tmp_path.iterdir())


def test_the_licence_is_the_owners_to_state(tmp_path: Path) -> None:
    small_checkpoint(None).save(tmp_path / "c.pt")
    words = [str(tmp_path / "c.pt"), "-o", str(tmp_path / "mine")]
    done = CliRunner().invoke(export, words, catch_exceptions=False)
    assert done.exit_code == 0 and "--licence" in done.stderr
    assert Bundle.load(tmp_path / "mine").manifest.licence == "not stated"
    CliRunner().invoke(export, [*words, "--licence", "MIT"], catch_exceptions=False)
    assert Bundle.load(tmp_path / "mine").manifest.licence == "MIT"
    assert _licence_of(tmp_path / "mine") == "MIT"
