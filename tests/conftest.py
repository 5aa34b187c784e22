"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real photos, clips and teachers; without it the test is skipped, and in CI it fails."""
    root = Path(os.environ.get("STEADYFRAME_DATA", ROOT.parent / "shared" / "data"))
    if not (root / "photos" / "val").is_dir():
        reason = f"no data at {root}; set STEADYFRAME_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root.resolve()


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's own cache out of the tests, and the tests out of it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEADYFRAME_CACHE", str(folder))
        yield folder
