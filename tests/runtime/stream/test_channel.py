"""Handing frames from thread to thread."""

from __future__ import annotations

import threading
import time

import pytest
from steadyframe.runtime.stream.channel import Channel, Ended, Gate


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_queue_keeps_the_order_and_makes_the_sender_wait():
    channel = Channel(2)
    sent = []

    def send():
        for item in range(100):
            channel.put(item)
            sent.append(item)
        channel.finish()

    thread = in_thread(send)
    time.sleep(0.05)
    assert len(sent) == 2  # the third waits for room
    received = []
    with pytest.raises(Ended):
        while True:
            received.append(channel.get())
    thread.join(5)
    assert received == list(range(100))
    assert channel.dropped == 0


def test_what_the_receiver_works_on_may_count():
    channel = Channel(8)
    channel.narrow(1, counts_taken=True)
    assert channel.wait_for_room()
    assert channel.put("first")
    assert channel.get() == "first"
    room = []
    thread = in_thread(lambda: room.append(channel.wait_for_room()))
    time.sleep(0.05)
    assert room == []  # the first is still being worked on
    assert channel.get_within(0.01) is None  # whoever asks for the next one is done with it
    thread.join(5)
    assert room == [True]
    channel.abort()
    assert not channel.wait_for_room()


def test_a_mailbox_holds_the_newest_and_counts_what_it_threw_away():
    mailbox = Channel(1, newest=True)
    for item in range(10):
        assert mailbox.put(item)
    assert mailbox.get() == 9
    assert mailbox.dropped == 9


def test_what_was_sent_before_the_end_still_arrives():
    channel = Channel(3)
    channel.put("last")
    channel.finish()
    assert not channel.put("too late")
    assert channel.get() == "last"
    with pytest.raises(Ended):
        channel.get()


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_abort_wakes_whoever_waits(side):
    channel = Channel(1)
    ended = []

    def wait():
        if side == "sender":
            channel.put(1)
            ended.append(channel.put(2))
        else:
            try:
                channel.get()
            except Ended:
                ended.append(False)

    thread = in_thread(wait)
    time.sleep(0.02)
    channel.abort()
    thread.join(5)
    assert ended == [False]


def test_poll_never_waits():
    channel = Channel(1)
    assert channel.poll() is None
    channel.put(5)
    assert channel.poll() == 5


def test_a_gate_lets_so_many_in_and_the_next_when_one_leaves():
    gate = Gate(2)
    gate.enter()
    gate.enter()
    assert gate.inside == 2
    entered = []
    thread = in_thread(lambda: (gate.enter(), entered.append(gate.inside)))
    time.sleep(0.02)
    assert not entered
    gate.leave()
    thread.join(5)
    assert entered == [2]


def test_an_offer_never_waits_and_says_whether_there_was_room():
    channel = Channel(1)
    assert channel.offer("one")
    assert not channel.offer("two")
    assert channel.get() == "one"
    channel.finish()
    assert channel.finished
    assert not channel.offer("three")


def test_a_shut_gate_turns_everybody_away():
    gate = Gate(1)
    gate.enter()
    ended = []

    def wait():
        try:
            gate.enter()
        except Ended:
            ended.append(True)

    thread = in_thread(wait)
    time.sleep(0.02)
    gate.shut()
    thread.join(5)
    assert ended == [True]
