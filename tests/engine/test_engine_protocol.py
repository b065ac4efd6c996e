"""Laws of a request under way, which every engine hands out."""

from __future__ import annotations

import threading

import pytest

from avengers_edge.engine.protocol import RequestHandle
from avengers_edge.records import CancelToken, Generation


@pytest.mark.parametrize("token", [lambda event: event, CancelToken, lambda event: CancelToken(CancelToken(event))])
def test_a_plain_event_cancels_a_request_whatever_tokens_stand_below_it(token):
    event, cancelled = threading.Event(), threading.Event()

    def end():
        cancelled.set()
        handle.future.set_result(Generation((), 1, 0.0, 0.0))

    handle = RequestHandle(end)
    threading.Timer(0.02, event.set).start()
    assert handle.result(token(event)).completions == ()
    assert cancelled.is_set()
