"""A GPU for the tests that need one, and a CUDA without one for the tests that do not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from steadyframe.runtime.engines.cuda import Gpu, find_gpu
from steadyframe.runtime.errors import DeviceError

sys.path.insert(0, str(Path(__file__).parent))  # model_server


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The GPU of this machine; without one the test is skipped, in CI too: there is none there."""
    try:
        return find_gpu()
    except DeviceError as error:
        pytest.skip(f"running an engine needs an NVIDIA GPU: {error}")
