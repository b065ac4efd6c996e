"""Samples of code vote by what they do, from the question to the exit code; programs are run in the real sandbox."""

from __future__ import annotations

import contextlib
import json

import pytest
from click.testing import CliRunner
from fakes import QueuedEngine, WordLengthEmbedder

from avengers_edge.cli.root_command import cli
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.errors import BadRequest, NoSandbox
from avengers_edge.records import Ask, Member, Ranked, Route, Team
from avengers_edge.runtime import Avengers
from avengers_edge.sandbox.linux import Sandbox
from avengers_edge.sandbox.programs import SandboxJudge
from avengers_edge.voting.code_votes import failures

QUESTION = "Write a Python function double(x) that doubles.\nassert double(2) == 4"


def fenced(body):
    return f"Here it is:\n```python\ndef double(x):\n    {body}\n```\n"


RIGHT, ALSO_RIGHT, SQUARE, ZERO = map(fenced, ("return 2 * x", "return x + x", "return x * x", "return 0"))
BROKEN = "```python\ndef double(x:\n```"
ENDLESS = fenced("while True: pass")


@pytest.fixture(scope="module")
def judge():
    judge = SandboxJudge()
    try:
        judge.prepare()
    except NoSandbox as error:
        pytest.skip(str(error))
    return judge


def ask(judge, texts, question=QUESTION, members=1, router=None, **options):
    team = Team(
        name="coders",
        description="write code",
        table=None,
        members=tuple(Member(f"model-{number}") for number in range(members)),
        samples=3,
        switch_below=0.8,
    )
    engine = QueuedEngine(texts)
    avengers = Avengers(
        team,
        WordLengthEmbedder,
        lambda embedder: router,
        lambda model: contextlib.nullcontext(engine),
        open_judge=lambda: judge,
    )
    return avengers.answer(question, Ask(seed=1, **options)), engine


def test_one_sample_of_code_is_taken_and_not_run_unless_more_are_asked_for():
    class Unused:
        """Judges nothing."""

    answer, _ = ask(Unused(), [SQUARE])
    assert (answer.samples_used, answer.route.fallback.count("text:")) == (1, 0)


class Budget:
    """Says that so many samples are worth a vote."""

    def __init__(self, samples):
        self.samples = samples

    def route(self, vector, *, members, prefer, resident):
        return Route(0, 0.9, (Ranked(members[0], 1.0),), 1.0, samples=self.samples)


def test_what_a_vote_is_worth_does_not_bound_the_samples_that_tests_choose_from(judge):
    answer, _ = ask(judge, [ZERO, ZERO, RIGHT], router=Budget(1), tests="assert double(2) == 4")
    assert (answer.text, answer.samples_requested) == (RIGHT, 3)


def test_code_that_does_the_same_is_one_answer(judge):
    answer, _ = ask(judge, [RIGHT, SQUARE, ALSO_RIGHT], samples=3)
    assert answer.text == RIGHT
    assert answer.answer == "def double(x):\n    return 2 * x"
    assert [vote.count for vote in answer.votes] == [2, 1]
    assert answer.samples[0].key == answer.samples[2].key == answer.votes[0].key
    assert answer.agreement == 2 / 3


def test_all_samples_of_code_end_before_they_are_compared(judge):
    answer, engine = ask(judge, [RIGHT] * 5, samples=5, early_stop="exact")
    assert (answer.samples_used, answer.stopped_early) == (5, False)
    assert engine.requests[0].least == 5


def test_a_majority_that_fails_the_questions_examples_loses(judge):
    answer, _ = ask(judge, [ZERO, ZERO, RIGHT], samples=3)
    assert answer.text == RIGHT
    assert [(vote.count, failures(vote.key)) for vote in answer.votes] == [(1, 0), (2, 1)]


def test_code_that_does_not_run_votes_for_nothing(judge):
    answer, _ = ask(judge, [BROKEN, "no code at all", ENDLESS, RIGHT], samples=4)
    assert [sample.key is None for sample in answer.samples] == [True, True, True, False]
    assert answer.text == RIGHT


def test_nothing_that_runs_leaves_the_first_sample_without_a_vote(judge):
    answer, _ = ask(judge, [BROKEN, BROKEN], samples=2)
    assert (answer.text, answer.votes, answer.agreement) == (BROKEN, (), None)


def test_a_question_without_examples_falls_back_and_says_so(judge):
    answer, _ = ask(judge, [RIGHT, RIGHT], "Write a Python function that doubles.", samples=2, early_stop="off")
    assert answer.votes[0].count == 2
    assert "compared by their text: the question has no example" in answer.route.fallback


def test_no_sandbox_falls_back_and_says_so():
    answer, _ = ask(None, [RIGHT, ALSO_RIGHT], samples=2, early_stop="off")
    assert len(answer.votes) == 2
    assert "compared by their text: there is nothing to run code in" in answer.route.fallback


def test_members_whose_code_disagrees_are_joined_by_a_second_one(judge):
    answer, _ = ask(judge, [RIGHT, SQUARE, ZERO, ALSO_RIGHT, ALSO_RIGHT, ALSO_RIGHT], members=2, samples=3)
    assert answer.models == ("model-0", "model-1")
    assert answer.votes[0].count == 4
    assert len({sample.key for sample in answer.samples}) == 3


def test_tests_choose_among_the_samples_and_the_team_says_how_many(judge):
    answer, _ = ask(judge, [RIGHT, RIGHT, SQUARE], "Write a function double.", tests="assert double(3) == 9")
    assert answer.samples_used == 3
    assert answer.kind == "code"
    assert answer.text == SQUARE
    assert [(vote.count, failures(vote.key)) for vote in answer.votes] == [(1, 0), (2, 1)]


def test_leaving_early_does_not_pass_the_tests(judge):
    early = "```python\nimport os\ndef double(x):\n    os._exit(0)\n```"
    answer, _ = ask(judge, [early, RIGHT], tests="assert double(3) == 6", samples=2)
    assert answer.text == RIGHT


def test_tests_are_of_code():
    with pytest.raises(BadRequest, match="tests are of code"):
        Ask(kind="number", tests="assert 1")
    with pytest.raises(BadRequest, match="the tests are empty"):
        Ask(tests="\n")


# --- the command ---

TEAM = """
name = "solo"
description = "one member, no table"
[defaults]
samples = 2
[[members]]
model = "smollm2-135m-instruct"
"""


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    """Runs `ask --tests` on an engine that writes these texts."""
    (home / "teams").mkdir(parents=True)
    (home / "teams" / "solo.toml").write_text(TEAM, encoding="utf-8")
    tests = tmp_path / "tests.py"

    def invoke(texts, asserts, *words):
        tests.write_text(asserts, encoding="utf-8")
        engine = QueuedEngine(texts)
        monkeypatch.setattr(ModelPool, "lease", lambda self, model: contextlib.nullcontext(engine))
        return CliRunner().invoke(cli, ["ask", "--team", "solo", "--tests", str(tests), *words, "Write double(x)."])

    return invoke


def test_the_answer_passes_the_tests(judge, run):
    result = run([ZERO, RIGHT], "assert double(3) == 6", "--raw")
    assert (result.exit_code, result.stdout) == (0, "def double(x):\n    return 2 * x\n")


def test_an_answer_that_fails_the_tests_is_given_with_exit_code_1(judge, run):
    result = run([ZERO, ZERO], "assert double(3) == 6", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["text"] == ZERO
    assert result.stderr.count("0 of 2 samples passed the tests") == 1
    assert result.stderr.count("\n") == 1


def test_tests_that_are_no_python_are_a_usage_error(run):
    result = run([], "assert (")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the tests are no Python at line 1" in result.stderr


def test_tests_without_a_sandbox_are_refused_before_a_model_is_asked(run, monkeypatch):
    def refuse(cls):
        raise NoSandbox("no sandbox here: install bubblewrap")

    monkeypatch.setattr(Sandbox, "find", classmethod(refuse))
    result = run([], "assert double(3) == 6")
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "avengers: no sandbox here: install bubblewrap\n",
    )


def test_doctor_says_whether_code_can_be_run(judge, monkeypatch):
    from avengers_edge.cli.doctor_command import check_code

    (finding,) = check_code()
    assert finding.found == f"can be run: {Sandbox.find().describe()}"
    assert (finding.remedy, finding.advice) == (None, None)

    def refuse(cls):
        raise NoSandbox("no sandbox here: install bubblewrap")

    monkeypatch.setattr(Sandbox, "find", classmethod(refuse))
    (finding,) = check_code()
    assert (finding.remedy, finding.advice) == (None, "no sandbox here: install bubblewrap")
