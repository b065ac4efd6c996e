"""Measuring, on an engine whose answers a reader knows: nothing asked twice, nothing lost, however it was stopped."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from avengers_edge.calibration.measure import Measured, Plan, measure
from avengers_edge.calibration.outcomes import read_outcomes, restricted, write_outcomes
from avengers_edge.calibration.pipeline import without_code
from avengers_edge.calibration.questions import Question
from avengers_edge.engine.protocol import EngineFacts, RequestHandle
from avengers_edge.errors import AvengersError, BadRequest, EngineDied, NoSandbox
from avengers_edge.records import Completion, Generation, Member, Mode, Request, Team
from avengers_edge.sandbox.programs import SandboxJudge

ROOT = Path(__file__).parents[2]
THINK = Mode("think", MappingProxyType({"number": "Think."}))
DIRECT = Mode("direct", MappingProxyType({"number": "At once."}), max_tokens=9)
MEMBERS = (Member("m", THINK), Member("m", DIRECT), Member("n", THINK))
TEAM = Team("t", "", MEMBERS, None)


def question(number: int, kind: Any = "number") -> Question:
    return Question(f"d/{number}", "d", "math", f"What is {number}?", None, str(number), kind, "train")


class Echo:
    """Answers "What is N?" with N, at once; `breaks_after` answers it dies. Counts a token a character."""

    def __init__(self, breaks_after: int | None = None, trained: int = 32_768) -> None:
        self.facts = EngineFacts("m", trained, 32_768, 1, 0, (), gpu_offload=False, threads=1, features="")
        self.asked: list[Request] = []
        self.left = breaks_after

    def submit(self, request, *, on_finish=None, on_token=None) -> RequestHandle:
        ticket = RequestHandle(lambda: None)
        if self.left == 0:
            ticket.future.set_exception(EngineDied("gone: ask again"))
            return ticket
        if self.left:
            self.left -= 1
        self.asked.append(request)
        number = request.messages[-1].content.split("?")[0].removeprefix("What is ")
        samples = tuple(Completion(i, i, f"Answer: {number}", 3, "stop") for i in range(request.n))
        ticket.future.set_result(Generation(samples, prompt_tokens=5, prefill_ms=1000.0, decode_ms=1000.0))
        return ticket

    def count_tokens(self, request: Request) -> int:
        return sum(len(message.content) for message in request.messages)


def run(out: Path, engine: Echo, questions=None, *, heard=None, grade=None, **options: Any):
    plan = Plan(tuple(questions or map(question, range(4))), options.pop("members", MEMBERS), **options)
    return measure(
        plan,
        TEAM,
        out,
        lambda _model: contextlib.nullcontext(engine),
        grade or (lambda asked, text, *, truncated: text == f"Answer: {asked.answer}" and int(asked.answer) % 2 == 0),
        on_measured=heard,
    )


def test_every_member_answers_every_question_once(tmp_path: Path) -> None:
    engine, heard = Echo(), []
    rows = run(tmp_path / "o.jsonl", engine, heard=heard.append)
    assert [row.id for row in rows] == ["d/0", "d/1", "d/2", "d/3"]
    assert [row.scores["m:think"] for row in rows] == [1, 0, 1, 0]
    assert all(set(row.scores) == {"m:think", "m:direct", "n:think"} for row in rows)
    assert rows[0].answers == {member.name: (("0", 1.0),) for member in MEMBERS}
    assert rows[0].seconds == {member.name: 2.0 for member in MEMBERS}
    assert len(engine.asked) == 12
    assert {request.sampling.temperature for request in engine.asked} == {0.0}
    assert isinstance(heard[-1], Measured)
    assert (heard[-1].done, heard[-1].total) == (12, 12)


def test_a_member_that_thinks_first_is_never_greedy(tmp_path: Path) -> None:
    engine = Echo()
    mode = Mode("reason", MappingProxyType({"number": "Finish."}), thinking_budget=900, temperature=0.6, top_p=0.95)
    run(tmp_path / "o.jsonl", engine, members=(Member("m", mode), Member("m", DIRECT)))
    asked = {(r.sampling.thinking_budget, r.sampling.temperature, r.sampling.max_tokens) for r in engine.asked}
    assert asked == {(900, 0.6, TEAM.sampling.max_tokens + 900), (None, 0.0, 9)}


def test_the_file_has_one_whole_row_a_question(tmp_path: Path) -> None:
    rows = run(tmp_path / "o.jsonl", Echo())
    assert read_outcomes([tmp_path / "o.jsonl"]) == rows
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 4


def test_members_that_ask_in_the_same_words_share_the_answer(tmp_path: Path) -> None:
    engine = Echo()
    rows = run(tmp_path / "o.jsonl", engine, [question(2, "text")])
    assert len(engine.asked) == 2  # m's two ways have no words of their own for free text; n is another model
    assert set(rows[0].scores) == {"m:think", "m:direct", "n:think"}


@pytest.mark.parametrize("answers", range(12))
def test_a_run_that_broke_off_goes_on_without_asking_again(tmp_path: Path, answers: int) -> None:
    out, first, second = tmp_path / "o.jsonl", Echo(breaks_after=answers), Echo()
    with pytest.raises(EngineDied):
        run(out, first, in_flight=1)
    written = Counter(member for line in out.read_text().splitlines() for member in json.loads(line)["scores"])
    rows = run(out, second)
    assert rows == run(tmp_path / "whole.jsonl", Echo())
    assert len(second.asked) == 12 - written.total()
    assert written.total() == answers


def test_a_line_cut_by_a_kill_is_dropped_and_measured_again(tmp_path: Path) -> None:
    out, engine = tmp_path / "o.jsonl", Echo()
    run(out, Echo())
    whole = out.read_bytes()
    out.write_bytes(whole[:-20])
    run(out, engine)
    assert len(engine.asked) == 3
    assert sorted(out.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_second_run_on_the_same_file_is_refused_while_the_first_one_is_at_it(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    seen: list[int] = []

    def meanwhile(_: Measured) -> None:
        with pytest.raises(AvengersError, match=f"another run is writing {out}: wait for it to end") as caught:
            run(out, Echo())
        seen.append(caught.value.exit_code)

    rows = run(out, Echo(), heard=meanwhile)
    assert seen == [1] * 12
    assert read_outcomes([out]) == rows
    assert list(tmp_path.iterdir()) == [out]


_MEASURING = """
import sys
from pathlib import Path
from avengers_edge._util.jsonl import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_was_killed_lets_go_of_its_file(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    command = [sys.executable, "-c", _MEASURING, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as first:
        assert first.stdout is not None
        assert first.stdout.readline().strip() == b"writing"
        with pytest.raises(AvengersError, match="another run is writing"):
            run(out, Echo())
        first.kill()
    assert len(run(out, Echo())) == 4


def test_more_questions_are_added_to_what_is_there(tmp_path: Path) -> None:
    out, engine = tmp_path / "o.jsonl", Echo()
    run(out, Echo(), [question(1)])
    run(out, engine, [question(2)])
    assert len(engine.asked) == 3
    assert [row.id for row in read_outcomes([out])] == ["d/1", "d/2"]


def test_a_score_is_the_mean_over_samples(tmp_path: Path) -> None:
    right = iter([True, False, True, True])
    (row,) = run(
        tmp_path / "o.jsonl", Echo(), [question(2)], samples=4, members=MEMBERS[:1], grade=lambda *_, **__: next(right)
    )
    assert row.scores == {"m:think": 0.75}
    assert row.answers == {"m:think": (("2", 1.0), ("2", 0.0), ("2", 1.0), ("2", 1.0))}


def test_a_question_longer_than_the_context_scores_nothing_and_is_not_asked(tmp_path: Path) -> None:
    engine = Echo()
    rows = run(tmp_path / "o.jsonl", engine, members=MEMBERS[:1], cells=512)
    assert [row.scores["m:think"] for row in rows] == [0] * 4  # 512 cells are the 512 tokens of an answer
    assert engine.asked == []


def test_a_question_longer_than_what_the_model_was_trained_on_scores_nothing(tmp_path: Path) -> None:
    engine = Echo(trained=512)
    assert [row.scores["m:think"] for row in run(tmp_path / "o.jsonl", engine, members=MEMBERS[:1])] == [0] * 4
    assert engine.asked == []


def test_texts_are_kept_only_where_asked_for(tmp_path: Path) -> None:
    assert run(tmp_path / "1.jsonl", Echo(), [question(2)])[0].texts is None
    assert run(tmp_path / "2.jsonl", Echo(), [question(2)], keep_texts=True)[0].texts["m:think"] == ("Answer: 2",)


def test_another_number_of_samples_needs_another_file(tmp_path: Path) -> None:
    run(tmp_path / "o.jsonl", Echo())
    with pytest.raises(BadRequest, match=r"measured with 1 samples, not 2.*--out"):
        run(tmp_path / "o.jsonl", Echo(), samples=2)


def test_another_question_under_the_same_id_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "o.jsonl", Echo())
    other = Question("d/1", "d", "math", "What is 9?", None, "9", "number", "train")
    with pytest.raises(BadRequest, match="another question"):
        run(tmp_path / "o.jsonl", Echo(), [other])


@pytest.mark.parametrize(
    ("questions", "members", "samples", "complaint"),
    [
        ((), MEMBERS, 1, "no questions"),
        ((question(1),), (), 1, "no member"),
        ((question(1),), MEMBERS, 0, "samples is 0"),
        ((question(1), question(1)), MEMBERS, 1, "occurs twice"),
    ],
)
def test_a_plan_that_measures_nothing_is_refused(questions: Any, members: Any, samples: int, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        Plan(questions, members, samples)


def test_what_questions_share_is_known_of_their_outcomes(tmp_path: Path) -> None:
    asked = [replace(question(1), meta={"rule_id": "7"}), replace(question(2), meta={"rule_id": "7"}), question(3)]
    run(tmp_path / "o.jsonl", Echo(), asked)
    assert [row.group for row in read_outcomes([tmp_path / "o.jsonl"])] == ["d//rule 7", "d//rule 7", None]


def test_what_fails_in_the_engine_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    def broken(*_: Any, **__: Any) -> bool:
        raise OSError(24, "Too many open files")

    with pytest.raises(OSError, match="Too many open files"):
        run(tmp_path / "o.jsonl", Echo(), grade=broken)


def test_where_code_cannot_be_run_nobody_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: SandboxJudge) -> None:
        raise NoSandbox("code is not run here: use Linux")

    sums, code = (question(1), question(2)), replace(question(3), answer_type="code")
    assert without_code([*sums]) == (sums, None)
    monkeypatch.setattr(SandboxJudge, "prepare", nowhere)
    assert without_code([*sums]) == (sums, None)
    rest, told = without_code([sums[0], code, sums[1]])
    assert rest == sums
    assert told == "1 question of code left out: code is not run here: use Linux"
    with pytest.raises(NoSandbox, match="use Linux"):
        without_code([code])


def test_a_file_without_texts_is_gone_on_with(tmp_path: Path) -> None:
    out, engine = tmp_path / "o.jsonl", Echo()
    run(out, Echo(), [question(1)])
    bare = replace(read_outcomes([out])[0], prompt=None, answers=None)
    write_outcomes(out, [restricted(bare, ["m:think", "m:direct"])])
    (row,) = run(out, engine, [question(1)])
    assert len(engine.asked) == 1  # n:think alone was left
    assert set(row.scores) == {"m:think", "m:direct", "n:think"}
    assert row.prompt == question(1).question
    assert read_outcomes([out]) == (replace(row, answers={"n:think": (("1", 0.0),)}),)
