"""How a question, what is piped in and attached files become one text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from avengers_edge.records import Kind

LONG = 4_000
"""Characters of material after which the question is put once more: small models forget what stood before it."""


_ATTACHED = re.compile(r"\n\n[^\n]+:\n(?=```)")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file that goes with a question."""

    name: str
    text: str


def joined(prompt: str | None, piped: str | None = None, attachments: Sequence[Attachment] = ()) -> str:
    """Put the question first, then what was piped, then each file under its name in a fence of its own.

    A pipe or a single file without anything else is the question itself, as it stands.
    """
    material = [piped.rstrip()] if piped and piped.strip() else []
    if prompt is None and not material and len(attachments) == 1:
        return attachments[0].text.rstrip()
    material += [_fenced(attachment) for attachment in attachments]
    parts = material if prompt is None else [prompt, *material]
    if prompt is not None and sum(map(len, material)) > LONG:
        parts.append(prompt)
    return "\n\n".join(parts)


def kind_beside(prompt: str, whole: str) -> Kind:
    """Say what an answer is where a question comes with material.

    The question decides; where it sounds like free text the material may hold what is really asked ("Solve this:").
    That a file is a program does not make the question one for a program, unless it is to be mended.
    """
    from avengers_edge.voting.kinds import infer_kind  # only here: a chat's prompt would wait for it

    kind = infer_kind(prompt)
    if kind != "text" or len(whole) - len(prompt) > LONG:
        return kind
    guessed = infer_kind(whole)
    return infer_kind(f"{prompt}\n```\n```") if guessed == "code" else guessed


def kind_joined(text: str) -> Kind | None:
    """Say what an answer is to a text that `joined` made of a question and files; None where it has no such form.

    It goes by the text alone, so that a question that is taken back, kept or read again is asked as it was before.
    """
    found = _ATTACHED.search(text)
    return kind_beside(text[: found.start()], text) if found else None


def _fenced(attachment: Attachment) -> str:
    text = attachment.text.rstrip()
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{attachment.name}:\n{fence}\n{text}\n{fence}"
