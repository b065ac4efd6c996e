"""What a model thought and what it said, told apart while the text is still being written; see `split_thoughts`."""

from __future__ import annotations

import re

from avengers_edge.voting.markers import split_thoughts

_TAG = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
_TAGS = ("<think>", "</think>", "<thinking>", "</thinking>")


def said_in(text: str) -> str:
    """Give a text without its thoughts; "" where it is a thought and nothing else."""
    said, _ = split_thoughts(text)
    return text if said == text else said.strip()


class ThoughtSplitter:
    """Takes a text piece by piece; whatever could still become a tag is held back.

    The end of a thought that nothing began makes a thought of what was given as said before; the engine writes the
    beginning where a template does.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking, self._has_thought, self._has_said = False, False, False

    def push(self, piece: str) -> tuple[str, str]:
        """Take the next piece; give what is certainly said and what is certainly thought."""
        text, said, thought, place = self._held + piece, "", "", 0
        for tag in _TAG.finditer(text):
            said, thought = self._add(text[place : tag.start()], said, thought)
            self._thinking, place = tag[0][1] != "/", tag.end()
        sure = len(text) - _half_tag(text[place:])
        self._held = text[sure:]
        return self._add(text[place:sure], said, thought)

    def close(self) -> str:
        """Take the end of the text; give what was held back and is said."""
        held, self._held = self._held, ""
        return self._add(held, "", "")[0]

    def _add(self, part: str, said: str, thought: str) -> tuple[str, str]:
        if self._thinking:
            self._has_thought = True
            return said, thought + part
        if self._has_thought and not self._has_said:
            part = part.lstrip()  # the white space between a thought and the answer
        self._has_said = self._has_said or bool(part.strip())
        return said + part, thought


def _half_tag(text: str) -> int:
    """Measure the longest tail of a text that is the beginning of a tag."""
    start = text.rfind("<", -max(map(len, _TAGS)))
    tail = text[start:].lower()
    return len(tail) if start >= 0 and any(tag.startswith(tail) for tag in _TAGS) else 0
