"""The option `--require-signature`, which several subcommands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def signature_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option; the command gets it as ``key``."""
    return click.option(
        "--require-signature", "key", type=click.Path(path_type=Path), metavar="KEY",
        help="Refuse a bundle that the owner of this public key has not signed.",
    )(command)  # fmt: skip
