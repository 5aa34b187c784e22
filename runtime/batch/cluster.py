"""The cluster that a job runs on: Ray, on this machine or on many.

Owns `Cluster`. The only file that imports Ray; what travels to the workers are options and paths.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody; read at the import

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, TaskCancelledError, WorkerCrashedError

from ..errors import SteadyframeError, UsageError

_STORE_BYTES = 80_000_000  # paths travel, not arrays; Ray takes no less
_RETRIES = 4  # of a call whose worker died


class Cluster:
    """Workers that call functions.

    Parameters
    ----------
    address : of a Ray cluster (``auto``, ``host:6379`` or ``ray://host:10001``); None starts one here, without a
        dashboard and on free ports, and ends it with the job
    workers : that are started here, or None for one a core; None for a cluster, which knows its own
    gpus : share of a GPU that a worker takes

    Raises
    ------
    UsageError
        If no cluster answers at the address.
    """

    def __init__(self, address: str | None = None, *, workers: int | None = None, gpus: float = 0.0) -> None:
        self._owned = not ray.is_initialized()
        if self._owned:
            start: dict[str, Any] = {"address": address}
            if address is None:
                start = {
                    "address": "local", "num_cpus": workers or os.cpu_count(), "include_dashboard": False,
                    "object_store_memory": _STORE_BYTES,
                }  # fmt: skip
            try:
                ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **start)
            except (ConnectionError, RayError, RuntimeError, ValueError, OSError) as error:
                raise UsageError(
                    f"No Ray cluster answers at {address or 'this machine'} ({str(error).splitlines()[0]})",
                    todo="Start one with `ray start --head`, or leave out --ray",
                ) from error
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.workers = max(1, int(resources.get("CPU", 1)))
        if workers is not None:
            self.workers = min(self.workers, workers)
        self._remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)
        self._running: dict[Any, object] = {}

    def submit(self, label: object, function: Callable[..., Any], *given: Any) -> None:
        """Have a worker call a function; the answer comes out of `next` under a label."""
        self._running[self._remote(function).remote(*given)] = label

    def __len__(self) -> int:
        return len(self._running)

    def next(self, timeout_s: float) -> tuple[object, Any] | None:
        """Wait for an answer: its label, and what was returned or the error that was raised; None if none came."""
        if not self._running:
            return None
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        if not ready:
            return None
        label = self._running.pop(ready[0])
        try:
            return label, ray.get(ready[0])
        except RayTaskError as error:
            return label, error.cause if isinstance(error.cause, Exception) else error
        except (WorkerCrashedError, OutOfMemoryError) as error:
            told = "ran out of memory" if isinstance(error, OutOfMemoryError) else "died"
            return label, SteadyframeError(f"The worker {told}, {_RETRIES + 1} times in a row")
        except TaskCancelledError as error:
            return label, error

    def drop(self, unwanted: Callable[[object], bool]) -> None:
        """Forget calls whose label is unwanted; those that have not begun are not made."""
        for reference, label in list(self._running.items()):
            if unwanted(label):
                ray.cancel(reference, force=False)
                del self._running[reference]

    def close(self) -> None:
        """End the workers that were started here."""
        self._running.clear()
        if self._owned:
            ray.shutdown()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
