"""What every engine offers: a graph, loaded and ready.

Owns the `Session` protocol and the check of what goes into one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import TensorSpec
from ..errors import ShapeMismatch, UsageError

Tensors = Mapping[str, NDArray[Any]]


class Session(Protocol):
    """A graph that is loaded on a device. Immutable, and so shared freely between streams.

    Memory that belongs to one stream never lives here. A session may say `any_size = True`: the sizes of what `run`
    takes may then change from run to run, at no cost. Without that, a task keeps to one size.
    """

    @property
    def device(self) -> str:
        """The device in use, which may differ from `auto`."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays and return named arrays."""

    def close(self) -> None:
        """Free the engine's memory; the session is of no use afterwards. Does nothing the second time."""


class WrappedSession:
    """A session around another one; what a subclass does not change is the other's.

    Parameters
    ----------
    session : that is wrapped
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def device(self) -> str:
        """The device in use."""
        return self._session.device

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self._session.outputs

    @property
    def any_size(self) -> bool:
        """Whether sizes may change from run to run at no cost."""
        return bool(getattr(self._session, "any_size", False))

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays and return named arrays, in the shapes of the manifest."""
        return self._session.run(feeds)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def closed_error(name: str) -> UsageError:
    """Say that a session was closed; for engines, whose own words would be another language's."""
    return UsageError(f"The session of {name} is closed", todo="Open another one")


def check_feeds(feeds: Tensors, specs: tuple[TensorSpec, ...]) -> None:
    """Check that feeds fit the inputs of a graph.

    Raises
    ------
    ShapeMismatch
        If a name is missing or unknown, or a dtype or a shape is wrong.
    """
    names = {spec.name for spec in specs}
    if set(feeds) != names:
        raise ShapeMismatch(
            "The graph has other inputs than it was given", expected=sorted(names), found=sorted(feeds)
        )
    for spec in specs:
        array = feeds[spec.name]
        sizes = array.shape
        fits = len(sizes) == len(spec.axes) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(spec.axes, sizes, strict=True)
        )
        if not fits or array.dtype != np.dtype(spec.dtype):
            raise ShapeMismatch(
                f"Input {spec.name!r} does not fit the graph",
                expected=f"{spec.dtype} {list(spec.axes)}",
                found=f"{array.dtype} {list(sizes)}",
            )
