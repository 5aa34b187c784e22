"""The settings of a bundle's task, and a user's overrides of them.

Owns `settings_of`. A wrong value in the bundle is a `BundleError`; a wrong value from the user is a `UsageError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, TypeVar

from ..bundle.manifest import Manifest
from ..errors import BundleError, UsageError

Settings = TypeVar("Settings")


def settings_of(kind: type[Settings], manifest: Manifest, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings of a manifest and replace those that are given.

    Parameters
    ----------
    kind : frozen dataclass of numbers (int, float or bool) that raises `UsageError` for what is out of range
    manifest : of the bundle
    overrides : the user's values, numbers or their text

    Raises
    ------
    BundleError
        If a value in the manifest is not valid.
    UsageError
        If a value of the user is not valid.
    """
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    given = dict(manifest.settings)
    wrong = sorted(name for name, value in given.items() if name not in known or not _fits(value, known[name]))
    if wrong:
        raise BundleError(
            f"The settings of bundle {manifest.name!r} are not valid",
            expected="numbers named " + ", ".join(known),
            found=", ".join(wrong),
        )
    try:
        kind(**_typed(given, known))
    except UsageError as error:
        raise BundleError(
            f"The settings of bundle {manifest.name!r} are out of range", expected=error.expected, found=error.found
        ) from error
    for name, value in (overrides or {}).items():
        given[name] = _number(name, value, known)
    return kind(**_typed(given, known))


def _number(name: str, value: Any, known: Mapping[str, Field[Any]]) -> Any:
    """Read a user's value, which may be text from a command line."""
    if name not in known:
        raise UsageError("There is no such option", found=name, available=known)
    if isinstance(value, str):
        text = value.strip().lower()
        value = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text, text)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise UsageError(f"Option {name!r} is a number", expected="such as 1.2", found=value) from None
    if not _fits(value, known[name]):
        raise UsageError(f"Option {name!r} is a number of type {known[name].type}", found=value)
    return value


def _fits(value: Any, field: Field[Any]) -> bool:
    if field.type == "bool":
        return value in (0, 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    return math.isfinite(number) and (field.type != "int" or number.is_integer())


def _typed(given: Mapping[str, Any], known: Mapping[str, Field[Any]]) -> dict[str, Any]:
    kinds = {"int": int, "float": float, "bool": bool}
    return {name: kinds.get(str(known[name].type), float)(value) for name, value in given.items()}
