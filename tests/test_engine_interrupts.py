"""Laws of Ctrl-C around native calls."""

from __future__ import annotations

import signal
import threading

import pytest

from avengers_edge.engine.interrupts import interrupt_after


def test_an_interrupt_waits_for_the_end_of_the_block():
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupt_after():
        signal.raise_signal(signal.SIGINT)
        reached.append("the end")
    assert reached == ["the end"]


def test_without_an_interrupt_nothing_happens_and_the_handler_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with interrupt_after():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_ignores_keeps_ignoring():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_after():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_left_alone():
    heard = []

    def work():
        with interrupt_after():
            heard.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [signal.getsignal(signal.SIGINT)]
