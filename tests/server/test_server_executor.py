"""Laws of taking work on: so much and no more, called off when nobody waits, ended when the server ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random

import pytest
from server_fakes import Caller, Served, until

from avengers_edge.errors import EngineDied
from avengers_edge.server.executor import RequestExecutor
from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem


async def forever():
    await asyncio.Event().wait()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["big", "avengers"])
def test_a_client_that_leaves_calls_its_request_off(stream, model):
    served = Served("a b c")
    served.engine.hold.clear()

    async def leave():
        caller = Caller(served, model=model, stream=stream)
        await until(served.engine.began.is_set)
        caller.gone.set()
        await until(served.engine.called_off.is_set)
        await caller.task
        await until(lambda: served.app.answers.running == 0)
        assert stream or caller.sent == []

    asyncio.run(leave())
    served.engine.hold.set()
    assert served.chat().status_code == 200


def test_a_request_that_is_dropped_by_the_server_is_called_off():
    served = Served("a b c")
    served.engine.hold.clear()

    async def drop():
        caller = Caller(served, stream=True)
        await until(lambda: caller.sent)
        caller.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await caller.task
        await until(served.engine.called_off.is_set)

    asyncio.run(drop())


def test_more_than_can_wait_is_503_with_a_time_to_come_back():
    served = Served("a b c", limits=Limits(width=1, queue=1))
    served.engine.hold.clear()

    async def crowd():
        first, second = Caller(served), Caller(served)
        await until(lambda: (served.app.answers.running, served.app.answers.waiting) == (1, 1))
        third = Caller(served)
        third.unread = []  # its body is not waited for
        await asyncio.wait_for(third.task, 10)
        assert third.status == 503
        headers = dict(third.sent[0]["headers"])
        assert 1 <= int(headers[b"retry-after"]) <= 60
        assert json.loads(third.body)["error"]["code"] == "overloaded"
        served.engine.hold.set()
        await asyncio.gather(first.task, second.task)
        assert (first.status, second.status) == (200, 200)
        await until(lambda: served.app.answers.running == 0)

    asyncio.run(crowd())


def test_who_leaves_the_queue_is_never_begun():
    served = Served("a b c", limits=Limits(width=1, queue=1))
    served.engine.hold.clear()

    async def leave():
        first, second = Caller(served), Caller(served)
        await until(lambda: served.app.answers.waiting == 1)
        second.gone.set()
        await second.task
        await until(lambda: served.app.answers.waiting == 0)
        served.engine.hold.set()
        await first.task

    asyncio.run(leave())
    assert len(served.engine.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_takes_too_long_is_called_off_and_told(stream):
    served = Served("a b c", limits=Limits(seconds=0.2))
    served.engine.hold.clear()

    async def wait():
        caller = Caller(served, stream=stream)
        await caller.task
        return caller

    caller = asyncio.run(wait())
    assert caller.status == (200 if stream else 504)
    assert b'"timeout"' in caller.body and b"[DONE]" not in caller.body
    assert served.engine.called_off.wait(5)


def test_at_the_end_what_is_under_way_is_finished_and_nothing_new_is_taken():
    served = Served("a b c")
    served.engine.hold.clear()

    async def end():
        caller = Caller(served)
        await until(served.engine.began.is_set)
        served.app.drain()
        late = Caller(served)
        await late.task
        assert (late.status, json.loads(late.body)["error"]["code"]) == (503, "shutting_down")
        served.engine.hold.set()
        await caller.task
        assert caller.status == 200

    asyncio.run(end())


@pytest.mark.parametrize("stream", [False, True])
def test_what_does_not_end_in_time_is_told_so(stream):
    served = Served("a b c", limits=Limits(drain=0.1))
    served.engine.hold.clear()

    async def end():
        caller = Caller(served, stream=stream)
        await until(lambda: caller.sent if stream else served.engine.began.is_set())
        served.app.drain()
        await caller.task
        return caller

    caller = asyncio.run(end())
    assert caller.status == (200 if stream else 503)
    assert b"shutting_down" in caller.body and b"[DONE]" not in caller.body


def test_a_death_in_the_middle_of_a_stream_is_told_and_the_server_serves_on():
    served = Served("a b c")
    good = served.engine.generate

    def dies(request, **heard):
        heard["on_token"](0, "a")
        raise EngineDied("the worker was killed")

    async def die():
        served.engine.generate = dies
        caller = Caller(served, stream=True)
        await caller.task
        return caller

    assert b"engine_died" in asyncio.run(die()).body
    served.engine.generate = good
    assert served.chat().status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_of_a_crowd_some_leave_and_all_others_get_whole_answers_and_nothing_stays(stream):
    served = Served("a b c", limits=Limits(width=4, queue=100))
    chance = random.Random(7)

    async def crowd():
        callers = [Caller(served, stream=stream) for _ in range(60)]
        leaving = chance.sample(callers, 20)
        for caller in leaving:
            await asyncio.sleep(chance.random() / 500)
            caller.gone.set()
        await asyncio.gather(*(caller.task for caller in callers))
        for caller in callers:
            if caller not in leaving:
                assert caller.status == 200
                assert caller.body.endswith(b"data: [DONE]\n\n") if stream else b'"a b c"' in caller.body
        await until(lambda: served.app.answers.running == 0)
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert not served.app.answers._handles

    asyncio.run(crowd())


def test_a_slow_body_is_408():
    served = Served(limits=Limits(body_seconds=0.1))

    async def slow():
        caller = Caller(served)
        caller.unread = []
        await caller.task
        return caller

    assert asyncio.run(slow()).status == 408


def test_a_result_is_that_of_the_work_and_so_is_an_error():
    async def work():
        executor = RequestExecutor("test", 2, 0, 5)
        async with executor.submit(lambda handle: 5, forever) as handle:
            assert await handle.result() == 5
        with pytest.raises(EngineDied):
            async with executor.submit(lambda handle: fail(), forever) as handle:
                await handle.result()
        await until(lambda: executor.running == 0)
        executor.stop_admission()
        with pytest.raises(Problem):
            async with executor.submit(lambda handle: 5, forever):
                pass
        executor.close()

    def fail():
        raise EngineDied("gone")

    asyncio.run(work())


def test_work_that_no_thread_could_be_started_for_takes_no_place_and_is_called_off(monkeypatch):
    tokens = []

    async def work():
        executor = RequestExecutor("test", 1, 0, 5)

        def cannot(function, handle):
            tokens.append(handle.cancel)
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(executor._threads, "submit", cannot)
            for _ in range(3):
                with pytest.raises(RuntimeError):
                    async with executor.submit(lambda handle: 5, forever):
                        pass
        async with executor.submit(lambda handle: 5, forever) as handle:
            assert await handle.result() == 5
        executor.close()

    asyncio.run(work())
    assert all(token.is_set() for token in tokens)
