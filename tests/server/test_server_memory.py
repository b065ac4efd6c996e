"""Nothing of a request outlives it, however it ends: a server makes too many to wait for full collections."""

from __future__ import annotations

import asyncio
import gc

import pytest
from server_fakes import Caller, Served, until

from avengers_edge.errors import AvengersError, EngineDied
from avengers_edge.server.executor import RequestHandle
from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem


def left(known):
    """Find what is alive of requests, with what a full collection alone would free, beside what is known."""
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, RequestHandle | Problem | AvengersError) and not any(each is other for other in known)
    ]


async def answered(served, stream):
    caller = Caller(served, stream=stream)
    await caller.task
    assert caller.status == 200


async def refused(served, stream):
    await Caller(served, stream=stream, temperature=3).task


async def failed(served, stream):
    served.engine.error = EngineDied("gone")
    await Caller(served, stream=stream).task


async def failed_late(served, stream):
    def dies(request, **heard):
        heard["on_token"](0, "a") if stream else None
        raise EngineDied("gone")

    served.engine.generate = dies
    await Caller(served, stream=stream).task


async def abandoned(served, stream):
    served.engine.hold.clear()
    caller = Caller(served, stream=stream)
    await until(served.engine.began.is_set)
    caller.gone.set()
    await caller.task


async def timed_out(served, stream):
    served.engine.hold.clear()
    await Caller(served, stream=stream).task


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("happen", [answered, refused, failed, failed_late, abandoned, timed_out])
def test_nothing_of_a_request_outlives_it(happen, stream):
    served = Served("a b c", limits=Limits(seconds=0.2 if happen is timed_out else 60))

    async def once():
        await happen(served, stream)
        served.engine.error = None
        await until(lambda: served.app.answers.running == 0)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        await until(lambda: not left(known))  # a thread lets go of its work a moment after its end

    gc.collect()
    gc.disable()
    try:
        known = left(())  # of other tests
        asyncio.run(once())
    finally:
        gc.enable()
