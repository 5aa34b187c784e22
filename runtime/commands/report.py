"""Progress bar of a running stream, and the table at its end. Both on stderr.

Owns the looks of `Stats`; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..io.live.signal import Signal
from ..stream.stats import Spread, Stats
from ..stream.stream import Stream

_REFRESH_HZ = 5.0


def console() -> Console:
    """Open stderr for text that is not data."""
    return Console(stderr=True, highlight=False, markup=False)


class StreamProgress(Progress):
    """A progress bar that looks at a running stream five times a second, also while nothing comes out of it.

    Where stderr is no terminal, nothing is drawn.
    """

    def __init__(self, stream: Stream, limit: int | None) -> None:
        self._stream = stream  # first of all: rich draws once already while it is made
        terminal = console()
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        super().__init__(
            *columns, TimeRemainingColumn(), console=terminal, transient=True, refresh_per_second=_REFRESH_HZ,
            disable=not terminal.is_terminal,
        )  # fmt: skip
        known = [count for count in (limit, stream.source.info.count) if count]
        self._task = self.add_task("starting", total=min(known, default=None))

    def get_renderables(self) -> Iterable[RenderableType]:
        """Look at the stream, then draw."""
        stats = self._stream.stats
        text = "starting" if stats.frames == 0 else f"{_figure(stats.fps, '.1f')} fps"
        if stats.dropped:
            text += f", {stats.dropped} dropped"
        log = self._stream.signal_log
        if log is not None and log.signal not in (Signal.LIVE, Signal.ENDED):
            text += f", {log.event.text}"
        for task in self.tasks:
            task.description, task.completed = text, stats.frames
        yield from super().get_renderables()


def stats_table(stats: Stats, title: str) -> Table:
    """Lay out the figures of a stream: the age, then one row a stage; times in milliseconds."""
    table = Table(
        title=f"{headline(stats)}\n{title}", title_justify="left", caption=_caption(stats), caption_justify="left"
    )
    table.add_column("stage")
    for name in ("p50 ms", "p95 ms", "p99 ms", "frames"):
        table.add_column(name, justify="right")
    for stage, spread in stats.stages_ms.items():
        _add(table, stage, spread)
    if table.rows:
        table.add_section()
    _add(table, "age of result", stats.age_ms)
    return table


def headline(stats: Stats) -> str:
    """One line that says how old the results are, and how often the signal was lost."""
    age = stats.age_ms
    times = " / ".join(_figure(value, ".0f") for value in (age.p50, age.p95, age.p99))
    text = f"age p50 / p95 / p99: {times} ms"
    if stats.cause or stats.stalls or stats.reconnects:
        text += f"; in the last hour {stats.stalls} stalls, {stats.reconnects} reconnects"
        text += f"; {stats.signal}" + (f" ({stats.cause})" if stats.cause else "")
    return text


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
    if stats.lowered:
        parts.append(f"load lowered at the end: {stats.lowered}")
    if stats.stuck:
        parts.append(stats.stuck)
    parts.append(f"first result after {_figure(stats.first_ms, '.0f')} ms, not counted above")
    return "; ".join(parts)


def _figure(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
