"""Question files: JSON lines, plain or gzipped, one question a line."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

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


def _parse(line: str, where: str) -> Question:
    try:
        row = json.loads(line)
        choices = row["choices"]
        if not isinstance(choices, list | None):
            raise _NotText(f"choices is {reprlib.repr(choices)}, not a list")
        return Question(
            id=_text("id", row["id"]),
            dataset=_text("dataset", row["dataset"]),
            category=_text("category", row["category"]),
            question=_text("question", row["question"]),
            choices=None if choices is None else tuple(_text("a choice", choice) for choice in choices),
            answer=None if row["answer"] is None else _text("answer", row["answer"]),
            answer_type=row["answer_type"],
            split=_text("split", row["split"]),
            tests=_parse_tests(row.get("tests")),
            meta=MappingProxyType(dict(row.get("meta") or {})),
        )
    except (ValueError, KeyError, TypeError, RecursionError, BadRequest) as error:
        told = isinstance(error, BadRequest | _NotText)
        raise VerificationFailed(
            f"{where}: not a question: {error if told else f'{type(error).__name__} {error}'}"
        ) from error


class _NotText(TypeError):
    """A field that is no text; its message says which."""


def _text(name: str, value: object) -> str:
    """Take a text, or a number, which is what the text would say."""
    if type(value) in (int, float):
        return str(value)
    if not isinstance(value, str):
        raise _NotText(f"{name} is {reprlib.repr(value)}, not a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _NotText(f"{name} has a character at {error.start} that is not valid Unicode") from error
    return value


def _parse_tests(said: object) -> CodeTests | None:
    """Read the `tests` field: JSON in a string, of the kind "python"."""
    if said is None:
        return None
    values = json.loads(said) if isinstance(said, str) else said
    if not isinstance(values, dict) or values.get("kind") != "python":
        raise ValueError("its tests are not of the kind python")
    fields = {name: values[name] for name in ("entry_point", "setup", "test", "reference") if name in values}
    if wrong := [name for name, value in fields.items() if not isinstance(value, str)]:
        raise TypeError(f"its tests have a {wrong[0]} that is no text")
    return CodeTests(**fields)
