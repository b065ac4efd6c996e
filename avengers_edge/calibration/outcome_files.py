"""Outcome files: JSON lines, plain or gzipped; the lines of one question are joined.

    {"id", "dataset", "category", "prompt", "scores": {member: 0..1}}

`measure` adds "kind" and, by member, "tokens", "seconds", "answers" ([key, score] of each sample) and, if asked to,
"texts". Whatever else a line says is left alone.
"""

from __future__ import annotations

import gzip
import json
import math
import reprlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeVar

from avengers_edge.calibration.outcomes import Answers, OutcomeRow
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.files import write_whole
from avengers_edge.records import KINDS

_T = TypeVar("_T")
_REMEDY = "mend the line or delete it"


def read_outcomes(paths: Sequence[Path], members: Sequence[str] | None = None) -> tuple[OutcomeRow, ...]:
    """Read outcome files and join the lines of each question.

    With `members`, rows are cut down to them; without, every row has to have the same ones.

    Raises:
        NotFound: there is no such file, or no line has a member that is named.
        VerificationFailed: a line is not an outcome, is cut off, or contradicts another; the message names file and
        line. BadRequest: the rows do not share their members, or there are none.

    """
    rows: dict[str, OutcomeRow] = {}
    places: dict[str, str] = {}
    for path in paths:
        for where, row in read_lines(path):
            before = rows.get(row.id)
            rows[row.id] = row if before is None else _joined(before, row, places[row.id], where)
            places.setdefault(row.id, where)
    if not rows:
        raise BadRequest(
            f"there are no outcomes in {', '.join(map(str, paths)) or 'no file'}: measure some with `avengers "
            f"calibrate measure`"
        )
    _refuse_contradictions(rows.values(), places)
    chosen = _shared_members(rows.values(), places) if members is None else _named(rows.values(), members)
    return tuple(_cut_down(row, chosen, places[row.id]) for row in rows.values())


def read_lines(path: Path) -> Iterator[tuple[str, OutcomeRow]]:
    """Read one file line by line, as it stands; yield where each outcome is and the outcome.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: a line is not an outcome, or the file cannot be read.

    """
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                where = f"{path}, line {number}"
                if line.strip():
                    yield where, _parse(line, where)
    except FileNotFoundError as error:
        raise NotFound(f"there is no outcome file {path}: measure one with `avengers calibrate measure`") from error
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise VerificationFailed(f"outcome file {path} cannot be read ({error}): copy or measure it again") from error


def open_text(path: Path) -> IO[str]:
    """Open a text file for reading, unpacking `.gz`."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def as_line(row: OutcomeRow) -> str:
    """Write one outcome as a line of a file."""
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
    }
    for name, value in optional.items():
        if value is not None:
            values[name] = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(values, ensure_ascii=False) + "\n"


def write_outcomes(path: Path, rows: Iterable[OutcomeRow]) -> None:
    """Write a file whole, one line a question; `.gz` is packed, the same rows to the same bytes.

    Raises:
        AvengersError: it cannot be written.

    """
    content = "".join(map(as_line, rows)).encode()
    try:
        write_whole(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except OSError as error:
        raise AvengersError(f"{path} cannot be written ({error.strerror}): choose another place") from error


def with_prompts(rows: Sequence[OutcomeRow], prompts: Mapping[str, str]) -> tuple[OutcomeRow, ...]:
    """Give rows without a prompt the one of their id.

    Raises:
        BadRequest: a row has no prompt and none is known.

    """
    if missing := [row.id for row in rows if row.prompt is None and row.id not in prompts]:
        raise BadRequest(
            f"outcome {missing[0]!r} and {len(missing) - 1} more have no prompt: name the question files they "
            f"came from with --questions"
        )
    return tuple(row if row.prompt is not None else replace(row, prompt=prompts[row.id]) for row in rows)


def joined(first: OutcomeRow, second: OutcomeRow) -> OutcomeRow:
    """Put what two rows of one question say of different members side by side."""

    def both(left: Mapping[str, _T] | None, right: Mapping[str, _T] | None) -> dict[str, _T] | None:
        return None if left is None and right is None else {**(left or {}), **(right or {})}

    return replace(
        first,
        scores={**first.scores, **second.scores},
        tokens=both(first.tokens, second.tokens),
        seconds=both(first.seconds, second.seconds),
        answers=both(first.answers, second.answers),
        texts=both(first.texts, second.texts),
    )


def _joined(first: OutcomeRow, second: OutcomeRow, there: str, here: str) -> OutcomeRow:
    if (first.prompt, first.dataset) != (second.prompt, second.dataset):
        raise VerificationFailed(
            f"{here}: {second.id!r} is another question than in {there}: give one of them another id"
        )
    _compare(first, second, there, here)
    return joined(first, second)


def _compare(first: OutcomeRow, second: OutcomeRow, there: str, here: str) -> None:
    for member in first.scores.keys() & second.scores.keys():
        if first.scores[member] != second.scores[member]:
            raise VerificationFailed(
                f"{here}: {member} has score {second.scores[member]:g} on a question that {there} gives "
                f"{first.scores[member]:g}: {_REMEDY}"
            )


def _refuse_contradictions(rows: Iterable[OutcomeRow], places: Mapping[str, str]) -> None:
    """Refuse two ids with the same prompt whose scores differ."""
    seen: dict[str, OutcomeRow] = {}
    for row in rows:
        if row.prompt is not None:
            first = seen.setdefault(row.prompt, row)
            if first is not row:
                _compare(first, row, places[first.id], places[row.id])


def _shared_members(rows: Iterable[OutcomeRow], places: Mapping[str, str]) -> list[str]:
    rows = list(rows)
    every = list(dict.fromkeys(member for row in rows for member in row.scores))
    shared = [member for member in every if all(member in row.scores for row in rows)]
    if not shared:
        raise BadRequest(
            "no model has a score on every question, so they cannot be compared: measure them on the same "
            "questions, or "
            "name models that share some with --members"
        )
    if len(shared) < len(every):
        row = next(row for row in rows if len(row.scores) < len(every))
        missing = next(member for member in every if member not in row.scores)
        raise BadRequest(
            f"{places[row.id]}: there is no score of {missing}: measure it, or leave the member out with "
            f"--members {','.join(shared)}"
        )
    return every


def _named(rows: Iterable[OutcomeRow], members: Sequence[str]) -> list[str]:
    known = dict.fromkeys(member for row in rows for member in row.scores)
    for member in members:
        if member not in known:
            raise NotFound(f"no outcome has a score of {member!r}: use {', '.join(list(known)[:12])}")
    if len(set(members)) < len(members) or not members:
        raise BadRequest(f"members are {', '.join(members) or 'none'}: name at least one, each once")
    return list(members)


def _cut_down(row: OutcomeRow, members: Sequence[str], where: str) -> OutcomeRow:
    if missing := [member for member in members if member not in row.scores]:
        raise BadRequest(
            f"{where}: there is no score of {missing[0]}: measure it, or leave the member out with --members"
        )

    def cut(values: Mapping[str, _T] | None) -> dict[str, _T] | None:
        return None if values is None else {member: values[member] for member in members if member in values}

    return replace(
        row,
        scores={member: row.scores[member] for member in members},
        tokens=cut(row.tokens),
        seconds=cut(row.seconds),
        answers=cut(row.answers),
        texts=cut(row.texts),
    )


# --- one line ---


def _parse(line: str, where: str) -> OutcomeRow:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        if not line.endswith("\n"):
            raise VerificationFailed(
                f"{where} is cut off: run the same `avengers calibrate measure` again, which mends it, or delete "
                f"the line"
            ) from error
        raise VerificationFailed(f"{where} is not JSON: {_REMEDY}") from error
    if not isinstance(values, dict):
        raise VerificationFailed(f"{where} is no JSON object: {_REMEDY}")
    for name in ("id", "dataset", "category"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise VerificationFailed(f"{where}: {name} is {_shown(values.get(name))}, not a text: {_REMEDY}")
    prompt, kind, group = values.get("prompt"), values.get("kind"), values.get("group")
    if not isinstance(prompt, str | None) or (prompt is not None and not _is_text(prompt)):
        raise VerificationFailed(f"{where}: prompt is {_shown(prompt)}, not a text: {_REMEDY}")
    if kind is not None and kind not in KINDS:
        raise VerificationFailed(f"{where}: kind is {_shown(kind)}, use one of {', '.join(KINDS)}")
    if not isinstance(group, str | None):
        raise VerificationFailed(f"{where}: group is {_shown(group)}, not a text: {_REMEDY}")
    if group is None and isinstance(values.get("rule_id"), str):  # KOR-Bench: ten questions share a rule
        group = f"{values['dataset']}/rule {values['rule_id']}"
    scores = _by_member(values, "scores", where, _score)
    if not scores:
        raise VerificationFailed(
            f"{where}: scores is {_shown(values.get('scores'))}, not a score for each model: {_REMEDY}"
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
    )


def _by_member(
    values: Mapping[str, Any], name: str, where: str, read: Callable[[object], _T | None]
) -> dict[str, _T] | None:
    said = values.get(name)
    if said is None:
        return None
    if not isinstance(said, dict):
        raise VerificationFailed(f"{where}: {name} is {_shown(said)}, not an object by model: {_REMEDY}")
    found: dict[str, _T] = {}
    for member, value in said.items():
        taken = read(value)
        if taken is None or not member:
            wanted = "use 0 to 1" if name == "scores" else _REMEDY
            raise VerificationFailed(f"{where}: {name} of {member!r} is {_shown(value)}: {wanted}")
        found[member] = taken
    return found


def _score(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None  # type: ignore[operator,arg-type]


def _amount(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value < math.inf else None  # type: ignore[operator,arg-type]


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


def _shown(value: object) -> str:
    return reprlib.repr(value)
