"""One session for several streams: runs wait for each other, and join into one batch where the graph takes one.

Owns `SharedSession`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .session import Session, Tensors, WrappedSession

_MOST = 8  # frames of a batch


@dataclass(slots=True, eq=False)
class _Request:
    """One run that a stream waits for."""

    feeds: Tensors
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    error: BaseException | None = None
    done: bool = False


class SharedSession(WrappedSession):
    """A session that several streams share, each of whose runs waits for the one before.

    Two runs at once would take the same cores from each other, and both would end later. What waits when a run ends
    goes together if all inputs and outputs of the graph have a free first axis, and the arrays have the same shapes.

    Parameters
    ----------
    session : shared; whoever opened it closes it
    turn : lock that the sessions of one network share

    Attributes
    ----------
    batches : runs that served more than one stream
    """

    def __init__(self, session: Session, turn: threading.Lock) -> None:
        super().__init__(session)
        self.batches = 0
        self._turn = turn
        self._waiting: list[_Request] = []
        self._lock = threading.Lock()
        specs = (*session.inputs, *session.outputs)
        self._takes_batch = all(bool(spec.axes) and isinstance(spec.axes[0], str) for spec in specs)

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph when no other stream does; arrays as of the session, such as (1, h, w, 3)."""
        request = _Request(feeds)
        with self._lock:
            self._waiting.append(request)
        with self._turn:  # whoever has the turn also serves those that fit and wait
            if not request.done:
                self._serve(request)
        if request.error is not None:
            raise request.error
        return request.outputs

    def close(self) -> None:
        """Leave the session to whoever opened it."""

    def _serve(self, first: _Request) -> None:
        """Run a request, and those that may go with it."""
        with self._lock:
            fitting = [one for one in self._waiting if one is not first and self._fits(one.feeds, first.feeds)]
            together = [first, *fitting[: _MOST - 1]]
            self._waiting = [one for one in self._waiting if one not in together]
        try:
            if len(together) == 1:
                first.outputs = self._session.run(first.feeds)
            else:
                self._run_batch(together)
                self.batches += 1
        except BaseException as error:
            for one in together:
                one.error = error
        for one in together:
            one.done = True

    def _fits(self, feeds: Tensors, others: Tensors) -> bool:
        if not self._takes_batch or set(feeds) != set(others):
            return False
        return all(feeds[name].shape[1:] == others[name].shape[1:] for name in feeds)

    def _run_batch(self, requests: Sequence[_Request]) -> None:
        """Run requests as one batch, and give each its rows."""
        names = list(requests[0].feeds)
        feeds = {name: np.concatenate([one.feeds[name] for one in requests]) for name in names}
        ends = np.cumsum([len(one.feeds[names[0]]) for one in requests])[:-1].tolist()
        outputs = self._session.run(feeds)
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        for place, one in enumerate(requests):
            one.outputs = {name: split[place] for name, split in parts.items()}
