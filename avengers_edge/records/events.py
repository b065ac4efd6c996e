"""What happens while a question is answered: the values that `runtime.run` yields.

`Routed` comes first and `Finished` last; for each model asked `Loading` where it has to be loaded, then `Token` and
`Progress` in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from avengers_edge.records.results import Answer, Route, Vote


@dataclass(frozen=True, slots=True)
class Routed:
    """Who is asked, and why; the first event."""

    route: Route


@dataclass(frozen=True, slots=True)
class Loading:
    """A model is being loaded, which takes seconds; the first time of all it is measured as well."""

    model: str


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of a sample's text; all pieces of a sample together are its text.

    `sample` is the sample's place among all of the question. `voted` says that it is one of several that are voted on,
    so that another one may become the answer. Programs and letters, which are no answers by themselves, have no tokens.
    """

    text: str
    sample: int = 0
    voted: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """A vote or a program under way: samples ended out of those asked for, the answer that leads, who is asked."""

    finished: int
    samples: int
    leader: Vote | None
    member: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer; the last event."""

    answer: Answer


Event: TypeAlias = Routed | Loading | Token | Progress | Finished
