"""A job goes on after whatever stopped it, and one bad clip does not stop the others."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import av
import pytest
from steadyframe.runtime.batch.driver import run_job
from steadyframe.runtime.batch.job import JobFolder
from steadyframe.runtime.errors import UsageError


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def truncated(path: Path) -> Path:
    """Cut a clip off in the middle."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


class Killed(BaseException):
    """The driver's end."""


def test_a_killed_driver_goes_on_where_it_was(tiny_bundle, make_scenes, make_job, in_process, encoded):
    job, clips, folder = make_job(tiny_bundle, make_scenes())
    left = [3]

    def dies(label):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    with pytest.raises(Killed):
        run_job(job, clips, folder, in_process(before=dies))
    done = {path.name for path in folder.segments(clips[0]).glob("0*.json")}
    assert done == {"00000000.json", "00000024.json"}
    stamps = {name: (folder.segments(clips[0]) / name).stat().st_mtime_ns for name in done}
    again = JobFolder(folder.folder, job)

    def keeps(label):
        if label[1] == "join":
            for name, stamp in stamps.items():
                assert (folder.segments(clips[0]) / name).stat().st_mtime_ns == stamp

    outcome = run_job(job, clips, again, in_process(before=keeps))
    assert outcome.done == clips and outcome.frames == 72
    assert len(encoded) == 72 and frames_in(Path(clips[0].outputs[0])) == 72
    # A third run has nothing to do.
    workers = in_process()
    assert run_job(job, clips, JobFolder(folder.folder, job), workers).done == clips
    assert workers.calls == []


def test_a_bad_clip_is_reported_and_the_others_are_finished(tiny_bundle, make_scenes, make_job, in_process):
    good = make_scenes("a.mkv", scenes=2)
    cut = truncated(make_scenes("b.mkv", scenes=2))
    text = good.with_name("c.mkv")
    text.write_text("no video")
    job, clips, folder = make_job(tiny_bundle, good, cut, text, suffixes=(".mkv", ".jsonl"))
    outcome = run_job(job, clips, folder, in_process())
    assert [Path(clip.path).name for clip in outcome.done] == ["a.mkv"]
    assert {Path(clip.path).name for clip in outcome.failed} == {"b.mkv", "c.mkv"}
    assert all(reason for reason in outcome.failed.values())
    assert sorted(path.name for path in folder.folder.iterdir()) == [".steadyframe-batch", "a.jsonl", "a.mkv"]
    manifest = json.loads((folder.hidden / "job.json").read_text())
    assert [bool(entry.get("done")) for _, entry in sorted(manifest["clips"].items())] == [True, False, False]
    assert not [path for path in folder.hidden.iterdir() if path.is_dir()]


def test_a_clip_that_changed_is_worked_on_again(tiny_bundle, make_scenes, make_job, in_process):
    path = make_scenes(scenes=2)
    job, clips, folder = make_job(tiny_bundle, path)
    run_job(job, clips, folder, in_process())
    make_scenes(scenes=1)
    job, clips, folder = make_job(tiny_bundle, path)
    assert run_job(job, clips, folder, in_process()).frames == 24
    assert frames_in(Path(clips[0].outputs[0])) == 24


def test_another_job_in_the_same_folder_is_refused(tiny_bundle, make_scenes, make_job):
    path = make_scenes(scenes=1)
    make_job(tiny_bundle, path)
    with pytest.raises(UsageError, match=r"other options.*Expected: steady auto.*Found: steady off"):
        make_job(tiny_bundle, path, steady="off")


def test_outputs_that_would_collide_are_refused(tiny_bundle, make_scenes, make_job, tmp_path):
    (tmp_path / "other").mkdir()
    one, other = make_scenes(scenes=1), make_scenes("other/scenes.mp4", scenes=1)
    with pytest.raises(UsageError, match="would be written"):
        make_job(tiny_bundle, one, other)
    with pytest.raises(UsageError, match="the input itself"):
        make_job(tiny_bundle, one, out=".")


def _descendants(process: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it has ended meanwhile
    found = [process]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found[1:]


def busy_workers() -> list[int]:
    """Processes below this one that work on a segment; Ray names them by their function."""
    found = []
    for process in _descendants(os.getpid()):
        try:
            if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::work"):
                found.append(process)
        except OSError:
            continue
    return found


@pytest.mark.timeout(900)  # Ray's workers start slowly on a busy machine
def test_a_killed_worker_loses_nothing(tiny_bundle, make_scenes, make_job, in_process):
    pytest.importorskip("ray", reason="Ray is not installed: the extra [batch]")
    from steadyframe.runtime.batch.cluster import Cluster

    clips = [make_scenes(f"clip{number}.mp4", size_wh=(480, 320)) for number in range(3)]
    bad = truncated(make_scenes("bad.mp4"))
    job, described, folder = make_job(tiny_bundle, *clips, bad)
    killed: list[int] = []

    with Cluster(workers=2) as cluster:
        over = threading.Event()

        def kill() -> None:
            while len(killed) < 2 and not over.is_set():
                for process in busy_workers()[:1]:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                time.sleep(0.3)

        killer = threading.Thread(target=kill)
        killer.start()
        outcome = run_job(job, described, folder, cluster)
        over.set()
        killer.join()
    assert len(killed) == 2
    assert {Path(clip.path).name for clip in outcome.done} == {f"clip{number}.mp4" for number in range(3)}
    assert [Path(clip.path).name for clip in outcome.failed] == ["bad.mp4"]
    for clip in outcome.done:
        assert frames_in(Path(clip.outputs[0])) == 72
    # What the workers wrote is what this process writes.
    again, alone, other = make_job(tiny_bundle, clips[0], out="alone")
    run_job(again, alone, other, in_process())
    assert Path(alone[0].outputs[0]).read_bytes() == Path(outcome.done[0].outputs[0]).read_bytes()
