"""The tables of the conversations' file, and how a file of an older version becomes one of this version.

`PRAGMA user_version` counts the steps that were taken. The full-text index stands outside of them, because not every
SQLite can make one: `turns.indexed` says which turns are in it, and it is kept by triggers that each connection makes
for itself, so that a file is never of use to only one build. A build without FTS5 leaves word in `words.behind`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from avengers_edge.conversations.trouble import damaged
from avengers_edge.errors import VerificationFailed

APPLICATION_ID = 0x41564743  # "AVGC"

STEPS: tuple[tuple[str, ...], ...] = (
    (
        # `touched` counts the writes, so that the newest is the newest whatever the clock was set to.
        """CREATE TABLE conversations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT,
            team TEXT NOT NULL,
            system TEXT,
            created TEXT NOT NULL,
            updated TEXT NOT NULL,
            touched INTEGER NOT NULL
        )""",
        "CREATE INDEX conversations_by_touch ON conversations (touched)",
        """CREATE TABLE turns (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            role TEXT NOT NULL,
            facts TEXT,
            complete INTEGER NOT NULL,
            indexed INTEGER NOT NULL,
            content TEXT NOT NULL
        )""",
        "CREATE INDEX turns_of_conversation ON turns (conversation)",
        "CREATE INDEX turns_to_index ON turns (conversation) WHERE NOT indexed",
        "CREATE TABLE words (behind INTEGER NOT NULL)",
        "INSERT INTO words VALUES (0)",
    ),
)
"""What leads from each version to the next."""

_INDEX = """CREATE VIRTUAL TABLE IF NOT EXISTS turn_words USING fts5(
    content, content = 'turns', content_rowid = 'id', prefix = '2 3', tokenize = 'unicode61 remove_diacritics 2'
)"""
_TAKE_IN = "INSERT INTO turn_words (rowid, content) VALUES (new.id, new.content)"
_TAKE_OUT = "INSERT INTO turn_words (turn_words, rowid, content) VALUES ('delete', old.id, old.content)"
_KEEP_INDEX = (
    f"CREATE TEMP TRIGGER word_in AFTER INSERT ON turns WHEN new.indexed BEGIN {_TAKE_IN}; END",
    f"CREATE TEMP TRIGGER word_out AFTER DELETE ON turns WHEN old.indexed BEGIN {_TAKE_OUT}; END",
    # Of two triggers for one event the order is not said: one takes out and puts in.
    f"""CREATE TEMP TRIGGER word_anew AFTER UPDATE OF content, indexed ON turns WHEN old.indexed AND new.indexed
        BEGIN {_TAKE_OUT}; {_TAKE_IN}; END""",
    f"""CREATE TEMP TRIGGER word_late AFTER UPDATE OF content, indexed ON turns WHEN new.indexed AND NOT old.indexed
        BEGIN {_TAKE_IN}; END""",
    f"""CREATE TEMP TRIGGER word_back AFTER UPDATE OF content, indexed ON turns WHEN old.indexed AND NOT new.indexed
        BEGIN {_TAKE_OUT}; END""",
)
_NOTE_LACK = (
    """CREATE TEMP TRIGGER word_out AFTER DELETE ON turns WHEN old.indexed
        BEGIN UPDATE words SET behind = 1; END""",
    """CREATE TEMP TRIGGER word_anew AFTER UPDATE OF content, indexed ON turns WHEN old.indexed
        BEGIN UPDATE words SET behind = 1; END""",
)


def has_fts5(connection: sqlite3.Connection) -> bool:
    """Tell whether this SQLite can make a full-text index."""
    return bool(connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone())


def refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that a newer version wrote.

    Raises:
        VerificationFailed: it is one.

    """
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    if application == APPLICATION_ID and version > len(STEPS):
        raise VerificationFailed(
            f"the conversations in {path} were written by a newer avengers (format {version}, this one reads up to "
            f"{len(STEPS)}): update it, or choose another home with --home"
        )


def is_current(connection: sqlite3.Connection, path: Path) -> bool:
    """Tell whether the tables are there and of this version.

    Raises:
        VerificationFailed: a newer version wrote the file, or another program did.

    """
    refuse_newer(connection, path)
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    if application != APPLICATION_ID and (application or version or tables):
        raise VerificationFailed(
            f"{path} is another program's SQLite file, and is left alone: move it away or choose another home"
        )
    if version < 0 or bool(version) != bool(tables):
        raise damaged(path, "its tables are gone")
    return bool(application == APPLICATION_ID and version == len(STEPS))


def bring_up(connection: sqlite3.Connection) -> None:
    """Take the steps that are missing; the caller holds a transaction, so that all of them are taken or none."""
    ((version,),) = connection.execute("PRAGMA user_version")
    for step in STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    if has_fts5(connection):
        connection.execute(_INDEX)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")


def lacks_index(connection: sqlite3.Connection) -> bool:
    """Tell whether a build without FTS5 made the file."""
    return not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'turn_words'").fetchone()


def keep_words(connection: sqlite3.Connection, *, indexed: bool) -> None:
    """Have this connection keep the full-text index as turns come, change and go, or note that it could not."""
    for trigger in _KEEP_INDEX if indexed else _NOTE_LACK:
        connection.execute(trigger)
