"""Long pastes: a short stand-in on the line, the text itself put in its place when it is sent or edited."""

from __future__ import annotations

import re

from prompt_toolkit.input import Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys

LONG = 4_000
"""Characters, from which on a paste is not drawn: redrawing it would make every key slow."""

STAND_IN = re.compile(r"\[paste (\d{1,9}): (\d{1,12}) characters, \d+ lines\]")
_END = "\x1b[201~"


class Pastes:
    """The long pastes of one session."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def stand_in(self, text: str) -> str:
        """Keep a pasted text, and give what stands for it where it is long."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if len(text) <= LONG:
            return text
        self._texts.append(text)
        return f"[paste {len(self._texts)}: {len(text)} characters, {text.count(chr(10)) + 1} lines]"

    def put_back(self, line: str) -> str:
        """Put the texts in the place of what stands for them."""

        def text_of(found: re.Match[str]) -> str:
            number = int(found[1])
            if 1 <= number <= len(self._texts) and len(self._texts[number - 1]) == int(found[2]):
                return self._texts[number - 1]
            return found[0]

        return STAND_IN.sub(text_of, line)


class PasteParser(Vt100Parser):
    """Gathers a paste in pieces: the parser it is made of looks through all of it again for every piece."""

    _pieces: list[str]

    def feed(self, data: str) -> None:
        """Hear the next piece of what the terminal sends."""
        if not self._in_bracketed_paste:
            super().feed(data)
            return
        if self._paste_buffer or not hasattr(self, "_pieces"):
            self._pieces, self._paste_buffer = [self._paste_buffer], ""
        # The end mark may be cut in two.
        tail = self._pieces[-1][-len(_END) :] if self._pieces else ""
        self._pieces.append(data)
        if _END not in tail + data:
            return
        pasted, _, rest = "".join(self._pieces).partition(_END)
        self._pieces, self._in_bracketed_paste = [], False
        self.feed_key_callback(KeyPress(Keys.BracketedPaste, pasted))
        self.feed(rest)


def paste_quickly(source: Input) -> None:
    """Have an input of a POSIX terminal gather long pastes quickly; others are left as they are."""
    parser = getattr(source, "vt100_parser", None)
    if isinstance(parser, Vt100Parser):
        source.vt100_parser = PasteParser(parser.feed_key_callback)  # type: ignore[attr-defined]
