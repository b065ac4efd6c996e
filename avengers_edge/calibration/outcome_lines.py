"""One line of an outcome file: what it says becomes an `OutcomeRow`, checked, and the other way round."""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from avengers_edge.calibration.outcomes import Answers, OutcomeRow
from avengers_edge.errors import VerificationFailed
from avengers_edge.records import KINDS

_T = TypeVar("_T")
REMEDY = "mend the line or delete it"
_MOST = sys.float_info.max


def as_values(row: OutcomeRow) -> dict[str, Any]:
    """Turn an outcome into what its line says."""
    values: dict[str, Any] = {"id": row.id, "dataset": row.dataset, "category": row.category}
    optional = {
        "prompt": row.prompt,
        "kind": row.kind,
        "group": row.group,
        "scores": dict(row.scores),
        "tokens": row.tokens,
        "seconds": row.seconds,
        "answers": row.answers,
        "texts": row.texts,
        "agreement": row.agreement,
    }
    for name, value in optional.items():
        if value is not None:
            values[name] = dict(value) if isinstance(value, Mapping) else value
    return values


def parse_outcome(line: str, where: str) -> OutcomeRow:
    """Read a line.

    Raises:
        VerificationFailed: it is not an outcome, or is cut off; the message begins with `where`.

    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        if not line.endswith("\n"):
            raise VerificationFailed(
                f"{where} is cut off: run the same `avengers calibrate measure` again, which mends it, or delete "
                f"the line"
            ) from error
        raise VerificationFailed(f"{where} is not JSON: {REMEDY}") from error
    if not isinstance(values, dict):
        raise VerificationFailed(f"{where} is no JSON object: {REMEDY}")
    for name in ("id", "dataset", "category"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise VerificationFailed(f"{where}: {name} is {reprlib.repr(values.get(name))}, not a text: {REMEDY}")
    prompt, kind, group = values.get("prompt"), values.get("kind"), values.get("group")
    if not isinstance(prompt, str | None) or (prompt is not None and not _is_text(prompt)):
        raise VerificationFailed(f"{where}: prompt is {reprlib.repr(prompt)}, not a text: {REMEDY}")
    if kind is not None and kind not in KINDS:
        raise VerificationFailed(f"{where}: kind is {reprlib.repr(kind)}, use one of {', '.join(KINDS)}")
    if not isinstance(group, str | None):
        raise VerificationFailed(f"{where}: group is {reprlib.repr(group)}, not a text: {REMEDY}")
    if group is None and isinstance(values.get("rule_id"), str):  # KOR-Bench: ten questions share a rule
        group = f"{values['dataset']}/rule {values['rule_id']}"
    scores = _by_member(values, "scores", where, _score)
    if not scores:
        raise VerificationFailed(
            f"{where}: scores is {reprlib.repr(values.get('scores'))}, not a score for each model: {REMEDY}"
        )
    return OutcomeRow(
        id=values["id"],
        dataset=values["dataset"],
        category=values["category"],
        scores=scores,
        seconds=_by_member(values, "seconds", where, _amount),
        tokens=_by_member(values, "tokens", where, _amount),
        kind=kind,
        prompt=prompt,
        group=group,
        answers=_by_member(values, "answers", where, _answers),
        texts=_by_member(values, "texts", where, _texts),
        agreement=_by_member(values, "agreement", where, _score),
    )


def _by_member(
    values: Mapping[str, Any], name: str, where: str, read: Callable[[object], _T | None]
) -> dict[str, _T] | None:
    said = values.get(name)
    if said is None:
        return None
    if not isinstance(said, dict):
        raise VerificationFailed(f"{where}: {name} is {reprlib.repr(said)}, not an object by model: {REMEDY}")
    found: dict[str, _T] = {}
    for member, value in said.items():
        taken = read(value)
        if taken is None or not member:
            wanted = "use 0 to 1" if name == "scores" else REMEDY
            raise VerificationFailed(f"{where}: {name} of {member!r} is {reprlib.repr(value)}: {wanted}")
        found[member] = taken
    return found


def _score(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None  # type: ignore[operator,arg-type]


def _amount(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= _MOST else None  # type: ignore[operator,arg-type]


def _answers(value: object) -> Answers | None:
    if not isinstance(value, list):
        return None
    pairs = [(pair[0], _score(pair[1])) for pair in value if isinstance(pair, list) and len(pair) == 2]
    if len(pairs) < len(value) or not all(isinstance(key, str | None) and score is not None for key, score in pairs):
        return None
    return tuple((key, score) for key, score in pairs if score is not None)


def _texts(value: object) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(text, str) for text in value) else None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
