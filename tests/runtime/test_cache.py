"""One root for everything that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from steadyframe.runtime.cache import cache_folder
from steadyframe.runtime.engines.tensorrt.cache import EngineCache


def test_a_home_folder_is_expanded_alike_for_every_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STEADYFRAME_CACHE", "~/sf")
    assert cache_folder("precision") == tmp_path / "sf" / "precision"
    assert EngineCache().folder == tmp_path / "sf" / "engines"


def test_without_it_the_users_caches_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEADYFRAME_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("engines") == tmp_path / "steadyframe" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("engines") == tmp_path / ".cache" / "steadyframe" / "engines"
