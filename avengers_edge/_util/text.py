"""Text for people: sizes and counts in words, valid Unicode, and lines that fit a terminal."""

from __future__ import annotations

import unicodedata


def human_bytes(count: int) -> str:
    """Write a size for people, in decimal units as disks are sold."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """Write how many there are of something: "1 member", "2 members"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def valid_unicode(text: str) -> str:
    """Replace lone surrogates, which no file can hold, by U+FFFD; a pair of them becomes the character it encodes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """Return a text as one line, without control characters that would steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def columns(text: str) -> int:
    """Count the columns that a line takes on a terminal."""
    return sum(map(_width, text))


def cut(text: str, most: int) -> str:
    """Cut a line at that many columns; the last one is an ellipsis where something was cut off."""
    if columns(text) <= most:
        return text
    room, kept = most - 1, []
    for letter in text:
        room -= _width(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + "…"


def shorten(text: str, most: int) -> str:
    """Cut a line at that many columns between its parts (" · "), else between words unless half of it would be lost."""
    if columns(text) <= most:
        return text
    for gap, least in ((" · ", 1), (" ", max(1, most // 2))):
        kept = text
        while kept and columns(kept) > most - 2:
            kept = kept.rpartition(gap)[0]
        if columns(kept) >= least:
            return f"{kept} …"
    return cut(text, most)


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
