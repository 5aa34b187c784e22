"""Queues that pass frames between the threads of a stream.

Owns `Channel` (an ordered bounded queue, or a mailbox in which the newest wins) and `Gate` (how many frames may be
under way at once). Standard library only.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ended(Exception):
    """Nothing more will come out of a channel, or go through a gate."""


class Channel(Generic[T]):
    """Pass items from one thread to another, in order.

    Parameters
    ----------
    capacity : items that wait at most
    newest : what a full channel does: False makes the sender wait, so nothing is ever lost; True throws the oldest
        item away and counts it, so the receiver always gets the newest

    Examples
    --------
    >>> mailbox = Channel(1, newest=True)
    >>> mailbox.put("old"), mailbox.put("new"), mailbox.get(), mailbox.dropped
    (True, True, 'new', 1)
    """

    def __init__(self, capacity: int, *, newest: bool = False) -> None:
        self.dropped = 0
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._newest = newest
        self._finished = False
        self._counts_taken = False
        self._taken = 0  # items that the receiver works on, where they count
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)

    def narrow(self, capacity: int, *, counts_taken: bool = False) -> None:
        """Let fewer items wait from now on; with `counts_taken`, what the receiver works on counts as one of them."""
        with self._lock:
            self._capacity = min(self._capacity, capacity)
            self._counts_taken = self._counts_taken or counts_taken

    def wait_for_room(self) -> bool:
        """Wait until an item would be taken at once; False if the reader has stopped."""
        with self._lock:
            while not self._finished and not self._newest and self._is_full:
                self._emptied.wait()
            return not self._finished

    @property
    def _is_full(self) -> bool:
        return len(self._items) + self._taken >= self._capacity

    def put(self, item: T) -> bool:
        """Put an item; False if the reader has stopped."""
        with self._lock:
            while not self._finished and self._is_full:
                if self._newest:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._emptied.wait()
            if self._finished:
                return False
            self._items.append(item)
            self._filled.notify()
            return True

    def _take(self) -> T:
        """Take the next item, with the lock held; `Ended` if there is none."""
        if not self._items:
            raise Ended
        item = self._items.popleft()
        self._taken = int(self._counts_taken)
        # The sender is woken when half of the room is free: a wake for every item costs more than most items do.
        if self._counts_taken or self._newest or len(self._items) <= self._capacity // 2:
            self._emptied.notify()
        return item

    def offer(self, item: T) -> bool:
        """Put an item if there is room for it; never waits."""
        with self._lock:
            if self._finished or len(self._items) >= self._capacity:
                return False
            self._items.append(item)
            self._filled.notify()
            return True

    @property
    def finished(self) -> bool:
        """Whether nothing more is coming."""
        return self._finished

    def get(self) -> T:
        """Wait for the next item.

        Raises
        ------
        Ended
            If the sender has finished and every item was taken, or the channel was aborted.
        """
        item = self.get_within(None)
        assert item is not None  # without a limit it waits until there is one
        return item

    def get_within(self, seconds: float | None) -> T | None:
        """Wait for the next item, but no longer than so many seconds; None if there is none by then.

        Raises
        ------
        Ended
            As of `get`.
        """
        with self._lock:
            if self._taken:  # whoever asks for the next item is done with the last one
                self._taken = 0
                self._emptied.notify()
            if not self._filled.wait_for(lambda: self._items or self._finished, seconds):
                return None
            return self._take()

    def get_unless(self, otherwise: Callable[[], bool]) -> T | None:
        """Wait for the next item, or until something else is true, which `nudge` has it asked again; None for that.

        Raises
        ------
        Ended
            As of `get`.
        """
        with self._lock:
            while not self._items and not self._finished:
                if otherwise():
                    return None
                self._filled.wait()
            return self._take()

    def nudge(self) -> None:
        """Have `get_unless` ask again."""
        with self._lock:
            self._filled.notify_all()

    def peek(self) -> T | None:
        """Look at the next item, which stays; None if there is none yet."""
        with self._lock:
            return self._items[0] if self._items else None

    def poll(self) -> T | None:
        """Take the next item if there is one; never waits."""
        with self._lock:
            return self._take() if self._items else None

    def finish(self) -> None:
        """Say that nothing more is coming; what waits can still be taken."""
        with self._lock:
            self._finished = True
            self._filled.notify_all()
            self._emptied.notify_all()

    def abort(self) -> None:
        """Throw away what waits and wake both sides."""
        with self._lock:
            self._items.clear()
            self._finished = True
            self._filled.notify_all()
            self._emptied.notify_all()


class Gate:
    """Let a limited number of frames be under way at once.

    A live stream that hands out few permits has young results: a frame is taken from the mailbox only when there is
    room to work on it, and what waits until then is replaced by something newer.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._open = True
        self._changed = threading.Condition()

    def enter(self) -> None:
        """Wait for a free place and take it; `Ended` when the gate was shut."""
        with self._changed:
            while self._open and self._inside >= self._limit:
                self._changed.wait()
            if not self._open:
                raise Ended
            self._inside += 1

    def narrow(self, limit: int) -> None:
        """Let fewer frames in from now on."""
        with self._changed:
            self._limit = min(self._limit, limit)

    def leave(self) -> None:
        """Give the place back."""
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    @property
    def full(self) -> bool:
        """Whether `enter` would wait."""
        return self._inside >= self._limit

    @property
    def inside(self) -> int:
        """Places taken right now."""
        return self._inside

    def shut(self) -> None:
        """Turn everybody away, those who wait included."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
