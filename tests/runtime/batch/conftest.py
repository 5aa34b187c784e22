"""Clips with scene changes, and workers in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from steadyframe.runtime.batch.job import Clip, Job, JobFolder, clips_of
from steadyframe.runtime.batch.work import digest_of
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.io.encode import VideoWriter


def scene(number: int, size_wh: tuple[int, int]) -> np.ndarray:
    """A soft random landscape, larger than a frame, that differs from scene to scene."""
    width, height = size_wh
    low, high = (0, 140) if number % 2 else (100, 256)  # dark and bright scenes in turn
    coarse = np.random.default_rng(number).integers(low, high, (height // 8, width // 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (2 * width, height + 20), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def make_scenes(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip of several scenes in which the camera pans, with sound."""

    def make(
        name: str = "scenes.mp4", scenes: int = 3, frames: int = 24, size_wh=(192, 128), options=None
    ) -> Path:  # fmt: skip
        path = tmp_path / name
        width, height = size_wh
        with av.open(str(path), "w") as out:
            video = out.add_stream("libx264", rate=Fraction(30000, 1001), options=options or {"crf": "18"})
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            sound = out.add_stream("aac", rate=48000, layout="mono")
            for number in range(scenes * frames):
                land, place = scene(number // frames, size_wh), number % frames
                image = np.ascontiguousarray(land[place % 20 : place % 20 + height, 2 * place : 2 * place + width])
                out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            out.mux(video.encode(None))
            wave = np.sin(np.arange(48000 * scenes * frames // 30, dtype=np.float32) / 20)[None]
            for at in range(0, wave.shape[1] - 1024, 1024):
                part = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, at : at + 1024]), "fltp", "mono")
                part.sample_rate, part.pts = 48000, at
                out.mux(sound.encode(part))
            out.mux(sound.encode(None))
        return path

    return make


class InProcess:
    """Workers that answer in this process, in order; they may fail once before a call."""

    def __init__(self, workers: int = 2, before: Callable[[Any], None] = lambda label: None) -> None:
        self.workers = workers
        self.calls: list[tuple[str, int]] = []
        self._before = before
        self._waiting: list[tuple[Any, Any, Any]] = []

    def submit(self, label, function, *given) -> None:
        self._waiting.append((label, function, given))

    def next(self, timeout_s: float):
        if not self._waiting:
            return None
        label, function, given = self._waiting.pop(0)
        self._before(label)
        self.calls.append(label[1:])
        try:
            return label, function(*given)
        except Exception as error:
            return label, error

    def drop(self, unwanted) -> None:
        self._waiting = [one for one in self._waiting if not unwanted(one[0])]


@pytest.fixture
def in_process() -> type[InProcess]:
    """The class of workers in this process."""
    return InProcess


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., tuple[Job, list[Clip], JobFolder]]:
    """Describe a job, its clips and its folder."""

    def make(bundle: object, *clips: Path, out: str = "out", **options: Any) -> tuple[Job, list[Clip], JobFolder]:
        digest = digest_of(Bundle.load(str(bundle)))
        job = Job(**{"bundle": str(bundle), "digest": digest, "precision": "fp32", "shortest": 12} | options)
        return job, clips_of(clips, tmp_path / out, job.suffixes), JobFolder(tmp_path / out, job)

    return make


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Hash and time of every frame that is handed to an encoder."""
    seen: list[tuple[str, int]] = []
    write = VideoWriter.write

    def watched(self: VideoWriter, image: Any, time_ns: int) -> None:
        arrays = [image] if isinstance(image, np.ndarray) else [image.y, image.u, image.v]
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in arrays if one is not None))
        seen.append((digest.hexdigest(), time_ns))
        write(self, image, time_ns)

    monkeypatch.setattr(VideoWriter, "write", watched)
    return seen
