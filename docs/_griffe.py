"""Read our docstrings as they are written: after a parameter's name stands what it is, not its Python type.

The type comes from the signature. An extension of griffe, which mkdocstrings loads; no part of the package.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Parameters|Attributes)\n-+\n((?:(?!^\w[^\n]*\n-+\n).*\n?)*)", re.MULTILINE)
_ENTRY = re.compile(r"^([\w*, ]+?) : (.*)$", re.MULTILINE)


def described(docstring: str) -> str:
    """Move the text behind ``name :`` to the description below the name."""

    def rewritten(section: re.Match[str]) -> str:
        title, body = section.groups()
        return f"{title}\n{'-' * len(title)}\n" + _ENTRY.sub(r"\1\n    \2", body)

    return _SECTION.sub(rewritten, docstring)


class ProseInTypes(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = described(obj.docstring.value)
