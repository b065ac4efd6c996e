"""A conversation as a file that people or programs read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from avengers_edge.conversations.rows import facts_as_dict, facts_from_dict
from avengers_edge.conversations.values import Conversation, Facts, Turn, one_line, valid_unicode
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Vote

FORMAT = 1
_HEADING = tuple(field.name for field in dataclasses.fields(Conversation) if field.name != "turns")
_SPEAKERS = {"user": "You", "assistant": "Answer", "system": "System"}


def to_json(conversation: Conversation) -> str:
    """Write a conversation so that `from_json` reads it back."""
    return json.dumps({"format": FORMAT, **as_dict(conversation)}, indent=2, ensure_ascii=False) + "\n"


def as_dict(conversation: Conversation) -> dict[str, Any]:
    """Give a conversation as plain values; what answered stands in the turn itself."""
    turns = [
        {"role": turn.role, "content": turn.content, "complete": turn.complete}
        | (facts_as_dict(turn.facts) if turn.facts else {})
        for turn in conversation.turns
    ]
    return {field: getattr(conversation, field) for field in _HEADING} | {"turns": turns}


def from_json(text: str) -> Conversation:
    """Read what `to_json` wrote; the id is that of the file it came from.

    It may come from anybody: what is shown as one line has nothing in it that would steer a terminal, and no text has
    a lone surrogate.

    Raises:
        VerificationFailed: it is something else, or of a newer format.

    """
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            said = f"{values['format']!r:.40}"
            raise VerificationFailed(f"the conversation has format {said}, this avengers reads {FORMAT}: update it")
        heading = {field: values[field] for field in _HEADING}
        return _harmless(Conversation(**heading, turns=tuple(_turn(turn) for turn in values["turns"])))
    except (KeyError, TypeError, ValueError, RecursionError, BadRequest) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise VerificationFailed(f"this is no exported conversation ({reason}): export it again as JSON") from error


def to_markdown(conversation: Conversation) -> str:
    """Write a conversation for people."""
    parts = [f"# {conversation.title}", f"team {conversation.team} · {conversation.created[:16].replace('T', ' ')} UTC"]
    if conversation.system is not None:
        parts += ["## System", conversation.system]
    for turn in conversation.turns:
        parts += [f"## {_SPEAKERS[turn.role]}", turn.content.strip() or "…"]
        if not turn.complete:
            parts.append("*(stopped)*")
        if turn.facts is not None:
            parts.append(f"*{facts_line(turn.facts)}*")
    return "\n\n".join(parts) + "\n"


def facts_line(facts: Facts) -> str:
    """Write the quiet line under an answer."""
    parts = [facts.model]
    if facts.votes:
        parts.append(f"{facts.votes[0].count} of {sum(vote.count for vote in facts.votes)} votes")
    parts.append("1 sample" if facts.samples <= 1 else f"{facts.samples} samples")
    return " · ".join([*parts, f"{facts.seconds:.1f} s"])


def _turn(values: Any) -> Turn:  # noqa: ANN401
    facts = facts_from_dict(values) if "model" in values else None
    return Turn(values["role"], values["content"], facts, values["complete"])


def _harmless(said: Conversation) -> Conversation:
    return Conversation(
        said.id,
        title=_line(said.title),
        team=_line(said.team),
        system=None if said.system is None else valid_unicode(said.system),
        created=_line(said.created),
        updated=_line(said.updated),
        turns=tuple(map(_harmless_turn, said.turns)),
    )


def _harmless_turn(turn: Turn) -> Turn:
    facts = turn.facts
    if facts is not None:
        votes = tuple(Vote(_line(vote.key), vote.count) for vote in facts.votes)
        facts = dataclasses.replace(facts, model=_line(facts.model), votes=votes)
    return dataclasses.replace(turn, content=valid_unicode(turn.content), facts=facts)


def _line(text: str) -> str:
    return one_line(valid_unicode(text))
