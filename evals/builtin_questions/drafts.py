"""What a template makes of a draw: a question with its answer, not yet numbered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from string import ascii_uppercase

from avengers_edge.calibration.questions import CodeTests
from avengers_edge.records import Kind
from avengers_edge.records.basics import require
from builtin_questions.draw import Draw


@dataclass(frozen=True, slots=True)
class Draft:
    """A question and its gold answer; `choices` are option texts without letters, or the closed set of labels."""

    question: str
    answer: str | None
    kind: Kind
    choices: tuple[str, ...] | None = None
    tests: CodeTests | None = None

    def __post_init__(self) -> None:
        options = self.choices or ()
        require(len(set(options)) == len(options), f"an option occurs twice in {options}: draw different ones")
        if self.kind in ("choice", "label"):
            named = options if self.kind == "label" else tuple(ascii_uppercase[: len(options)])
            require(self.answer in named, f"answer {self.answer!r} is not among {named}: name one of them")


Template = Callable[[Draw], Draft]


def shown(value: int | Fraction) -> str:
    """Write a number as people do: 12, 2.5, and 1/3 where decimals would not end."""
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    places = next(count for count in range(1, 100) if value.denominator and (value * 10**count).denominator == 1)
    figures = str(abs(int(value * 10**places))).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{figures[:-places]}.{figures[-places:]}"


def listed(words: Sequence[str]) -> str:
    """Join words as in a sentence: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def number(question: str, value: int | Fraction) -> Draft:
    """Make a question whose answer is a number."""
    return Draft(question, shown(value), "number")


def text(question: str, answer: str) -> Draft:
    """Make a question whose answer is compared letter by letter, and which therefore says where to put it."""
    return Draft(f"{question}\nEnd with one line: Answer: <what was asked for>", answer, "text")


def label(question: str, labels: Sequence[str], answer: str) -> Draft:
    """Make a question with a closed set of answers, named in its last line."""
    named = f"{', '.join(labels[:-1])} or {labels[-1]}"
    return Draft(f"{question}\nAnswer {named}.", answer, "label", tuple(labels))


def choice(question: str, options: Sequence[str], right: str) -> Draft:
    """Make a question with lettered options in this order."""
    lines = [f"{letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    return Draft("\n".join([question, *lines]), ascii_uppercase[options.index(right)], "choice", tuple(options))
