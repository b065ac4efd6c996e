"""Laws of the main path, on fakes: embed, route, sample, vote."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
from collections import deque
from types import MappingProxyType

import pytest
from fakes import QueuedEngine, WordEngine, WordLengthEmbedder

from avengers_edge.errors import BadRequest, Cancelled, NotFound
from avengers_edge.records import (
    SEED_LIMIT,
    Ask,
    Generation,
    Member,
    Mode,
    Progress,
    Ranked,
    Route,
    SamplingParams,
    Team,
    Token,
)
from avengers_edge.runtime import Avengers

THINK = Mode("think", MappingProxyType({"number": "Think. End with Answer: <number>"}))
DIRECT = Mode("direct", MappingProxyType({"number": "Only Answer: <number>"}), system="Be brief.", max_tokens=8)
TEAM = Team(
    name="pair",
    description="two ways of one model and another model",
    members=(Member("big", THINK), Member("big", DIRECT), Member("small")),
    table="pair.safetensors",
    samples=5,
    sampling=SamplingParams(max_tokens=100),
    switch_below=0.0,
)
SUM = "How many apples are 2 and 3 apples?"


class FixedRouter:
    """Ranks short-worded questions to the small model, others to the big one."""

    def __init__(self, samples=None, scores=(0.8, 0.5)):
        self.asked, self.samples, self.scores = [], samples, scores

    def route(self, vector, *, members, prefer, resident):
        self.asked.append((members, prefer, resident))
        first, second = ("small", "big:think") if vector[0] > vector[1] else ("big:think", "small")
        better, worse = self.scores
        ranking = (Ranked(first, better), Ranked(second, worse))
        return Route(0, 0.9, ranking, better - worse, samples=self.samples)


def team_of(texts, *, router=None, team=TEAM, reason="stop", width=1, resident=()):
    engine = QueuedEngine(texts, reason=reason, width=width)
    loaded = []

    @contextlib.contextmanager
    def lease(model):
        assert not loaded or loaded[-1] is None, "two models were held at once"
        loaded.append(model)
        yield engine
        loaded.append(None)

    avengers = Avengers(
        team, WordLengthEmbedder, lambda embedder: router or FixedRouter(), lease, resident=lambda: resident
    )
    return avengers, engine, loaded


def lent(*engines):
    """Lends these engines, one after the other."""
    waiting = iter(engines)
    return lambda model: contextlib.nullcontext(next(waiting))


def test_the_majority_of_the_samples_is_the_answer():
    avengers, _, _ = team_of(["Answer: 5", "Answer: 6", "Answer: 5.0", "so 5", "Answer: 6"])
    answer = avengers.answer(SUM, Ask(seed=1, early_stop="off"))
    assert (answer.answer, answer.kind, answer.agreement) == ("5", "number", 3 / 5)
    assert [(vote.key, vote.count) for vote in answer.votes] == [("5", 3), ("6", 2)]
    assert sum(vote.count for vote in answer.votes) == answer.samples_used == answer.samples_requested == 5


def test_sampling_stops_when_the_rest_could_not_change_the_winner():
    avengers, engine, _ = team_of(["Answer: 5"] * 5)
    answer = avengers.answer(SUM, Ask(seed=1))
    assert (answer.samples_used, answer.samples_requested, answer.stopped_early) == (3, 5, True)
    assert len(engine.texts) == 2


def test_the_text_shown_is_a_real_sample_of_the_winning_group():
    avengers, _, _ = team_of(["Answer: 6", "I say 5. Answer: 5", "Answer: 5", "Answer: 7", "Answer: 8"])
    answer = avengers.answer(SUM, Ask(early_stop="off"))
    assert answer.text == "I say 5. Answer: 5"
    assert answer.text in [sample.text for sample in answer.samples]


def test_the_best_ranked_member_is_asked_in_its_own_way():
    avengers, engine, loaded = team_of(["Answer: 5"] * 5)
    assert avengers.answer("How many individual apples remain there?").model == "big:think"
    assert loaded == ["big", None]
    (message,) = engine.requests[0].messages
    assert message.content.endswith("\n\nThink. End with Answer: <number>")
    assert engine.requests[0].sampling.max_tokens == 100


def test_a_named_member_is_asked_without_routing():
    router = FixedRouter()
    avengers, engine, _ = team_of(["Answer: 5"] * 5, router=router)
    answer = avengers.answer(SUM, Ask(member="big:direct"))
    assert router.asked == []
    assert answer.route.cluster is None
    assert [message.role for message in engine.requests[0].messages] == ["system", "user"]
    assert engine.requests[0].sampling.max_tokens == 8


def test_a_bare_model_is_asked_without_a_way_also_where_the_team_has_members_of_it():
    avengers, engine, loaded = team_of(["Answer: 5"] * 10)
    assert avengers.answer(SUM, Ask(member="big")).model == "big"
    assert engine.requests[0].messages[-1].content == SUM
    assert avengers.answer(SUM, Ask(member="elsewhere")).model == "elsewhere"
    assert loaded == ["big", None, "elsewhere", None]


def test_warming_loads_the_model_of_the_best_of_the_teams_own_members():
    router = FixedRouter()
    router.best_of = lambda names: names[-1]
    avengers, engine, loaded = team_of([], router=router)
    avengers.warm()
    assert loaded == ["small", None]
    assert engine.requests == []


def test_an_unknown_mode_of_a_model_is_refused_with_the_members():
    avengers, _, _ = team_of([])
    with pytest.raises(NotFound, match="big:think, big:direct, small"):
        avengers.answer(SUM, Ask(member="big:dream"))


def test_options_override_the_teams_and_the_members():
    avengers, engine, _ = team_of(["Answer: 5"] * 2)
    ask = Ask(samples=2, member="big:direct", system="Sing.", max_tokens=3, temperature=0.1, top_p=0.5, seed=9)
    avengers.answer(SUM, ask)
    request = engine.requests[0]
    assert (request.n, request.seed, request.messages[0].content) == (2, 9, "Sing.")
    assert (request.sampling.max_tokens, request.sampling.temperature, request.sampling.top_p) == (3, 0.1, 0.5)


def test_an_empty_system_prompt_silences_the_members_own():
    avengers, engine, _ = team_of(["Answer: 5"] * 5)
    avengers.answer(SUM, Ask(member="big:direct", system=""))
    assert [message.role for message in engine.requests[0].messages] == ["user"]


def test_free_text_is_sampled_once_and_nothing_is_voted_on():
    avengers, engine, _ = team_of(["A long tale."])
    answer = avengers.answer("Tell me a tale about a dragon")
    assert (answer.kind, answer.answer, answer.votes, answer.agreement) == ("text", "A long tale.", (), None)
    assert engine.requests[0].n == 1


def test_of_several_free_texts_the_one_closest_to_the_others_is_shown():
    texts = ["a b c", "longer words only here", "a b c longer"]  # vectors (1,0), (0,1) and between the two
    avengers, _, _ = team_of(texts)
    assert avengers.answer("Tell me a tale about a dragon", Ask(samples=3)).text == "a b c longer"


def test_without_any_answer_in_the_samples_the_first_text_is_shown_and_no_vote_claimed():
    avengers, _, _ = team_of(["I do not know", "No idea"])
    answer = avengers.answer(SUM, Ask(samples=2, early_stop="off"))
    assert (answer.text, answer.votes, answer.agreement) == ("I do not know", (), None)
    assert all(sample.key is None for sample in answer.samples)


def test_a_cut_sample_votes_only_by_an_explicit_marker():
    avengers, _, _ = team_of(["First take 2, then", r"\boxed{5} and so"], reason="length")
    answer = avengers.answer(SUM, Ask(samples=2, early_stop="off"))
    assert [sample.key for sample in answer.samples] == [None, "5"]


def test_the_router_ranks_the_teams_members_by_the_users_preference():
    router = FixedRouter()
    avengers, _, _ = team_of(["Answer: 5"] * 5, router=router)
    avengers.answer(SUM, Ask(prefer=0.25))
    assert router.asked == [(["big:think", "big:direct", "small"], 0.25, ())]


def test_answering_routes_by_what_is_loaded_and_the_bare_decision_does_not():
    router = FixedRouter()
    avengers, _, _ = team_of(["Answer: 5"] * 5, router=router, resident=("small",))
    avengers.answer(SUM)
    avengers.route(SUM)
    assert [resident for _, _, resident in router.asked] == [("small",), ()]


def test_a_team_without_a_router_takes_its_members_in_order_and_says_why():
    avengers = Avengers(TEAM, WordLengthEmbedder, lambda embedder: None, lent(QueuedEngine(["Answer: 5"] * 5)))
    answer = avengers.answer(SUM)
    assert answer.model == "big:think"
    assert "has no table" in answer.route.fallback


def test_routing_loads_no_model():
    avengers, _, loaded = team_of([])
    assert avengers.route(SUM).ranking
    assert loaded == []


def test_progress_tells_the_leader_as_samples_end():
    avengers, _, _ = team_of(["Answer: 6", "Answer: 5", "Answer: 5", "Answer: 5", "Answer: 5"])
    heard = []
    heard += [event for event in avengers.run(SUM) if isinstance(event, Progress)]
    assert (heard[0].finished, heard[0].samples, heard[0].leader) == (0, 5, None)
    assert [(at.finished, at.samples, at.leader.key) for at in heard[1:]] == [
        (1, 5, "6"), (2, 5, "6"), (3, 5, "5"), (4, 5, "5"),
    ]  # fmt: skip
    assert {at.member for at in heard} == {"small"}


@pytest.mark.parametrize("question", ["", "   \n\t", "\ud800 is half a character"])
def test_a_question_that_is_empty_or_no_text_is_refused(question):
    avengers, _, loaded = team_of([])
    with pytest.raises(BadRequest):
        avengers.answer(question)
    with pytest.raises(BadRequest):
        avengers.route(question)
    assert loaded == []


@pytest.mark.parametrize(
    "values",
    [
        {"samples": 0},
        {"samples": 1001},
        {"kind": "riddle"},
        {"early_stop": "maybe"},
        {"prefer": 1.5},
        {"prefer": -0.1},
        {"switch_below": 1.1},
        {"switch_below": -0.1},
        {"switch_below": float("nan")},
    ],
)
def test_values_that_mean_nothing_are_refused_where_they_are_made(values):
    with pytest.raises(BadRequest):
        Ask(**values)


def test_an_answer_as_plain_values_has_every_field_of_the_contract():
    avengers, _, _ = team_of(["Answer: 5"] * 5)
    values = avengers.answer(SUM, Ask(seed=1)).as_dict()
    assert set(values) == {
        "answer", "text", "kind", "model", "models", "confidence", "agreement", "route", "votes", "samples_requested",
        "samples_used", "stopped_early", "samples", "usage", "timings_ms",
    }  # fmt: skip
    assert set(values["route"]) == {"cluster", "similarity", "ranking", "margin", "fallback"}
    assert set(values["route"]["ranking"][0]) == {"model", "score"}
    assert set(values["samples"][0]) == {
        "model", "seed", "text", "key", "tokens", "finish_reason", "output", "failure", "weight",
        "chances",
    }  # fmt: skip
    assert set(values["votes"][0]) == {"key", "count", "weight"}
    assert set(values["usage"]) == {"prompt_tokens", "completion_tokens", "cached_tokens", "saved_tokens"}
    assert set(values["timings_ms"]) == {"embed", "route", "load", "prefill", "decode", "total"}


def test_what_was_cancelled_before_it_began_is_no_answer():
    class Silent:
        def generate(self, request, **options):
            return Generation((), prompt_tokens=5, prefill_ms=0.0, decode_ms=0.0)

    avengers = Avengers(TEAM, WordLengthEmbedder, lambda embedder: FixedRouter(), lent(Silent()))
    with pytest.raises(Cancelled):
        avengers.answer(SUM)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"min_p": 2.0}, "min_p is 2.0"),
        ({"repeat_penalty": 0.0}, "repeat_penalty is 0.0"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty is nan"),
        ({"presence_penalty": 3.0}, "presence_penalty is 3.0"),
        ({"stop": ("",)}, "a stop string is empty"),
        ({"grammar": "root ::= [0-9]", "schema": "{}"}, "give one"),
        ({"seed": 2**32}, "seed is 4294967296"),
    ],
)
def test_wrong_sampling_values_are_refused_before_a_model_is_loaded(values, said):
    avengers, _, loaded = team_of([])
    with pytest.raises(BadRequest, match=said):
        avengers.answer(SUM, Ask(**values))
    assert loaded == []


def test_every_sampling_option_reaches_the_engine_and_what_is_not_said_stays_the_teams():
    team = dataclasses.replace(TEAM, sampling=SamplingParams(max_tokens=100, top_p=0.9, stop=("END",)))
    values = {
        "temperature": 0.0, "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.5, "frequency_penalty": 0.0,
        "presence_penalty": -1.0, "grammar": "root ::= [0-9]",
    }  # fmt: skip
    avengers, engine, _ = team_of(["Answer: 5"] * 10, team=team)
    avengers.answer(SUM, Ask(**values))
    assert engine.requests[0].sampling == dataclasses.replace(team.sampling, **values)
    avengers.answer(SUM, Ask(stop=("a", "b")))
    assert engine.requests[1].sampling == dataclasses.replace(team.sampling, stop=("a", "b"))


def test_an_answer_bound_by_a_schema_is_text_unless_said_otherwise():
    avengers, engine, _ = team_of(['{"apples": 5}', "Answer: 5"])
    answer = avengers.answer(SUM, Ask(schema="{}"))
    assert (answer.kind, answer.answer, engine.requests[0].n) == ("text", '{"apples": 5}', 1)
    assert avengers.answer(SUM, Ask(schema="{}", kind="number", samples=1)).kind == "number"


# --- waves and what they save


def test_the_engine_hears_how_many_samples_can_decide():
    avengers, engine, _ = team_of(["Answer: 5"] * 12)
    avengers.answer(SUM)
    avengers.answer(SUM, Ask(early_stop="off"))
    avengers.answer(SUM, Ask(samples=4, kind="text"))
    assert [request.least for request in engine.requests] == [3, 5, 4]


def test_tokens_saved_are_those_of_a_mean_sample_less_what_was_cut():
    avengers, _, _ = team_of(["Answer: 5"] * 3, width=5)
    usage = avengers.answer(SUM).usage
    assert (usage.completion_tokens, usage.saved_tokens) == (3 * 3 + 2 * 1, 2 * 3 - 2 * 1)
    assert (usage.prompt_tokens, usage.cached_tokens) == (5, 2)


def test_nothing_is_saved_by_samples_that_all_run_to_their_end():
    avengers, _, _ = team_of(["Answer: 5"] * 5, width=5)
    assert avengers.answer(SUM, Ask(early_stop="off")).usage.saved_tokens == 0


# --- Model-Switch


SWITCHING = dataclasses.replace(TEAM, switch_below=0.8)


def test_when_the_first_members_samples_disagree_the_second_one_is_asked_and_both_vote():
    first = ["Answer: 6", "Answer: 5", "Answer: 6", "Answer: 7", "no idea"]
    avengers, engine, loaded = team_of([*first, *["Answer: 5"] * 4], team=SWITCHING)
    answer = avengers.answer(SUM, Ask(seed=1))
    assert loaded == ["small", None, "big", None]
    assert (answer.answer, answer.model, answer.models) == ("5", "small", ("small", "big:think"))
    assert [(vote.key, vote.count) for vote in answer.votes] == [("5", 5), ("6", 2), ("7", 1)]
    assert answer.agreement == 5 / 8
    assert [sample.model for sample in answer.samples] == ["small"] * 5 + ["big:think"] * 4
    assert (answer.samples_requested, answer.samples_used, answer.stopped_early) == (10, 9, True)
    assert answer.text == answer.samples[1].text
    assert engine.requests[1].messages[0].content.endswith("Think. End with Answer: <number>")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.cached_tokens) == (10, 27, 4)
    assert (answer.usage.saved_tokens, answer.timings_ms.prefill, answer.timings_ms.decode) == (3, 2.0, 4.0)


@pytest.mark.parametrize(
    ("scores", "ask", "asked"),
    [
        ((0.8, 0.4), Ask(), 2),
        ((0.8, 0.3), Ask(), 1),
        ((0.8, 0.3), Ask(switch_below=0.8), 2),
        ((0.8, 0.3), Ask(prefer=0.7), 2),  # these scores are no accuracies
        ((0.0, 0.0), Ask(), 2),
    ],
)
def test_a_second_member_that_is_far_behind_does_not_vote_unless_the_user_says(scores, ask, asked):
    texts = [f"Answer: {number}" for number in range(10)]
    avengers, engine, _ = team_of(texts, team=SWITCHING, router=FixedRouter(scores=scores))
    assert len(avengers.answer(SUM, ask).models) == len(engine.requests) == asked


def test_the_model_of_the_answer_is_the_one_that_wrote_the_text_shown():
    avengers, _, _ = team_of(
        ["Answer: 6", "no idea", "no idea", "no idea", "no idea", *["Answer: 5"] * 4], team=SWITCHING
    )
    answer = avengers.answer(SUM)
    assert (answer.answer, answer.model) == ("5", "big:think")


def test_the_second_member_draws_with_seeds_of_its_own():
    avengers, engine, _ = team_of([f"Answer: {number}" for number in range(10)], team=SWITCHING)
    avengers.answer(SUM, Ask(seed=SEED_LIMIT - 1))
    assert [request.seed for request in engine.requests] == [SEED_LIMIT - 1, 0]


def test_while_it_is_open_whether_enough_agree_sampling_goes_on():
    """Three of five elect, but it takes four to spare the second member."""
    avengers, engine, loaded = team_of(["Answer: 5"] * 5, team=SWITCHING)
    answer = avengers.answer(SUM)
    assert (engine.requests[0].least, answer.samples_used, loaded) == (4, 4, ["small", None])


@pytest.mark.parametrize(
    ("ask", "loads"),
    [
        (Ask(switch_below=0.0), 1),
        (Ask(switch_below=0.5), 1),
        (Ask(switch_below=0.7), 2),
        (Ask(member="small"), 1),
        (Ask(kind="text", samples=5), 1),
        (Ask(samples=1), 1),
    ],
)
def test_a_second_member_is_asked_only_below_the_share_and_where_there_is_a_vote_and_a_choice(ask, loads):
    texts = ["Answer: 5", "Answer: 6", "Answer: 5", "Answer: 5", "Answer: 6"]
    avengers, engine, _ = team_of(texts * 2, team=SWITCHING)
    answer = avengers.answer(SUM, ask)
    assert len(engine.requests) == len(answer.models) == loads


def test_the_answer_and_the_switch_are_those_of_all_samples():
    ballots = ["5", "6", "7", "no"]
    draw = random.Random(1)
    for _ in range(100):
        texts = [f"Answer: {draw.choice(ballots)}" for _ in range(10)]
        asked = [team_of(texts, team=SWITCHING)[0].answer(SUM, Ask(early_stop=rule)) for rule in ("exact", "off")]
        assert len({(answer.answer, answer.models) for answer in asked}) == 1


def test_progress_and_pieces_of_text_are_counted_on_in_the_second_member():
    heard, pieces = [], []
    avengers, _, _ = team_of([f"Answer: {number}" for number in range(10)], team=SWITCHING)
    for event in avengers.run(SUM):
        if isinstance(event, Progress):
            heard.append(event)
        elif isinstance(event, Token):
            pieces.append(event.sample)
            assert event.voted
    assert [(at.finished, at.samples, at.member) for at in heard[5:8]] == [
        (5, 5, "small"), (5, 10, "big:think"), (6, 10, "big:think"),
    ]  # fmt: skip
    assert pieces == list(range(10))


class CancelAfter(deque):
    """Texts that cancel once so many of them were taken."""

    def __init__(self, count, texts, cancel):
        super().__init__(texts)
        self.left, self.cancel = count, cancel

    def popleft(self):
        self.left -= 1
        if self.left == 0:
            self.cancel.set()
        return super().popleft()


def test_leaving_the_events_cancels_what_is_under_way():
    engine = WordEngine(["Once upon a time"])
    engine.hold.clear()
    avengers = Avengers(TEAM, WordLengthEmbedder, lambda embedder: None, lent(engine))
    with contextlib.closing(avengers.run("Tell me a tale", Ask(samples=1))) as events:
        assert any(isinstance(event, Token) for event in events)
    assert engine.called_off.is_set()


def test_what_was_cancelled_does_not_switch():
    cancel = threading.Event()
    avengers, engine, _ = team_of(["Answer: 5", "Answer: 6"], team=SWITCHING, width=5)
    engine.texts = CancelAfter(2, engine.texts, cancel)
    answer = avengers.answer(SUM, cancel=cancel)
    assert (answer.answer, answer.samples_used, answer.models) == ("5", 2, ("small",))


def test_what_was_cancelled_in_the_second_member_counts_as_far_as_it_came():
    cancel = threading.Event()
    avengers, engine, _ = team_of(["Answer: 5", "Answer: 6"] * 4, team=SWITCHING)
    engine.texts = CancelAfter(6, engine.texts, cancel)
    answer = avengers.answer(SUM, cancel=cancel)
    assert (answer.answer, answer.samples_used, answer.samples_requested) == ("5", 6, 10)


def test_a_team_of_one_member_never_waits_for_an_agreement_that_changes_nothing():
    team = dataclasses.replace(SWITCHING, members=TEAM.members[:1])
    avengers = Avengers(team, WordLengthEmbedder, lambda embedder: None, lent(QueuedEngine(["Answer: 5"] * 5)))
    assert avengers.answer(SUM).samples_used == 3


def test_where_the_second_member_cannot_be_asked_the_first_ones_vote_stands():
    engine = QueuedEngine(["Answer: 5", "Answer: 6", "Answer: 5", "Answer: 7", "Answer: 8"])

    @contextlib.contextmanager
    def lease(model):
        if model == "small":
            raise NotFound("small is not installed: run `avengers models pull small`")
        yield engine

    team = dataclasses.replace(TEAM, switch_below=0.8)
    avengers = Avengers(team, WordLengthEmbedder, lambda embedder: FixedRouter(), lease)
    answer = avengers.answer("Eleven apples, seven oranges, altogether?", Ask(seed=1, kind="number"))
    assert (answer.answer, answer.models) == ("5", ("big:think",))
    assert answer.samples_used == 5
    assert answer.route.fallback == "small could not vote too: small is not installed: run `avengers models pull small`"


def test_where_the_first_member_cannot_be_asked_there_is_no_answer():
    @contextlib.contextmanager
    def lease(model):
        raise NotFound(f"{model} is not installed")
        yield

    avengers = Avengers(TEAM, WordLengthEmbedder, lambda embedder: FixedRouter(), lease)
    with pytest.raises(NotFound, match="is not installed"):
        avengers.answer(SUM)


@pytest.mark.parametrize(("worth", "asked", "requested"), [(2, None, 2), (9, None, 5), (2, 4, 4), (None, None, 5)])
def test_a_vote_takes_the_samples_it_is_worth_unless_the_user_says(worth, asked, requested):
    avengers, *_ = team_of(["Answer: 5"] * 5, router=FixedRouter(worth))
    assert avengers.answer(SUM, Ask(samples=asked)).samples_requested == requested


@pytest.mark.parametrize(
    ("worth", "ask", "temperature"),
    [
        (1, Ask(), 0.0),
        (1, Ask(temperature=0.0, top_p=0.5), 0.0),
        (1, Ask(seed=7), 0.0),
        (1, Ask(samples=1), TEAM.sampling.temperature),
        (1, Ask(kind="text"), TEAM.sampling.temperature),
        (1, Ask(kind="code"), 0.0),
        (None, Ask(kind="code"), 0.0),
        (8, Ask(kind="code", temperature=0.5), 0.5),
        (2, Ask(), TEAM.sampling.temperature),
    ],
)
def test_where_a_vote_is_worth_nothing_the_greedy_answer_is_given_unless_the_user_says(worth, ask, temperature):
    avengers, engine, *_ = team_of(["Answer: 5"] * 5, router=FixedRouter(worth))
    avengers.answer(SUM, ask)
    assert [request.sampling.temperature for request in engine.requests] == [temperature]


@pytest.mark.parametrize("ask", [Ask(temperature=0.5), Ask(top_p=0.5), Ask(top_k=5), Ask(min_p=0.1)])
def test_who_says_how_to_draw_gets_all_the_samples(ask):
    avengers, engine, *_ = team_of(["Answer: 5"] * 5, router=FixedRouter(1))
    assert avengers.answer(SUM, ask).samples_requested == TEAM.samples
    assert engine.requests[0].sampling.temperature == (ask.temperature or TEAM.sampling.temperature)


def test_embedder_and_table_are_opened_once_whoever_asks_first():
    opened, ready = [], threading.Barrier(8)

    def open_embedder():
        opened.append("embedder")
        return WordLengthEmbedder()

    def open_router(embedder):
        opened.append("table")
        return FixedRouter()

    avengers = Avengers(TEAM, open_embedder, open_router, lent())

    def ask():
        ready.wait()
        avengers.route(SUM)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["embedder", "table"]
