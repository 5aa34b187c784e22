"""What the README says is true: its code runs, its commands and links exist."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    camera = 'Stream("0", task, max_age_ms=100)'
    assert camera in code  # no camera here: the sample camera takes its place
    exec(code.replace(camera, 'Stream("sample://?size=160x120&frames=3", task)'), {})
    assert re.findall(r"^(\d) \(120, 160, 3\)", capsys.readouterr().out, re.MULTILINE) == ["0", "1", "2"]


def test_the_commands_exist() -> None:
    known = {entry.name for entry in entry_points(group="steadyframe.commands")}
    named = set(re.findall(r"steadyframe ([a-z][a-z-]*)", README))
    assert named
    assert named <= known


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) <= targets


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
)
def test_links_resolve(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert link.startswith("http") or (path.parent / link).exists(), link
