"""`steadyframe run` as a user calls it: what it writes where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from steadyframe.runtime.commands import main
from steadyframe.runtime.io.sources import open_source


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run a command in this process: quick, and enough for everything but signals and streams of bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)

    def run(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return run


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "tiny" not in path.parts)


def test_a_clip_becomes_a_video_with_a_table_and_figures(call, tiny_bundle, tmp_path):
    result = call(
        "run", tiny_bundle, "test://?size=64x48&frames=20", "out.mp4", "--steady", "off", "--stats", "s.json"
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""  # there is no data on stdout unless it is asked for
    for word in ("decode", "preprocess", "infer", "postprocess", "write", "age of result", "20 frames", "fps", "cpu"):
        assert word in result.stderr
    assert len(list(open_source(str(tmp_path / "out.mp4")))) == 20
    figures = json.loads((tmp_path / "s.json").read_text())
    assert figures["frames"] == figures["decoded"] == 20
    assert (figures["bundle"], figures["task"], figures["device"], figures["precision"]) == (
        *("tiny", "colorize", "cpu", "fp32"),
    )
    assert figures["stages_ms"]["infer"]["count"] == 19
    assert names(tmp_path) == ["out.mp4", "s.json"]


def test_a_clip_is_steadied_as_its_task_says_and_images_are_not(call, tiny_bundle, tmp_path):
    assert call("run", tiny_bundle, "test://?size=64x48&frames=20", "null://", "--stats", "s.json").exit_code == 0
    figures = json.loads((tmp_path / "s.json").read_text())
    assert figures["steady"] == "keyframe"
    assert 0 < figures["keyframes"] < figures["frames"] == 20
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    assert call("run", tiny_bundle, "a.png", "null://", "--stats", "s.json").exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text())["steady"] == "off"


def test_input_and_outputs_may_be_named(call, tiny_bundle, tmp_path):
    result = call(
        *("run", tiny_bundle, "-i", "test://?size=32x32&frames=3", "a_%d.png", "-o", "b/", "-o", "null://"),
    )
    assert result.exit_code == 0, result.stderr
    assert names(tmp_path) == ["a_0.png", "a_1.png", "a_2.png", "b", "b/000000.png", "b/000001.png", "b/000002.png"]


def test_limit_counts_results(call, tiny_bundle, tmp_path):
    result = call("run", tiny_bundle, "test://?size=32x32&frames=0", "o_%d.png", "--limit", 4)
    assert result.exit_code == 0
    assert len(names(tmp_path)) == 4


def test_lines_of_json_on_stdout_are_all_that_is_there(call, tiny_bundle):
    result = call("run", tiny_bundle, "test://?size=32x32&frames=5", "-")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[0]["task"] == "colorize"
    assert lines[0]["size"] == [32, 32]


def test_headless_without_an_output_only_measures(call, tiny_bundle, tmp_path):
    result = call("run", tiny_bundle, "test://?size=32x32&frames=5", "--headless")
    assert result.exit_code == 0
    assert "5 frames" in result.stderr
    assert names(tmp_path) == []


def test_headless_takes_the_window_away_and_leaves_the_rest(call, tiny_bundle, tmp_path):
    result = call("run", tiny_bundle, "test://?size=32x32&frames=2", "display://", "o_%d.png", "--headless")
    assert result.exit_code == 0
    assert names(tmp_path) == ["o_0.png", "o_1.png"]


def test_without_a_screen_the_error_says_what_to_do(call, tiny_bundle):
    result = call("run", tiny_bundle, "test://?size=32x32&frames=5")
    assert result.exit_code == 5
    assert "--headless" in result.stderr


def test_an_album_keeps_its_names_and_sizes(call, tiny_bundle, tmp_path):
    (tmp_path / "album").mkdir()
    for number, (name, size) in enumerate({"b.jpg": (32, 48), "a.png": (7, 5), "c10.webp": (1, 1)}.items()):
        cv2.imwrite(str(tmp_path / "album" / name), np.full((*size, 3), 60 * number + 40, np.uint8))
    result = call("run", tiny_bundle, "album", "done/")
    assert result.exit_code == 0, result.stderr
    assert names(tmp_path / "done") == ["a.png", "b.jpg", "c10.webp"]
    for name in ("a.png", "b.jpg", "c10.webp"):
        before, after = (cv2.imread(str(tmp_path / folder / name)) for folder in ("album", "done"))
        assert before.shape == after.shape


def test_a_sequence_of_images_becomes_a_video(call, tiny_bundle, tmp_path):
    for index in range(6):
        cv2.imwrite(str(tmp_path / f"f{index}.png"), np.full((32, 48, 3), 30 * index, np.uint8))
    result = call("run", tiny_bundle, "f*.png", "out.mp4", "--sequence")
    assert result.exit_code == 0, result.stderr
    assert len(list(open_source(str(tmp_path / "out.mp4")))) == 6


def test_the_reference_changes_the_colors(call, tiny_bundle, tmp_path):
    cv2.imwrite(str(tmp_path / "white.png"), np.full((8, 8, 3), 255, np.uint8))
    clip = "test://?size=32x32&frames=1"
    assert call("run", tiny_bundle, clip, "plain_%d.png").exit_code == 0
    assert call("run", tiny_bundle, clip, "white_%d.png", "--reference", "white.png").exit_code == 0
    plain, white = (cv2.imread(str(tmp_path / f"{name}_0.png")).astype(int) for name in ("plain", "white"))
    assert np.abs(plain - white).max() >= 1


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("nope", "test://"), 3, "no bundle 'nope'"),
        (("tiny", "nowhere.mp4", "null://"), 5, "nowhere.mp4"),
        (("tiny", "97", "null://"), 5, "/dev/video97"),
        (("tiny", "gopher://x", "null://"), 5, "sample://"),
        (("tiny", "empty", "null://"), 5, "empty folder"),
        (("tiny", "text.mp4", "null://"), 5, "cannot be read as a video"),
        (("tiny", "test://?frames=3", "text.mp4/out.mp4"), 5, "Nothing can be written"),
        (("tiny", "test://?frames=3", "out.mp3"), 2, "out.mp3"),
        (("tiny", "test://?frames=3", "out.png"), 5, "holds one image"),
        (("tiny", "test://?frames=3", "null://", "null://"), 2, "twice"),
        (("tiny", "test://?frames=3", "null://", "--device", "abacus"), 4, "cpu"),
        (("tiny", "test://?frames=3", "null://", "--precision", "int8"), 3, "fp32"),
        (("tiny", "test://?frames=3", "null://", "--precision", "int4"), 2, "int8"),
        (("tiny", "test://?frames=3", "null://", "--max-age", "50"), 2, "live"),
        (("tiny", "test://?frames=3", "null://", "--limit", "0"), 2, "--limit"),
        (("tiny", "test://?frames=3", "null://", "--reference", "none.jpg"), 5, "none.jpg"),
        (("tiny", "test://?frames=3", "null://", "--reference", "text.mp4"), 5, "text.mp4"),
        (("tiny", "test://?frames=3", "null://", "--stats", "text.mp4/s.json"), 5, "s.json"),
        (("tiny", "test://?frames=3", "null://", "--nonsense"), 2, "--nonsense"),
        ((), 2, "BUNDLE"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_a_mistake_is_told_in_words_with_its_exit_code(call, tiny_bundle, tmp_path, arguments, code, text):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    result = call("run", *arguments)
    assert result.exit_code == code, result.stderr
    assert text in result.stderr
    assert result.stdout == ""
    assert names(tmp_path) == ["empty", "text.mp4"]
    assert (tmp_path / "text.mp4").read_text() == "no video"


def test_a_bundle_with_a_wrong_hash_is_refused(call, tiny_bundle):
    path = tiny_bundle / "color.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    result = call("run", tiny_bundle, "test://", "out.mp4")
    assert result.exit_code == 3
    assert "sha256" in result.stderr


def test_images_of_two_sizes_do_not_make_a_video_and_leave_none(call, tiny_bundle, tmp_path):
    for name, size in (("a.png", (32, 48)), ("b.png", (48, 32))):
        cv2.imwrite(str(tmp_path / name), np.zeros((*size, 3), np.uint8))
    result = call("run", tiny_bundle, "*.png", "out.mp4")
    assert result.exit_code == 5
    assert "48x32" in result.stderr
    assert "32x48" in result.stderr
    assert names(tmp_path) == ["a.png", "b.png"]


def test_a_cut_off_clip_ends_with_its_code_and_keeps_the_good_frames(call, tiny_bundle, tmp_path):
    assert call("run", tiny_bundle, "test://?size=64x48&frames=60", "clip.mkv").exit_code == 0
    content = (tmp_path / "clip.mkv").read_bytes()
    (tmp_path / "clip.mkv").write_bytes(content[: len(content) // 2])
    result = call("run", tiny_bundle, "clip.mkv", "out.mp4")
    assert result.exit_code == 5
    delivered = int(re.search(r"Found: (\d+) frames", result.stderr).group(1))
    assert delivered == len(list(open_source(str(tmp_path / "out.mp4")))) > 0
    assert names(tmp_path) == ["clip.mkv", "out.mp4"]


def test_the_whole_process_is_quiet_about_what_is_not_ours(steadyframe, tiny_bundle, tmp_path):
    """FFmpeg, OpenCV and ONNX Runtime write to stderr by themselves; a user sees our one sentence only."""
    (tmp_path / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 400)
    for address in ("97", "bad.mp4", "rtsp://admin:hunter2@127.0.0.1:9/x"):
        result = steadyframe("run", tiny_bundle, address, "null://")
        assert result.returncode == 5
        assert result.stderr.startswith("steadyframe: ")
        assert len(result.stderr.splitlines()) == 1
        assert "hunter2" not in result.stderr


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_recording_prints_the_table_and_ends_with_130(tiny_bundle, tmp_path, kind):
    # A shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; from steadyframe.runtime.commands import main; main()"
    arguments = ["run", str(tiny_bundle), "test://?size=64x48&frames=0", "out.mp4", "--stats", "s.json"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 40
    while not list(tmp_path.glob(".out.*.part.mp4")):
        assert time.monotonic() < deadline, "no recording was begun"
        time.sleep(0.02)
    time.sleep(1)  # the encoder keeps its first frames back
    os.kill(process.pid, kind)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "age of result" in errors
    assert json.loads((tmp_path / "s.json").read_text())["frames"] > 0
    assert len(list(open_source(str(tmp_path / "out.mp4")))) > 0
    assert names(tmp_path) == ["out.mp4", "s.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a thing of POSIX")
def test_on_a_terminal_the_progress_is_drawn_and_taken_away_again(tiny_bundle, tmp_path):
    import pty

    code = "from steadyframe.runtime.commands import main; main()"
    arguments = ["run", str(tiny_bundle), "test://?size=640x480&frames=150", "out.mp4"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    drawn = b""
    try:
        while chunk := os.read(ours, 4096):
            drawn += chunk
    except OSError:  # on Linux, a terminal whose other side is closed answers with an error
        pass
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert process.wait(timeout=40) == 0, text
    assert "Traceback" not in text
    assert "/150" in text.replace(" ", "")
    assert "fps" in text
    assert "age of result" in text


def test_a_reader_that_goes_away_ends_it_quietly(tiny_bundle, tmp_path):
    code = "from steadyframe.runtime.commands import main; main()"
    arguments = ["run", str(tiny_bundle), "test://?size=32x32&frames=0", "-"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert json.loads(process.stdout.readline())["index"] == 0
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait(timeout=40) == 0, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
