"""Outcomes: how every member did on every question, checked before anything is fitted to them or judged by them.

Outcome files are JSON lines, plain or gzipped; the lines of one question are joined.

    {"id", "dataset", "category", "prompt", "scores": {member: 0..1}}

`measure` adds "kind" and, by member, "tokens", "seconds", "answers" ([key, score] of each sample) and, if asked to,
"texts". Other fields are ignored, and dropped where `measure` goes on with the file. A line is decoded by msgspec into
an `OutcomeRow`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from avengers_edge._util.jsonl import numbered_lines, write_lines
from avengers_edge.errors import BadRequest, NotFound, VerificationFailed
from avengers_edge.records import Kind

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

# What msgspec checks where a row is read from a file.
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

Answers = tuple[tuple[str | None, _Share], ...]
"""A member's samples of one question: the answer key each votes for (None: no answer) and its score."""


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """How every member did on one question: scores 0 to 1, and, where measured, seconds, tokens, answers and texts.

    `agreement` is the winner's share where the one answer was elected, as by letters. A score is the mean over a
    member's samples. Rows with the same `group` (a shared rule, say) know of each other, so a split never parts them;
    without one it is the prompt that must not be on both sides.
    """

    id: _Text
    dataset: _Text
    category: _Text
    scores: Annotated[Mapping[_Text, float], msgspec.Meta(min_length=1)]
    seconds: Mapping[_Text, float] | None = None
    tokens: Mapping[_Text, float] | None = None
    kind: Kind | None = None
    prompt: str | None = None
    group: str | None = None
    answers: Mapping[_Text, Answers] | None = None
    texts: Mapping[_Text, tuple[str, ...]] | None = None
    agreement: Mapping[_Text, _Share] | None = None

    def __post_init__(self) -> None:
        if wrong := [name for name, score in self.scores.items() if not 0 <= score <= 1]:
            raise BadRequest(f"outcome {self.id!r}: {wrong[0]} has score {self.scores[wrong[0]]}, use 0 to 1")
        for measured in (self.seconds or {}, self.tokens or {}):
            if wrong := [name for name, value in measured.items() if not 0 <= value < float("inf")]:
                raise BadRequest(f"outcome {self.id!r}: {wrong[0]} took {measured[wrong[0]]}, use 0 or more")


def checked_members(
    vectors: Vectors, rows: Sequence[OutcomeRow], members: Sequence[str] | None, *, partly: bool = False
) -> list[str]:
    """Return the members, or those of the first row where None, once the vectors and all rows are known to suit.

    Args:
        vectors: (N, D), one a question.
        rows: the N outcomes, in the same order.
        members: whose scores every row must have.
        partly: a member need only have answered some of the questions.

    Raises:
        BadRequest: no rows, vectors that do not belong to them or are not finite, a member or a question named twice,
            a row without a score of every member.

    """
    if not rows:
        raise BadRequest("there are no outcomes: measure them with `avengers calibrate measure`")
    if vectors.ndim != 2 or len(vectors) != len(rows):
        raise BadRequest(f"vectors of shape {vectors.shape} do not belong to {len(rows)} outcomes")
    if not np.isfinite(vectors).all():
        raise BadRequest("a vector has a number that is not finite: embed the questions again")
    names = list(rows[0].scores if members is None else members)
    if not names or len(set(names)) != len(names):
        raise BadRequest(f"members are {', '.join(names) or 'none'}: name at least one, each once")
    seen = set()
    for row in rows:
        missing = [name for name in names if name not in row.scores]
        if missing and not partly:
            raise BadRequest(f"outcome {row.id!r} has no score of {missing[0]}: measure it, or leave the member out")
        if row.id in seen:
            raise BadRequest(f"outcome {row.id!r} occurs twice: name each file once")
        seen.add(row.id)
    if partly and (unknown := [name for name in names if not any(name in row.scores for row in rows)]):
        raise BadRequest(f"no outcome has a score of {unknown[0]}: measure it, or leave the member out")
    return names


def matrix(values: Iterable[Mapping[str, float]], members: Sequence[str]) -> Floats:
    """Put N mappings side by side as (N, M), the columns in the order of `members`; NaN where one has no value."""
    return np.array([[row.get(name, np.nan) for name in members] for row in values], dtype=np.float64)


def macro_accuracy(scores: Floats, rows: Sequence[OutcomeRow]) -> Floats:
    """Average (N, M) over the rows of each data set, then over data sets, shape (M,).

    A score that is NaN was not measured; a data set of which a member answered nothing counts as answered wrongly.
    """
    macro: Floats = np.mean([known_mean(scores[places]) for places in by_dataset(rows).values()], axis=0)
    return macro


def known_mean(scores: Floats) -> Floats:
    """Average the rows of (N, M) over those that were measured; 0 where none was."""
    known = ~np.isnan(scores)
    means: Floats = np.where(known, scores, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return means


def measured(
    values: Sequence[Mapping[str, float] | None], members: Sequence[str], *, partly: bool = False
) -> Floats | None:
    """Put measurements side by side as (N, M), or give None where a row or, unless `partly`, a member has none."""
    known = [row for row in values if row is not None and (partly or all(name in row for name in members))]
    return matrix(known, members) if len(known) == len(values) else None


def percent(share: float) -> float:
    """Turn a share into percent, to two places."""
    return round(100 * float(share), 2)


def by_dataset(rows: Sequence[OutcomeRow]) -> dict[str, list[int]]:
    """Return the places of each data set's rows, by the data sets' names."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.dataset, []).append(place)
    return dict(sorted(places.items()))


_T = TypeVar("_T")
_REMEDY = "mend the line or delete it"
_WRITTEN = (
    *("id", "dataset", "category", "prompt", "kind", "group"),
    *("scores", "tokens", "seconds", "answers", "texts", "agreement"),
)


class _Rule(msgspec.Struct):
    rule_id: object = None


_ROW_DECODER, _RULE_DECODER = msgspec.json.Decoder(OutcomeRow), msgspec.json.Decoder(_Rule)


def read_outcomes(
    paths: Sequence[Path],
    members: Sequence[str] | None = None,
    prompts: Mapping[str, str] | None = None,
    *,
    partly: bool = False,
) -> tuple[OutcomeRow, ...]:
    """Read outcome files and join the lines of each question.

    With `members`, rows are cut down to them; without, every row has to have the same ones, or with `partly` any. With
    `prompts`, by id, every row has one: its own or that one.

    Raises:
        NotFound: there is no such file, or no line has a member that is named.
        VerificationFailed: a line is not an outcome, is cut off, or contradicts another; the message names the line.
        BadRequest: the rows do not share their members, or there are none, or a prompt is not known.

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
            f"there are no outcomes in {', '.join(map(str, paths)) or 'no file'}: "
            "measure some with `avengers calibrate measure`"
        )
    if prompts is not None:
        rows = {row.id: row for row in with_prompts(tuple(rows.values()), prompts)}
    _refuse_contradictions(rows.values(), places)
    if partly:
        return tuple(rows.values())
    files = ", ".join(map(str, paths))
    chosen = _shared_members(rows.values(), places) if members is None else _named(rows.values(), members, files)
    return tuple(_cut_down(row, chosen, places[row.id]) for row in rows.values())


def read_lines(path: Path) -> Iterator[tuple[str, OutcomeRow]]:
    """Read one file line by line, as it stands; yield where each outcome is and the outcome.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: a line is not an outcome, or the file cannot be read.

    """
    for where, line in numbered_lines(path, "outcome file", "measure one with `avengers calibrate measure`"):
        yield where, _parse(line, where)


def write_outcomes(path: Path, rows: Iterable[OutcomeRow]) -> None:
    """Write a file whole, one line a question; see `jsonl.write_lines`."""
    write_lines(path, map(as_values, rows))


def as_values(row: OutcomeRow) -> dict[str, Any]:
    """Turn an outcome into the fields of its line; what was not measured is left out."""
    values = ((name, getattr(row, name)) for name in _WRITTEN)
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values if value is not None}


def _parse(line: str, where: str) -> OutcomeRow:
    try:
        row = _ROW_DECODER.decode(line)
        if row.group is None and isinstance(rule := _RULE_DECODER.decode(line).rule_id, str):
            return replace(row, group=f"{row.dataset}/rule {rule}")  # KOR-Bench: ten questions share a rule
    except (msgspec.MsgspecError, RecursionError, BadRequest) as error:
        if not line.endswith("\n") and not _is_json(line):
            raise VerificationFailed(
                f"{where} is cut off: run the same `avengers calibrate measure` again, which mends it, or delete "
                f"the line"
            ) from error
        raise VerificationFailed(f"{where}: {error}: {_REMEDY}") from error
    return row


def _is_json(line: str) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def add(rows: dict[str, OutcomeRow], row: OutcomeRow) -> None:
    """Put a row beside what others said of the same question."""
    rows[row.id] = joined(rows[row.id], row) if row.id in rows else row


def restricted(row: OutcomeRow, members: Collection[str]) -> OutcomeRow:
    """Keep what a row says of these members, in their order."""

    def cut(values: Mapping[str, _T] | None) -> dict[str, _T] | None:
        return None if values is None else {member: values[member] for member in members if member in values}

    return replace(
        row,
        scores=cut(row.scores) or {},
        tokens=cut(row.tokens),
        seconds=cut(row.seconds),
        answers=cut(row.answers),
        texts=cut(row.texts),
        agreement=cut(row.agreement),
    )


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
        prompt=first.prompt if second.prompt is None else second.prompt,
        group=first.group if second.group is None else second.group,
        scores={**first.scores, **second.scores},
        tokens=both(first.tokens, second.tokens),
        seconds=both(first.seconds, second.seconds),
        answers=both(first.answers, second.answers),
        texts=both(first.texts, second.texts),
        agreement=both(first.agreement, second.agreement),
    )


def _joined(first: OutcomeRow, second: OutcomeRow, there: str, here: str) -> OutcomeRow:
    prompts = {first.prompt, second.prompt} - {None}
    if len(prompts) > 1 or first.dataset != second.dataset:
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
            f"{next(iter(places.values()))} and others: no model has a score on every question, so they cannot be "
            "compared: measure them on the same questions, or name models that share some with --members"
        )
    if len(shared) < len(every):
        row = next(row for row in rows if len(row.scores) < len(every))
        missing = next(member for member in every if member not in row.scores)
        raise BadRequest(
            f"{places[row.id]}: there is no score of {missing}: measure it, or leave the member out with "
            f"--members {','.join(shared)}"
        )
    return every


def _named(rows: Iterable[OutcomeRow], members: Sequence[str], files: str) -> list[str]:
    known = dict.fromkeys(member for row in rows for member in row.scores)
    for member in members:
        if member not in known:
            raise NotFound(f"{files}: no outcome has a score of {member!r}: use {', '.join(list(known)[:12])}")
    if len(set(members)) < len(members) or not members:
        raise BadRequest(f"members are {', '.join(members) or 'none'}: name at least one, each once")
    return list(members)


def _cut_down(row: OutcomeRow, members: Sequence[str], where: str) -> OutcomeRow:
    if missing := [member for member in members if member not in row.scores]:
        raise BadRequest(
            f"{where}: there is no score of {missing[0]}: measure it, or leave the member out with --members"
        )
    return restricted(row, members)
