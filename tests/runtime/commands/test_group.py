"""The command `steadyframe` itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner
from steadyframe.runtime.commands import group, main

CODE = "from steadyframe.runtime.commands import main; main()"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_subcommand(flag):
    result = CliRunner().invoke(main, [flag])
    assert result.exit_code == 0
    for name in group._registered():
        assert f"  {name} " in result.output


def test_every_registered_subcommand_loads():
    for name, entry in group._registered().items():
        assert entry.load().name == name


def test_the_version_is_told():
    assert "0." in CliRunner().invoke(main, ["--version"]).output


@pytest.mark.parametrize(("typed", "meant"), [("rnu", "run"), ("inof", "info"), ("docter", "doctor")])
def test_a_mistyped_command_is_guessed(typed, meant):
    result = CliRunner().invoke(main, [typed])
    assert result.exit_code == 2
    assert f"Did you mean {meant}?" in result.stderr


def test_a_command_unlike_any_other_gets_the_list():
    result = CliRunner().invoke(main, ["xylophone"])
    assert result.exit_code == 2
    assert "run" in result.stderr
    assert "Did you mean" not in result.stderr


def test_a_missing_extra_prints_the_line_that_installs_it(monkeypatch):
    missing = EntryPoint("extra", "nowhere_to_be_found.commands:extra [demo]", "steadyframe.commands")
    monkeypatch.setattr(group, "_registered", lambda: {"extra": missing})
    for arguments in (["extra"], ["extra", "--anything", "x"], ["extra", "--help"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert "pip install 'steadyframe[demo]'" in result.stderr
    assert "pip install 'steadyframe[demo]'" in CliRunner().invoke(main, ["--help"]).output


def test_a_library_missed_only_while_running_is_told_the_same_way(monkeypatch):
    @click.command("late")
    def late():
        importlib.import_module("nowhere_to_be_found")

    class Entry:
        name, extras = "late", ["demo"]
        load = staticmethod(lambda: late)

    monkeypatch.setattr(group, "_registered", lambda: {"late": Entry})
    result = CliRunner().invoke(main, ["late"])
    assert result.exit_code == 2
    assert "needs 'nowhere_to_be_found'" in result.stderr
    assert "pip install 'steadyframe[demo]'" in result.stderr


def test_a_mistake_in_our_own_code_is_not_taken_for_a_missing_extra(monkeypatch):
    broken = EntryPoint("broken", "steadyframe.runtime.nowhere:broken [demo]", "steadyframe.commands")
    monkeypatch.setattr(group, "_registered", lambda: {"broken": broken})
    result = CliRunner().invoke(main, ["broken"])
    assert isinstance(result.exception, ModuleNotFoundError)


def test_a_runtime_command_loads_no_other_layer(tmp_path):
    code = f"import sys\ntry:\n    {CODE}\nfinally:\n    print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, "info"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'steadyframe.runtime.commands.info'" in done.stderr
    for module in ("torch", "onnx", "steadyframe.export", "steadyframe.models", "steadyframe.calibration"):
        assert f"'{module}'" not in done.stderr


def test_a_mistyped_bundle_is_guessed(monkeypatch, tmp_path, tiny_bundle):
    from steadyframe.runtime.bundle import bundle

    (tmp_path / "shipped").mkdir()
    tiny_bundle.rename(tmp_path / "shipped" / "colorize")
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path / "shipped")
    result = CliRunner().invoke(main, ["info", "colorise"])
    assert result.exit_code == 3
    assert "Did you mean colorize?" in result.stderr
