"""Ways of asking one model: programs that are run, letters that are scored, two ways that vote together."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
from types import MappingProxyType

import pytest
from fakes import WordLengthEmbedder

from avengers_edge.errors import AvengersError, BadRequest, Cancelled, NoSandbox
from avengers_edge.inquiry import Inquiry
from avengers_edge.records import (
    AS_LONG_AS_FITS,
    Answer,
    Ask,
    Completion,
    Generation,
    Member,
    Mode,
    Ranked,
    Route,
    Sample,
    SamplingParams,
    Team,
    Token,
    TokenLogprob,
)
from avengers_edge.runtime import Avengers
from avengers_edge.voting.keys import canonical_key
from avengers_edge.voting.printed import printed_answer
from avengers_edge.ways import answer_in, requests_for

BRIEF = Mode("brief", MappingProxyType({"number": "Think.", "choice": "Explain.", "label": "Explain."}))
PROGRAM = Mode(
    "program", MappingProxyType({"number": "Write a program.", "text": "Write a program."}), answer="program"
)
LETTERS = Mode("letters", MappingProxyType({"choice": "Only the letter."}), max_tokens=1, answer="letters")
DIRECT = Mode("direct", MappingProxyType({"number": "One line."}))
BY_NAME = {mode.name: mode for mode in (BRIEF, PROGRAM, LETTERS, DIRECT)}
SUM = "How many apples are 2 and 3 apples?"
PICK = "Which of these is a fish?\nA) cow\nB) cod\nC) cat"


@dataclasses.dataclass(frozen=True)
class Ran:
    printed: str | None
    reason: str | None = None


class Printer:
    """Runs programs of one line: `print(X)` prints X, anything else fails with its own text as the reason."""

    def __init__(self, missing: str | None = None) -> None:
        self.missing, self.ran = missing, []

    def prepare(self) -> None:
        if self.missing:
            raise NoSandbox(self.missing)

    def run(self, source: str, cancel=None) -> Ran:
        self.ran.append(source)
        return Ran(f"{source[6:-1]}\n") if source.startswith("print(") else Ran(None, source)


class Scripted:
    """Answers each request with the texts of its way, in turn."""

    def __init__(self, **texts: list[str]) -> None:
        self.texts, self.requests, self.lock = {way: iter(said) for way, said in texts.items()}, [], threading.Lock()

    def generate(self, request, *, on_finish=None, on_token=None, cancel=None):
        asked = request.messages[-1].content
        said = {text: name for name, mode in BY_NAME.items() for text in mode.instructions.values()}
        way = next((name for text, name in said.items() if asked.endswith(text)), "brief")
        with self.lock:
            self.requests.append((way, request))
            texts = [next(self.texts[way]) for _ in range(request.n)]
        done = []
        for index, text in enumerate(texts):
            top = ((text, math.log(0.75)),)
            logprobs = None if request.sampling.logprobs is None else (TokenLogprob(text, top[0][1], top),)
            if way == "program" and not text.startswith("I "):
                text = f"```python\n{text}\n```"
            done.append(Completion(index, index, text, 2, "length" if way == "letters" else "stop", logprobs))
            if on_token:
                on_token(index, text)
            if on_finish:
                on_finish(done[-1])
        return Generation(tuple(done), 5, 1.0, 2.0)


class Ranking:
    """Ranks these members, best first, with these accuracies and this sample budget."""

    def __init__(self, expected: dict[str, float], budget: int | None = None) -> None:
        self.expected, self.budget = expected, budget

    def route(self, vector, *, members, prefer, resident):
        kept = {name: share for name, share in self.expected.items() if name in members}
        ranking = tuple(Ranked(name, share) for name, share in kept.items())
        return Route(0, 0.9, ranking, 0.1, samples=self.budget, expected=tuple(kept.values()))


def ask(
    expected: dict[str, float], texts: dict[str, list[str]], question: str = SUM, how: Ask | None = None, **options
) -> tuple[Answer, Scripted]:
    """Ask a team of ways of one model, which are named after their modes."""
    engine = Scripted(**texts)
    team = Team(
        "ways", "ways of one model", tuple(Member("m", BY_NAME[name]) for name in expected), "t.safetensors",
        samples=options.pop("samples", 6), sampling=SamplingParams(max_tokens=50),
    )  # fmt: skip
    ranking = Ranking({f"m:{name}": share for name, share in expected.items()}, options.pop("budget", None))
    programs = options.pop("programs", Printer())
    avengers = Avengers(
        team, WordLengthEmbedder, lambda _: ranking, lambda _: contextlib.nullcontext(engine),
        open_programs=lambda: programs,
    )  # fmt: skip
    events = [*avengers.run(question, how or Ask(seed=1), **options)]
    engine.tokens = [event.text for event in events if isinstance(event, Token)]
    return events[-1].answer, engine


# --- programs


def test_what_a_program_prints_is_the_answer_and_comes_before_the_program():
    answer, engine = ask({"program": 0.7, "brief": 0.6}, {"program": ["print(5)"]}, budget=1)
    assert (answer.answer, answer.model, answer.models) == ("5", "m:program", ("m:program",))
    assert answer.text == "5\n\n```python\nprint(5)\n```"
    (sample,) = answer.samples
    assert (sample.key, sample.output, sample.failure) == ("5", "5\n", None)
    assert sample.text == "```python\nprint(5)\n```"
    assert engine.requests[0][1].sampling.temperature == 0
    assert (answer.agreement, answer.confidence) == (None, None)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("1/0", "1/0"),
        ("print(many)", "what it printed is no number"),
        ("print()", "what it printed is no number"),
        ("I cannot say.", "it wrote no whole program"),
    ],
)
def test_where_no_program_gives_an_answer_the_next_ranked_way_does(said, why):
    answer, _ = ask({"program": 0.7, "brief": 0.6}, {"program": [said], "brief": ["Answer: 5"]}, budget=1)
    assert (answer.answer, answer.model, answer.models) == ("5", "m:brief", ("m:program", "m:brief"))
    failed, spoken = answer.samples
    assert (failed.key, failed.failure, spoken.output) == (None, why, None)


def test_after_a_failed_program_one_text_is_asked_for_and_streamed_whatever_is_read_in_it():
    said = {"program": ["1/0"], "brief": ["I cannot say."], "direct": ["Answer: 5"]}
    answer, engine = ask({"program": 0.7, "brief": 0.6, "direct": 0.5}, said, budget=1)
    assert (answer.text, answer.models, engine.tokens) == ("I cannot say.", ("m:program", "m:brief"), ["I cannot say."])


def test_a_whole_number_is_shown_as_one_however_it_was_computed():
    answer, _ = ask({"program": 0.7, "brief": 0.6}, {"program": ["print(80.0)"]}, budget=1)
    assert (answer.answer, answer.text.split("\n")[0], answer.samples[0].output) == ("80", "80", "80.0\n")


def test_a_failed_program_is_never_an_answer():
    with pytest.raises(AvengersError, match=r"no program of m:program gave an answer \(1/0\)"):
        ask({"program": 0.7}, {"program": ["1/0"]}, how=Ask(member="m:program", samples=1))


def test_a_program_that_was_cancelled_is_no_failure():
    cancel = threading.Event()

    class Ended(Printer):
        def run(self, source, cancel=None):
            cancel.set()
            return Ran(None, "killed by signal 9")

    with pytest.raises(Cancelled):
        ask({"program": 0.7}, {"program": ["1/0"]}, how=Ask(samples=1), programs=Ended(), cancel=cancel)


def test_programs_agree_by_what_they_print_and_not_by_their_text():
    answer, _ = ask(
        {"program": 0.7}, {"program": ["print(5)", "print(5.0)", "print(6)"]}, how=Ask(samples=3, early_stop="off")
    )
    assert [(vote.key, vote.count) for vote in answer.votes] == [("5", 2), ("6", 1)]


def test_a_program_is_not_streamed_as_if_it_were_the_answer():
    _, engine = ask({"program": 0.7}, {"program": ["print(5)"]}, budget=1)
    assert engine.tokens == []


def test_without_a_place_to_run_them_programs_are_passed_over_with_the_reason():
    answer, engine = ask(
        {"program": 0.7, "brief": 0.6}, {"brief": ["Answer: 5"]}, budget=1, programs=Printer("no sandbox here")
    )
    assert answer.model == "m:brief"
    assert answer.route.fallback == "no program is asked for: no sandbox here"
    assert [way for way, _ in engine.requests] == ["brief"]


def test_a_program_in_the_question_is_not_run():
    printer = Printer()
    question = f"{SUM}\n```python\nprint(99)\n```"
    answer, _ = ask(
        {"program": 0.7}, {"program": ["print(5)"]}, question, Ask(kind="number"), programs=printer, budget=1
    )
    assert (answer.answer, printer.ran) == ("5", ["print(5)"])


def test_a_question_is_put_to_a_member_only_in_ways_that_have_its_kind():
    answer, _ = ask(
        {"letters": 0.9, "program": 0.8, "brief": 0.1}, {"brief": ["B"]}, PICK, Ask(samples=1, kind="label")
    )
    assert answer.model == "m:brief"
    with pytest.raises(BadRequest, match="m:letters has no way to answer a question for a number"):
        ask({"letters": 0.9}, {}, SUM, Ask(member="m:letters"))


def test_free_text_gets_no_program_unless_the_user_says_that_its_answer_is_a_text():
    texts = {"program": ["print(Ann is a knight)"], "brief": ["Once upon a time."]}
    tale, _ = ask({"program": 0.9, "brief": 0.1}, texts, "Tell me a tale about a dragon")
    assert (tale.model, tale.answer) == ("m:brief", "Once upon a time.")
    puzzle, _ = ask({"program": 0.9, "brief": 0.1}, texts, "Who is a knight?", Ask(kind="text"))
    assert (puzzle.model, puzzle.answer) == ("m:program", "Ann is a knight")


# --- letters


def test_letters_are_a_vote_over_the_cyclic_orders_of_the_options():
    # In the orders cow cod cat, cod cat cow, cat cow cod the letters B, A, C stand for cod.
    answer, engine = ask({"letters": 0.6, "brief": 0.5}, {"letters": ["B", "A", "A"]}, PICK, budget=1)
    contents = sorted(request.messages[-1].content for _, request in engine.requests)
    assert contents == [
        f"Which of these is a fish?\nA) {a}\nB) {b}\nC) {c}\n\nOnly the letter."
        for a, b, c in (("cat", "cow", "cod"), ("cod", "cat", "cow"), ("cow", "cod", "cat"))
    ]
    assert (answer.samples_requested, answer.samples_used, len(answer.votes)) == (3, 3, 2)
    assert {request.sampling.max_tokens for _, request in engine.requests} == {1}


@pytest.mark.parametrize("letters", ["AAA", "BAC"])  # a different option in each order, and one that wins early
def test_letters_are_elected_over_all_orders_and_nobody_else_is_asked(letters):
    answer, engine = ask({"letters": 0.6, "brief": 0.5}, {"letters": [*letters], "brief": ["B"] * 9}, PICK, budget=1)
    assert (answer.models, answer.samples_used, len(engine.requests)) == (("m:letters",), 3, 3)


def test_an_order_votes_for_the_option_that_its_letter_stands_for():
    class AlwaysCod(Scripted):
        def generate(self, request, *, on_finish=None, on_token=None, cancel=None):
            letter = request.messages[-1].content.split(") cod")[0][-1]
            self.texts["letters"] = iter([letter])
            return super().generate(request, on_finish=on_finish, on_token=on_token, cancel=cancel)

    engine = AlwaysCod()
    team = Team("ways", "one", (Member("m", LETTERS),), None, sampling=SamplingParams(max_tokens=50))
    avengers = Avengers(team, WordLengthEmbedder, lambda _: None, lambda _: contextlib.nullcontext(engine))
    answer = avengers.answer(PICK)
    assert (answer.answer, answer.text, answer.agreement) == ("B", "B. cod", 1.0)
    assert [sample.key for sample in answer.samples] == ["B"] * 3
    assert avengers.answer(PICK, Ask(samples=1)).samples_requested == 1


# --- two ways


def test_two_ways_that_agree_settle_it_with_two_greedy_samples():
    answer, engine = ask({"program": 0.7, "brief": 0.6}, {"program": ["print(5)"], "brief": ["Answer: 5"]})
    assert (answer.answer, answer.samples_requested, answer.stopped_early) == ("5", 2, False)
    assert sorted((way, request.n, request.sampling.temperature) for way, request in engine.requests) == [
        ("brief", 1, 0), ("program", 1, 0),
    ]  # fmt: skip
    assert answer.agreement == 1.0
    assert answer.votes[0].count == 2


def test_two_ways_that_agree_draw_all_their_samples_where_early_stopping_is_off():
    texts = {"program": ["print(5)"] * 3, "brief": ["Answer: 5"] * 3}
    answer, _ = ask({"program": 0.7, "brief": 0.6}, texts, how=Ask(early_stop="off"))
    assert (answer.samples_requested, answer.samples_used) == (6, 6)


def test_where_two_ways_disagree_both_are_sampled_on_and_weighed_by_their_records():
    texts = {"program": ["print(5)", "print(5)", "print(7)"], "brief": [f"Answer: {n}" for n in (6, 6, 6)]}
    answer, engine = ask({"program": 0.9, "brief": 0.5}, texts, how=Ask(seed=1, early_stop="off"))
    heavy, light = (round(math.log(11 * p / (1 - p)), 3) for p in (0.9, 0.5))
    assert [(vote.key, vote.count, vote.weight) for vote in answer.votes] == [
        ("5", 2, pytest.approx(2 * heavy)), ("6", 3, pytest.approx(3 * light)), ("7", 1, pytest.approx(heavy)),
    ]  # fmt: skip
    assert answer.samples_requested == 6
    assert answer.answer == "5"
    assert {request.sampling.temperature for _, request in engine.requests[2:]} == {0.7}
    assert len({request.seed for _, request in engine.requests}) == len(engine.requests)


def test_where_one_of_two_ways_has_no_answer_the_other_one_gives_it():
    answer, engine = ask({"program": 0.7, "brief": 0.6}, {"program": ["1/0"], "brief": ["Answer: 6"]})
    assert (answer.answer, len(engine.requests), answer.samples_requested) == ("6", 2, 2)


@pytest.mark.parametrize(("rule", "used"), [("off", 6), ("exact", 4)])
def test_two_ways_that_go_on_agreeing_are_drawn_from_no_longer_than_another_answer_could_win(rule, used):
    texts = {"program": ["print(5)"] * 3, "brief": ["Answer: 5"] * 3}
    answer, _ = ask({"program": 0.7, "brief": 0.6}, texts, how=Ask(samples=6, early_stop=rule))
    assert (answer.answer, answer.samples_requested, answer.samples_used) == ("5", 6, used)


def test_two_ways_elect_the_same_with_and_without_stopping_early():
    for keys in ("5656", "5566", "6655", "5555", "6565"):
        texts = {"program": [f"print({k})" for k in keys[:3]], "brief": [f"Answer: {k}" for k in keys[1:]]}
        exact, off = (
            ask({"program": 0.8, "brief": 0.6}, texts, how=Ask(samples=6, early_stop=rule))[0]
            for rule in ("exact", "off")
        )
        assert exact.answer == off.answer


@pytest.mark.parametrize(
    "how",
    [Ask(switch_below=0.8, samples=4), Ask(samples=1), Ask(prefer=0.5), Ask(member="m:program", samples=2)],
)
def test_one_way_is_sampled_where_the_user_decides_otherwise(how):
    texts = {"program": ["print(5)"] * 8, "brief": ["Answer: 5"] * 8}
    answer, _ = ask({"program": 0.7, "brief": 0.6}, texts, how=how, budget=4)
    assert answer.models == ("m:program",)


def test_a_budget_of_one_is_the_greedy_answer_of_the_best_way():
    answer, engine = ask({"brief": 0.7, "program": 0.6}, {"brief": ["Answer: 5"]}, budget=1)
    assert ([way for way, _ in engine.requests], answer.samples_requested) == (["brief"], 1)


# --- how long an answer may be


def test_a_single_free_text_ends_where_the_model_ends_it_and_what_is_voted_on_keeps_its_limit():
    def limit(question, **options):
        _, engine = ask({"brief": 0.7}, {"brief": ["Once.", "Answer: 5"] * 4}, question, Ask(seed=1, **options))
        return {request.sampling.max_tokens for _, request in engine.requests}

    assert limit("Tell me a tale about a dragon") == {AS_LONG_AS_FITS}
    assert limit("Tell me a tale about a dragon", max_tokens=9) == {9}
    assert limit("Tell me a tale about a dragon", samples=2) == {50}
    assert limit(SUM, samples=1) == {50}


# --- thinking before the answer

REASON = Mode("reason", MappingProxyType({"number": "Finish."}), thinking_budget=90, temperature=0.6, top_p=0.95)


def asked(mode, question=SUM, **options):
    usual = SamplingParams(temperature=0.7, max_tokens=30)
    return requests_for(Inquiry.of(question, Ask(**options)), Member("m", mode), usual, 1, seed=0, greedy=True)


def test_who_thinks_before_answering_is_sampled_in_its_own_way_and_never_greedily():
    (request,) = asked(REASON)
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.6, 0.95, 120)
    assert sampling.thinking_budget == 90
    assert asked(BRIEF)[0].sampling.temperature == 0


def test_the_user_has_the_last_word_on_how_a_thought_is_sampled():
    sampling = asked(REASON, temperature=0.1, max_tokens=50)[0].sampling
    assert (sampling.temperature, sampling.max_tokens, sampling.top_p) == (0.1, 50, 0.95)


def test_a_letter_is_the_first_token_and_no_thought():
    assert {request.sampling.thinking_budget for request in asked(LETTERS, PICK)} == {0}


@pytest.mark.parametrize("kind", ["number", "text", "code"])
def test_a_thought_that_was_cut_is_no_answer(kind):
    sample = Sample("m:reason", 0, "<think>\nFive or six", None, 9, "length")
    assert answer_in(sample, Inquiry.of(SUM, Ask(kind=kind))) == ""


@pytest.mark.parametrize(
    ("printed", "kind", "answer"), [("[[42]]", "number", "42"), ("[[x + 1]]", "expression", "x + 1")]
)
def test_a_program_may_print_its_answer_in_the_brackets_that_a_question_asks_for(printed, kind, answer):
    assert canonical_key(printed_answer(printed, kind), kind) == canonical_key(answer, kind)
