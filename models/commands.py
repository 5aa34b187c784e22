"""`steadyframe train` and `steadyframe stylize-offline`, loaded when they are asked for.

Owns no option: each command lives beside the code that it runs.
"""

from __future__ import annotations

import importlib
from typing import Any

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


class _Lazy(click.Command):
    """A command that stands in another module, which is imported when its options are needed and not before.

    `steadyframe --help` shows its short help and does not wait for PyTorch.
    """

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, help=help)
        self._module = module

    def _load(self) -> click.Command:
        command: click.Command = importlib.import_module(f"{__package__}.{self._module}").command
        return command

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return self._load().get_params(ctx)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self._load().make_context(info_name, args, parent, **extra)


shards = _Lazy("shards", "shards_command", "Write photos or people into WebDataset shards, for `train`.")

stylize_offline = _Lazy(
    "stylize-offline", "stylize.offline.commands", "Stylize a video after a painting by optimization, frame by frame."
)
