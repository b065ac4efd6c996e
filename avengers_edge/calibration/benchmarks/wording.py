"""How questions are worded, lettered options and dialogues, and what several benchmarks share about answers."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping, Sequence
from itertools import accumulate

from avengers_edge.calibration.benchmarks.benchmark import Asked
from avengers_edge.calibration.benchmarks.rows import Row, shown
from avengers_edge.records import Kind

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
