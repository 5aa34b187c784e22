"""Memory of a 4K clip: frames are freed at once, and few of them wait."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from pathlib import Path

import clips
import pytest
from steadyframe.runtime.io.decode import open_path

_MB = 1024  # KiB, in which Linux counts


@pytest.fixture(scope="module")
def large(odd, tmp_path_factory) -> Path:
    odd("plain.mp4")  # skips where there is no ffmpeg
    path = tmp_path_factory.mktemp("large") / "4k.mp4"
    size = "testsrc2=size=3840x2160:rate=25"
    fast = ("-preset", "ultrafast", "-crf", "28", "-pix_fmt", "yuv420p")
    clips.ffmpeg("-f", "lavfi", "-i", size, "-frames:v", 30, "-c:v", "libx264", *fast, path)
    return path


def test_a_frame_is_freed_without_the_garbage_collector(large):
    gc.collect()
    gc.disable()
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(1 for _ in open_path(large, large.name)) == 30
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    finally:
        gc.enable()
    assert grown < 150 * _MB, "30 frames are 370 MB"


# Runs the command line, then says how much memory was its own at most. Pages of the libraries are left out: they can
# be dropped at any time, and are 82 or 145 MB of the same files, as these happen to be cached.
_PROGRAM = """
import re, sys
from steadyframe.runtime.commands import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
status = open("/proc/self/status").read()
peak, files = (int(re.search(name + r":\\s+(\\d+)", status)[1]) for name in ("VmHWM", "RssFile"))
sys.stderr.write(f" own {peak - files}")
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("task", ["colorize", "pose", "stylize-wave"])
@pytest.mark.parametrize("mode", ["off", "blend", "keyframe"])
def test_a_4k_clip_needs_little_memory(large, task, mode):
    # Measured: 185 to 230 MB.
    line = ["run", task, str(large), "null://", "--device", "cpu", "--steady", mode, "--limit", "16"]
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *line], check=True, capture_output=True, text=True)
    assert int(done.stderr.split(" own ")[-1]) < 290 * _MB, "more than a few frames were kept"
