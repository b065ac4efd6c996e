"""AIME, MATH500, LiveMathBench and MathBench.

LiveMathBench and MathBench are written from their data set cards and from how OpenCompass loads them (`question`,
`answer`, `question_type`; `question`, `options`, `answer`): the files themselves are not on GitHub.
"""

from __future__ import annotations

import re
from pathlib import Path

from avengers_edge.calibration.benchmarks.benchmark import (
    Asked,
    Benchmark,
    HubTable,
    LeftOut,
    Row,
    last_boxed,
    multiple_choice,
    number_or_expression,
    place_of_letter,
    shown,
    tables,
)

_DECORATION = re.compile(r"\\(?:circ|degree|left|right|text\{[^}]*\})|[$^{}\\,\s]|°")
_PROBLEM = ("problem", "question", "Problem", "Question")
_LIVE = ("AMC", "CCEE", "CNMO", "WLPMC", "hard")


def _aime(row: Row) -> Asked | LeftOut:
    """AIME: an answer is a whole number from 0 to 999; copies write it as a number, as 033, or with LaTeX around it."""
    said = row.word("answer", "Answer")
    digits = _DECORATION.sub("", said)
    if not re.fullmatch(r"[0-9]{1,3}", digits):
        return LeftOut(f"an answer like {shown(said)} is no whole number from 0 to 999")
    meta = row.some("id", "ID", "year", "Year", "url")
    return Asked(row.text(*_PROBLEM).strip(), "number", str(int(digits)), meta=meta)


def _math500(row: Row) -> Asked | LeftOut:
    """MATH: the LaTeX answer, or what the solution boxes last where a copy has no field of its own for it."""
    answer = row.word("answer") if row.has("answer") else last_boxed(row.text("solution"))
    if not answer:
        return LeftOut("the solution boxes no answer")
    return Asked(row.text("problem"), "expression", answer, meta=row.some("unique_id", "subject", "type", "level"))


def _live(row: Row) -> Asked | LeftOut:
    """LiveMathBench: problems of competitions, to be answered by a number or an expression."""
    kind, answer = number_or_expression(row.word("answer"))
    if not answer:
        row.refuse("its answer is empty")
    return Asked(row.text("question").strip(), kind, answer, meta=row.some("task", "question_type"))


def _mathbench(row: Row) -> Asked | LeftOut:
    """MathBench: four options and a letter, or (arithmetic, `cloze`) a number."""
    meta = row.some("task", "topic", "topic_level")
    if row.has("options"):
        right = place_of_letter(row, "answer")
        return multiple_choice(row, row.text("question"), row.texts("options"), right, meta=meta)
    kind, answer = number_or_expression(row.word("answer"))
    if not answer:
        row.refuse("its answer is empty")
    return Asked(row.text("question").strip(), kind, answer, meta=meta)


def _stage(path: Path) -> str:
    return f"{path.parent.name}/{path.name.partition('.')[0]}"


AIME = Benchmark(
    name="aime",
    title="AIME",
    category="math",
    licence="the problems are copyright of the Mathematical Association of America",
    published="on the hub: HuggingFaceH4/aime_2024 and math-ai/aime25, or any table with problem and answer",
    to_question=_aime,
    files=tables({"test": ("aime*", "AIME*", "test*"), "train": ("train*",)}),
    hub=(
        HubTable("HuggingFaceH4/aime_2024", published="train", part="aime_2024"),
        HubTable("math-ai/aime25", part="aime25"),
    ),
)
MATH500 = Benchmark(
    name="math500",
    title="MATH500",
    category="math",
    licence="MIT (MATH, Hendrycks et al.; the choice of 500 by PRM800K, MIT)",
    published="openai/prm800k, math_splits/test.jsonl; on the hub: HuggingFaceH4/MATH-500",
    to_question=_math500,
    files=tables({"test": "test", "train": "train"}),
    hub=(HubTable("HuggingFaceH4/MATH-500"),),
)
LIVEMATHBENCH = Benchmark(
    name="livemathbench",
    title="LiveMathBench",
    category="math",
    licence="CC-BY-4.0; access on the hub asks for consent",
    published="on the hub: opencompass/LiveMathBench, release 202412, English",
    to_question=_live,
    files=tables({"test": ("*_en", "*", "test*")}),
    hub=tuple(
        HubTable("opencompass/LiveMathBench", f"v202412_{contest}_en", part=f"{contest}_en") for contest in _LIVE
    ),
    part=lambda path: path.name.partition(".")[0],
)
MATHBENCH = Benchmark(
    name="mathbench",
    title="MathBench",
    category="math",
    licence="Apache-2.0",
    published="open-compass/MathBench, release v0.1.0: mathbench_v1/STAGE/single_choice_en.jsonl and cloze_en.jsonl",
    to_question=_mathbench,
    files=tables({"test": ("*_en", "*")}),
    part=_stage,
)
