"""Running the command as a user does: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def steadyframe(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `steadyframe …` in an empty folder, without a screen."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-c",
            "from steadyframe.runtime.commands import main; main()",
            *map(str, arguments),
        ]
        environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60, check=False, **options
        )

    return run
