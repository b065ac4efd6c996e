"""Laws of the main path, on fakes: embed, route, sample, vote."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from fakes import QueuedEngine, WordLengthEmbedder

from avengers_edge.errors import BadRequest, Cancelled, NotFound
from avengers_edge.records import Ask, Generation, Member, Mode, Ranked, Route, SamplingParams, Team
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
)
SUM = "How many apples are 2 and 3 apples?"


class FixedRouter:
    """Ranks short-worded questions to the small model, others to the big one."""

    def __init__(self):
        self.asked = []

    def route(self, vector, *, members, prefer):
        self.asked.append((members, prefer))
        first, second = ("small", "big:think") if vector[0] > vector[1] else ("big:think", "small")
        return Route(0, 0.9, (Ranked(first, 0.8), Ranked(second, 0.5)), 0.3)


def team_of(texts, *, router=None, team=TEAM, reason="stop"):
    engine = QueuedEngine(texts, reason=reason)
    loaded = []

    def engine_for(model):
        loaded.append(model)
        return engine

    avengers = Avengers(team, WordLengthEmbedder, lambda embedder: router or FixedRouter(), engine_for)
    return avengers, engine, loaded


def test_the_majority_of_the_samples_is_the_answer():
    avengers, _, _ = team_of(["Answer: 5", "Answer: 6", "Answer: 5.0", "so 5", "Answer: 6"])
    answer = avengers.answer(SUM, Ask(seed=1, early_stop="off"))
    assert (answer.answer, answer.kind, answer.confidence) == ("5", "number", 3 / 5)
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
    assert loaded == ["big"]
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


def test_a_bare_model_is_asked_as_its_first_member_and_an_unknown_one_as_it_is():
    avengers, _, loaded = team_of(["Answer: 5"] * 10)
    assert avengers.answer(SUM, Ask(member="big")).model == "big:think"
    assert avengers.answer(SUM, Ask(member="elsewhere")).model == "elsewhere"
    assert loaded == ["big", "elsewhere"]


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
    assert (answer.kind, answer.answer, answer.votes, answer.confidence) == ("text", "A long tale.", (), None)
    assert engine.requests[0].n == 1


def test_of_several_free_texts_the_one_closest_to_the_others_is_shown():
    texts = ["a b c", "longer words only here", "a b c longer"]  # vectors (1,0), (0,1) and between the two
    avengers, _, _ = team_of(texts)
    assert avengers.answer("Tell me a tale about a dragon", Ask(samples=3)).text == "a b c longer"


def test_without_any_answer_in_the_samples_the_first_text_is_shown_and_no_vote_claimed():
    avengers, _, _ = team_of(["I do not know", "No idea"])
    answer = avengers.answer(SUM, Ask(samples=2, early_stop="off"))
    assert (answer.text, answer.votes, answer.confidence) == ("I do not know", (), None)
    assert all(sample.key is None for sample in answer.samples)


def test_a_cut_sample_votes_only_by_an_explicit_marker():
    avengers, _, _ = team_of(["First take 2, then", r"\boxed{5} and so"], reason="length")
    answer = avengers.answer(SUM, Ask(samples=2, early_stop="off"))
    assert [sample.key for sample in answer.samples] == [None, "5"]


def test_the_router_ranks_the_teams_members_by_the_users_preference():
    router = FixedRouter()
    avengers, _, _ = team_of(["Answer: 5"] * 5, router=router)
    avengers.answer(SUM, Ask(prefer=0.25))
    assert router.asked == [(["big:think", "big:direct", "small"], 0.25)]


def test_a_team_without_a_router_takes_its_members_in_order_and_says_why():
    avengers = Avengers(TEAM, WordLengthEmbedder, lambda embedder: None, lambda model: QueuedEngine(["Answer: 5"] * 5))
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
    avengers.answer(SUM, on_progress=heard.append)
    assert [(at.finished, at.samples, at.leader.key) for at in heard] == [
        (1, 5, "6"), (2, 5, "6"), (3, 5, "5"), (4, 5, "5"),
    ]  # fmt: skip


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
    [{"samples": 0}, {"samples": 1001}, {"kind": "riddle"}, {"early_stop": "maybe"}, {"prefer": 1.5}, {"prefer": -0.1}],
)
def test_values_that_mean_nothing_are_refused_where_they_are_made(values):
    with pytest.raises(BadRequest):
        Ask(**values)


def test_an_answer_as_plain_values_has_every_field_of_the_contract():
    avengers, _, _ = team_of(["Answer: 5"] * 5)
    values = avengers.answer(SUM, Ask(seed=1)).as_dict()
    assert set(values) == {
        "answer", "text", "kind", "model", "models", "confidence", "route", "votes", "samples_requested",
        "samples_used", "stopped_early", "samples", "usage", "timings_ms",
    }  # fmt: skip
    assert set(values["route"]) == {"cluster", "similarity", "ranking", "margin", "fallback"}
    assert set(values["route"]["ranking"][0]) == {"model", "score"}
    assert set(values["samples"][0]) == {"model", "seed", "text", "key", "tokens", "finish_reason"}
    assert set(values["usage"]) == {"prompt_tokens", "completion_tokens"}
    assert set(values["timings_ms"]) == {"embed", "route", "load", "prefill", "decode", "total"}


def test_what_was_cancelled_before_it_began_is_no_answer():
    class Silent:
        def generate(self, request, **options):
            return Generation((), prompt_tokens=5, prefill_ms=0.0, decode_ms=0.0)

    avengers = Avengers(TEAM, WordLengthEmbedder, lambda embedder: FixedRouter(), lambda model: Silent())
    with pytest.raises(Cancelled):
        avengers.answer(SUM)


def test_wrong_sampling_values_are_refused_before_a_model_is_loaded():
    avengers, _, loaded = team_of([])
    with pytest.raises(BadRequest, match="temperature is -1"):
        avengers.answer(SUM, Ask(temperature=-1))
    assert loaded == []
