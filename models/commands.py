"""`steadyframe train` and `steadyframe stylize-offline`, loaded when they are asked for.

Owns no option: each command lives beside the code that it runs.
"""

from __future__ import annotations

import importlib

import click

_TASKS = {"colorize": "colorize.train", "pose": "pose.train", "stylize": "stylize.train"}


class _Tasks(click.Group):
    """Loads a trainer only when it is asked for, so that one task's libraries never burden another's help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_TASKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _TASKS:
            return None
        command: click.Command = importlib.import_module(f"{__package__}.{_TASKS[cmd_name]}").command
        return command


@click.command(cls=_Tasks)
def train() -> None:
    """Train a network on your own images."""


@click.command(
    "stylize-offline",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def stylize_offline(context: click.Context, words: tuple[str, ...]) -> None:
    """Stylize a video after a painting by optimisation, frame by frame."""
    # Handed on unread: the real command imports PyTorch, and `steadyframe --help` shall not wait for that.
    module = importlib.import_module(f"{__package__}.stylize.offline.commands")
    module.command.main(list(words), prog_name=context.command_path, standalone_mode=False)
