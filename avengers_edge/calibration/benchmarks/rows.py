"""A published row with typed access to its values, and the question made of it, or the reason why there is none."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec

from avengers_edge.calibration.questions import CodeTests
from avengers_edge.errors import BadRequest
from avengers_edge.records import Kind

LETTERS = string.ascii_uppercase
ASK_OPTION = "Answer with the letter of the correct option."

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_WITH_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MOST_SHOWN = 60

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Row:
    """What a benchmark publishes of one question, or of several that an `unfold` takes apart.

    `where` names the row in refusals (a file and a line), `place` in identifiers (a split and a number); `file` is what
    it was read from, if it was a file. All methods that read a value raise `BadRequest` where it is missing or of
    another type.
    """

    values: Mapping[str, object]
    where: str
    place: str = ""
    split: str = ""
    file: Path | None = None

    def refuse(self, complaint: str) -> NoReturn:
        """Raise `BadRequest` with the row's place."""
        raise BadRequest(f"{self.where}: {complaint}")

    def with_values(self, more: Mapping[str, object], place: str | None = None) -> Row:
        """Return the row with more values, and at another place where one is given."""
        return replace(self, values={**self.values, **more}, place=place or self.place)

    def has(self, name: str) -> bool:
        """Tell whether there is anything under that name; blank text, NaN and infinity are nothing."""
        value = self.values.get(name)
        if isinstance(value, float):
            return math.isfinite(value)
        return bool(value.strip()) if isinstance(value, str) else value is not None

    def value(self, kind: type[_T], *names: str) -> _T:
        """Read the first of the names that holds something; a table of text writes numbers and truth values as text."""
        name = next((name for name in names if self.has(name)), None)
        if name is None:
            self.refuse(f"has no {' or '.join(names)}")
        value = self.values[name]
        try:
            plain = value.strip() if isinstance(value, str) and kind is not str else value
            return msgspec.convert(plain, kind, strict=False)
        except msgspec.ValidationError as error:
            self.refuse(f"{name} is {shown(value)}: {error}")

    def text(self, *names: str) -> str:
        """Read text as it is."""
        return self.value(str, *names)

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts; what is blank in it stays."""
        return self.value(tuple[str, ...], name)

    def word(self, *names: str) -> str:
        """Read text without the space around it, or a number as text."""
        value = self.value(object, *names)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.refuse(f"{' or '.join(names)} is {shown(value)}, neither text nor a number")
        return str(value).strip()

    def inner(self, name: str) -> Row:
        """Read an object inside the row, as a row at the same place."""
        return replace(self, values=self.value(dict[str, object], name))

    def inners(self, name: str) -> tuple[Row, ...]:
        """Read a list of objects, as rows at the same place."""
        return tuple(replace(self, values=item) for item in self.value(tuple[dict[str, object], ...], name))

    def some(self, *names: str) -> dict[str, object]:
        """Take those of the names that hold something."""
        return {name: self.values[name] for name in names if self.has(name)}


def shown(value: object) -> str:
    """Write a value so that it fits into a line."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a row tells it; identifier, data set, category and split are added by the conversion."""

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


UNPUBLISHED = LeftOut("no answer is published")


def multiple_choice(
    row: Row,
    stem: str,
    options: Sequence[str],
    right: int,
    *,
    ask: str = ASK_OPTION,
    meta: Mapping[str, object] | None = None,
) -> Asked:
    """Ask for the letter of one of 2 to 26 options; `right` is the place of the gold one."""
    if not 2 <= len(options) <= len(LETTERS):
        row.refuse(f"has {len(options)} options: 2 to {len(LETTERS)} can be lettered")
    choices = tuple(option.strip() for option in options)
    if not all(choices):
        row.refuse("has a blank option")
    if not 0 <= right < len(options):
        row.refuse(f"says that option {right + 1} of {len(options)} is right")
    lettered = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, choices, strict=False))
    return Asked(f"{stem.strip()}\n\nOptions:\n{lettered}\n\n{ask}", "choice", LETTERS[right], choices, meta=meta or {})


def place_of_letter(row: Row, name: str) -> int:
    """Read a letter, bare or in parentheses, as the place of the option it stands for."""
    said = row.word(name).strip("()[]. ").upper()
    if len(said) != 1 or said not in LETTERS:
        row.refuse(f"{name} is {shown(said)}, not the letter of an option")
    return LETTERS.index(said)


def number_or_expression(row: Row, answer: str) -> tuple[Kind, str]:
    """Tell a plain number from what needs a checker of equivalence; dollar signs around the whole go."""
    bare = answer.strip().strip("$").strip()
    if not bare:
        row.refuse("its answer is empty")
    plain = bare.replace(",", "") if _WITH_COMMAS.fullmatch(bare) else bare
    return ("number", plain) if _NUMBER.fullmatch(plain) else ("expression", bare)
