"""Laws of the converters, benchmark by benchmark: files as published, of our own invention, become these questions."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.benchmarks import BENCHMARKS, convert_path, convert_rows
from avengers_edge.calibration.questions import CodeTests, Question
from avengers_edge.errors import BadRequest

LETTER = "\n\nAnswer with the letter of the correct option."
EMOTION = (
    "Read the conversation and decide which emotion the speaker expresses in the last utterance, "
    "taking the conversation into account.\n\nConversation so far:\n{}\n\nLast utterance:\n{}\n\n"
    "Options:\n{}\n\nAnswer with the letter of the emotion."
)


def write_lines(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_csv(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def only(name: str, path: Path, split: str | None = None) -> Question:
    (question,) = convert_path(name, path, split)
    return question


def expected(
    name: str,
    place: str,
    category: str,
    text: str,
    kind: Any,
    answer: str | None,
    choices: Sequence[str] | None = None,
    tests: CodeTests | None = None,
    split: str = "test",
    **meta: object,
) -> Question:
    return Question(
        f"{name}/{place}", name, category, text, tuple(choices) if choices else None, answer, kind, split, tests, meta
    )


def options(*texts: str) -> str:
    return "\n\nOptions:\n" + "\n".join(f"{letter}. {text}" for letter, text in zip("ABCDEFGHIJ", texts, strict=False))


def test_aime_answers_are_whole_numbers_however_a_copy_writes_them(tmp_path: Path) -> None:
    rows = [{"problem": "Add 3 to 30.", "answer": answer, "id": 7} for answer in (33, "033", "33^\\circ", "$33$")]
    text = "Add 3 to 30."
    assert list(convert_path("aime", write_lines(tmp_path / "aime_2099.jsonl", *rows))) == [
        expected("aime", f"test/{number}", "math", text, "number", "33", id=7) for number in range(4)
    ]


def test_aime_leaves_out_what_is_no_whole_number() -> None:
    reasons: list[str] = []
    assert not list(convert_rows("aime", [{"problem": "?", "answer": "x+1"}], on_left_out=reasons.append))
    assert reasons == ["an answer like 'x+1' is no whole number from 0 to 999"]


def test_math500_takes_the_answer_or_what_the_solution_boxes_last(tmp_path: Path) -> None:
    facts = {"unique_id": "test/own/1.json", "subject": "Own", "level": 2}
    rows = (
        {"problem": "Halve 1.", "answer": "\\frac12", **facts},
        {"problem": "Halve 1.", "solution": "$\\boxed{0}$? No: $\\boxed{\\frac{1}{2}}$.", "level": "Level 2"},
    )
    first, second = convert_path("math500", write_lines(tmp_path / "test.jsonl", *rows))
    assert first == expected("math500", "test/0", "math", "Halve 1.", "expression", "\\frac12", **facts)
    assert (second.answer, second.meta) == ("\\frac{1}{2}", {"level": "Level 2"})


def test_livemathbench_tells_numbers_from_expressions(tmp_path: Path) -> None:
    rows = [{"question": "Why?", "answer": said, "question_type": "problem-solving"} for said in ("$1,200$", "$x^2$")]
    number, expression = convert_path("livemathbench", write_lines(tmp_path / "AMC_en.jsonl", *rows))
    meta = {"task": "AMC_en", "question_type": "problem-solving"}
    assert number == expected("livemathbench", "test/AMC_en/0", "math", "Why?", "number", "1200", **meta)
    assert expression == expected("livemathbench", "test/AMC_en/1", "math", "Why?", "expression", "x^2", **meta)


def test_mathbench_has_options_or_a_number_to_give(tmp_path: Path) -> None:
    choice = {"question": "1 + 1 = ?", "options": ["1", "2", "3", "4"], "answer": "B"}
    write_lines(tmp_path / "primary" / "single_choice_en.jsonl", choice)
    write_lines(tmp_path / "primary" / "single_choice_cn.jsonl", choice)
    write_lines(tmp_path / "arithmetic" / "cloze_en.jsonl", {"question": "2 * 4 =", "answer": "8"})
    text = f"1 + 1 = ?{options('1', '2', '3', '4')}{LETTER}"
    cloze, single = "arithmetic/cloze_en", "primary/single_choice_en"
    assert list(convert_path("mathbench", tmp_path)) == [
        expected("mathbench", f"test/{cloze}/0", "math", "2 * 4 =", "number", "8", task=cloze),
        expected("mathbench", f"test/{single}/0", "math", text, "choice", "B", ("1", "2", "3", "4"), task=single),
    ]


MBPP_ROW = {
    "task_id": 12,
    "text": "Write a function to double a number.",
    "code": "def helper(x):\r\n  return x\r\ndef double(x):\r\n  return 2 * helper(x)",
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4 ", "assert double(0) == 0"],
    "challenge_test_list": [],
}


def test_mbpp_shows_its_asserts_and_splits_by_number(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mbpp.jsonl", MBPP_ROW, MBPP_ROW | {"task_id": 601}, MBPP_ROW | {"task_id": 3})
    asserts = "assert double(2) == 4\nassert double(0) == 0"
    text = (
        "Write a function to double a number.\n\nWrite Python code that passes these tests:\n\n"
        f"```python\n{asserts}\n```"
    )
    code = CodeTests("double", "", f"{asserts}\n", MBPP_ROW["code"].replace("\r\n", "\n"))  # type: ignore[attr-defined]
    assert only("mbpp", path) == expected("mbpp", "test/0", "code", text, "code", None, None, code, task_id=12)
    assert only("mbpp", path, "train").meta == {"task_id": 601}


def test_mbpp_runs_setup_after_the_candidate_and_imports_before() -> None:
    row = MBPP_ROW | {"test_setup_code": "n = double(1)", "test_imports": ["import math"]}
    (question,) = convert_rows("mbpp", [row])
    assert question.tests is not None
    assert question.tests.setup == "import math"
    assert question.tests.test.startswith("n = double(1)\nassert double(2) == 4\n")


HUMANEVAL_ROW = {
    "task_id": "HumanEval/900",
    "prompt": 'import math\n\ndef helper(x):\n    return x\n\ndef twice(x):\n    """Double x."""\n',
    "entry_point": "twice",
    "canonical_solution": "    return 2 * helper(x)\n",
    "test": "\n\ndef check(candidate):\n    assert candidate(2) == 4\n\n",
}


def test_humaneval_is_completed_from_its_signature(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "HumanEval.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(HUMANEVAL_ROW) + "\n")
    prompt = HUMANEVAL_ROW["prompt"]
    code = CodeTests(
        "twice",
        "import math\n\ndef helper(x):\n    return x\n\n",
        "\n\ndef check(candidate):\n    assert candidate(2) == 4\n\ncheck(twice)\n",
        prompt + "    return 2 * helper(x)\n",
    )
    text = (
        "Complete the following Python function. Return the whole function, including the signature and any imports it "
        f"needs.\n\n```python\n{prompt.rstrip()}\n```"
    )
    wanted = expected("humaneval", "test/0", "code", text, "code", None, None, code, task_id="HumanEval/900")
    assert only("humaneval", tmp_path) == wanted


def test_the_code_of_a_data_set_passes_the_tests_made_of_it() -> None:
    for name, row in (("mbpp", MBPP_ROW), ("humaneval", HUMANEVAL_ROW)):
        (question,) = convert_rows(name, [row])
        tests = question.tests
        assert tests is not None
        exec(f"{tests.setup}\n{tests.reference}\n{tests.test}", {})


def test_studenteval_keeps_the_four_subsets(tmp_path: Path) -> None:
    flags = dict.fromkeys(("is_first_success", "is_last_success", "is_first_failure", "is_last_failure"), False)
    row = {
        "problem": "own_triple",
        "entrypoint": "triple",
        "prompt": 'def triple(x):\n    """ three times x """\n',
        "assertions": "assert triple(2) == 6",
        "username": "s1",
        **flags,
    }
    path = write_lines(tmp_path / "test.jsonl", row | {"is_last_success": True}, row)
    text = (
        "Complete the following Python function. Return the whole function, including the signature and any imports it "
        'needs.\n\n```python\ndef triple(x):\n    """ three times x """\n```'
    )
    code = CodeTests("triple", "", "assert triple(2) == 6\n")
    meta = {"problem": "own_triple", "username": "s1", "subset": "last_success"}
    wanted = expected("studenteval", "test/0", "code", text, "code", None, None, code, **meta)
    assert only("studenteval", path) == wanted


def kor(folder: Path, task: str, question: str, answer: str) -> Question:
    write_lines(folder / task / "rule.jsonl", {"idx": "4", "title": "Own", "rule_content": "Turn letters round."})
    sample = {"idx": "9", "question": question, "answer": answer, "rule_id": "4", "needle": []}
    write_lines(folder / task / "sample.jsonl", sample)
    return only("korbench", folder)


@pytest.mark.parametrize(
    ("task", "said", "kind", "answer"),
    [
        ("cipher", "[[BA]]", "text", "BA"),
        ("logic", "[[A];[B C]]", "text", "[A];[B C]"),
        ("puzzle", "[[a b]]", "text", "a b"),
        ("operation", "[[-3]]", "number", "-3"),
        ("operation", "[[2+\\sqrt{2}]]", "expression", "2+\\sqrt{2}"),
    ],
)
def test_korbench_fills_the_rule_in_and_takes_what_its_brackets_hold(
    tmp_path: Path, task: str, said: str, kind: str, answer: str
) -> None:
    question = kor(tmp_path, task, "Turn AB round.", said)
    assert question.question.startswith("You are an intelligent assistant")
    assert question.question.endswith(
        f"### {task.capitalize()} Rule:\n\nTurn letters round.\n\n### Question:\nTurn AB round."
    )
    assert "\n\n### Instructions:\n\n1. " in question.question
    assert (question.id, question.answer_type, question.answer) == (f"korbench/test/{task}/0", kind, answer)
    assert question.meta == {"task": task, "rule_id": "4", "idx": "9"}


@pytest.mark.parametrize("parted", ["A. moss ##B.fern## C. oak", "A. moss B. fern C. oak", "A. moss#B. fern##C. oak"])
def test_korbench_options_are_told_apart_however_they_are_parted(tmp_path: Path, parted: str) -> None:
    question = kor(tmp_path, "counterfactual", f"What grows?\nOptions: {parted}\nProvide your letter.", "[[C]]")
    assert (question.answer_type, question.answer, question.choices) == ("choice", "C", ("moss", "fern", "oak"))


def test_korbench_lines_options_up_as_its_marks_say(tmp_path: Path) -> None:
    question = kor(tmp_path, "counterfactual", "What?\nOptions: A. moss ##B. fern\nProvide your letter.", "[[A]]")
    assert question.question.endswith("### Question:\nWhat?\nOptions:\nA. moss\nB. fern\nProvide your letter.")


def test_knights_and_knaves_are_asked_for_line_by_line(tmp_path: Path) -> None:
    row = {"quiz": "You meet Ann and Bo. ", "names": ["Ann", "Bo"], "solution": [True, False], "index": 5}
    text = (
        "You meet Ann and Bo.\n\nEnd your answer with one line per person, in the order they were introduced, "
        "each of the form `<name> is a knight` or `<name> is a knave`."
    )
    write_lines(tmp_path / "data" / "test" / "clean" / "people2_num1.jsonl", row)
    write_lines(tmp_path / "data" / "test" / "perturbed_leaf" / "people2_num1.jsonl", row)
    answer = "Ann is a knight, Bo is a knave"
    wanted = expected("kandk", "test/people2/0", "logic", text, "text", answer, people=2, index=5)
    assert only("kandk", tmp_path) == wanted


@pytest.mark.parametrize(
    ("task", "target", "shown", "kind", "answer", "choices"),
    [
        ("snarks", "(B)", f"Which?\nOptions:\n(A) yes\n(B) sure{LETTER}", "choice", "B", ("yes", "sure")),
        (
            "web_of_lies",
            "Yes",
            "Which?\nOptions:\n(A) yes\n(B) sure\n\nAnswer Yes or No.",
            "label",
            "Yes",
            ("Yes", "No"),
        ),
        ("navigate", "no", "Which?\nOptions:\n(A) yes\n(B) sure", "label", "No", ("Yes", "No")),
        ("object_counting", "12", "Which?\nOptions:\n(A) yes\n(B) sure", "number", "12", None),
        ("word_sorting", "ash oak", "Which?\nOptions:\n(A) yes\n(B) sure", "text", "ash oak", None),
    ],
)
def test_bbh_answers_are_typed_by_task_and_look(
    tmp_path: Path, task: str, target: str, shown: str, kind: str, answer: str, choices: tuple[str, ...] | None
) -> None:
    row = {"input": "Which?\nOptions:\n(A) yes\n(B) sure", "target": target}
    write_json(tmp_path / "bbh" / f"{task}.json", {"canary": "own", "examples": [row]})
    question = only("bbh", tmp_path)
    line, _, rest = question.question.partition("\n\n")
    assert line.endswith(".")
    assert (question.id, rest) == (f"bbh/test/{task}/0", shown)
    assert (question.answer_type, question.answer, question.choices) == (kind, answer, choices)
    assert question.meta == {"task": task}


def test_bbh_leaves_out_a_target_that_is_no_option() -> None:
    rows = [{"task": "snarks", "input": "Which?\n(A) x\n(B) y", "target": "(C)"}]
    reasons: list[str] = []
    assert not list(convert_rows("bbh", rows, on_left_out=reasons.append))
    assert reasons == ["the target is not one of the options"]


def test_bbeh_is_read_by_folder_or_by_the_tasks_that_rows_name(tmp_path: Path) -> None:
    rows = [{"input": "Proved?", "target": "unknown"}]
    write_json(tmp_path / "bbeh" / "benchmark_tasks" / "bbeh_boardgame_qa" / "task.json", {"examples": rows})
    labels = ("proved", "disproved", "unknown")
    facts = ("logic", "Proved?", "label", "unknown", labels)
    assert only("bbeh", tmp_path) == expected("bbeh", "test/boardgame_qa/0", *facts, task="boardgame_qa")
    (hub,) = convert_rows("bbeh", [{"task": "boardgame qa", **rows[0]}])
    assert hub == expected("bbeh", "test/0", *facts, task="boardgame_qa")


ARC = f"What is warm?{options('sun', 'ice')}{LETTER}"


@pytest.mark.parametrize("labels", ["AB", "12"])
def test_arc_reads_both_layouts_and_digits_for_letters(tmp_path: Path, labels: str) -> None:
    each = [{"text": text, "label": label} for text, label in zip(("sun", "ice"), labels, strict=True)]
    row = {"id": "own_1", "question": {"stem": "What is warm?", "choices": each}, "answerKey": labels[0]}
    wanted = expected("arc_challenge", "test/0", "knowledge", ARC, "choice", "A", ("sun", "ice"), id="own_1")
    assert only("arc_challenge", write_lines(tmp_path / "ARC-Challenge-Test.jsonl", row)) == wanted
    hub = row | {"question": "What is warm?", "choices": {"text": ["sun", "ice"], "label": list(labels)}}
    assert list(convert_rows("arc_challenge", [hub])) == [wanted]


def test_mmlupro_drops_the_options_that_only_fill_up(tmp_path: Path) -> None:
    row = {
        "question_id": 70,
        "question": "What is warm?",
        "options": ["ice", "sun", "N/A"],
        "answer": "B",
        "answer_index": 1,
        "category": "physics",
        "src": "own",
    }
    text = f"What is warm?{options('ice', 'sun')}{LETTER}"
    meta = {"question_id": 70, "src": "own", "subject": "physics"}
    wanted = expected("mmlupro", "test/0", "knowledge", text, "choice", "B", ("ice", "sun"), **meta)
    assert only("mmlupro", write_json(tmp_path / "test.json", [row])) == wanted


GPQA_ROW = {
    "Record ID": "rec1",
    "Question": "What is warm?\n",
    "Correct Answer": "the sun\n",
    "Incorrect Answer 1": "ice",
    "Incorrect Answer 2": "snow",
    "Incorrect Answer 3": "hail",
    "Subdomain": "Own",
    "High-level domain": "Physics",
}


def test_gpqa_options_stand_in_an_order_that_the_question_decides(tmp_path: Path) -> None:
    question = only("gpqa", write_csv(tmp_path / "gpqa_diamond.csv", GPQA_ROW))
    assert question.choices is not None
    assert question.answer is not None
    assert sorted(question.choices) == ["hail", "ice", "snow", "the sun"]
    assert question.choices["ABCD".index(question.answer)] == "the sun"
    assert question.question == f"What is warm?{options(*question.choices)}{LETTER}"
    assert question.meta == {"record_id": "rec1", "subdomain": "Own", "high_level_domain": "Physics"}
    swapped = GPQA_ROW | {"Incorrect Answer 1": "hail", "Incorrect Answer 3": "ice"}
    assert next(iter(convert_rows("gpqa", [swapped]))).choices == question.choices
    rows = [GPQA_ROW | {"Question": f"What is warm, {number}?"} for number in range(40)]
    assert {each.answer for each in convert_rows("gpqa", rows)} == set("ABCD")


def test_supergpqa_takes_the_letter(tmp_path: Path) -> None:
    row = {
        "uuid": "u1",
        "question": "What is warm?",
        "options": ["ice", "sun"],
        "answer": "sun",
        "answer_letter": "B",
        "discipline": "Science",
        "difficulty": "easy",
    }
    text = f"What is warm?{options('ice', 'sun')}{LETTER}"
    meta = {"uuid": "u1", "discipline": "Science", "difficulty": "easy"}
    wanted = expected("supergpqa", "test/0", "knowledge", text, "choice", "B", ("ice", "sun"), **meta)
    assert only("supergpqa", write_lines(tmp_path / "SuperGPQA-all.jsonl", row)) == wanted


def test_medqa_options_are_ordered_by_letter(tmp_path: Path) -> None:
    row = {
        "question": "What helps?",
        "answer": "rest",
        "options": {"B": "rest", "A": "noise"},
        "meta_info": "step1",
        "answer_idx": "B",
    }
    text = f"What helps?{options('noise', 'rest')}{LETTER}"
    path = write_lines(tmp_path / "US" / "4_options" / "phrases_no_exclude_test.jsonl", row)
    wanted = expected("medqa", "test/0", "knowledge", text, "choice", "B", ("noise", "rest"), step="step1")
    assert only("medqa", path) == wanted
    assert only("medqa", tmp_path) == wanted


@pytest.mark.parametrize(("codes", "letters"), [([1, 2, 4], "ABD"), ([1, 2, 0], "BCA"), ([1, 2, 3], "ABC")])
def test_medmcqa_counts_options_as_its_copy_does(tmp_path: Path, codes: list[int], letters: str) -> None:
    row = {"question": "What helps?", "opa": "noise", "opb": "rest", "opc": "smoke", "opd": "dust", "id": "i1"}
    rows = [row | {"cop": code, "choice_type": "single", "subject_name": "Own"} for code in codes]
    path = write_lines(tmp_path / "dev.json", *rows)
    got = list(convert_path("medmcqa", path))
    assert "".join(question.answer or "" for question in got) == letters
    text = f"What helps?{options('noise', 'rest', 'smoke', 'dust')}{LETTER}"
    meta = {"id": "i1", "subject_name": "Own", "choice_type": "single"}
    four = ("noise", "rest", "smoke", "dust")
    assert got[0] == expected("medmcqa", "test/0", "knowledge", text, "choice", letters[0], four, **meta)


def test_medmcqa_and_winogrande_leave_out_what_has_no_answer() -> None:
    reasons: list[str] = []
    assert not list(convert_rows("medmcqa", [{"question": "?", "cop": -1}], on_left_out=reasons.append))
    assert not list(convert_rows("winogrande", [{"sentence": "_?", "answer": ""}], on_left_out=reasons.append))
    assert reasons == ["no answer is published"] * 2


FINQA_ROW: dict[str, Any] = {
    "id": "OWN/2001/page_1.pdf-1",
    "pre_text": ["income rose .", "."],
    "post_text": ["costs fell ."],
    "table": [["", "2001", "2000"], ["income", "$ 3", "$ 2"]],
    "qa": {"question": "by how much did income rise?", "program": "subtract(3, 2)", "exe_ans": 1.0},
}


@pytest.mark.parametrize(
    ("said", "kind", "answer"),
    [(1.0, "number", "1"), (0.123456789, "number", "0.12346"), (-0.0, "number", "0"), (1e-9, "number", "1e-09")],
)
def test_finqa_shows_passages_and_table_and_wants_what_the_program_gives(
    tmp_path: Path, said: float, kind: str, answer: str
) -> None:
    row = FINQA_ROW | {"qa": FINQA_ROW["qa"] | {"exe_ans": said}}
    text = (
        "Passages from a financial report:\nincome rose .\ncosts fell .\n\nTable:\n|  | 2001 | 2000 |\n"
        "| income | $ 3 | $ 2 |\n\nBased on the passages and the table, answer the question: "
        "by how much did income rise?"
    )
    meta = {"id": row["id"], "program": "subtract(3, 2)"}
    wanted = expected("finqa", "test/0", "knowledge", text, kind, answer, **meta)
    assert only("finqa", write_json(tmp_path / "test.json", [row])) == wanted


def test_finqa_asks_for_yes_or_no_where_that_is_the_answer() -> None:
    (question,) = convert_rows("finqa", [FINQA_ROW | {"qa": {"question": "did it rise?", "exe_ans": "yes"}}])
    assert question.question.endswith("did it rise?\nAnswer yes or no.")
    assert (question.answer_type, question.answer, question.choices) == ("label", "yes", ("yes", "no"))


EMORY = ("Joyful", "Mad", "Neutral", "Peaceful", "Powerful", "Sad", "Scared")
MELD = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
DAILY = ("anger", "disgust", "fear", "happiness", "no emotion", "sadness", "surprise")


def listed(labels: Sequence[str]) -> str:
    return options(*labels).removeprefix("\n\nOptions:\n")


def test_meld_shows_what_was_said_before_in_the_dialogue(tmp_path: Path) -> None:
    def row(dialogue: int, utterance: int, speaker: str, said: str, emotion: str) -> dict[str, Any]:
        facts = {"Sr No.": 1, "Utterance": said, "Speaker": speaker, "Emotion": emotion, "Sentiment": "neutral"}
        return facts | {"Dialogue_ID": dialogue, "Utterance_ID": utterance}

    path = write_csv(
        tmp_path / "test_sent_emo.csv",
        row(0, 0, "Ann", "It  is late, Bo.", "neutral"),
        row(0, 1, "Bo", "No!", "anger"),
        row(1, 0, "Cy", "Rain.", "sadness"),
    )
    texts = [
        EMOTION.format("(start of the conversation)", "Ann: It is late, Bo.", listed(MELD)),
        EMOTION.format("- Ann: It is late, Bo.", "Bo: No!", listed(MELD)),
        EMOTION.format("(start of the conversation)", "Cy: Rain.", listed(MELD)),
    ]
    gold = [(0, 0, "E", "neutral"), (0, 1, "A", "anger"), (1, 0, "F", "sadness")]
    assert list(convert_path("meld", path)) == [
        expected(
            "meld", f"test/{n}", "affective", text, "choice", letter, MELD, dialogue_id=d, utterance_id=u, label=word
        )
        for n, (text, (d, u, letter, word)) in enumerate(zip(texts, gold, strict=True))
    ]


def test_a_history_is_never_longer_than_twelve_utterances() -> None:
    rows = [
        {"Utterance": f"line {n}", "Speaker": "Ann", "Emotion": "joy", "Dialogue_ID": "0", "Utterance_ID": str(n)}
        for n in range(15)
    ]
    *_, last = convert_rows("meld", rows)
    assert "- Ann: line 2\n" in last.question
    assert "- Ann: line 1\n" not in last.question


def test_emorynlp_is_taken_apart_into_utterances(tmp_path: Path) -> None:
    said = [
        {"utterance_id": "s9_u1", "speakers": ["Ann Ash", "Bo Oak"], "transcript": "Look!", "emotion": "Joyful"},
        {"utterance_id": "s9_u2", "speakers": ["Cy Elm"], "transcript": "", "emotion": "Neutral"},
        {"utterance_id": "s9_u3", "speakers": ["Cy Elm"], "transcript": "What?", "emotion": "Scared"},
    ]
    episodes = [{"episode_id": "e1", "scenes": [{"scene_id": "c1", "utterances": said}]}]
    path = write_json(tmp_path / "emotion-detection-tst.json", {"season_id": "s9", "episodes": episodes})
    first = EMOTION.format("(start of the conversation)", "Ann Ash and Bo Oak: Look!", listed(EMORY))
    last = EMOTION.format("- Ann Ash and Bo Oak: Look!", "Cy Elm: What?", listed(EMORY))
    head = ("affective", first, "choice", "A", EMORY)
    assert list(convert_path("emorynlp", path)) == [
        expected("emorynlp", "test/s9_u1", *head, utterance_id="s9_u1", label="Joyful"),
        expected(
            "emorynlp", "test/s9_u3", "affective", last, "choice", "G", EMORY, utterance_id="s9_u3", label="Scared"
        ),
    ]


def test_dailydialog_joins_its_two_files(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "dialogues_test.txt").write_text("Hello . __eou__ Go away ! __eou__\n", encoding="utf-8")
    (tmp_path / "test" / "dialogues_emotion_test.txt").write_text("0 1\n", encoding="utf-8")
    texts = [
        EMOTION.format("(start of the conversation)", "Person A: Hello .", listed(DAILY)),
        EMOTION.format("- Person A: Hello .", "Person B: Go away !", listed(DAILY)),
    ]
    wanted = [
        expected(
            "dailydialog", "test/0/0", "affective", texts[0], "choice", "E", DAILY, utterance=0, label="no emotion"
        ),
        expected("dailydialog", "test/0/1", "affective", texts[1], "choice", "A", DAILY, utterance=1, label="anger"),
    ]
    assert list(convert_path("dailydialog", tmp_path)) == wanted
    hub = {"dialog": ["Hello .", "Go away !"], "act": [1, 2], "emotion": [0, 1]}
    assert list(convert_rows("dailydialog", [hub])) == wanted


def test_winogrande_fills_a_blank(tmp_path: Path) -> None:
    row = {
        "qID": "own-1",
        "sentence": "Ann thanked Bo as _ had helped.",
        "option1": "Ann",
        "option2": "Bo",
        "answer": "2",
    }
    text = (
        "Which option fills the blank (_) so that the sentence makes sense?\n\nAnn thanked Bo as _ had helped."
        f"{options('Ann', 'Bo')}{LETTER}"
    )
    wanted = expected("winogrande", "test/0", "logic", text, "choice", "B", ("Ann", "Bo"), qID="own-1")
    assert only("winogrande", write_lines(tmp_path / "dev.jsonl", row)) == wanted


BRAINTEASER_ROW: dict[str, Any] = {
    "id": "SP-900",
    "question": "What has hands but cannot clap?",
    "answer": "A clock.",
    "distractor1": "A seal.",
    "distractor2": "A drum.",
    "distractor(unsure)": "None of above.",
    "label": 1,
    "choice_order": [1, 0, 2, 3],
    "choice_list": ["A seal.", "A clock.", "A drum.", "None of above."],
}


def test_brainteaser_keeps_its_authors_order(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "sentence_puzzle.npy", np.array([BRAINTEASER_ROW], dtype=object), allow_pickle=True)
    choices = ("A seal.", "A clock.", "A drum.", "None of above.")
    text = f"What has hands but cannot clap?{options(*choices)}{LETTER}"
    facts = ("logic", text, "choice", "B", choices)
    wanted = expected("brainteaser", "test/sentence_puzzle/0", *facts, id="SP-900")
    assert only("brainteaser", tmp_path) == wanted
    without = {name: value for name, value in BRAINTEASER_ROW.items() if name != "choice_list"}
    assert list(convert_rows("brainteaser", [without])) == [expected("brainteaser", "test/0", *facts, id="SP-900")]


EXAMPLES: dict[str, dict[str, Any]] = {
    "aime": {"problem": "?", "answer": 1},
    "math500": {"problem": "?", "answer": "x", "solution": "\\boxed{x}"},
    "livemathbench": {"question": "?", "answer": "x", "question_type": "t"},
    "mathbench": {"question": "?", "options": ["a", "b"], "answer": "A"},
    "mbpp": MBPP_ROW,
    "humaneval": HUMANEVAL_ROW,
    "studenteval": {"prompt": "def f(x):\n", "entrypoint": "f", "assertions": "assert f(1)", "is_first_success": True},
    "korbench": {"task": "counterfactual", "question": "?\nOptions: A. x##B. y", "answer": "[[A]]", "rule_id": "1"}
    | {"idx": "1", "rule_content": "r"},
    "kandk": {"quiz": "?", "names": ["A", "B"], "solution": [True, False]},
    "bbh": {"task": "snarks", "input": "?\n(A) x\n(B) y", "target": "(A)"},
    "bbeh": {"task": "nycc", "input": "?\n(A) x\n(B) y", "target": "(A)"},
    "arc_challenge": {"question": {"stem": "?", "choices": [{"text": "x", "label": "A"}]}, "answerKey": "A"},
    "mmlupro": {"question": "?", "options": ["a", "b"], "answer_index": 1, "category": "c"},
    "gpqa": GPQA_ROW,
    "supergpqa": {"question": "?", "options": ["a", "b"], "answer_letter": "A"},
    "medqa": {"question": "?", "options": {"A": "x", "B": "y"}, "answer_idx": "A"},
    "medmcqa": {"question": "?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 4},
    "finqa": FINQA_ROW,
    "emorynlp": {
        "scenes": [{"utterances": [{"utterance_id": "u", "transcript": "t", "emotion": "Mad", "speakers": ["A"]}]}]
    },
    "meld": {"Utterance": "t", "Speaker": "A", "Emotion": "joy", "Dialogue_ID": 1, "Utterance_ID": 1},
    "dailydialog": {"dialog": ["a", "b"], "emotion": [0, 6]},
    "winogrande": {"sentence": "_", "option1": "a", "option2": "b", "answer": "1"},
    "brainteaser": BRAINTEASER_ROW,
}
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from("AB(A)[["),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def test_every_benchmark_has_an_example_here() -> None:
    assert EXAMPLES.keys() == BENCHMARKS.keys()


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_odd_rows_become_questions_or_one_line_that_names_the_row(name: str, data: st.DataObject) -> None:
    row = dict(EXAMPLES[name])
    for field in data.draw(st.lists(st.sampled_from(sorted(row)), max_size=3, unique=True)):
        if data.draw(st.booleans()):
            del row[field]
        else:
            row[field] = data.draw(ODD)
    try:
        questions = list(convert_rows(name, [row]))
    except BadRequest as error:
        assert str(error).startswith(f"{name}, row 1: ")
        assert "\n" not in str(error)
    else:
        assert all(question.dataset == name for question in questions)
