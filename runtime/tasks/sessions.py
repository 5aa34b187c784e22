"""The sessions of one task.

Owns `TaskSessions`: who closes them, and the error of a closed task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from ..engines.session import Session, Tensors
from ..errors import UsageError


class TaskSessions(Mapping[str, Session]):
    """Sessions by the role of their graph.

    Parameters
    ----------
    sessions : role -> session
    owned : whether `close` closes them; False for sessions that others share
    name : of the task, for messages

    Examples
    --------
    >>> TaskSessions({}, name="pose").closed
    False
    """

    def __init__(self, sessions: Mapping[str, Session], *, owned: bool = False, name: str = "") -> None:
        self._sessions = dict(sessions)
        self._owned = owned
        self._name = name
        self.closed = False

    def __getitem__(self, role: str) -> Session:
        return self._sessions[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def device(self) -> str:
        """The devices in use, by name."""
        return ", ".join(sorted({session.device for session in self._sessions.values()}))

    def run(self, role: str, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run one graph on named arrays, in the shapes of the manifest.

        Raises
        ------
        UsageError
            If the task is closed.
        """
        if self.closed:
            raise UsageError(f"This task {self._name} is closed".replace("  ", " "), todo="Open another one")
        return self._sessions[role].run(feeds)

    def close(self) -> None:
        """Close what is owned, every session even if one fails; does nothing the second time."""
        if self.closed:
            return
        self.closed = True
        failed: Exception | None = None
        for session in self._sessions.values() if self._owned else ():
            try:
                session.close()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
