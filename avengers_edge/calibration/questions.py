"""Question files: JSON lines, plain or gzipped, one question a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from avengers_edge._util.jsonl import numbered_lines, write_lines
from avengers_edge.config import shipped_dir
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import KINDS, Kind


@dataclass(frozen=True, slots=True)
class CodeTests:
    """What decides whether code is right: `setup`, the candidate and `test`, joined by line breaks, must exit with 0.

    `entry_point` is the function asked for. `reference` is the data set's own solution, which proves the tests; no
    model ever sees it.
    """

    entry_point: str
    setup: str
    test: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answer. `choices` are option texts without letters, or the closed set of labels.

    `meta` is whatever else the data set says of it (a rule's number, a task's name), which its own grader may need.
    """

    id: str
    dataset: str
    category: str
    question: str
    choices: tuple[str, ...] | None
    answer: str | None
    answer_type: Kind
    split: str
    tests: CodeTests | None = None
    meta: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.answer_type not in KINDS:
            raise BadRequest(
                f"question {self.id!r} has answer_type {self.answer_type!r}: use one of {', '.join(KINDS)}"
            )
        if not self.question.strip():
            raise BadRequest(f"question {self.id!r} is empty")
        for name in ("id", "dataset", "category", "split"):
            if not getattr(self, name):
                raise BadRequest(f"question {self.id!r} has an empty {name}")
        if not self.answer and self.answer_type != "code":
            raise BadRequest(f"question {self.id!r} has no answer")


def read_questions(path: Path) -> Iterator[Question]:
    """Read a question file line by line.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: a line is not a question, and the message names the line; or the file cannot be read.

    """
    for where, line in numbered_lines(path, "question file", "name one, or `builtin`"):
        yield _parse(line, where)


def builtin_questions() -> Iterator[Question]:
    """Read the built-in questions, 50 in each of 27 data sets, from the file that ships with the package.

    Outcomes are kept by question id, so an id means the same question in every release.
    """
    return read_questions(shipped_dir() / "questions" / "builtin.jsonl.gz")


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """Write a question file whole, gzipped if it is named so; `read_questions` gives the same questions back.

    The same questions make the same bytes.

    Raises:
        AvengersError: a question cannot be written as JSON, or the file cannot be written.

    """
    write_lines(path, map(_as_row, questions))


def _as_row(question: Question) -> dict[str, object]:
    row: dict[str, object] = {
        "id": question.id,
        "dataset": question.dataset,
        "category": question.category,
        "question": question.question,
        "choices": None if question.choices is None else list(question.choices),
        "answer": question.answer,
        "answer_type": question.answer_type,
        "tests": None,
        "split": question.split,
    }
    if question.tests is not None:
        row["tests"] = json.dumps({"kind": "python", **asdict(question.tests)}, ensure_ascii=False)
    return {**row, "meta": dict(question.meta)} if question.meta else row


def group_of(question: Question) -> str | None:
    """Name what a question shares with others, so that one must not be judged by what was fitted on another."""
    meta = question.meta
    if "rule_id" in meta:  # KOR-Bench, whose numbers begin anew in each task
        return f"{question.dataset}/{meta.get('task', '')}/rule {meta['rule_id']}"
    if "dialogue_id" in meta:  # MELD, in each split
        return f"{question.dataset}/{question.split}/dialogue {meta['dialogue_id']}"
    return None


class _Tests(msgspec.Struct):
    kind: Literal["python"]
    entry_point: str
    setup: str
    test: str
    reference: str = ""


_TextOrNumber = str | int | float
"""A number is as good as the text that says it."""


class _Line(msgspec.Struct):
    id: _TextOrNumber
    dataset: _TextOrNumber
    category: _TextOrNumber
    question: _TextOrNumber
    choices: list[_TextOrNumber] | None
    answer: _TextOrNumber | None
    answer_type: Kind
    split: _TextOrNumber
    tests: str | _Tests | None = None  # JSON in a string, as data sets publish it
    meta: dict[str, Any] | None = None


_LINE_DECODER, _TESTS_DECODER = msgspec.json.Decoder(_Line), msgspec.json.Decoder(_Tests)


def _parse(text: str, where: str) -> Question:
    try:
        line = _LINE_DECODER.decode(text)
        tests = _TESTS_DECODER.decode(line.tests) if isinstance(line.tests, str) else line.tests
        return Question(
            id=str(line.id),
            dataset=str(line.dataset),
            category=str(line.category),
            question=str(line.question),
            choices=None if line.choices is None else tuple(map(str, line.choices)),
            answer=None if line.answer is None else str(line.answer),
            answer_type=line.answer_type,
            split=str(line.split),
            tests=tests and CodeTests(tests.entry_point, tests.setup, tests.test, tests.reference),
            meta=MappingProxyType(line.meta or {}),
        )
    except (msgspec.MsgspecError, RecursionError, BadRequest) as error:
        raise VerificationFailed(f"{where}: not a question: {error}") from error
