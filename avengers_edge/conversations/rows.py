"""Rows of the file and our values, each made of the other; a row that cannot be one says that the file is damaged."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from avengers_edge.conversations.values import (
    UNTITLED,
    Conversation,
    Facts,
    Listed,
    Turn,
    timestamp,
    title_of,
    valid_unicode,
)
from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.records import Vote

LISTED = (
    f"SELECT id, coalesce(title, '{UNTITLED}'), team, created, updated, "
    "(SELECT count(*) FROM turns WHERE conversation = conversations.id) FROM conversations"
)


def read_conversation(connection: sqlite3.Connection, conversation: int) -> Conversation | None:
    """Read a conversation with all its turns."""
    heading = read_heading(connection, conversation)
    return heading and dataclasses.replace(heading, turns=read_turns(connection, conversation))


def read_heading(connection: sqlite3.Connection, conversation: int) -> Conversation | None:
    """Read a conversation without its turns."""
    row = connection.execute(
        f"SELECT id, coalesce(title, '{UNTITLED}'), team, system, created, updated FROM conversations WHERE id = ?",
        (conversation,),
    ).fetchone()
    if row is None:
        return None
    with _believed():
        id_, title, team, system, created, updated = row
        return Conversation(id_, title, team, system, created, updated, ())


def read_turns(
    connection: sqlite3.Connection, conversation: int, first: int = 0, last: int = 2**63 - 1
) -> tuple[Turn, ...]:
    """Read a conversation's turns, oldest first; only those whose id is `first` to `last`."""
    rows = connection.execute(
        "SELECT role, content, facts, complete FROM turns WHERE conversation = ? AND id BETWEEN ? AND ? ORDER BY id",
        (conversation, first, last),
    )
    return tuple(_turn(*row) for row in rows)


def read_listed(row: tuple[Any, ...] | None) -> Listed:
    """Make a value of a row of `LISTED`."""
    try:
        return Listed(*(row or ()))  # of a damaged file, an index may name what is not there
    except (BadRequest, TypeError) as error:
        raise _disbelief(error) from error


def insert_turn(connection: sqlite3.Connection, conversation: int, turn: Turn, *, indexed: bool) -> int:
    """Add a turn to a conversation, whose title it gives where it is the first question; return its id.

    Raises:
        NotFound: the conversation is not there, any more.

    """
    touch(connection, conversation)
    content = valid_unicode(turn.content)
    if turn.role == "user":
        title = (title_of(content), conversation)
        connection.execute("UPDATE conversations SET title = ? WHERE id = ? AND title IS NULL", title)
    added = connection.execute(
        "INSERT INTO turns (conversation, role, content, facts, complete, indexed) VALUES (?, ?, ?, ?, ?, ?)",
        (conversation, turn.role, content, facts_as_json(turn.facts), turn.complete, indexed),
    )
    assert added.lastrowid is not None
    return added.lastrowid


def touch(connection: sqlite3.Connection, conversation: int) -> None:
    """Make a conversation the one that was written last.

    Raises:
        NotFound: it is not there, any more.

    """
    done = connection.execute(
        "UPDATE conversations SET updated = ?, touched = (SELECT max(touched) + 1 FROM conversations) WHERE id = ?",
        (timestamp(), conversation),
    )
    if not done.rowcount:
        raise missing(conversation)


def missing(conversation: int) -> NotFound:
    """Say that there is no such conversation."""
    return NotFound(f"there is no conversation {conversation}: see `avengers chats list`")


def facts_as_json(facts: Facts | None) -> str | None:
    """Write what answered."""
    return None if facts is None else json.dumps(facts_as_dict(facts))


def facts_as_dict(facts: Facts) -> dict[str, Any]:
    """Give what answered as plain values."""
    votes = [[vote.key, vote.count] for vote in facts.votes]
    return {"model": facts.model, "votes": votes, "samples": facts.samples, "seconds": facts.seconds}


def facts_from_dict(values: Any) -> Facts:  # noqa: ANN401
    """Read what answered.

    Raises:
        ValueError: these are no facts of ours.

    """
    try:
        votes = tuple(Vote(key, count) for key, count in values["votes"])
        return Facts(values["model"], votes, values["samples"], values["seconds"])
    except (KeyError, TypeError, ValueError, BadRequest) as error:
        raise ValueError(f"what answered is not said as it should be: {error}") from error


@contextlib.contextmanager
def _believed() -> Iterator[None]:
    """Have what no value of ours can be made of count as damage to the file."""
    try:
        yield
    except (BadRequest, TypeError, ValueError, RecursionError) as error:
        raise _disbelief(error) from error


def _disbelief(error: Exception) -> sqlite3.Error:
    return sqlite3.DatabaseError(f"a row is not one of ours: {error}")


def _turn(role: Any, content: Any, facts: Any, complete: Any) -> Turn:  # noqa: ANN401
    with _believed():
        return Turn(role, content, None if facts is None else facts_from_dict(json.loads(facts)), bool(complete))
