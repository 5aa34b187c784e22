"""What README and documentation say is true: their code runs, their commands parse, their links resolve."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from steadyframe.runtime import opening
from steadyframe.runtime.bench.speed import PacedSource
from steadyframe.runtime.commands import main
from steadyframe.runtime.io.sources import open_source

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
# A block that cannot run here says why, in a comment that readers do not see.
_NOT_RUN = re.compile(r"^<!-- not run: \w[^\n]+ -->\n+```python\n.*?^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^ {4}(steadyframe .*)$", re.MULTILINE)
_INLINE = re.compile(r"`(steadyframe [^`]+)`")
# A place for a command, a choice or an omission is no argument.
_PLACEHOLDER = re.compile(r"^[\[…]|…|^COMMAND$")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_blocks() -> list[Any]:
    found = []
    for page in PAGES:
        text = _NOT_RUN.sub("", page.read_text(encoding="utf-8"))
        codes = [code for kind, code in _FENCE.findall(text) if kind == "python"]
        found += [pytest.param(code, id=f"{name_of(page)}-{number}") for number, code in enumerate(codes)]
    return found


def commands_of(text: str) -> Iterator[str]:
    """Every command line that starts with `steadyframe`, in blocks, in indented lines and inside sentences."""
    for kind, block in _FENCE.findall(text):
        if kind in ("", "bash", "sh", "console"):
            joined = re.sub(r"\\\n\s*", " ", block)
            yield from (line.strip() for line in joined.splitlines() if line.strip().startswith("steadyframe "))
    rest = _FENCE.sub("", text)
    yield from _INDENTED.findall(rest)
    yield from _INLINE.findall(rest)


def commands() -> list[Any]:
    return [
        pytest.param(command, id=f"{name_of(page)}: {command}")
        for page in PAGES
        for command in dict.fromkeys(commands_of(page.read_text(encoding="utf-8")))
    ]


def parse(command: click.Command, context: click.Context, words: list[str]) -> None:
    """Parse as click does, subcommands included, without running anything and without asking for files."""
    if isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return
        inner = command.get_command(context, words[0])
        assert inner is not None, f"there is no command {words[0]}"
        parse(inner, click.Context(inner, info_name=words[0], parent=context), words[1:])
        return
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    assert not rest, f"too many arguments: {rest}"
    for parameter in command.get_params(context):
        given = values.get(parameter.name)
        if isinstance(parameter.type, click.Choice) and isinstance(given, str):
            parameter.type.convert(given, parameter, context)
        if isinstance(parameter.type, click.types.FloatParamType | click.types.IntParamType):
            for value in [given] if isinstance(given, str) else []:
                assert value.isupper() or parameter.type.convert(value, parameter, context) is not None


@pytest.mark.parametrize("code", python_blocks())
def test_the_python_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no camera here, so a test pattern that is played as a camera takes its place."""

    def open_or_play(address: str, *, sequence: bool = False, policy: Any = None) -> Any:
        if address == "0":
            return PacedSource(open_source("test://?size=160x120&frames=60"), fps=20.0, count=60)
        return open_source(address, sequence=sequence, policy=policy)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(opening, "open_source", open_or_play)
    monkeypatch.setenv("STEADYFRAME_CACHE", str(tmp_path / "cache"))
    exec(compile(code, "documentation", "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize("command", commands())
def test_the_commands_parse(command: str) -> None:
    words = shlex.split(command.split(" | ", maxsplit=1)[0], comments=True)[1:]
    words = [word for word in words if not _PLACEHOLDER.search(word)]
    if words:
        parse(main, click.Context(main, info_name="steadyframe"), words)


def test_a_wrong_command_does_not_parse() -> None:
    for words in (
        ["runn"],
        ["run", "pose", "--stedy", "off"],
        ["bench", "pose", "a", "b"],
        ["run", "pose", "--steady", "on"],
    ):
        with pytest.raises((AssertionError, click.UsageError)):
            parse(main, click.Context(main), words)


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"^\s*make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)) <= targets


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_resolve(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        assert link.startswith("http") or (path.parent / link).exists(), link


def test_every_page_can_be_reached() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: the extra [docs]")
def test_the_documentation_builds_strictly(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", os.fspath(tmp_path / "site")],
        capture_output=True, text=True, timeout=280, check=False, cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "reference" / "api.html").read_text(encoding="utf-8")
    commands = (tmp_path / "site" / "reference" / "cli.html").read_text(encoding="utf-8")
    assert "open_stream" in reference and "max_age_ms" in reference
    assert "--steady" in commands and "stylize-offline" in commands
