"""What is known of one thing, for people: a name and a value a line, in words, and nothing of what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from avengers_edge._util.text import human_bytes


def fact_lines(facts: Mapping[str, object]) -> Iterator[str]:
    """Write facts; those that are None or empty are left out, and a list begins on a line of its own."""
    known = {name.replace("_", " "): (name, value) for name, value in facts.items() if value not in (None, [])}
    width = max(map(len, known))
    for label, (name, value) in known.items():
        if isinstance(value, list):
            yield label
            yield from (f"  {each}" for each in value)
        else:
            yield f"{label:<{width}}  {_in_words(name, value)}"


def _in_words(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name.endswith("bytes"):
        return f"{human_bytes(value)} ({value})"
    return str(value)
