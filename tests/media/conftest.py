"""Odd inputs, made when a test asks for them, and read-backs of what was written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # cards, clips, stills

from clips import CLIPS
from stills import STILLS

Odd = Callable[[str], Path]


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Odd:
    """Path of an odd input by its name; it is made once."""
    folder = tmp_path_factory.mktemp("odd")

    def made(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        maker = STILLS.get(name)
        if maker is None or name == "tiled.heic":
            for tool in ("ffmpeg", "ffprobe"):
                if shutil.which(tool) is None:
                    pytest.skip(f"{tool} is not installed; Debian: apt-get install ffmpeg")
        (maker or CLIPS[name])(path, made)
        return path

    return made


@pytest.fixture(scope="session")
def ffprobe() -> Callable[[Path], dict[str, Any]]:
    """What ffprobe says of a file: `streams`, `format`, `chapters`, and the `packets` of its video."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed; Debian: apt-get install ffmpeg")

    def asked(path: Path) -> dict[str, Any]:
        words = ["-show_streams", "-show_format", "-show_chapters", "-show_packets", "-select_streams", "v"]
        line = ["ffprobe", "-v", "error", "-of", "json", *words, f"file:{path}"]
        packets = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
        line = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", f"file:{path}"]
        streams = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)["streams"]
        return {**packets, "streams": streams}

    return asked
