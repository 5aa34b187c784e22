"""The command `steadyframe`, which finds its subcommands by entry points.

Owns the loading of subcommands, the hint after a mistyped name, and how errors and Ctrl-C end the process. Every
layer registers its subcommands in the group ``steadyframe.commands``, so that the runtime imports no other layer.
"""

from __future__ import annotations

import difflib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import click

from ..errors import SteadyframeError, UsageError
from ..files import drop_stdout

_GROUP = "steadyframe.commands"
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class SubcommandGroup(click.Group):
    """A click group whose subcommands are imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of every registered subcommand."""
        return sorted(_registered())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one subcommand; where its extra is not installed, a stand-in that says how to install it."""
        entry = _registered().get(cmd_name)
        if entry is None:
            return None
        try:
            command = entry.load()
        except ModuleNotFoundError as error:
            if not error.name or error.name.split(".")[0] == "steadyframe":
                raise
            return _not_installed(entry, error.name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or suggest similar names."""
        if args and args[0] not in _registered() and not args[0].startswith("-"):
            alike = difflib.get_close_matches(args[0], _registered(), n=2)
            hint = (
                f" Did you mean {' or '.join(alike)}?" if alike else f" There are {', '.join(sorted(_registered()))}."
            )
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; if a library is missing only now, the error has the line that installs it."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            entry = _registered().get(ctx.invoked_subcommand or "")
            if entry is None or not error.name or error.name.split(".")[0] == "steadyframe":
                raise
            raise _missing(entry, error.name) from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and turn every error that is meant for the user into one line and an exit code."""
        kwargs["standalone_mode"] = False
        try:
            with _ended_like_ctrl_c():
                code = super().main(*args, **kwargs)
        except SteadyframeError as error:
            click.echo(f"steadyframe: {error}", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:
            drop_stdout()  # whoever read it has gone (`| head`), and has seen enough
            sys.exit(0)
        sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Take a request to end (`kill`, a service manager, a closed terminal) as Ctrl-C, so that files are closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), signal.default_int_handler) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def _not_installed(entry: EntryPoint, missing: str) -> click.Command:
    """Build a stand-in for a subcommand whose libraries are missing."""
    error = _missing(entry, missing)

    @click.command(
        entry.name,
        short_help=f"(not installed: {error.todo})",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    )
    def stand_in() -> None:
        raise error

    return stand_in


def _missing(entry: EntryPoint, library: str) -> UsageError:
    """Name the library that a subcommand needs, and how to install it."""
    line = f"pip install 'steadyframe[{','.join(entry.extras)}]'" if entry.extras else f"pip install {library}"
    return UsageError(f"`steadyframe {entry.name}` needs {library!r}, which is not installed", todo=line)


@click.group(cls=SubcommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("steadyframe"), prog_name="steadyframe")
def main() -> None:
    """Run exported vision networks on any camera, steady from frame to frame."""
