"""Laws of the embedded team for asyncio: the loop never waits, and a cancelled task calls its answer off."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import numpy as np
import pytest
from api_fakes import ROUTE, SUM, TALE, Embedding
from test_api import LONG, Together

from avengers_edge import (
    Ask,
    AsyncAvengers,
    AvengersError,
    BadRequest,
    Cancelled,
    DoesNotFit,
    EngineDied,
    Finished,
    Token,
)


def embedding(*texts, **options):
    return Embedding(*texts, face=AsyncAvengers, **options)


def held(*texts):
    """A team whose engine stops after the first word until it is called off, or told to go on."""
    asked = embedding(*texts or ("Once upon a time",))
    asked.engine.hold.clear()
    return asked


async def comes(event):
    """Wait for what another thread sets; the loop goes on meanwhile."""
    async with asyncio.timeout(LONG):
        while not event.is_set():
            await asyncio.sleep(0.001)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 2 * LONG))


@pytest.mark.parametrize("question", [SUM, TALE])
def test_what_is_told_is_what_a_thread_is_told(question):
    async def main():
        async with embedding("Answer: 5").team as team:
            return [event async for event in team.stream(question, Ask(seed=1))]

    with Embedding("Answer: 5").team as team:
        expected = list(team.stream(question, Ask(seed=1)))
    heard = run(main())
    assert heard[:-1] == expected[:-1]
    assert heard[-1].answer.votes == expected[-1].answer.votes


def test_the_loop_goes_on_while_an_answer_is_made():
    async def main():
        asked = held()
        async with asked.team as team:
            answer = asyncio.create_task(team.answer(TALE))
            await comes(asked.engine.began)  # which only a loop that goes on can see
            assert not answer.done()
            asked.engine.hold.set()
            assert (await answer).text == "Once upon a time"

    run(main())


def test_questions_of_one_loop_are_under_way_together():
    async def main():
        async with embedding(engine=Together(4)).team as team:
            return await asyncio.gather(*(team.answer(TALE) for _ in range(4)))

    assert [answer.text for answer in run(main())] == ["once"] * 4


def test_a_cancelled_task_calls_its_answer_off():
    async def main():
        asked = held()
        async with asked.team as team:
            answer = asyncio.create_task(team.answer(TALE))
            await comes(asked.engine.began)
            answer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answer
            assert answer.cancelled()
            await comes(asked.engine.called_off)

    run(main())


@pytest.mark.parametrize("leave", ["close", "cancel"])
def test_who_stops_listening_calls_the_answer_off(leave):
    async def main():
        asked = held()
        async with asked.team as team:
            events = team.stream(TALE)

            async def listen():
                async for event in events:
                    if event == Token("Once"):
                        if leave == "close":
                            return
                        await asyncio.Event().wait()

            task = asyncio.create_task(listen())
            await comes(asked.engine.began)
            if leave == "close":
                await task
                await events.aclose()
            else:
                task.cancel()
                await asyncio.wait([task])
                await events.aclose()
            await comes(asked.engine.called_off)

    run(main())


def test_with_a_cancel_event_what_there_is_makes_the_answer():
    async def main():
        asked, cancel = held(), threading.Event()
        async with asked.team as team:
            answer = asyncio.create_task(team.answer(TALE, cancel=cancel))
            await comes(asked.engine.began)
            cancel.set()
            assert (await answer).text == "Once"
            with pytest.raises(Cancelled):
                await team.answer(TALE, cancel=cancel)

    run(main())


def test_closing_ends_what_is_under_way():
    async def main():
        asked = held()
        answer = asyncio.create_task(asked.team.answer(TALE))
        await comes(asked.engine.began)
        await asked.team.close()
        assert asked.freed == 1
        assert (await answer).text == "Once"
        with pytest.raises(AvengersError, match="open it again"):
            await asked.team.answer(TALE)

    run(main())


def test_a_loop_that_ends_in_the_middle_calls_off_and_leaves_no_complaint():
    asked = held()

    async def main():
        async for event in asked.team.stream(TALE):
            if event == Token("Once"):
                return

    run(main())
    assert asked.engine.called_off.wait(LONG)
    run(asked.team.close())


def test_errors_are_those_of_the_one_tree():
    async def main():
        asked = embedding()
        asked.engine.error = EngineDied("it died: ask again")
        async with asked.team as team:
            with pytest.raises(EngineDied):
                await team.answer(TALE)
            with pytest.raises(EngineDied):
                assert [event async for event in team.stream(TALE)] == []
            with pytest.raises(BadRequest):
                await team.route(" ")
            with pytest.raises(DoesNotFit):
                await team.embed(["a b c d e"])

    run(main())


def test_route_vectors_and_warming_are_those_of_the_other_face():
    async def main():
        asked = embedding()
        asked.team._runtime.warm = lambda: asked.leased.append("warmed")
        async with asked.team as team:
            await team.warm()
            return asked.leased, await team.route(TALE), await team.embed(["a", "letters"])

    leased, route, vectors = run(main())
    assert (leased, route) == (["warmed"], ROUTE)
    assert np.array_equal(vectors, np.array([[1, 0], [0, 1]], np.float32))


def test_the_last_event_is_the_answer():
    async def main():
        async with embedding("Once").team as team:
            return [event async for event in team.stream(TALE)][-1]

    assert isinstance(run(main()), Finished)


def test_opening_loads_nothing(tmp_path):
    async def main():
        async with AsyncAvengers.open(home=tmp_path) as team:
            return team.team, team.members

    name, members = run(main())
    assert name == "starter"
    assert members
    assert list(tmp_path.rglob("*")) == []
