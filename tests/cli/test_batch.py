"""Laws of a batch: nothing that was answered is asked again, nothing that was written is lost, a bad line is named."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import SUM, answers, one_line  # noqa: F401 - fixtures
from test_cli import run as command  # noqa: F401 - a fixture
from test_cli_ask import ANSWERED

from avengers_edge._util.jsonl import drop_partial_line
from avengers_edge._util.timing import Eta
from avengers_edge.batch import Tally, read_items, run
from avengers_edge.cli.ask_command import progress
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, EngineDied, NotFound, VerificationFailed
from avengers_edge.records import Ask

USUAL = Ask()


def items_of(*rows, usual=USUAL, team="small"):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    return read_items([(f"q.jsonl, line {number}", line) for number, line in enumerate(lines, 1)], usual, team)


def rows_of(out):
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


class Answering:
    """Answers with the prompt itself; raises what it is told to for a prompt."""

    def __init__(self, **failures):
        self.asked, self.failures = [], failures
        self.lock = threading.Lock()

    def __call__(self, prompt, ask, stop):
        with self.lock:
            self.asked.append(prompt)
        if prompt in self.failures:
            raise self.failures[prompt]
        return dataclasses.replace(ANSWERED, answer=prompt)


# --- lines ---


def test_what_a_line_says_wins_over_the_options():
    first, second = items_of(
        {"prompt": "a", "samples": 3, "member": "tiny:think", "stop": "END", "schema": {"type": "null"}},
        {"question": "b", "id": 7},
        usual=Ask(samples=5, seed=1),
    )
    assert (first.ask.samples, first.ask.member, first.ask.seed) == (3, "tiny:think", 1)
    assert (first.ask.stop, first.ask.schema, first.own_member) == (("END",), '{"type": "null"}', True)
    assert (second.id, second.ask.samples, second.own_member) == ("7", 5, False)


def test_a_line_of_a_question_file_is_asked_by_its_answer_type():
    (item,) = items_of(
        {
            "id": "q1",
            "dataset": "d",
            "category": "c",
            "question": "Write f.",
            "choices": None,
            "answer": None,
            "answer_type": "code",
            "tests": {"kind": "python"},
            "split": "test",
        }
    )
    assert (item.id, item.ask) == ("q1", Ask(kind="code"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it is not an object"),
        ("{}", "it needs one text"),
        ('{"prompt": "a", "question": "a"}', "it needs one text"),
        ('{"prompt": " "}', "it needs one text"),
        ('{"prompt": 3}', "it needs one text"),
        ('{"prompt": "\\ud800"}', "half a character"),
        ('{"prompt": "a", "id": true}', "its id is True"),
        ('{"prompt": "a", "id": ""}', "its id is ''"),
        ('{"prompt": "a", "smaples": 3}', "unknown field 'smaples'"),
        ('{"prompt": "a", "dataset": "d"}', "unknown field 'dataset'"),
        ('{"prompt": "a", "samples": true}', "samples is True: Expected `int | null`, got `bool`"),
        ('{"prompt": "a", "samples": "3"}', "samples is '3': Expected `int | null`, got `str`"),
        ('{"prompt": "a", "samples": 0}', "samples is 0: use 1"),
        ('{"prompt": "a", "kind": "riddle"}', "kind is 'riddle'"),
        ('{"prompt": "a", "early_stop": "soon"}', "early_stop is 'soon'"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_asked(line, said):
    with pytest.raises(VerificationFailed) as caught:
        items_of({"prompt": "fine"}, line)
    assert str(caught.value).startswith("q.jsonl, line 2: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_line_is_a_question_or_refused_by_name(line):
    try:
        items_of(line)
    except VerificationFailed as error:
        assert str(error).startswith("q.jsonl, line 1: ")


def test_an_id_that_comes_twice_is_refused():
    with pytest.raises(VerificationFailed, match="line 2: id 'x' is that of q.jsonl, line 1 too"):
        items_of({"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"})
    with pytest.raises(VerificationFailed, match="line 2: id 'line 2' is that of q.jsonl, line 1"):
        items_of({"prompt": "a", "id": "line 2"}, {"prompt": "b"})


def test_no_line_at_all_is_refused():
    with pytest.raises(BadRequest, match="there are no questions"):
        items_of()


# --- running ---


def test_every_answer_is_a_line_with_its_id_and_all_that_ask_prints(tmp_path):
    out = tmp_path / "deep" / "out.jsonl"
    heard = []
    tally = run(items_of({"prompt": "a", "id": "x"}, {"prompt": "b"}), out, Answering(), on_done=heard.append)
    first, second = rows_of(out)
    assert (first["id"], first["answer"], second["id"]) == ("x", "a", "line 2")
    assert set(ANSWERED.as_dict()) < set(first)
    assert (tally.answered, tally.failed, tally.before, tally.failure) == (2, 0, 0, None)
    assert [each.done for each in heard] == [1, 2]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 40))
def test_however_a_run_is_cut_off_the_next_one_asks_only_what_is_missing(tmp_path_factory, failing, jobs, cut):
    out = tmp_path_factory.mktemp("batch") / "out.jsonl"
    items = items_of(*({"prompt": str(number)} for number in range(6)))
    run(items, out, Answering(**{str(number): DoesNotFit("too long") for number in failing}), jobs=jobs)
    content = out.read_bytes()
    out.write_bytes(content[: max(0, len(content) - cut)])
    whole = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    missing = {str(n) for n in range(6)} - {row["answer"] for row in whole if "error" not in row}
    again = Answering()
    tally = run(items, out, again, jobs=jobs)
    assert set(again.asked) == missing
    assert len(again.asked) == len(missing)
    assert sorted(row["id"] for row in rows_of(out)) == [f"line {number}" for number in range(1, 7)]
    assert not [row for row in rows_of(out) if "error" in row]
    assert (tally.before, tally.answered, tally.done) == (6 - len(missing), len(missing), 6)


def test_an_error_in_one_question_is_its_line_and_the_run_goes_on(tmp_path):
    out = tmp_path / "out.jsonl"
    items = items_of({"prompt": "a"}, {"prompt": "b"}, {"prompt": "c", "member": "gone"})
    tally = run(items, out, Answering(a=EngineDied("it died"), c=NotFound("there is no model 'gone'")))
    rows = {row["id"]: row for row in rows_of(out)}
    assert (rows["line 1"]["error"], rows["line 1"]["exit_code"]) == ("it died", 7)
    assert (rows["line 3"]["error"], rows["line 3"]["exit_code"]) == ("there is no model 'gone'", 3)
    assert rows["line 2"]["answer"] == "b"
    assert (tally.answered, tally.failed, tally.failure) == (1, 2, "q.jsonl, line 1: it died")


def test_what_is_missing_for_all_questions_ends_the_run_at_once(tmp_path):
    out = tmp_path / "out.jsonl"
    answering = Answering(**{str(n): NotFound("model 'tiny' is not installed") for n in range(9)})
    with pytest.raises(NotFound):
        run(items_of(*({"prompt": str(n)} for n in range(9))), out, answering, jobs=4)
    assert answering.asked == ["0"]
    assert rows_of(out) == []


def test_ctrl_c_keeps_what_was_answered_and_stops_what_is_under_way(tmp_path):
    out = tmp_path / "out.jsonl"
    stopped = threading.Event()

    def answer(prompt, ask, stop):
        if prompt != "a":
            assert stop.wait(60)
            stopped.set()
        return ANSWERED

    def interrupt(tally):
        raise KeyboardInterrupt

    items = items_of(*({"prompt": prompt} for prompt in "abcd"))
    with pytest.raises(KeyboardInterrupt):
        run(items, out, answer, jobs=3, on_done=interrupt)
    assert [row["id"] for row in rows_of(out)] == ["line 1"]
    again = Answering()
    run(items, out, again)
    assert again.asked == ["b", "c", "d"]


def test_an_interrupt_while_waiting_stops_those_under_way_and_keeps_those_that_ended(tmp_path, monkeypatch):
    out = tmp_path / "out.jsonl"
    waits = []
    real = concurrent.futures.wait

    def wait(futures, return_when):
        waits.append(1)
        if len(waits) == 2:
            [ended] = [future for future, item in futures.items() if item.prompt == "b"]
            ended.result(60)
            raise KeyboardInterrupt
        return real(futures, return_when=return_when)

    monkeypatch.setattr(concurrent.futures, "wait", wait)

    def answer(prompt, ask, stop):
        if prompt == "c":
            assert stop.wait(60)
        return ANSWERED

    with pytest.raises(KeyboardInterrupt):
        run(items_of(*({"prompt": prompt} for prompt in "abc")), out, answer, jobs=2)
    assert [row["id"] for row in rows_of(out)] == ["line 1", "line 2"]


def test_answers_to_other_questions_are_not_taken_for_these(tmp_path):
    out = tmp_path / "out.jsonl"
    run(items_of({"prompt": "a"}), out, Answering())
    before = out.read_bytes()
    with pytest.raises(BadRequest, match="line 1: 'line 1' is another question there"):
        run(items_of({"prompt": "b"}), out, Answering())
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        {"usual": Ask(member="b")},
        {"usual": Ask(samples=8)},
        {"usual": Ask(system="Be short.")},
        {"usual": Ask(temperature=0.0)},
        {"team": "other"},
    ],
)
def test_answers_of_another_team_or_with_other_options_are_not_taken_for_these(tmp_path, options):
    out, rows = tmp_path / "out.jsonl", ({"prompt": "a"}, {"prompt": "b", "samples": 3})
    run(items_of(*rows), out, Answering(b=EngineDied("it died")))
    before = out.read_bytes()
    with pytest.raises(BadRequest, match="line 1: 'line 1' was answered by another team or with other options .*--out"):
        run(items_of(*rows, **options), out, Answering())
    assert out.read_bytes() == before
    again = Answering()
    run(items_of(*rows), out, again)
    assert again.asked == ["b"]


def test_what_failed_may_be_asked_again_with_other_options(tmp_path):
    out = tmp_path / "out.jsonl"
    run(items_of({"prompt": "a"}), out, Answering(a=DoesNotFit("too long")))
    assert run(items_of({"prompt": "a"}, usual=Ask(max_tokens=9)), out, Answering()).answered == 1


def test_a_file_of_before_options_were_noted_is_gone_on_with(tmp_path):
    out = tmp_path / "out.jsonl"
    run(items_of({"prompt": "a"}), out, Answering())
    (row,) = rows_of(out)
    del row["ask_sha256"]
    out.write_text(json.dumps(row) + "\n", encoding="utf-8")
    again = Answering()
    assert run(items_of({"prompt": "a"}, {"prompt": "b"}, usual=Ask(samples=2)), out, again).before == 1
    assert again.asked == ["b"]


def test_a_second_run_on_the_same_file_is_refused_and_what_the_first_one_has_written_stays(tmp_path):
    out, link = tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(out)
    items = items_of({"prompt": "a"}, {"prompt": "b"})
    refused = []

    def meanwhile(tally):
        with out.open("ab") as file:
            file.write(b'{"half')  # as a flush in the middle of a line leaves it for a moment
        for path in (out, link):
            with pytest.raises(AvengersError, match=f"another run is writing {path}: wait for it to end") as caught:
                run(items, path, Answering())
            refused.append(caught.value.exit_code)
        assert out.read_bytes().endswith(b'{"half')
        out.write_bytes(out.read_bytes().removesuffix(b'{"half'))

    assert run(items, out, Answering(), on_done=meanwhile).answered == 2
    assert refused == [1] * 4
    assert [row["answer"] for row in rows_of(out)] == ["a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.jsonl", "out.jsonl"]


@pytest.mark.parametrize("content", ["{}\n", "text\n", "[1]\n", '{"id": 1, "prompt_sha256": "a"}\n', "\xff\n"])
def test_a_file_that_is_no_batch_is_left_alone(tmp_path, content):
    out = tmp_path / "out.jsonl"
    out.write_bytes(content.encode("latin-1"))
    with pytest.raises(VerificationFailed):
        run(items_of({"prompt": "a"}), out, Answering())
    assert out.read_bytes() == content.encode("latin-1")


@contextlib.contextmanager
def room_for(size):
    """Let this process write no file longer than `size` bytes, as under a quota; what fits of a line is written."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_with_what_is_free_and_leaves_whole_lines_only(tmp_path):
    out, items = tmp_path / "out.jsonl", items_of({"prompt": "a"}, {"prompt": "b"})
    with room_for(50), pytest.raises(DoesNotFit, match=r"out.jsonl .* [\d.]+ MB are free there: .* run this again"):
        run(items, out, Answering())
    assert list(tmp_path.iterdir()) == []
    run(items[:1], out, Answering())
    first = out.read_bytes()
    with room_for(len(first) + 50), pytest.raises(DoesNotFit) as caught:
        run(items, out, Answering())
    assert (caught.value.exit_code, out.read_bytes()) == (6, first)
    again = Answering()
    run(items, out, again)
    assert again.asked == ["b"]


def test_an_empty_file_that_was_there_before_a_full_disk_stays(tmp_path):
    out = tmp_path / "out.jsonl"
    out.touch()
    with room_for(50), pytest.raises(DoesNotFit):
        run(items_of({"prompt": "a"}), out, Answering())
    assert out.read_bytes() == b""


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(AvengersError, match="cannot be written"):
        run(items_of({"prompt": "a"}), tmp_path / "file" / "out.jsonl", Answering())
    with pytest.raises(BadRequest, match="name a plain file"):
        run(items_of({"prompt": "a"}), tmp_path, Answering())


@given(st.binary(max_size=30), st.sampled_from([b"", b"\n"]))
def test_mending_drops_what_follows_the_last_line_feed(tmp_path_factory, content, end):
    path = tmp_path_factory.mktemp("drop_partial_line") / "file"
    path.write_bytes(content + end)
    drop_partial_line(path)
    assert path.read_bytes() == (content + end)[: (content + end).rfind(b"\n") + 1]


def test_mending_finds_a_line_feed_however_far_back(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one\n" + b"x" * 200_000)
    drop_partial_line(path)
    assert path.read_bytes() == b"one\n"


def test_the_pace_so_far_is_the_pace_of_the_rest():
    now = [0.0]
    pace = Eta(2, 6, clock=lambda: now[0])
    now[0] = 10.0
    assert pace.tick() == 30.0
    now[0] = 12.0
    assert pace.tick() == 12.0


# --- the command ---


@pytest.fixture
def questions(tmp_path):
    """A file of two questions."""
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"prompt": SUM, "id": name}) + "\n" for name in "xy"), encoding="utf-8")
    return path


def test_batch_answers_and_goes_on(command, answers, questions, tmp_path):  # noqa: F811
    engine = answers(*["Answer: 5"] * 9)
    out = tmp_path / "out.jsonl"
    words = ("batch", questions, "--out", out, "--team", "solo", "-n", 3)
    first = command(*words)
    assert (first.exit_code, first.stdout) == (0, ""), first.stderr
    assert first.stderr == f"{out}: 2 answered, 0 failed\n"
    assert [row["answer"] for row in rows_of(out)] == ["5", "5"]
    again = command(*words, "--json")
    assert json.loads(again.stdout) == {"out": str(out), "total": 2, "before": 2, "answered": 0, "failed": 0}
    assert [request.n for request in engine.requests] == [3, 3]


def test_batch_reads_standard_input(command, answers, questions, tmp_path):  # noqa: F811
    answers(*["Answer: 5"] * 9)
    out = tmp_path / "out.jsonl"
    done = command(
        "batch", "-", "--out", out, "--team", "solo", "-n", 1, input=b"\xef\xbb\xbf" + questions.read_bytes()
    )
    assert done.exit_code == 0, done.stderr
    assert len(rows_of(out)) == 2
    bad = command("batch", "-", "--out", out, "--team", "solo", input=b'{"prompt": "a"}\n\n{"x": 1}\n')
    assert "standard input, line 3: it needs one text" in one_line(bad, 4)
    assert "standard input cannot be read" in one_line(command("batch", "-", "--out", out, input=b"\xff"), 4)


def test_failed_questions_end_in_exit_code_one_with_the_first_of_them(command, answers, questions, tmp_path):  # noqa: F811
    answers(*["Answer: 5"] * 9)
    questions.write_text(
        '{"prompt": "a", "member": "nobody"}\n' + questions.read_text(encoding="utf-8"), encoding="utf-8"
    )
    lease = ModelPool.lease

    def lend(self, model):
        if model == "nobody":
            raise NotFound("there is no model 'nobody'")
        return lease(self, model)

    ModelPool.lease = lend
    try:
        result = command("batch", questions, "--out", tmp_path / "out.jsonl", "--team", "solo", "-n", 1)
    finally:
        ModelPool.lease = lease
    assert result.exit_code == 1
    summary, error = result.stderr.splitlines()
    assert summary.endswith("2 answered, 1 failed")
    assert error.startswith("avengers: 1 questions failed")
    assert error.endswith("line 1: there is no model 'nobody'")


def test_the_questions_are_not_overwritten_by_their_answers(command, answers, questions):  # noqa: F811
    answers()
    before = questions.read_bytes()
    assert "holds the questions" in one_line(command("batch", questions, "--out", questions, "--team", "solo"), 2)
    assert questions.read_bytes() == before


def test_progress_tells_what_is_left():
    assert progress(Tally(9, 2, 3, 1, 120.0)) == "6 of 9 questions · 1 failed · about 2 min left"
