"""A folder is replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from steadyframe.runtime.bundle.folder import replace_folder
from steadyframe.runtime.errors import BundleError


def test_files_of_before_are_gone(tmp_path: Path) -> None:
    replace_folder(tmp_path / "out", {"a": b"1", "b": b"2"})
    replace_folder(tmp_path / "out", {"b": b"3"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"b": b"3"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_failed_write_leaves_the_old_folder(tmp_path: Path) -> None:
    replace_folder(tmp_path / "out", {"a": b"1"})
    with pytest.raises(BundleError, match="cannot be written"):
        replace_folder(tmp_path / "out", {"a": b"2", "no/such/folder.onnx": b""})
    assert (tmp_path / "out" / "a").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
