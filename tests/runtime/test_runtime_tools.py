"""Laws of asking a team with tools: members whose models have no place for them are not asked, whoever asks."""

from __future__ import annotations

import contextlib

import pytest
from fakes import QueuedEngine, WordLengthEmbedder

from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.records import Ask, Member, Message, Mode, Team, Tool, ToolCall, Tools
from avengers_edge.runtime import Avengers

THINK = Mode("think", {"number": "Think first."})
TEAM = Team("team", "three", (Member("plain"), Member("caller", THINK), Member("absent")), None, switch_below=0.0)
TOOLS = Tools((Tool("add"),))
SUM = "How many are 2 and 3?"
CALL = '{"name": "add", "arguments": {"a": 2}}'


def takes_tools(model):
    if model == "absent":
        raise NotFound("absent is not installed")
    return model == "caller"


def team_of(engine, leased, takes=takes_tools):
    @contextlib.contextmanager
    def lease(model):
        leased.append(model)
        yield engine

    return Avengers(TEAM, WordLengthEmbedder, lambda embedder: None, lease, takes_tools=takes)


def test_only_a_member_that_takes_tools_is_asked_and_in_no_words_of_a_kind():
    engine, leased = QueuedEngine([CALL]), []
    answer = team_of(engine, leased).answer(SUM, Ask(tools=TOOLS))
    assert (leased, answer.model, answer.kind) == (["caller"], "caller:think", "text")
    assert [ranked.model for ranked in answer.route.ranking] == ["caller:think"]
    (request,) = engine.requests
    assert (request.tools, request.n, request.messages) == (TOOLS, 1, (Message("user", SUM),))


def test_what_followed_a_question_is_told_after_it():
    engine = QueuedEngine(["It is 5."])
    call = ToolCall("add", '{"a": 2}', "1")
    results = (Message("assistant", "", (call,)), Message("tool", "5", call_id="1"))
    team_of(engine, []).answer(SUM, Ask(member="plain", results=results, history=(), samples=1))
    assert engine.requests[0].messages == (Message("user", SUM), *results)


@pytest.mark.parametrize("name", ["plain", "caller:think", "absent"])
def test_a_member_by_its_name_is_asked_if_it_takes_them_and_otherwise_those_that_do_are_named(name):
    leased = []
    team = team_of(QueuedEngine([CALL]), leased)
    if name == "caller:think":
        assert team.answer(SUM, Ask(member=name, tools=TOOLS)).text == CALL
    else:
        with pytest.raises(BadRequest if name == "plain" else NotFound, match=r"ask caller:think|not installed"):
            team.answer(SUM, Ask(member=name, tools=TOOLS))
        assert leased == []


def test_a_team_in_which_nobody_takes_them_says_so():
    with pytest.raises(BadRequest, match=r"^tools .*team"):
        team_of(QueuedEngine([]), [], lambda model: False).answer(SUM, Ask(tools=TOOLS))


def test_samples_that_ask_for_the_same_calls_agree_and_the_text_is_one_of_theirs():
    other, again = CALL.replace("2", "3"), CALL.replace("arguments", "parameters")
    answer = team_of(QueuedEngine([other, CALL, again]), []).answer(SUM, Ask(tools=TOOLS, samples=3, early_stop="off"))
    assert (answer.text, answer.agreement) == (CALL, 2 / 3)
