"""Benchmarks: names, places of publication, published rows, and how rows become questions, wording included."""

from __future__ import annotations

import hashlib
import math
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from avengers_edge.calibration.questions import CodeTests, Question
from avengers_edge.errors import BadRequest
from avengers_edge.records import Kind

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Row:
    """What a benchmark publishes of one question, or of several that `Benchmark.unfold` takes apart.

    `where` names the row in refusals (a file and a line), `place` in identifiers (a split and a number); `file` is what
    it was read from, if it was a file.
    """

    values: Mapping[str, object]
    where: str
    place: str
    split: str
    file: Path | None = None

    def refuse(self, complaint: str) -> NoReturn:
        """Raise `BadRequest` with the row's place."""
        raise BadRequest(f"{self.where}: {complaint}")

    def with_values(self, more: Mapping[str, object], place: str | None = None) -> Row:
        """Return the row with more values, and at another place where one is given."""
        return replace(self, values={**self.values, **more}, place=place or self.place)

    def has(self, name: str) -> bool:
        """Tell whether there is anything under that name; blank text is nothing."""
        value = self.values.get(name)
        return value is not None and (not isinstance(value, str) or bool(value.strip()))

    def text(self, *names: str) -> str:
        """Read text as it is, from the first name that holds something.

        Raises:
            BadRequest: there is none, or it is no text.

        """
        name = self._first(names)
        value = self.values[name]
        return value if isinstance(value, str) else self.refuse(f"{name} is {shown(value)}, not text")

    def word(self, *names: str) -> str:
        """Read text without the space around it, or a number as text, from the first name that holds something.

        Raises:
            BadRequest: there is none, or it is neither.

        """
        name = self._first(names)
        word = _as_word(self.values[name])
        return self.refuse(f"{name} is {shown(self.values[name])}, neither text nor a number") if word is None else word

    def whole(self, name: str) -> int:
        """Read a whole number, which a table of text writes in digits.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        if type(value) is int:
            return value
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            return int(value)
        return self.refuse(f"{name} is {shown(value)}, not a whole number")

    def flag(self, name: str) -> bool:
        """Read a truth value, which a table of text writes as True or False.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        said = {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
        return self.refuse(f"{name} is {shown(value)}, neither true nor false") if said is None else said

    def items(self, name: str) -> tuple[object, ...]:
        """Read a list of anything.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        return tuple(value) if isinstance(value, list | tuple) else self.refuse(f"{name} is {shown(value)}, not a list")

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts; what is blank in it stays.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        return tuple(
            item if isinstance(item, str) else self.refuse(f"{name} holds {shown(item)}, which is not text")
            for item in self.items(name)
        )

    def words(self, name: str) -> tuple[str, ...]:
        """Read a list of texts and numbers, as text without the space around it.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        return tuple(
            self.refuse(f"{name} holds {shown(item)}, neither text nor a number") if word is None else word
            for item, word in ((item, _as_word(item)) for item in self.items(name))
        )

    def inner(self, name: str) -> Row:
        """Read an object inside the row, as a row at the same place.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        if not isinstance(value, Mapping):
            self.refuse(f"{name} is {shown(value)}, not an object")
        return replace(self, values=value)

    def inners(self, name: str) -> tuple[Row, ...]:
        """Read a list of objects, as rows at the same place.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        return tuple(
            replace(self, values=item)
            if isinstance(item, Mapping)
            else self.refuse(f"{name} holds {shown(item)}, which is not an object")
            for item in self.items(name)
        )

    def some(self, *names: str) -> dict[str, object]:
        """Take those of the names that hold something."""
        return {name: self.values[name] for name in names if self.has(name)}

    def _first(self, names: tuple[str, ...]) -> str:
        for name in names:
            if self.has(name):
                return name
        return self.refuse(f"has no {' or '.join(names)}")


def shown(value: object) -> str:
    """Write a value so that it fits into a line."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _as_word(value: object) -> str | None:
    """Write text or a finite number as text; a truth value is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else str(value).strip()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a row tells it; identifier, data set, category and split are the benchmark's to add."""

    question: str
    answer_type: Kind
    answer: str | None
    choices: tuple[str, ...] | None = None
    tests: CodeTests | None = None
    meta: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a sound row becomes no question."""

    reason: str


@dataclass(frozen=True, slots=True)
class HubTable:
    """One table of a data set on the Hugging Face hub; `split` is ours, `published` what the hub calls it.

    `part` tells it from the split's other tables; where the rows do not name their task, it is that.
    """

    repository: str
    config: str | None = None
    published: str = "test"
    split: str = "test"
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark of the Avengers paper or beside it.

    Attributes:
        name: as in question files.
        title: as its authors write it.
        category: math, code, logic, knowledge or affective.
        licence: what its publishers say; nothing of it is shipped here.
        published: where its files are.
        to_question: turns a row into a question, or says why not; pure.
        files: split -> patterns of its files below a folder; those of the first pattern that finds any are read.
        hub: its tables on the hub that can be read without running anybody's code; empty where there are none.
        unfold: turns the rows as published into rows that each hold one whole question.
        under: the name under which a JSON file keeps its list of rows.
        part: names the part of the benchmark that a file holds (a task, say), from its path.
        read: reads a file that is no table.

    """

    name: str
    title: str
    category: str
    licence: str
    published: str
    to_question: Callable[[Row], Asked | LeftOut]
    files: Mapping[str, tuple[str, ...]]
    hub: tuple[HubTable, ...] = ()
    unfold: Callable[[Iterable[Row]], Iterator[Row]] = iter
    under: str | None = None
    part: Callable[[Path], str] | None = None
    read: Callable[[Path], Iterator[tuple[str, Mapping[str, object]]]] | None = None

    def convert(self, row: Row) -> Question | LeftOut:
        """Turn a row into a question.

        Raises:
            BadRequest: the row is not what the benchmark publishes; the message names it and what is missing.

        """
        asked = self.to_question(row)
        if isinstance(asked, LeftOut):
            return asked
        return Question(
            id=f"{self.name}/{row.place}",
            dataset=self.name,
            category=self.category,
            question=asked.question,
            choices=asked.choices,
            answer=asked.answer,
            answer_type=asked.answer_type,
            split=row.split,
            tests=asked.tests,
            meta=MappingProxyType(dict(asked.meta)),
        )


def tables(stems: Mapping[str, str | tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """Give the patterns of each split: files of its stems as published, then as a copy of the hub has them."""
    patterns = {}
    for split, said in stems.items():
        names = (said,) if isinstance(said, str) else said
        patterns[split] = (
            *(f"**/{name}{ending}" for name in names for ending in (".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz")),
            *(f"**/{name}{ending}" for name in names for ending in ("-*.parquet", ".parquet")),
        )
    return MappingProxyType(patterns)


LETTERS = string.ascii_uppercase
ASK_OPTION = "Answer with the letter of the correct option."

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_BOXED = re.compile(r"\\f?boxed\s*\{")


def multiple_choice(
    row: Row,
    stem: str,
    options: Sequence[str],
    right: int,
    *,
    ask: str = ASK_OPTION,
    meta: Mapping[str, object] | None = None,
) -> Asked:
    """Ask for the letter of one of the options; `right` is the place of the gold one.

    Raises:
        BadRequest: there are not 2 to 26 options, one is blank, or `right` is none of them.

    """
    if not 2 <= len(options) <= len(LETTERS):
        row.refuse(f"has {len(options)} options: 2 to {len(LETTERS)} can be lettered")
    if not all(option.strip() for option in options):
        row.refuse("has a blank option")
    if not 0 <= right < len(options):
        row.refuse(f"says that option {right + 1} of {len(options)} is right")
    choices = tuple(option.strip() for option in options)
    question = f"{stem.strip()}\n\nOptions:\n{lettered(choices)}\n\n{ask}"
    return Asked(question, "choice", LETTERS[right], choices, meta=meta or {})


def lettered(options: Sequence[str]) -> str:
    """Write options below each other, each behind its letter."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def place_of_letter(row: Row, *names: str) -> int:
    """Read a letter, bare or in parentheses, as the place of the option it stands for.

    Raises:
        BadRequest: there is none, or it is no single letter.

    """
    said = row.word(*names).strip("()[]. ").upper()
    if len(said) != 1 or said not in LETTERS:
        row.refuse(f"{names[0]} is {shown(said)}, not the letter of an option")
    return LETTERS.index(said)


def shuffled(options: Sequence[str], salt: str) -> tuple[str, ...]:
    """Put options into an order that only they and the salt decide, the same on every machine."""
    return tuple(
        sorted(options, key=lambda option: hashlib.sha256(f"{salt}\n{option}".encode(errors="replace")).digest())
    )


def emotion_question(row: Row, labels: Sequence[str], label: str, meta: Mapping[str, object]) -> Asked:
    """Ask which emotion the last utterance of a dialogue expresses.

    The row has `history`, the utterances before, and `utterance`, each as `spoken` writes it.

    Raises:
        BadRequest: the label is none of the benchmark's.

    """
    if label not in labels:
        row.refuse(f"has the emotion {shown(label)}: the benchmark knows {', '.join(labels)}")
    history = "\n".join(f"- {line}" for line in row.texts("history")) or "(start of the conversation)"
    stem = (
        "Read the conversation and decide which emotion the speaker expresses in the last utterance, "
        "taking the conversation into account.\n\n"
        f"Conversation so far:\n{history}\n\nLast utterance:\n{row.text('utterance')}"
    )
    ask = "Answer with the letter of the emotion."
    return multiple_choice(row, stem, labels, labels.index(label), ask=ask, meta={**meta, "label": label})


def spoken(speaker: str, text: str) -> str:
    """Write an utterance on one line behind who says it."""
    return f"{' '.join(speaker.split())}: {' '.join(text.split())}"


def number_or_expression(answer: str) -> tuple[Kind, str]:
    """Tell a plain number from what needs a checker of equivalence; dollar signs around the whole go."""
    bare = answer.strip().strip("$").strip()
    plain = bare.replace(",", "") if re.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", bare) else bare
    return ("number", plain) if _NUMBER.fullmatch(plain) else ("expression", bare)


def last_boxed(solution: str) -> str | None:
    r"""Return what stands in the last \boxed{...} of a solution, or None."""
    for opened in reversed(list(_BOXED.finditer(solution))):
        body = solution[opened.end() :]
        depths = accumulate(({"{": 1, "}": -1}.get(sign, 0) for sign in body), initial=1)
        closed = next((at for at, depth in enumerate(depths) if depth == 0), None)
        if closed is not None:
            return body[: closed - 1].strip()
    return None
