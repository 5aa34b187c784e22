"""What a batch job is: its options, its clips, and the folder that says what is done.

Owns `Job`, `Clip` and `JobFolder`. Knows nothing of workers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SinkError, UsageError
from ..files import sweep, write_whole
from ..io.encode import ENCODERS
from ..io.sinks.video_options import VideoOptions
from ..temporal.options import SteadyOptions

SCHEMA = 1
FOLDER = ".steadyframe-batch"
MANIFEST = "job.json"
LINES = ".jsonl"
SUFFIXES = (*(suffix.removeprefix(".") for suffix in ENCODERS), "jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is done to every clip; plain values, which travel to the workers.

    Parameters
    ----------
    bundle : name of a shipped bundle, or absolute path of one
    digest : of the bundle's manifest: every worker must have the same one
    precision : loaded; never ``auto``, since machines may differ
    device : of the network
    threads : of one run of the network; another number may round its results differently
    steady, every, flow : as `steadyframe run` has them
    options : of the task
    suffixes : endings of what is written for every clip, such as ``.mp4`` and ``.jsonl``
    quality, encoder : of videos
    shortest : least frames of a segment
    """

    bundle: str
    digest: str
    precision: str
    device: str = "auto"
    threads: int = 1
    steady: str = "auto"
    every: str | None = None
    flow: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    suffixes: tuple[str, ...] = (".mp4",)
    quality: int | None = None
    encoder: str = "x264"
    shortest: int = 150

    def __post_init__(self) -> None:
        if self.shortest < 1:
            raise UsageError("A segment has one frame or more", found=self.shortest)
        unknown = [suffix for suffix in self.suffixes if suffix not in (*ENCODERS, LINES)]
        if unknown or not self.suffixes:
            raise UsageError(
                "There is no such kind of output", found=", ".join(unknown) or "none", available=SUFFIXES
            )

    @property
    def makes_video(self) -> bool:
        """Whether images are wanted, not only lines of JSON."""
        return any(suffix != LINES for suffix in self.suffixes)

    @property
    def video(self) -> VideoOptions:
        """Options of the final encode."""
        return VideoOptions(quality=self.quality, encoder=self.encoder)

    def steady_options(self, mode: str) -> SteadyOptions:
        """Read the options of steadying for the mode that is used."""
        return SteadyOptions.of(mode, every=self.every, flow=None if mode == "off" else self.flow)


@dataclass(frozen=True, slots=True)
class Clip:
    """One input, and what becomes of it.

    Parameters
    ----------
    path : absolute
    key : name of its folder of segments, different for every clip
    size, modified_ns : of the file, by which a changed one is noticed
    outputs : absolute paths
    """

    path: str
    key: str
    size: int
    modified_ns: int
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, folder: Path, suffixes: Sequence[str]) -> Clip:
        """Describe a clip whose results go into a folder under the clip's own name."""
        path = path.resolve()
        facts = path.stat()
        key = f"{path.stem[:60]}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        outputs = tuple(str(folder / f"{path.stem}{suffix}") for suffix in suffixes)
        return cls(str(path), key, facts.st_size, facts.st_mtime_ns, outputs)


class JobFolder:
    """The folder of a job: the results, and beside them a hidden folder with the manifest and the segments.

    Parameters
    ----------
    folder : of the results; made if it is not there
    job : what is done

    Raises
    ------
    SinkError
        If nothing can be written there.
    UsageError
        If it holds another job, with another bundle or other options.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder = folder.resolve()
        self.hidden = self.folder / FOLDER
        self._manifest = self.hidden / MANIFEST
        self._job = json.loads(json.dumps(asdict(job)))
        try:
            self.hidden.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"Nothing can be written in {folder} ({error.strerror})") from error
        sweep(self.hidden)
        self._clips: dict[str, dict[str, Any]] = self._read()
        self._write()

    def _read(self) -> dict[str, dict[str, Any]]:
        """Read what is done already."""
        if not self._manifest.exists():
            return {}
        try:
            found = json.loads(self._manifest.read_text(encoding="utf-8"))
            job, clips = found["job"], found["clips"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self._manifest} is no manifest of a job", todo=f"Remove {self.hidden} to begin anew"
            ) from error
        different = sorted(name for name in self._job if job.get(name) != self._job[name])
        if found.get("schema") != SCHEMA or different:
            raise UsageError(
                f"{self.folder} holds a job with other options",
                expected="; ".join(f"{name} {job.get(name)}" for name in different),
                found="; ".join(f"{name} {self._job[name]}" for name in different),
                todo=f"Name another folder, or remove {self.hidden} to begin anew",
            )
        return dict(clips)

    def segments(self, clip: Clip) -> Path:
        """Folder of a clip's segments."""
        return self.hidden / clip.key

    def is_done(self, clip: Clip) -> bool:
        """Whether a clip is complete: its outputs are there, made of the file as it is now."""
        entry = self._clips.get(clip.key, {})
        same = entry.get("size") == clip.size and entry.get("modified_ns") == clip.modified_ns
        return bool(entry.get("done")) and same and all(Path(output).exists() for output in clip.outputs)

    def begin(self, clip: Clip) -> None:
        """Keep the segments of a clip that was begun before, unless its file has changed since."""
        entry = self._clips.get(clip.key, {})
        known = entry.get("size") == clip.size and entry.get("modified_ns") == clip.modified_ns
        if not known or entry.get("done"):
            shutil.rmtree(self.segments(clip), ignore_errors=True)
        self._note(clip, {})

    def finish(self, clip: Clip, frames: int) -> None:
        """Note that a clip is complete, and remove its segments."""
        self._note(clip, {"done": True, "frames": frames})
        shutil.rmtree(self.segments(clip), ignore_errors=True)

    def fail(self, clip: Clip, reason: str) -> None:
        """Note why a clip could not be finished, and remove its segments."""
        self._note(clip, {"error": reason})
        shutil.rmtree(self.segments(clip), ignore_errors=True)

    def _note(self, clip: Clip, facts: Mapping[str, Any]) -> None:
        entry = {"path": clip.path, "size": clip.size, "modified_ns": clip.modified_ns, "outputs": list(clip.outputs)}
        self._clips[clip.key] = entry | dict(facts)
        self._write()

    def _write(self) -> None:
        content = {"schema": SCHEMA, "job": self._job, "clips": self._clips}
        write_whole(self._manifest, json.dumps(content, indent=1).encode())


def clips_of(patterns: Sequence[Path], folder: Path, suffixes: Sequence[str]) -> list[Clip]:
    """Describe the clips of a job, in the order of their names.

    Raises
    ------
    UsageError
        If there are none, if two would be written to one file, or one would be written over.
    """
    clips = [Clip.of(path, folder.resolve(), suffixes) for path in sorted(set(patterns))]
    if not clips:
        raise UsageError("There are no clips", expected="one or more video files")
    taken: dict[str, str] = {clip.path: "the input itself" for clip in clips}
    for clip in clips:
        for output in clip.outputs:
            if output in taken:
                raise UsageError(
                    f"{output} would be written for {clip.path}, and is {taken[output]}",
                    todo="Name another folder, or run the clips of each folder in a job of their own",
                )
            taken[output] = f"written for {clip.path}"
    return clips
