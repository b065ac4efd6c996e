"""`ask` with files, with code taken out, with JSON voted on, and explained: what is read, joined, refused and drawn."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import SUM, answers, one_line, run  # noqa: F401 - fixtures

from avengers_edge.cli.answer_display import (
    AnswerDisplay,
    WordWrap,
    chart,
    explanation,
    ranking_lines,
    shown,
    summary,
)
from avengers_edge.cli.question_input import LONG, Attachment, _is_piped, joined, kind_beside, read_question
from avengers_edge.cli.shared_options import _schema_of
from avengers_edge.cli.terminal import StatusLine
from avengers_edge.config import load_settings
from avengers_edge.errors import NotFound
from avengers_edge.records import Answer, Loading, Progress, Ranked, Route, Sample, Timings, Token, Usage, Vote
from avengers_edge.voting.keys import json_key
from avengers_edge.voting.source import first_block

# --- how the pieces are joined ---


def test_the_question_comes_first_then_the_pipe_then_each_file_under_its_name():
    files = [Attachment("a.txt", "one\n"), Attachment("b.py", "two")]
    assert joined("What?", "piped\n", files) == "What?\n\npiped\n\na.txt:\n```\none\n```\n\nb.py:\n```\ntwo\n```"


def test_a_question_alone_stays_as_it_is():
    assert joined("  What? ") == "  What? "
    assert joined("What?", "  \n") == "What?"


def test_one_file_alone_is_the_question_and_several_keep_their_names():
    assert joined(None, None, [Attachment("q.txt", "What?\n")]) == "What?"
    assert joined(None, None, [Attachment("a", "1"), Attachment("b", "2")]) == "a:\n```\n1\n```\n\nb:\n```\n2\n```"
    assert joined(None, "What?\n") == "What?"


def test_the_question_is_put_again_after_long_material():
    assert not joined("What?", "x" * LONG).endswith("What?")
    assert joined("What?", "x" * (LONG + 1)).endswith("x\n\nWhat?")


@given(st.text(alphabet="`~ab\n", max_size=60))
def test_no_text_closes_its_own_fence(text):
    whole = joined("What?", None, [Attachment("a", text), Attachment("b", "end")])
    fence = whole.split("\n")[3]
    inside = whole.split(f"a:\n{fence}\n")[1].split(f"\n{fence}\n\nb:")[0]
    assert set(fence) == {"`"}
    assert inside == text.rstrip()
    assert fence not in inside


@pytest.mark.parametrize(
    ("prompt", "material", "kind"),
    [
        ("What does this function return?", "def f(x):\n    return x", "text"),
        ("Write a function that calls this one.", "def f(x):\n    return x", "code"),
        ("Fix this.", "def f(x):\n    return x", "code"),
        ("How many apples are there?", "2 apples and 3 apples", "number"),
        ("Solve this:", "How many apples are 2 and 3 apples?", "number"),
        ("Summarize this.", "How many are 2 and 3?" + " word" * LONG, "text"),
    ],
)
def test_the_question_tells_the_kind_and_a_program_beside_it_does_not(prompt, material, kind):
    assert kind_beside(prompt, joined(prompt, material)) == kind


# --- files ---


@pytest.fixture
def file(tmp_path):
    """Writes a file and gives its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_attached_files_reach_the_model_in_order(run, answers, file):  # noqa: F811
    engine = answers("B is newer.")
    result = run(
        "ask", "--team", "solo", "-f", file("a", b"\xef\xbb\xbfone"), "-f", file("b", b"two"), "Which is newer?"
    )
    assert result.exit_code == 0, result.stderr
    text = engine.requests[0].messages[0].content
    assert text.startswith("Which is newer?\n\n")
    assert text.index("a:\n```\none\n```") < text.index("b:\n```\ntwo\n```")


def test_a_program_that_is_attached_is_no_wish_for_a_program(run, answers, file):  # noqa: F811
    engine = answers("It adds.")
    run("ask", "--team", "solo", "-f", file("a.py", b"def add(a, b):\n    return a + b\n"), "What does this do?")
    assert "code block" not in engine.requests[0].messages[0].content


def test_a_file_alone_is_the_question_and_votes_as_one(run, answers, file):  # noqa: F811
    engine = answers(*["Answer: 5"] * 5)
    run("ask", "--team", "solo", "-f", file("q.txt", SUM.encode()))
    assert engine.requests[0].messages[0].content.startswith(f"{SUM}\n\nThink step by step")


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"caf\xe9", 2, "not UTF-8 at byte 3"),
        (b"\x7fELF\0\0", 2, "is not text: byte 4 is 0"),
        ("What?".encode("utf-16-le"), 2, "is not text: byte 1 is 0"),
        (b" \n", 2, "is empty"),
        (b"x" * (64 * 8192 + 1), 6, f"has {64 * 8192 + 1} bytes and the context could hold {64 * 8192}"),
    ],
)
def test_what_cannot_be_attached_is_one_line(run, answers, file, content, code, said):  # noqa: F811
    answers()
    assert said in one_line(run("ask", "--team", "solo", "-f", file("a", content), SUM), code)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_file_name_that_is_not_utf8_is_attached_with_its_bytes_escaped(run, answers, file):  # noqa: F811
    engine = answers("5")
    path = file(os.fsdecode(b"caf\xe9.txt"), b"2 and 3")
    result = run("ask", "--team", "solo", "-n", 1, "-f", path, "How many are these?")
    assert result.exit_code == 0, result.stderr
    assert "\n\ncaf\\xe9.txt:\n```\n2 and 3\n```" in engine.requests[0].messages[-1].content


def test_a_file_that_is_not_there_or_a_folder_is_one_line(run, answers, tmp_path):  # noqa: F811
    answers()
    assert "there is no file" in one_line(run("ask", "--team", "solo", "-f", tmp_path / "gone", SUM), 3)
    assert "cannot be read" in one_line(run("ask", "--team", "solo", "-f", tmp_path, SUM), 2)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_by_name_is_read_as_a_file_is_and_an_endless_one_is_refused(run, answers, tmp_path):  # noqa: F811
    engine = answers("Yes.")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content, code in ((b"one", 0), (b"x" * 2**20, 6)):
        writer = threading.Thread(target=_write, args=(pipe, content), daemon=True)
        writer.start()
        result = run("ask", "--team", "solo", "-f", pipe, "Is it one?")
        writer.join(5)
        assert result.exit_code == code, result.stderr
    assert "one" in engine.requests[0].messages[0].content
    assert "has more than 524288 bytes" in result.stderr


def _write(path, content):
    with path.open("wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
        file.write(content)


# --- extract ---

ANSWER = "Use this:\n\n```python\ndef f(x):\n    return x\n```\n\nand then\n\n~~~\nf(1)\n~~~\n"


def test_extract_prints_the_first_code_block_and_nothing_else(run, answers):  # noqa: F811
    answers(ANSWER)
    result = run("ask", "--team", "solo", "-x", "Write a function f.")
    assert (result.stdout, result.stderr, result.exit_code) == ("def f(x):\n    return x\n", "", 0)


@pytest.mark.parametrize("text", ["f = 3", "```\nf = 3", "<think>```\nf = 3\n```</think> none", "```\n\n```"])
def test_an_answer_without_a_code_block_is_one_line_and_exit_code_one(run, answers, text):  # noqa: F811
    answers(text)
    assert "no complete code block" in one_line(run("ask", "--team", "solo", "-x", "Write a function f."), 1)


def test_a_block_that_was_cut_off_says_what_to_raise(run, answers):  # noqa: F811
    answers("```\nf = 3", reason="length")
    assert "--max-tokens" in one_line(run("ask", "--team", "solo", "-x", "Write a function f."), 1)


def test_the_first_block_of_any_language_is_found():
    assert first_block(ANSWER) == "def f(x):\n    return x"
    assert first_block("```sh\r\nls\r\n```") == "ls"
    assert first_block("````\n```\nx\n```\n````") == "```\nx\n```"


@pytest.mark.parametrize("both", [("-x", "--json"), ("-x", "--raw"), ("--raw", "--json")])
def test_one_answer_is_printed_in_one_way(run, answers, both):  # noqa: F811
    answers()
    assert "choose one" in one_line(run("ask", *both, SUM), 2)


# --- schema and voting ---


def test_answers_that_a_schema_bounds_vote_by_their_value(run, answers, file):  # noqa: F811
    engine = answers('{"a": 1, "b": 2}', '{"a": 2}', '{"b": 2.0,\n"a": 1}', '{"a": 1, "b": 2}', '{"a"')
    schema = file("s.json", b"{}")
    result = run("ask", "--team", "solo", "--schema", schema, "-n", 5, "--json", "Name two.")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert (values["answer"], values["samples_used"], values["stopped_early"]) == ('{"a": 1, "b": 2}', 4, True)
    assert values["votes"] == [
        {"key": '{"a":1,"b":2}', "count": 3, "weight": 3.0},
        {"key": '{"a":2}', "count": 1, "weight": 1.0},
    ]
    assert engine.requests[0].least == 3


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[" * 100_000, "1 2", '"\\x"', "9" * 5000])
def test_what_is_no_json_votes_for_nothing(text):
    assert json_key(text) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from([None, 2]),
)
def test_the_key_of_json_knows_neither_layout_nor_order(value, indent):
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(each) for each in value] if isinstance(value, list) else value

    key = json_key(json.dumps(value, indent=indent))
    assert key == json_key(json.dumps(turned(value), ensure_ascii=False))
    assert json.loads(key) == value


# --- explain ---

LONG_NAME = "qwen2.5-coder-1.5b-instruct:direct"
ROUTE = Route(4, 0.38, (Ranked(LONG_NAME, 0.954), Ranked("tiny", 0.25)), 0.704, "a reason that is rather long " * 4)
SAMPLES = tuple(Sample(LONG_NAME, seed, "", key, 3, "stop") for seed, key in enumerate("BBBA"))
ANSWERED = Answer(
    answer="B",
    text="B",
    kind="choice",
    model=LONG_NAME,
    models=(LONG_NAME, "tiny"),
    confidence=None,
    agreement=0.75,
    route=ROUTE,
    votes=(Vote("B", 3), Vote("A \x1b[2J" * 30, 1)),
    samples_requested=4,
    samples_used=4,
    stopped_early=False,
    samples=SAMPLES,
    usage=Usage(5, 12),
    timings_ms=Timings(0, 0, 0, 0, 0, 0),
)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_an_explanation_fits_the_terminal_and_cannot_steer_it(width):
    lines = explanation(ANSWERED, width).split("\n")
    assert max(map(len, lines)) <= min(width, 100)
    assert all(line.isprintable() for line in lines)


CODE = f"```python\n{'x' * 30} = 1\n```"


def test_an_answer_breaks_between_words_on_a_terminal_and_code_does_not():
    long = dataclasses.replace(ANSWERED, text=f"{'word ' * 9}\n\n- {'item ' * 5}\n{CODE}\n{'x' * 30}\x1b[2J")
    assert shown(long) == f"{long.text}\n\n=> B"
    assert wrapped(shown(long), 22).split("\n") == [
        *("word word word word", "word word word word", "word", ""),
        *("- item item item item", "  item"),
        *CODE.split("\n"),
        *("x" * 30 + "\ufffd[2J", "", "=> B"),
    ]


def wrapped(text, width):
    wrap = WordWrap(width)
    return wrap.push(text) + wrap.close()


@given(st.text(alphabet="ab -`\n", max_size=80), st.integers(1, 40), st.integers(1, 9))
def test_lines_break_alike_in_whatever_pieces_a_text_comes(text, width, size):
    wrap = WordWrap(width)
    pieces = [wrap.push(text[start : start + size]) for start in range(0, len(text), size)]
    assert "".join(pieces) + wrap.close() == wrapped(text, width)


@given(st.text(alphabet="ab -`\n", max_size=80), st.integers(1, 40))
def test_breaking_lines_changes_nothing_but_spaces(text, width):
    told = wrapped(text, width)
    assert told.split() == text.split()
    assert all(len(line) <= width or " " not in line.strip() for line in told.split("\n")) or "```" in text


@given(st.integers(1, 120))
def test_no_width_is_too_small_to_draw_in(width):
    assert "votes:" in explanation(ANSWERED, width)
    if width >= 20:
        assert max(map(len, explanation(ANSWERED, width).split("\n"))) <= width


def test_bars_are_as_long_as_their_share():
    assert chart([("a", 1.0, "1.000"), ("bb", 0.5, "0.500"), ("c", -1, "0.000")], 80) == [
        "  a   #################### 1.000",
        "  bb  ##########           0.500",
        "  c                        0.000",
    ]


@pytest.mark.parametrize(
    ("worth", "said"),
    [(1, "sample budget: the greedy answer"), (4, "sample budget: a vote of up to 4"), (None, None)],
)
def test_a_ranking_says_what_a_vote_is_worth_where_that_was_measured(worth, said):
    lines = ranking_lines(dataclasses.replace(ROUTE, samples=worth), 80).split("\n")
    assert lines[1].startswith("sample budget") == (said is not None)
    assert said is None or lines[1].endswith(said)


def test_one_sample_is_no_vote():
    single = dataclasses.replace(ANSWERED, samples_requested=1, samples_used=1, votes=ANSWERED.votes[:1])
    assert explanation(single, 80).endswith("no vote was held")
    assert "votes" not in summary(single)
    assert shown(single) == shown(ANSWERED)


def test_long_names_stand_above_their_bars_so_that_members_stay_apart():
    lines = ranking_lines(ROUTE, 40).split("\n")[-4:]
    assert lines == [f"  {LONG_NAME}", "    ########## 0.954", "  tiny", "    ##         0.250"]


def test_a_name_that_is_longer_than_the_terminal_keeps_both_ends():
    (name, _) = chart([("abcdefghijklmnopqrstuvwxyz", 1, "1")], 12)
    assert name == "  abcde…wxyz"


def test_a_route_that_was_not_compared_says_so():
    assert ranking_lines(Route(None, None, (Ranked("tiny", 1.0),), 0.0), 80).startswith("not routed: the model was")


def test_a_programs_result_stands_alone_in_a_pipe_and_over_its_program_on_a_terminal():
    program = Sample("m:program", 0, "```python\nprint(5)\n```", "5", 9, "stop", output="5\n")
    answer = dataclasses.replace(
        ANSWERED,
        answer="5",
        kind="number",
        text="5\n\n```python\nprint(5)\n```",
        samples=(program,),
        votes=(Vote("5", 1),),
    )
    assert shown(answer) == "5"
    assert shown(answer, programs=True) == "5\n\n```python\nprint(5)\n```"


def test_an_explanation_says_why_programs_cast_no_vote_and_what_votes_weigh():
    failed = Sample("m:program", 0, "", None, 9, "stop", output="", failure="NameError: x")
    answer = dataclasses.replace(
        ANSWERED, samples=(failed, *SAMPLES), votes=(Vote("B", 3, 4.5), Vote("A", 1, 1.0)), confidence=0.8
    )
    said = explanation(answer, 80)
    assert "no vote: 1 of m:program, NameError: x" in said
    assert "3 (4.5)" in said
    assert said.endswith("chance of being right, as calibrated: 80%")


# --- as it comes ---


def displayed(capsys, events, text, *, width=None, streams=True):
    """What stands on standard output after each event, and at the end."""
    display, written = AnswerDisplay(StatusLine(), streams=streams, width=width), [""]
    for event in events:
        display.show(event)
        written.append(written[-1] + capsys.readouterr().out)
    display.end(text)
    return [*written[1:], written[-1] + capsys.readouterr().out]


def test_an_answer_without_a_vote_is_written_as_it_comes(capsys):
    events = [Token("  Once"), Token(" upon "), Token("a"), Token(" time\n")]
    assert displayed(capsys, events, "Once upon a time") == [
        *("Once", "Once upon", "Once upon a", "Once upon a time", "Once upon a time\n")
    ]


def test_thoughts_and_samples_that_are_voted_on_are_not_written_as_they_come(capsys):
    events = [Token("<think>Hm.</think>\n\n"), Token("5"), Token("6", 1, voted=True)]
    assert displayed(capsys, events, "5\n\n=> 5") == ["", "5", "5", "5\n\n=> 5\n"]


def test_where_another_text_became_the_answer_it_follows_what_was_written(capsys):
    assert displayed(capsys, [Token("Four")], "Five")[-1] == "Four\n\nFive\n"


@given(st.lists(st.text(alphabet="ab \n<`-", max_size=6), max_size=12), st.none() | st.integers(1, 30))
def test_what_was_written_at_the_end_is_the_answer_however_it_came(pieces, width):
    text = "".join(pieces).strip()
    with contextlib.redirect_stdout(io.StringIO()) as streamed:
        display = AnswerDisplay(StatusLine(), streams=True, width=width)
        for piece in pieces:
            display.show(Token(piece))
        display.end(text)
    assert streamed.getvalue() == (text if width is None else wrapped(text, width)) + "\n"


def test_what_interrupts_an_answer_gets_a_line_of_its_own(capsys):
    for events, written in (([Token("Once")], "Once\n"), ([], "")):
        display = AnswerDisplay(StatusLine(), streams=True, width=None)
        with pytest.raises(KeyboardInterrupt), display:
            for event in events:
                display.show(event)
            raise KeyboardInterrupt
        assert capsys.readouterr().out == written


def test_the_explanation_says_how_many_samples_were_drawn_and_why():
    def said(asked, budget, **changes):
        route = dataclasses.replace(ROUTE, samples=budget)
        return explanation(dataclasses.replace(ANSWERED, route=route, models=(LONG_NAME,), **changes), 100, asked)

    orders = tuple(dataclasses.replace(sample, chances=(1.0,)) for sample in SAMPLES)
    assert "\nsamples: 4 asked for, instead of the sample budget: the greedy answer\n" in said(4, 1)
    assert "\nsamples: 4 asked for\n" in said(4, 4)
    assert "\nsamples: 4 asked for\n" in said(4, None)
    assert "\nsample budget: a vote of up to 4\n" in said(None, 4)
    assert "samples" not in said(None, None).split("votes:")[0]
    assert "\nsamples: all 4 orders of the options\n" in said(None, 1, samples=orders)
    assert "\n3 of 4 samples were drawn: the others were not needed\n" in said(4, 1, samples_used=3)


def test_the_number_of_samples_that_was_asked_for_reaches_the_explanation(run, answers):  # noqa: F811
    answers(*["Answer: 5"] * 4)
    result = run("ask", "--team", "solo", "-n", 4, "--explain", SUM)
    assert "\nsamples: 4 asked for\n" in result.stderr
    assert "\n2 of 4 samples were drawn: the others were not needed\n" in result.stderr


def test_the_explanation_of_a_failed_program_names_who_answered_instead():
    failed = Sample("m:program", 0, "", None, 9, "stop", output="", failure="1/0")
    spoken = Sample("m:brief", 0, "Answer: 5", "5", 9, "stop")
    said = explanation(dataclasses.replace(ANSWERED, models=("m:program", "m:brief"), samples=(failed, spoken)), 100)
    assert "no program of m:program gave an answer, m:brief did" in said
    assert "voted" not in said


def test_a_choice_among_no_options_is_told(run, answers):  # noqa: F811
    for question, told in ((SUM, True), ("Which is a fruit?\nA) apple\nB) house", False)):
        answers("A")
        result = run("ask", "--team", "solo", "-n", 1, "--kind", "choice", question)
        assert result.stderr.startswith("the question lists no options") == told, result.stderr


def test_a_status_line_breaks_between_words_and_keeps_what_matters(monkeypatch, capsys):
    monkeypatch.setattr("avengers_edge.cli.terminal.on_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    progress = Progress(12, 16, Vote("42", 9), LONG_NAME)
    loading = Loading(LONG_NAME)
    for width, event, shown_line in (
        (80, progress, f"12 of 16 samples · 9 for 42 · 1 token · {LONG_NAME}"),
        (40, progress, "12 of 16 samples · 9 for 42 · 1 token …"),
        (39, progress, "12 of 16 samples · 9 for 42 …"),
        (40, Progress(1, 4, Vote("x" * 30, 1), "m"), f"1 of 4 samples · 1 for {'x' * 12}… …"),
        (40, Progress(0, 4, None, LONG_NAME), "0 of 4 samples · 1 token …"),
        (20, loading, f"loading {LONG_NAME[:10]}…"),
        (80, loading, f"loading {LONG_NAME} …"),
    ):
        monkeypatch.setenv("COLUMNS", str(width))
        display = AnswerDisplay(StatusLine(), streams=False, width=None)
        display.show(Token("5", 0, voted=True))
        display.show(event)
        assert capsys.readouterr().err.split("\r")[-1].rstrip() == shown_line


def test_standard_input_that_is_no_text_is_refused(run, answers):  # noqa: F811
    result = run("ask", "-", input=b"What is\0 this?")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "standard input is not text: byte 7 is 0" in result.stderr


@pytest.mark.parametrize(
    ("said", "schema"),
    [
        ('{"type": "integer"}', {"type": "integer"}),
        ("name, age int", {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"],
            "additionalProperties": False,
        }),
        ("score float", {
            "type": "object",
            "properties": {"score": {"type": "number"}},
            "required": ["score"],
            "additionalProperties": False,
        }),
    ],
)  # fmt: skip
def test_a_schema_can_be_written_in_place(said, schema):
    assert json.loads(_schema_of(said)) == schema


@pytest.mark.parametrize("said", ["person.json", "name, age years", "name"])
def test_what_is_no_schema_is_taken_for_a_file_that_is_not_there(said):
    with pytest.raises(NotFound, match="there is no file"):
        _schema_of(said)


def test_a_loop_over_the_lines_of_a_file_is_not_robbed_of_them(tmp_path, monkeypatch):
    path = tmp_path / "questions.txt"
    path.write_text("What is 1 + 1?\nWhat is 2 + 2?\n")
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert _is_piped()
        os.lseek(file.fileno(), 15, os.SEEK_SET)  # as the shell's `read` leaves it
        assert not _is_piped()
        assert read_question("What is 1 + 1?").text == "What is 1 + 1?"


def test_a_byte_order_mark_is_read_over(home):
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.toml").write_bytes(b"\xef\xbb\xbfcontext = 1024\n")
    assert load_settings().context == 1024
