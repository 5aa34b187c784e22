"""A trainer's `Args` dataclass as a command line: every field is an option."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def parse(args: type[T], *, program: str, choices: Mapping[str, Iterable[str]]) -> T:
    """Read the command line into a dataclass; its defaults are the options' defaults.

    Parameters
    ----------
    args : a dataclass whose fields are numbers, texts, truths or tuples of floats; `--no-NAME` sets a truth to False
    program : how the trainer is started, for the help
    choices : field -> values it may have
    """
    parser = argparse.ArgumentParser(prog=program, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for option in fields(args):  # type: ignore[arg-type]
        kind: dict[str, Any] = {"type": type(option.default)}
        if isinstance(option.default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        elif isinstance(option.default, tuple):
            kind = {"type": float, "nargs": "+"}
        elif option.name in choices:
            kind["choices"] = sorted(choices[option.name])
        parser.add_argument("--" + option.name.replace("_", "-"), default=option.default, help=" ", **kind)
    given = vars(parser.parse_args())
    return args(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def recorded(args: Any) -> dict[str, Any]:
    """Give the fields of an `Args` dataclass for a checkpoint, without the folder of the run: it is one machine's."""
    return {option.name: getattr(args, option.name) for option in fields(args) if option.name != "out"}
