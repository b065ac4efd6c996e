"""The prompt on a terminal: history, emacs or vi keys, several lines, pastes, an editor, completion."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, emacs_mode, has_focus
from prompt_toolkit.history import History
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output

from avengers_edge._util.files import write_whole
from avengers_edge._util.text import valid_unicode
from avengers_edge.cli.chat.chat_loop import is_open, unquoted
from avengers_edge.cli.chat.slash_commands import Known, completes, names
from avengers_edge.errors import AvengersError

LONG = 4_000
"""Characters above which a paste is not drawn: redrawing it would make every key slow."""

PLACEHOLDER = re.compile(r"\[paste (\d{1,9}): (\d{1,12}) characters, \d+ lines\]")
_END = "\x1b[201~"


class Pastes:
    """The long pastes of one session: a placeholder on the line, the text in its place when it is sent or edited."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def shorten(self, text: str) -> str:
        """Keep a long text, and return its placeholder; a short one is returned as it is."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if len(text) <= LONG:
            return text
        self._texts.append(text)
        return f"[paste {len(self._texts)}: {len(text)} characters, {text.count(chr(10)) + 1} lines]"

    def expand(self, line: str) -> str:

        def text_of(found: re.Match[str]) -> str:
            number, length = int(found[1]), int(found[2])
            text = self._texts[number - 1] if 1 <= number <= len(self._texts) else ""
            return text if len(text) == length else found[0]

        return PLACEHOLDER.sub(text_of, line)


class PasteParser(Vt100Parser):
    """Collects a long paste in linear time: its base class searches all of the paste again for every piece."""

    _pieces: list[str]

    def feed(self, data: str) -> None:
        if not self._in_bracketed_paste:
            super().feed(data)
            return
        if self._paste_buffer or not hasattr(self, "_pieces"):
            self._pieces, self._paste_buffer = [self._paste_buffer], ""
        tail = self._pieces[-1][-len(_END) :] if self._pieces else ""  # the end mark may be cut in two
        self._pieces.append(data)
        if _END in tail + data:
            pasted, _, rest = "".join(self._pieces).partition(_END)
            self._pieces, self._in_bracketed_paste = [], False
            self.feed_key_callback(KeyPress(Keys.BracketedPaste, pasted))
            self.feed(rest)


def edit(text: str) -> str:
    """Have a text edited in $VISUAL or $EDITOR, and return it without the line end that editors add."""
    try:
        edited = click.edit(text.encode("utf-8", "replace"), require_save=False, extension=".md")
    except (click.ClickException, OSError, ValueError) as error:
        reason = error.message if isinstance(error, click.ClickException) else error
        raise AvengersError(f"{reason}: set VISUAL or EDITOR; the text is as it was") from error
    return (edited or b"").decode("utf-8", "replace").removesuffix("\n")


HISTORY_FILE = "chat_history"
_LONGEST_ENTRY = 20_000
_MOST_BYTES = 2**20


class InputHistory(History):
    """Earlier input, for Ctrl-R and the up arrow: JSON texts, one a line, the newest last, in one private file.

    Several chats may add to it at once. A damaged file only makes less to search. `keep` False reads it only.
    """

    def __init__(self, path: Path, *, keep: bool = True) -> None:
        super().__init__()
        self._path, self._keep = path, keep

    def load_history_strings(self) -> Iterable[str]:
        """Yield the entries, the newest first; of a file that has grown too long the oldest are dropped."""
        lines: list[bytes] = []
        with contextlib.suppress(OSError):
            content = self._path.read_bytes()
            lines = content[-_MOST_BYTES:].split(b"\n")  # the first of which may be cut
            if len(content) > 2 * _MOST_BYTES and self._keep:
                write_whole(self._path, b"\n".join(lines[1:]), 0o600)
        for line in reversed(lines):
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, str):
                    yield entry

    def store_string(self, string: str) -> None:
        """Add an entry, unless it is very long or holds a long paste."""
        if not self._keep or len(string) > _LONGEST_ENTRY or PLACEHOLDER.search(string):
            return
        line = json.dumps(valid_unicode(string), ensure_ascii=False).encode() + b"\n"
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            with open(descriptor, "ab") as file:  # noqa: PTH123 - it is open already
                file.write(line)


PROMPT = "> "


class CommandCompleter(Completer):
    """Completes slash commands and their arguments."""

    def __init__(self, known: Known) -> None:
        self._known, self._paths = known, PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        for command in names(before):
            yield Completion(f"/{command.name}", -len(before), display=command.usage, display_meta=command.does)
        following = completes(before)
        if following is None:
            return
        kind, begun = following
        if kind == "files":
            yield from self._paths.get_completions(Document(begun), complete_event)
        elif kind != "nothing":
            with contextlib.suppress(AvengersError):  # sending the line reports it
                yield from (Completion(name, -len(begun)) for name in self._known(kind) if name.startswith(begun))


class TerminalReader:
    """Reads what the user types.

    `known` returns names for completion, `say` shows a line, `on_ready` is called once, when the first prompt stands.
    `source` and `sink` are the terminal; None is the real one.
    """

    def __init__(
        self,
        history: History,
        known: Known,
        say: Callable[[str], None],
        on_ready: Callable[[], None] = lambda: None,
        *,
        vi: bool = False,
        source: Input | None = None,
        sink: Output | None = None,
    ) -> None:
        self._pastes, self._say = Pastes(), say
        source = source or create_input()
        parser = getattr(source, "vt100_parser", None)
        if isinstance(parser, Vt100Parser):  # a POSIX terminal
            source.vt100_parser = PasteParser(parser.feed_key_callback)  # type: ignore[attr-defined]
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=lambda *_: " " * len(PROMPT),
            history=history,
            editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
            key_bindings=self._keys(),
            completer=CommandCompleter(known),
            complete_while_typing=Condition(lambda: get_app().current_buffer.text.startswith("/")),
            complete_in_thread=True,
            enable_open_in_editor=False,
            reserve_space_for_menu=4,
            input=source,
            output=sink,
        )
        self._on_ready = on_ready
        self._session.app.after_render += self._report_ready

    def read(self, default: str = "") -> str:
        """Wait until something is sent; `EOFError` is Ctrl-D on an empty line, or a terminal that is gone."""
        said = self._session.prompt(default=self._pastes.shorten(default))
        text = self._pastes.expand(unquoted(said))
        valid = _decoded(text)
        if valid != text:
            self._say("some of that was not UTF-8: it is replaced by \ufffd")
        return valid

    def _report_ready(self, _: object) -> None:
        self._session.app.after_render -= self._report_ready
        self._on_ready()

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        typing = has_focus(DEFAULT_BUFFER)  # not in a search

        @keys.add("enter", filter=typing & Condition(lambda: not is_open(get_app().current_buffer.text)))
        def send(event: KeyPressEvent) -> None:
            if event.current_buffer.complete_state and event.current_buffer.complete_state.current_completion:
                event.current_buffer.complete_state = None  # accept the completion, send nothing
                return
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter", filter=typing & emacs_mode)
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c", filter=typing)
        @keys.add(Keys.SIGINT)
        def clear(event: KeyPressEvent) -> None:
            event.current_buffer.reset()

        @keys.add(Keys.BracketedPaste, filter=typing)
        def paste(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(self._pastes.shorten(event.data))

        @keys.add("c-g", filter=typing)
        def edit_text(event: KeyPressEvent) -> None:
            run_in_terminal(lambda: self._edit(event.current_buffer), in_executor=True)

        return keys

    def _edit(self, buffer: Buffer) -> None:
        try:
            text = edit(self._pastes.expand(buffer.text))
        except AvengersError as error:
            self._say(str(error))
        else:
            text = self._pastes.shorten(text)
            buffer.document = Document(text, len(text))


def _decoded(text: str) -> str:
    """Replace bytes that were not UTF-8, which came as lone surrogates, by U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return valid_unicode(text)
