"""Every example in a docstring of the runtime runs, and gives what it says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
WITH_EXAMPLES = sorted(
    path.relative_to(RUNTIME).with_suffix("").parts for path in RUNTIME.rglob("*.py") if ">>> " in path.read_text()
)


@pytest.mark.parametrize("parts", WITH_EXAMPLES, ids=".".join)
def test_the_examples_run(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some of them write a file
    name = ".".join(("steadyframe.runtime", *(part for part in parts if part != "__init__")))
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
