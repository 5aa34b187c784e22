"""What a running stream shows: a progress bar, and a table at its end. Both on stderr.

Owns the looks of `Stats`; measures nothing.
"""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..streaming import Signal, Spread, Stats, Stream

_REFRESH_S = 0.2


def console() -> Console:
    """Open stderr for text that is not data."""
    return Console(stderr=True, highlight=False, markup=False)


class StreamProgress:
    """A progress bar that costs a stream nothing: it looks at the clock, and draws five times a second.

    Where stderr is no terminal, nothing is drawn.
    """

    def __init__(self, stream: Stream, limit: int | None) -> None:
        count = stream.source.info.count
        total = min(limit or count or 0, count or limit or 0) or None
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console(), transient=True, auto_refresh=False)
        self._stream = stream
        self._task = self._bar.add_task("starting", total=total)
        self._due = 0.0
        self._shows = self._bar.console.is_terminal

    def __enter__(self) -> StreamProgress:
        if self._shows:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shows:
            self._bar.stop()

    def advance(self) -> None:
        """Draw the bar if it is time to."""
        now = time.monotonic()
        if not self._shows or now < self._due:
            return
        self._due = now + _REFRESH_S
        stats = self._stream.stats
        lost = "  NO SIGNAL, reconnecting" if self._stream.signal is Signal.NO_SIGNAL else ""
        dropped = f"  {stats.dropped} dropped" if stats.dropped else ""
        text = f"{_figure(stats.fps, '.1f')} fps{dropped}{lost}"
        self._bar.update(self._task, completed=stats.frames, description=text)
        self._bar.refresh()


def stats_table(stats: Stats, title: str) -> Table:
    """Lay out the figures of a stream: one row a stage, then the age; times in milliseconds."""
    table = Table(title=title, title_justify="left", caption=_caption(stats), caption_justify="left")
    table.add_column("stage")
    for name in ("p50 ms", "p95 ms", "p99 ms", "frames"):
        table.add_column(name, justify="right")
    for stage, spread in stats.stages_ms.items():
        _add(table, stage, spread)
    if table.rows:
        table.add_section()
    _add(table, "age of result", stats.age_ms)
    return table


def _add(table: Table, name: str, spread: Spread) -> None:
    times = (_figure(value, ".2f") for value in (spread.p50, spread.p95, spread.p99))
    table.add_row(name, *times, str(spread.count))


def _caption(stats: Stats) -> str:
    """One line below the table."""
    parts = [f"{stats.frames} frames in {stats.seconds:.2f} s, {_figure(stats.fps, '.1f')} fps"]
    if stats.keyframes != stats.frames:
        parts.append(f"{stats.keyframes} keyframes")
    if stats.dropped or stats.late:
        parts.append(f"{stats.dropped} dropped, {stats.late} too late, of {stats.decoded} decoded")
    parts.append(f"first result after {_figure(stats.first_ms, '.0f')} ms, not counted above")
    return "; ".join(parts)


def _figure(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
