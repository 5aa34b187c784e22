"""What a worker does: plan a clip, work on a segment, join the segments of a clip.

Owns the three functions that a cluster runs. Each takes plain values and paths, writes files that appear whole, and
may be called again after a worker died.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

from .. import opening
from ..bundle.bundle import MANIFEST_FILE, Bundle
from ..engines.registry import open_sessions
from ..engines.session import Session
from ..errors import BundleError, SinkError
from ..files import behind_link, unfinished_name, write_whole
from ..io.sinks import open_sink
from ..io.sources import open_source
from ..opencv_settings import one_opencv_thread
from ..processor import Processor, Step
from ..tasks.registry import build_task, task_descriptor
from .clip import ClipFrames, FrameIndex, IndexMismatch
from .job import LINES, Clip, Job
from .planning import Plan, plan_clip
from .segments import Segment, SegmentWriter, frame_hash, read_images, stored

_PLAN = "plan.json"


def digest_of(bundle: Bundle) -> str:
    """Hash of a bundle's manifest, which holds the hashes of its graphs."""
    return hashlib.sha256((bundle.folder / MANIFEST_FILE).read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def _loaded(
    name: str, digest: str, device: str, precision: str, threads: int
) -> tuple[Bundle, Mapping[str, Session]]:
    """Bundle and sessions of a job; a worker loads them once and keeps them."""
    bundle = Bundle.load(name)
    found = digest_of(bundle)
    if found != digest:
        raise BundleError(
            f"This worker has another bundle {name!r}", expected=f"manifest {digest[:12]}",
            found=f"manifest {found[:12]}", todo="Install the same version everywhere, or share the bundle's folder",
        )  # fmt: skip
    return bundle, open_sessions(bundle, device=device, precision=precision, threads=threads)


def open_processor(job: Job) -> Processor:
    """Open a fresh task and stage of a job, on the sessions that this worker has."""
    bundle, sessions = _loaded(job.bundle, job.digest, job.device, job.precision, job.threads)
    options = dict(job.options)
    read = task_descriptor(bundle.manifest.task).reads(bundle.manifest)
    if read:  # another bundle's results, as `open_task` gives them to the task
        options["processor"] = opening.open_processor(read, steady="off", device=job.device, threads=job.threads)
    try:
        task = build_task(bundle.manifest, sessions, options)
    except BaseException:
        if read:
            options["processor"].close()
        raise
    mode = job.steady
    if mode == "auto":
        mode = opening.steady_options("auto", task).mode
        if job.every is not None and mode == "blend":
            mode = "keyframe"  # who asks for keyframes gets them
    try:
        return Processor.owning(task, task.make_stage(job.steady_options(mode), live=False))
    except BaseException:
        task.close()
        raise


def _forgets(job: Job) -> Callable[[Processor, Step], bool] | None:
    """Whether the task and its stage forget at a frame that was prepared; None if they never do."""
    bundle, _ = _loaded(job.bundle, job.digest, job.device, job.precision, job.threads)
    asked = task_descriptor(bundle.manifest.task).forgets
    if asked is None:
        return None
    return lambda processor, step: asked(processor.task, step.motion, step.feeds)


def plan(job: Job, clip: Clip, folder: str) -> Plan:
    """Find where a clip may be cut, and write the plan into the folder of its segments.

    Returns
    -------
    Plan
        Without the index of the frames, which stays in the file: it is long.

    Raises
    ------
    SourceError
        If the clip cannot be read.
    """
    forgets = _forgets(job)
    # Preparing a frame depends on the task alone, so that any processor of it can be asked.
    with _one_opencv_thread(), open_processor(job) as asked:
        question = None if forgets is None else partial(forgets, asked)
        found = plan_clip(clip.path, partial(open_processor, job), question, job.shortest)
    write_plan(Path(folder), found)
    return replace(found, index=None)


def write_plan(folder: Path, found: Plan) -> None:
    """Write the plan of a clip."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _PLAN, json.dumps(asdict(found)).encode())


def read_plan(folder: Path) -> Plan:
    """Read the plan of a clip."""
    stored_plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    index = stored_plan["index"]
    if index is not None:
        index = FrameIndex(tuple(index["stamps"]), tuple(index["keyframes"]))
    return Plan(tuple(stored_plan["starts"]), index, stored_plan["count"])


def work(job: Job, clip: Clip, folder: str, start: int) -> Segment:
    """Work on a segment, from a frame to the first planned cut that the running task confirms.

    Where the task still remembers something at a planned cut, the segment goes on to the next one.

    Parameters
    ----------
    job, clip : what is done, and to which clip
    folder : of the clip's segments, with its plan
    start : first frame

    Raises
    ------
    SourceError
        If the clip cannot be read; an `IndexMismatch` if it must be read from its beginning.
    """
    done = stored(Path(folder), start)
    if done is not None:
        return _short(done)
    cut = read_plan(Path(folder))
    forgets = _forgets(job)
    cuts = {frame for frame in cut.starts if frame > start}
    hashes = {start: "", -1: ""}
    task = task_descriptor(Bundle.load(job.bundle).manifest.task).name
    lines = LINES in job.suffixes
    writer = SegmentWriter(Path(folder), start, images=job.makes_video, task=task if lines else None)
    frames = ClipFrames(clip.path, start, cut.index)

    def ends(step: Step) -> bool:
        index = step.frame.index
        if index == start:
            hashes[start] = frame_hash(step.frame)
        if index not in cuts or forgets is None or not forgets(processor, step):
            return False
        hashes[-1] = frame_hash(step.frame)
        return True

    try:
        with _one_opencv_thread(), open_processor(job) as processor:
            for result in processor.process_all(frames, until=ends):
                writer.write(result)
        last = not hashes[-1]
        end = frames.seen if last else frames.seen - 1
        return _short(writer.finish(end, last=last, hashes=(hashes[start], hashes[-1]), notes=frames.notes))
    finally:
        writer.discard()


def _short(segment: Segment) -> Segment:
    """Leave out what is long: it is in the segment's own file."""
    return replace(segment, times_ns=[], parts=[])


def chain(folder: Path) -> list[Segment] | None:
    """Follow the finished segments of a clip from its first frame; None if one is missing.

    Raises
    ------
    IndexMismatch
        If a segment began with another frame than the one before it ended with.
    """
    found: list[Segment] = []
    start = 0
    while not found or not found[-1].last:
        segment = stored(folder, start)
        if segment is None:
            return None
        if found and segment.first_hash != found[-1].next_hash:
            raise IndexMismatch(f"Frame {start} was decoded differently by two workers")
        found.append(segment)
        start = segment.end
    return found


def join(job: Job, clip: Clip, folder: str) -> int:
    """Write the outputs of a clip from its segments, with the input's sound and time stamps.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    SinkError
        If an output cannot be written, or a frame is missing.
    """
    segments = chain(Path(folder))
    if segments is None:
        raise SinkError(f"Segments of {clip.path} are missing in {folder}")
    for segment in segments:
        if len(segment.times_ns) != segment.end - segment.start:
            found = f"{len(segment.times_ns)} of frames {segment.start} to {segment.end - 1}"
            raise SinkError(f"A segment of {clip.path} is not complete", expected="every frame once", found=found)
    for output in clip.outputs:
        if output.endswith(LINES):
            _join_lines(Path(output), Path(folder), segments)
        else:
            _join_video(job, clip, output, Path(folder), segments)
    return segments[-1].end


def _join_video(job: Job, clip: Clip, output: str, folder: Path, segments: list[Segment]) -> None:
    """Encode the stored images, once, in order."""
    source = open_source(clip.path)
    sink = open_sink(output, source.info, video=job.video)
    source.close()
    try:
        for segment in segments:
            for result in read_images(folder, segment):
                sink.write(result)
    except BaseException:
        sink.discard()
        raise
    sink.close()


def _join_lines(output: Path, folder: Path, segments: list[Segment]) -> None:
    """Put the lines of all segments into one file."""
    target = behind_link(output)
    unfinished = unfinished_name(target)
    try:
        with unfinished.open("wb") as into:
            for segment in segments:
                with (folder / f"{segment.start:08d}{LINES}").open("rb") as lines:
                    shutil.copyfileobj(lines, into)
        os.replace(unfinished, target)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise SinkError(f"{output} cannot be written ({error.strerror})") from error


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Compute as a stream does; the number of OpenCV's threads changes its flow."""
    one_opencv_thread.enter()
    try:
        yield
    finally:
        one_opencv_thread.leave()
