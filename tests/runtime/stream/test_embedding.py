"""Streams inside other programs: worker processes, threads, and a running event loop, as a notebook has one."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading

import pytest
from steadyframe.runtime.opening import open_processor, open_stream
from steadyframe.runtime.testing import ScriptedSource, frames


def count_frames(bundle, outbox):
    """Run a stream in another process."""
    stats = open_stream(bundle, "test://?size=64x48&frames=12", precision="fp32").run()
    outbox.put((stats.frames, os.getpid()))


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_process_that_is_made_while_a_stream_runs_opens_its_own(tiny_bundle, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    context = multiprocessing.get_context(method)
    outbox = context.Queue()
    with open_stream(tiny_bundle, ScriptedSource([frames(10_000)]), precision="fp32").start() as stream:
        stream.latest(10_000)
        worker = context.Process(target=count_frames, args=(str(tiny_bundle), outbox), daemon=True)
        worker.start()
        assert outbox.get(timeout=60)[0] == 12
        worker.join(20)
        assert worker.exitcode == 0
        assert stream.latest(10_000).frame.index >= 0  # the parent's stream goes on
    outbox.close()


def test_streams_in_several_threads_do_not_disturb_each_other(tiny_bundle):
    counts, errors = {}, []

    def work(place):
        try:
            address = f"test://?size=64x48&frames={10 + place}"
            counts[place] = open_stream(tiny_bundle, address, precision="fp32").run().frames
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert counts == {0: 10, 1: 11, 2: 12, 3: 13}


def test_in_a_running_event_loop_both_kinds_of_loop_work(tiny_bundle):
    async def cell():
        plain = [result.frame.index for result in open_stream(tiny_bundle, "test://?frames=4&size=32x24")]
        awaited = [result.frame.index async for result in open_stream(tiny_bundle, "test://?frames=4&size=32x24")]
        return plain, awaited

    assert asyncio.run(cell()) == ([0, 1, 2, 3], [0, 1, 2, 3])


def test_a_processor_may_be_used_from_one_thread_after_another(tiny_bundle):
    from steadyframe.runtime.io.sources import open_source

    with open_processor(tiny_bundle, precision="fp32", steady="keyframe") as processor:
        images = list(open_source("test://?frames=6&size=64x48"))
        seen = []
        for frame in images:
            thread = threading.Thread(target=lambda frame=frame: seen.extend(processor.process(frame)))
            thread.start()
            thread.join(20)
    assert [result.frame.index for result in seen] == list(range(6))
