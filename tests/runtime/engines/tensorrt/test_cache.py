"""The engine cache: only the right engine, only a private one, only a whole one."""

from __future__ import annotations

import dataclasses
import os
import struct
from pathlib import Path

import pytest
from steadyframe.runtime.engines.tensorrt.cache import EngineCache, EngineKey
from steadyframe.runtime.errors import DeviceError

KEY = EngineKey("a" * 64, "x=1x3", "tensorrt", "10.3.0", "8.7", "540.4, CUDA 12.6")
PLAN = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "deep" / "engines")


def kept(cache: EngineCache, key: EngineKey = KEY) -> Path:
    return cache.keep(key, "net/role", PLAN, built_s=1.5, graph_bytes=1000)


def test_an_engine_comes_back_as_it_was(cache):
    assert "no engine" in cache.find(KEY, "net/role").reason
    kept(cache)
    assert cache.find(KEY, "net/role").plan == PLAN
    (header,) = cache.headers()
    assert (header.key, header.built_s, header.plan_bytes) == (KEY, 1.5, len(PLAN))


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("version", "10.9.0", "version was 10.3.0, is 10.9.0"),
        ("driver", "570.1, CUDA 12.8", "driver was 540.4, CUDA 12.6, is 570.1, CUDA 12.8"),
        ("graph", "b" * 64, "no engine for this graph"),
        ("shapes", "x=1x4", "no engine for this graph, these shapes"),
        ("compute_capability", "8.9", "no engine for this graph, these shapes and this GPU"),
        ("library", "tensorrt-rtx", "no engine"),
    ],
)
def test_whatever_an_engine_depends_on_makes_it_another(cache, field, value, reason):
    old = kept(cache)
    other = dataclasses.replace(KEY, **{field: value})
    found = cache.find(other, "net/role")
    assert found.plan is None and reason in found.reason
    replaces = field in ("version", "driver")
    assert (kept(cache, other) == old) is replaces
    assert (cache.find(KEY, "net/role").plan is None) is replaces


def test_only_the_owner_can_read_what_is_kept(cache):
    before = os.umask(0)
    try:
        path = kept(cache)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in cache.folder.iterdir()] == [path.name]


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_open_to_others_is_not_loaded(cache, mode):
    path = kept(cache)
    path.chmod(mode)
    found = cache.find(KEY, "net/role")
    assert found.plan is None
    assert f"open to others (mode {mode:04o}), and was not loaded" in found.reason
    assert list(cache.headers()) == []
    kept(cache)  # replaced, not written into
    assert cache.find(KEY, "net/role").plan == PLAN


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_open_to_others_is_refused(cache, mode):
    kept(cache)
    cache.folder.chmod(mode)
    for action in (lambda: cache.find(KEY, "net/role"), lambda: kept(cache), lambda: list(cache.headers())):
        with pytest.raises(DeviceError, match=r"open to others.*Run `chmod 700") as raised:
            action()
    assert raised.value.exit_code == 4


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_another_user_is_refused(cache):
    path = kept(cache)
    os.chown(path, 12345, -1)
    assert "belongs to user 12345" in cache.find(KEY, "net/role").reason
    os.chown(cache.folder, 12345, -1)
    with pytest.raises(DeviceError, match="belongs to user 12345, not to you"):
        cache.find(KEY, "net/role")


def test_links_are_not_followed(cache, tmp_path):
    path = kept(cache)
    elsewhere = tmp_path / "elsewhere.engine"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "is a link, and was not followed" in cache.find(KEY, "net/role").reason
    linked = EngineCache(tmp_path / "linked")
    linked.folder.symlink_to(cache.folder)
    with pytest.raises(DeviceError, match="is not a folder"):
        linked.find(KEY, "net/role")


def test_a_pipe_in_place_of_the_file_does_not_block(cache):
    path = kept(cache)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "is not a file" in cache.find(KEY, "net/role").reason


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:10], "cut off"),
        (lambda data: data[:-1], "cut off, or has bytes too many"),
        (lambda data: data + b"x", "bytes too many"),
        (lambda data: b"ONNXFILE" + data[8:], "not an engine file of steadyframe"),
        (lambda data: data[:8] + struct.pack("<I", 2) + data[12:], "another version of steadyframe"),
        (lambda data: data[:12] + struct.pack("<I", 1 << 31) + data[16:], "another version of steadyframe"),
        (lambda data: data[:20] + b"}" + data[21:], "damaged header"),
        (lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:], "another sha256"),
        (lambda data: data.replace(b'"plan_bytes": 10240', b'"plan_bytes": -9999'), "damaged header"),
        (lambda data: data.replace(b'"built_s": 1.5', b'"built_s": NaN'), "damaged header"),
        (lambda data: b"", "cut off"),
    ],
)
def test_a_damaged_file_is_told_and_not_loaded(cache, damage, reason):
    path = kept(cache)
    data = path.read_bytes()
    assert damage(data) != data
    path.write_bytes(damage(data))
    found = cache.find(KEY, "net/role")
    assert found.plan is None and reason in found.reason


def test_half_written_files_do_not_stay(cache, monkeypatch):
    kept(cache)
    stale = cache.folder / ".old.part"
    stale.write_bytes(b"half")
    os.utime(stale, (0, 0))

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeviceError, match=r"cannot be written \(No space left on device\)"):
        cache.keep(KEY, "net/role", b"new", built_s=1, graph_bytes=1)
    assert cache.find(KEY, "net/role").plan == PLAN
    assert len(list(cache.folder.iterdir())) == 1


def test_where_engines_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("STEADYFRAME_CACHE", str(tmp_path / "given"))
    assert EngineCache().folder == tmp_path / "given" / "engines"
    monkeypatch.delenv("STEADYFRAME_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EngineCache().folder == tmp_path / "steadyframe" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert EngineCache().folder == tmp_path / ".cache" / "steadyframe" / "engines"


def test_a_folder_within_is_as_private(cache):
    within = cache.private_folder("ort-1")
    assert within == cache.folder / "ort-1" and within.stat().st_mode & 0o777 == 0o700
    assert cache.private_folder("ort-1") == within
    within.chmod(0o755)
    with pytest.raises(DeviceError, match="open to others"):
        cache.private_folder("ort-1")
    (cache.folder / "ort-2").write_bytes(b"")
    with pytest.raises(DeviceError, match="is not a folder"):
        cache.private_folder("ort-2")
