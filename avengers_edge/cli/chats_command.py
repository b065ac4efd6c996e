"""The `chats` group: the conversations that are kept."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from avengers_edge._util.text import counted, cut
from avengers_edge.cli.completion import session_of
from avengers_edge.cli.question_input import as_text, read_text_file
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.shared_options import json_option
from avengers_edge.cli.terminal import bold, columns, dim, on_standard_output, write_out
from avengers_edge.errors import VerificationFailed

if TYPE_CHECKING:
    from avengers_edge.history.conversation_store import ConversationStore
    from avengers_edge.history.conversations import Format, SearchHit, Summary


_LONGEST_IMPORT = 256 * 2**20


def open_store(session: Session) -> ConversationStore:
    """Open the conversations of the session's home folder."""
    from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore

    return ConversationStore(session.settings().home / FILE_NAME)


def complete_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the ids of the newest conversations."""
    try:
        with open_store(session_of(context)) as store:
            recent = store.recent(50)
    except Exception:  # a shell would show the error in the middle of the user's line
        return []
    return [CompletionItem(str(each.id), help=each.title) for each in recent if str(each.id).startswith(incomplete)]


id_argument = click.argument("conversation", metavar="ID", type=int, shell_complete=complete_ids)

limit_option = click.option("-n", "--limit", type=click.IntRange(min=0), default=20, help="Number of conversations.")


@click.group()
def chats() -> None:
    """List, search, show, export and delete stored conversations."""


@chats.command("list")
@limit_option
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Number of newest conversations to skip.")
@json_option
@pass_session
def list_chats(session: Session, limit: int, offset: int, as_json: bool) -> None:
    """List the conversations, the newest first: id, time, turns, title.

    \b
      avengers chats list --limit 100
    """
    with open_store(session) as store:
        rows = store.recent(limit, offset)
        more = store.count() - offset - len(rows)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows]))
    for row in () if as_json else rows:
        click.echo(listed(row))
    if more > 0:
        click.echo(dim(f"{more} more: avengers chats list --offset {offset + len(rows)}"), err=True)
    elif not rows and not offset and not as_json:
        click.echo("no conversation is kept yet: begin one with `avengers chat`", err=True)


@chats.command()
@click.argument("words", nargs=-1, required=True)
@limit_option
@json_option
@pass_session
def search(session: Session, words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find conversations where one turn, or the title, has all WORDS; the last one may be a prefix.

    \b
      avengers chats search binary sear
    """
    with open_store(session) as store:
        found = store.search(as_text(" ".join(words), "the search"), limit + 1)
    hits = found[:limit]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(hit) for hit in hits]))
    else:
        for hit in hits:
            click.echo(f"{listed(hit.conversation)}\n{snippet(hit)}")
    if len(found) > limit:
        click.echo(dim(f"more than {limit} have these words: use more words, or a higher --limit"), err=True)
    elif not hits:
        click.echo("no conversation has all of these words", err=True)


@chats.command()
@id_argument
@json_option
@pass_session
def show(session: Session, conversation: int, as_json: bool) -> None:
    """Print a conversation.

    \b
      avengers chats show 12
    """
    from avengers_edge.history.conversations import to_json, to_markdown

    with open_store(session) as store:
        found = store.read(conversation)
    write_out(to_json(found) if as_json else to_markdown(found))


@chats.command()
@id_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "json"]),
    help="Format (default: that of --out's ending, else markdown).",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="File to write (default: standard output)."
)
@pass_session
def export(session: Session, conversation: int, form: Format | None, out: Path | None) -> None:
    """Write a conversation as Markdown for people, or as JSON for programs and for `avengers chats import`.

    \b
      avengers chats export 12 --out primes.md
      avengers chats export 12 --format json > primes.json
    """
    from avengers_edge._util.files import check_folder
    from avengers_edge.history.conversations import save, to_json, to_markdown

    with open_store(session) as store:
        found = store.read(conversation)
    if out is None or out == Path("-"):
        write_out(to_json(found) if form == "json" else to_markdown(found))
        return
    check_folder(out)
    save(out, found, form)
    click.echo(dim(f"{out} written"), err=True)


@chats.command("import")
@click.argument("file", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
@pass_session
def import_chats(session: Session, file: tuple[Path, ...], as_json: bool) -> None:
    """Store conversations that were exported as JSON, each under a new id.

    \b
      avengers chats import primes.json
    """
    from avengers_edge.history.conversations import from_json

    added = []
    with open_store(session) as store:
        for path in file:
            text = read_text_file(path, "a conversation", _LONGEST_IMPORT)
            try:
                added.append(store.add(from_json(text)))
            except VerificationFailed as error:
                raise VerificationFailed(f"{path}: {error}") from error
            click.echo(f"{path} is conversation {added[-1]}", err=True)
    if as_json:
        click.echo(json.dumps(added))


@chats.command()
@click.argument("conversation", metavar="ID...", type=int, nargs=-1, required=True, shell_complete=complete_ids)
@pass_session
def delete(session: Session, conversation: tuple[int, ...]) -> None:
    """Delete conversations for good: all of them, or none if one does not exist.

    \b
      avengers chats delete 12 13
    """
    with open_store(session) as store:
        store.delete(*conversation)
    click.echo(f"deleted: {', '.join(map(str, dict.fromkeys(conversation)))}", err=True)


@chats.command()
@id_argument
@click.argument("title", nargs=-1, required=True)
@pass_session
def rename(session: Session, conversation: int, title: tuple[str, ...]) -> None:
    """Change the title of a conversation to TITLE.

    \b
      avengers chats rename 12 "Prime numbers"
    """
    with open_store(session) as store:
        store.rename(conversation, as_text(" ".join(title), "the title"))


def listed(row: Summary) -> str:
    """Write a conversation as one line, cut to the width of the terminal; piped it is whole."""
    head = f"{row.id:>5}  {local_time(row.updated)}  {counted(row.turns, 'turn'):>9}  "
    if not on_standard_output():
        return head + row.title
    room = columns() - len(head)
    return head + cut(row.title, room) if room > 1 else cut(f"{row.id} {row.title}", columns())


def snippet(hit: SearchHit) -> str:
    """Write the text that was found, its words bold on a terminal."""
    text, parts, past = hit.snippet, [], 0
    for begin, end in hit.marks:
        parts += [text[past:begin], bold(text[begin:end])]
        past = end
    return "       " + "".join([*parts, text[past:]])


def local_time(said: str) -> str:
    """Write a time in the local time zone."""
    try:
        return datetime.fromisoformat(said).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # no such day, or a year that is out of range on some systems
        return said[:16].replace("T", " ")
