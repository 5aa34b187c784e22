"""`steadyframe batch` by its command line; the workers are in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from steadyframe.runtime.commands import main

pytest.importorskip("ray", reason="Ray is not installed: the extra [batch]")

from steadyframe.runtime.commands import batch as command


class Here:
    """A cluster of this process."""

    workers = 2

    def __init__(self, address: str | None, **options: object) -> None:
        self.asked = (address, options)
        self._waiting: list[tuple[object, Callable[..., object], tuple[object, ...]]] = []

    def submit(self, label, function, *given) -> None:
        self._waiting.append((label, function, given))

    def next(self, timeout_s: float):
        if not self._waiting:
            return None
        label, function, given = self._waiting.pop(0)
        try:
            return label, function(*given)
        except Exception as error:
            return label, error

    def drop(self, unwanted) -> None:
        self._waiting = [one for one in self._waiting if not unwanted(one[0])]

    def __enter__(self):
        return self

    def __exit__(self, *given) -> None:
        """End."""


@pytest.fixture
def batch(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command in an empty folder."""
    monkeypatch.setattr(command, "Cluster", Here)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Result:
        given = ["batch", str(tiny_bundle), *(str(word) for word in words), "--precision", "fp32"]
        return CliRunner().invoke(main, given)

    return run


def test_clips_become_files_of_the_same_name(batch, make_clip, tmp_path):
    for name in ("a.mkv", "b.mkv"):
        make_clip(name, frames=8)
    ran = batch("*.mkv", "out", "--to", "mp4", "--to", "jsonl")
    assert ran.exit_code == 0, ran.output
    assert "2 of 2 clips are complete; 16 frames in this run" in ran.stderr
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [".steadyframe-batch", "a.jsonl", "a.mp4", "b.jsonl", "b.mp4"]
    again = batch("*.mkv", "out", "--to", "mp4", "--to", "jsonl")
    assert again.exit_code == 0 and "2 of 2 clips are complete; 0 frames in this run" in again.stderr
    other = batch("*.mkv", "out")
    assert other.exit_code == 2 and "a job with other options" in other.stderr


def test_a_clip_that_fails_is_the_exit_code(batch, make_clip, tmp_path):
    make_clip("a.mkv", frames=5)
    (tmp_path / "b.mkv").write_text("no video")
    ran = batch("a.mkv", "b.mkv", "out")
    assert ran.exit_code == 5
    assert "1 of 2 clips are complete" in ran.stderr and "failed: " in ran.stderr and "b.mkv" in ran.stderr
    assert (tmp_path / "out" / "a.mp4").exists() and not (tmp_path / "out" / "b.mp4").exists()


def test_mistakes_are_told_before_anything_starts(batch, make_clip, tmp_path):
    assert batch("nothing*.mp4", "out").exit_code == 5
    make_clip("a.mkv", frames=2)
    assert batch("a.mkv", "out", "--set", "no_such=1").exit_code == 2
    assert batch("a.mkv", "out", "--every", "3", "--steady", "blend").exit_code == 2
    assert not (tmp_path / "out").exists()
