"""What is the process's own is put back by the last who changed it."""

from __future__ import annotations

import os
import threading

import cv2
import pytest
from steadyframe.runtime.opencv_settings import _levels, one_opencv_thread, quiet


def test_overlapping_blocks_in_two_threads_leave_the_log_level_as_it_was() -> None:
    before = _levels.getLogLevel()
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with quiet():
            inside.set()
            leave.wait(5)

    with quiet():
        thread = threading.Thread(target=hold)
        thread.start()
        assert inside.wait(5)
    assert _levels.getLogLevel() == 0  # the other one still needs it
    leave.set()
    thread.join(5)
    assert _levels.getLogLevel() == before


def test_the_environment_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCV_FFMPEG_LOGLEVEL", raising=False)
    with quiet():
        assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "-8"
    assert "OPENCV_FFMPEG_LOGLEVEL" not in os.environ
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "48")
    with quiet():
        assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "48"  # the user's own
    assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "48"


def test_the_number_of_threads_comes_back_with_the_last() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        one_opencv_thread.enter()
        one_opencv_thread.enter()
        one_opencv_thread.leave()
        assert cv2.getNumThreads() == 1
        one_opencv_thread.leave()
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
