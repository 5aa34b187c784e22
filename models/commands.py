"""`steadyframe train`: one subcommand a task, loaded when it is asked for.

Owns the group only; each task's command lives beside its trainer.
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
    """Train a network on your own pictures."""
