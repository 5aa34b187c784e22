"""Ctrl-C and SIGTERM end a run within a second in every state, with a summary and whole files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from servers import SilentServer, free_port

HUNG_SESSION = """
import sys, time
import numpy as np
from steadyframe.runtime.commands.group import SubcommandGroup, _ended_like_ctrl_c
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.stream.stream import Stream
from steadyframe.runtime.tasks.task import Image, Placement
from steadyframe.runtime.temporal.stage import EveryFrame


class Hangs:
    name, device, propagated = "hangs", "none", None
    def preprocess(self, frame, motion=None):
        return {"frame": frame.pixels}, Placement(frame)
    def infer(self, feeds):
        if self.count == 3:
            print("hangs", flush=True)
            time.sleep(30)
        self.count += 1
        return feeds
    count = 0
    def postprocess(self, outputs, placement):
        return Image(outputs["frame"])
    def close(self):
        pass


with _ended_like_ctrl_c():
    stream = Stream("test://?frames=0&size=64x48", Processor(Hangs(), EveryFrame()), [sys.argv[1]])
    try:
        stream.run()
    finally:
        print("summary", stream.stats.frames, flush=True)
"""


def limit_s():
    """One second, and half a one for the end of the interpreter; more where the processors are busy otherwise."""
    return 1.5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def ended(process, how):
    """Send a signal; returns the seconds until the end, and what was printed."""
    started = time.monotonic()
    process.send_signal(how)
    try:
        out, err = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return time.monotonic() - started, out, err


def run(*words, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "steadyframe", "run", "colorize", *map(str, words), "--precision", "fp32"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def wait_lines(path, count, seconds=60.0):
    until = time.monotonic() + seconds
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("state", "how"),
    [("live", signal.SIGINT), ("live", signal.SIGTERM), ("stalled", signal.SIGTERM), ("gone", signal.SIGINT)],
)
def test_a_stream_ends_within_a_second_with_a_summary_and_whole_files(rtsp, tmp_path, state, how):
    server = rtsp()
    path = tmp_path / "out.jsonl"
    process = run(server.address, path)
    wait_lines(path, 20)
    if state == "stalled":
        server.tell("stall")
        time.sleep(3.0)
    if state == "gone":
        server.kill()
        time.sleep(1.0)
    took_s, _, err = ended(process, how)
    assert took_s < limit_s(), err
    assert process.returncode == 130
    assert "age p50 / p95 / p99" in err
    if state != "live":
        assert "NO SIGNAL" in err
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("hung", [True, False])
def test_a_first_connection_that_is_waited_for_ends_within_a_second(tmp_path, hung):
    server = SilentServer()
    port = server.port if hung else free_port()
    process = run(f"rtsp://me:secret@127.0.0.1:{port}/cam", tmp_path / "out.jsonl", "--wait")
    wait_lines(tmp_path / "out.jsonl", 0)  # the outputs are opened last of all but the network
    time.sleep(4.0)
    took_s, _, err = ended(process, signal.SIGINT)
    server.close()
    assert took_s < limit_s(), err
    assert "no result; connecting" in err or "no result; ended" in err
    assert "secret" not in err


def test_a_session_that_hangs_does_not_hold_up_the_end(tmp_path):
    path = tmp_path / "out.mp4"
    process = subprocess.Popen(
        [sys.executable, "-c", HUNG_SESSION, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    time.sleep(1.0)  # what came before is written
    took_s, out, err = ended(process, signal.SIGTERM)
    assert took_s < limit_s(), err
    assert "summary" in out
    assert path.is_file()
