"""The prompt on a terminal: history and its search, emacs or vi keys, several lines, the user's editor, completion."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, emacs_mode, has_focus
from prompt_toolkit.history import History
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output

from avengers_edge._util.text import valid_unicode
from avengers_edge.cli.chat.commands import Known, completes, names
from avengers_edge.cli.chat.editor import edit
from avengers_edge.cli.chat.pasting import Pastes, paste_quickly
from avengers_edge.cli.chat.reader import is_open, unquoted
from avengers_edge.errors import AvengersError

PROMPT = "> "


class CommandCompleter(Completer):
    """Completes slash commands, and what follows them."""

    def __init__(self, known: Known) -> None:
        self._known, self._paths = known, PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Give what the text before the cursor can become."""
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
            with contextlib.suppress(AvengersError):  # whoever sends the line is told
                yield from (Completion(name, -len(begun)) for name in self._known(kind) if name.startswith(begun))


class TerminalReader:
    """Reads what the user types.

    Args:
        history: what was typed before.
        known: names members and teams for completion.
        tell: says a line to the user.
        ready: is called once, when the first prompt stands.
        vi: vi keys instead of emacs keys.
        source, sink: the terminal; None is the real one.

    """

    def __init__(
        self,
        history: History,
        known: Known,
        tell: Callable[[str], None],
        ready: Callable[[], None] = lambda: None,
        *,
        vi: bool = False,
        source: Input | None = None,
        sink: Output | None = None,
    ) -> None:
        self._pastes, self._tell = Pastes(), tell
        source = source or create_input()
        paste_quickly(source)
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
        self._ready = ready
        self._session.app.after_render += self._tell_ready

    def read(self, default: str = "") -> str:
        """Wait until something is sent.

        Raises:
            EOFError: Ctrl-D on an empty line, or the terminal is gone.

        """
        said = self._session.prompt(default=self._pastes.stand_in(default))
        whole = self._pastes.put_back(unquoted(said))
        valid = _decoded(whole)
        if valid != whole:
            self._tell("some of that was not UTF-8: it is replaced by \ufffd")
        return valid

    def _tell_ready(self, _: object) -> None:
        self._session.app.after_render -= self._tell_ready
        self._ready()

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        typing = has_focus(DEFAULT_BUFFER)  # and not searching

        @keys.add("enter", filter=typing & Condition(lambda: not is_open(get_app().current_buffer.text)))
        def send(event: KeyPressEvent) -> None:
            if event.current_buffer.complete_state and event.current_buffer.complete_state.current_completion:
                event.current_buffer.complete_state = None  # the chosen one is taken, not sent
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
            event.current_buffer.insert_text(self._pastes.stand_in(event.data))

        @keys.add("c-g", filter=typing)
        def edit_text(event: KeyPressEvent) -> None:
            event.app.create_background_task(self._edit_outside(event.current_buffer))

        return keys

    async def _edit_outside(self, buffer: Buffer) -> None:
        await run_in_terminal(lambda: self._edit(buffer), in_executor=True)

    def _edit(self, buffer: Buffer) -> None:
        try:
            text = edit(self._pastes.put_back(buffer.text))
        except AvengersError as error:
            self._tell(str(error))
        else:
            text = self._pastes.stand_in(text)
            buffer.document = Document(text, len(text))


def _decoded(text: str) -> str:
    """Put U+FFFD for bytes that were no UTF-8, which came as lone surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return valid_unicode(text)
