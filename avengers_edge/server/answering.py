"""The blocking part of a request: a vote of a team, or what one member writes; both tell what happens meanwhile."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from typing import TypeAlias

from avengers_edge.election import Progress
from avengers_edge.errors import ContextFull
from avengers_edge.records import SEED_LIMIT, Answer, Ask, Generation, Request
from avengers_edge.server.asked import Asked
from avengers_edge.server.desk import Call
from avengers_edge.server.house import House, Target
from avengers_edge.server.problems import Problem
from avengers_edge.voting.kinds import kind_of
from avengers_edge.ways import messages_for


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of a sample's text, the samples of a second member counted on from the first one's."""

    index: int
    text: str


Event: TypeAlias = Piece | Progress
Tell: TypeAlias = Callable[[Event], None]
Result: TypeAlias = Answer | Generation


def respond(house: House, target: Target, asked: Asked, call: Call, tell: Tell | None = None) -> Result:
    """Do what is asked for.

    Raises:
        Problem: 400, something that only the other kind of asking knows; 413, too long for the context.
        AvengersError: what `Avengers.answer` raises.

    """
    try:
        # A program has to be run and letters have to be weighed: what such a member writes is no answer by itself.
        if target.member is None or asked.voted or target.member.form != "text":
            return _elect(target, asked, call, tell)
        return _complete(house, target, asked, call, tell)
    except ContextFull as error:
        raise Problem(error.http_status, str(error), asked.said_in, "context_length_exceeded") from error


def _elect(target: Target, asked: Asked, call: Call, tell: Tell | None) -> Answer:
    ask = asked.ask(target.member.name if target.member else None)
    if target.member is not None and target.member.form == "program" and ask.samples is None:
        ask = dataclasses.replace(ask, samples=1)
    return target.avengers.answer(
        asked.question,
        ask,
        member=target.member,
        on_progress=tell,
        on_token=None if tell is None else (lambda index, text: tell(Piece(index, text))),
        cancel=call.cancel,
    )


def _complete(house: House, target: Target, asked: Asked, call: Call, tell: Tell | None) -> Generation:
    """Ask one member for `n` texts in one request."""
    member, team = target.member, target.avengers.team
    assert member is not None
    if asked.tools is not None:
        target.avengers.require_tools(member)
    ask = Ask(system=asked.system, history=asked.history, tools=asked.tools, results=asked.results)
    kind = kind_of(asked.question, ask)
    request = Request(
        messages_for(asked.question, kind, member, ask),
        dataclasses.replace(member.sampling(kind, team.sampling), **asked.said),
        asked.n,
        secrets.randbelow(SEED_LIMIT) if asked.seed is None else asked.seed,
        keep=asked.n == 1,
        tools=asked.tools,
    )
    on_token = None if tell is None else (lambda index, text: tell(Piece(index, text)))
    with house.lease(member.model) as engine:
        return engine.generate(request, on_token=on_token, cancel=call.cancel)
