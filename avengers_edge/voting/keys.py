"""The answer in a text, and the key by which two answers are compared.

A key is a function of one sample alone, a canonical form, so that a vote counted now cannot change its meaning when
later samples arrive: that makes exact early stopping exact. An answer is read outside of thoughts (a thought that did
not end counts as truncated): from the last explicit marker that holds one of the wanted kind (see `markers`), else, if
the text ran to its end, from the last number, lone letter or label behind the last marker, or the last formula.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from avengers_edge.records import Kind
from avengers_edge.voting.choices import label_in, label_key, last_label, last_letter, letter_in, offered
from avengers_edge.voting.expressions import expression_in, expression_key, last_formula
from avengers_edge.voting.latex import bare, plain
from avengers_edge.voting.markers import Marked, marked_answers, split_thoughts
from avengers_edge.voting.numbers import (
    is_bare_number,
    is_number,
    last_number,
    number_in,
    number_key,
    starts_with_number,
)
from avengers_edge.voting.patterns import pattern
from avengers_edge.voting.source import code_in, code_key


def json_key(text: str) -> str | None:
    """Make the key of an answer that is one JSON value; None where it is none, as one that was cut off."""
    try:
        value = json.loads(text, parse_float=_number, parse_constant=refuse_constant)
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError, OverflowError):
        return None


def _number(digits: str) -> int | float:
    value = float(digits)
    return int(value) if value.is_integer() else value


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's reader takes for JSON."""
    raise ValueError(f"{name} is not JSON")


_BULLET = pattern(r"\s*[-*+]\s+(?=[0-9][0-9.,]*+\s*[A-Za-z])")
_LIST_ITEM = pattern(r"\s*(?:[-*+]|[0-9]{1,3}[.)])\s+\S")
_LONGEST_BELOW = 80


def extract_answer(
    text: str, kind: Kind, *, truncated: bool = False, choices: Sequence[str] | None = None
) -> str | None:
    """Read the answer of one sample as a person would: "80", "B", a code block's body; None if there is none.

    Args:
        text: what the model wrote.
        kind: what an answer is. For free text it is everything outside `<think>` sections.
        truncated: the text hit a token limit, so its end is no conclusion; only explicit markers count.
        choices: option texts (kind choice) or the closed set of labels (kind label).

    """
    text = text.replace("\r\n", "\n")
    said, thought = split_thoughts(text)
    if kind == "text":
        return said.strip() or None
    if kind == "code":
        return code_in(said, truncated=truncated or thought is not None)
    if thought is not None:
        said, truncated = f"{said}\n{thought}", True
    markers = marked_answers(said)
    for marked in markers:
        if truncated and not marked.complete:
            continue
        if found := _in_marker(marked, kind, choices):
            return offered(found, kind, choices)
    if truncated:
        return None
    explicit = next((marked for marked in markers if marked.form in ("boxed", "line") and bare(marked.body)), None)
    if explicit is not None and kind != "expression":
        said = said[explicit.end :]
    found = _without_marker(said, kind, choices)
    return found and offered(found, kind, choices)


def answer_key(text: str, kind: Kind, *, truncated: bool = False, choices: Sequence[str] | None = None) -> str | None:
    """Make the key that one sample votes for; None: no answer found, or free text, which is not voted on.

    It depends on nothing but this sample (see the module), so counting can stop early without risk.
    """
    answer = extract_answer(text, kind, truncated=truncated, choices=choices)
    return None if answer is None else canonical_key(answer, kind)


def canonical_key(answer: str, kind: Kind) -> str | None:
    """Make the key of an answer that is already extracted, such as a gold answer."""
    if kind == "number":
        number = number_in(answer)
        if number is None:
            return None
        return number_key(number) if is_number(number) else expression_key(number)
    if kind == "choice":
        return letter_in(answer, None)
    if kind == "label":
        return label_key(answer)
    if kind == "expression":
        return expression_key(answer)
    if kind == "code":
        return code_key(answer)
    return None


def _in_marker(marked: Marked, kind: Kind, choices: Sequence[str] | None) -> str | None:
    body = marked.body
    if marked.form == "below" and not marked.last and (_LIST_ITEM.match(body) or len(body) > _LONGEST_BELOW):
        return None  # "Answer:" was a heading over an explanation
    if kind == "number":
        if marked.form == "below":
            body = _BULLET.sub("", body, count=1)
        if marked.form == "hashes" and not is_bare_number(body):
            return None  # a Markdown heading
        if marked.form == "below" and not marked.last and not starts_with_number(body) and "\\boxed" not in body:
            return None
        return number_in(body)
    if kind == "choice":
        return letter_in(body, choices)
    if kind == "label":
        return label_in(body, choices)
    prose = marked.form in ("hashes", "sentence", "below")
    return expression_in(body, announced=not prose) if kind == "expression" else None


def _without_marker(said: str, kind: Kind, choices: Sequence[str] | None) -> str | None:
    if kind == "number":
        whole = bare(plain(said))
        if len(whole) <= _LONGEST_BELOW and "\n" not in whole and is_bare_number(whole):
            return number_in(said)
        return last_number(said)
    if kind == "choice":
        return last_letter(said, choices)
    if kind == "label":
        return last_label(said, choices)
    return last_formula(said) or last_number(said) if kind == "expression" else None
