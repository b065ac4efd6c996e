"""The questions of a batch: JSON lines, each a question and how it is to be answered.

    {"prompt" or "question", "id"?, and what `Ask` has: "samples"?, "kind"?, "member"?, "max_tokens"?, ...}

What a line does not say is as the command's options say. A line without an id is known by its number. Question files
of `calibrate` can be asked too: their "answer_type" is the kind, and what else they say of a question is passed over.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Ask

_NUMBER = (int, float)
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "samples": (int,),
    "kind": (str,),
    "member": (str,),
    "system": (str,),
    "max_tokens": (int,),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "seed": (int,),
    "early_stop": (str,),
    "prefer": _NUMBER,
    "switch_below": _NUMBER,
    "top_k": (int,),
    "min_p": _NUMBER,
    "repeat_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "stop": (str, list),
    "grammar": (str,),
    "schema": (str, dict),
    "tests": (str,),
}
_OF_QUESTION_FILES = frozenset({"dataset", "category", "choices", "answer", "answer_type", "tests", "split", "meta"})


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `own_member` says that its line named one.

    `digest` tells its text from another one under the same id, `ask_digest` how it is asked from other ways.
    """

    id: str
    where: str
    prompt: str
    ask: Ask
    digest: str
    ask_digest: str
    own_member: bool = False


def read_items(lines: Iterable[tuple[str, str]], usual: Ask, team: str) -> tuple[Item, ...]:
    """Read all questions, so that a bad line is known before the first one is asked.

    Args:
        lines: where each line is ("FILE, line N"), and the line.
        usual: how to answer where a line does not say it.
        team: the name of the team that answers.

    Raises:
        VerificationFailed: a line is no question, or has an id that was there before; the message names the line.
        BadRequest: there is no line.

    """
    items: dict[str, Item] = {}
    for where, line in lines:
        try:
            item = _item(where, json.loads(line), usual, team)
        except (ValueError, TypeError, RecursionError, BadRequest) as error:
            reason = str(error) if isinstance(error, BadRequest | _Wrong) else f"it is not JSON ({error})"
            raise VerificationFailed(f"{where}: {reason}") from error
        if item.id in items:
            raise VerificationFailed(f"{where}: id {item.id!r} is that of {items[item.id].where} too: choose another")
        items[item.id] = item
    if not items:
        raise BadRequest('there are no questions: write one a line, as {"prompt": "..."}')
    return tuple(items.values())


class _Wrong(ValueError):
    """A line that is JSON and no question."""


def _item(where: str, row: object, usual: Ask, team: str) -> Item:
    if not isinstance(row, dict):
        raise _Wrong('it is not an object: write {"prompt": "..."}')
    texts = [row[name] for name in ("prompt", "question") if name in row]
    if len(texts) != 1 or not isinstance(texts[0], str) or not texts[0].strip():
        raise _Wrong("it needs one text, as prompt or as question")
    given = row.get("id")
    if not (given is None or (isinstance(given, str | int) and not isinstance(given, bool) and given != "")):
        raise _Wrong(f"its id is {given!r:.40}: use a text or a number")
    said = _said(row)
    number = where.rpartition(" ")[2]
    try:
        digest = _digest(texts[0])
    except UnicodeEncodeError as error:
        raise _Wrong("its text has half a character: write the whole one") from error
    ask = dataclasses.replace(usual, **said)
    return Item(
        id=f"line {number}" if given is None else str(given),
        where=where,
        prompt=texts[0],
        ask=ask,
        digest=digest,
        ask_digest=_digest(_told(ask, team)),
        own_member="member" in said,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told(ask: Ask, team: str) -> str:
    """Spell who is asked and how; what has its usual value is left out, so that options to come change nothing."""
    told = {each.name: getattr(ask, each.name) for each in dataclasses.fields(ask)}
    usual = {each.name: each.default for each in dataclasses.fields(ask)}
    return json.dumps({"team": team} | {name: said for name, said in told.items() if said != usual[name]})


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    from_question_file = "answer_type" in row
    passed_over = {"id", "prompt", "question", *(_OF_QUESTION_FILES if from_question_file else ())}
    said: dict[str, Any] = {"kind": row["answer_type"]} if from_question_file else {}
    for name, value in row.items():
        if name in passed_over or value is None:
            continue
        if name not in _FIELDS:
            raise _Wrong(f"unknown field {name!r:.40}: use {', '.join(_FIELDS)}")
        # bool is an int to Python, not to a user.
        if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
            raise _Wrong(f"{name} is {value!r:.40}, which is of the wrong type")
        said[name] = value
    if isinstance(said.get("stop"), str):
        said["stop"] = [said["stop"]]
    if "stop" in said:
        said["stop"] = tuple(said["stop"])
    if isinstance(said.get("schema"), dict):
        said["schema"] = json.dumps(said["schema"])
    return said
