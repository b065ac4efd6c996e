"""The vote while it is being held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from avengers_edge.errors import BadRequest
from avengers_edge.records import Completion, EarlyStop, Kind, Vote
from avengers_edge.voting.keys import answer_key
from avengers_edge.voting.stopping import is_decided
from avengers_edge.voting.tally import tally, winner


class Ballot:
    """Collects the samples of one request as they finish, in any order; used from one thread.

    Free text has no majority, so it is decided only when every sample is in.
    """

    def __init__(self, kind: Kind, n: int, rule: EarlyStop = "exact", choices: Sequence[str] | None = None) -> None:
        if n < 1:
            raise BadRequest(f"a vote over {n} samples was asked for: use 1 or more")
        self._kind: Kind = kind
        self._n = n
        self._rule: EarlyStop = "off" if kind == "text" else rule
        self.choices = None if choices is None else tuple(choices)
        self._keys: dict[int, str | None] = {}

    def add(self, completion: Completion) -> bool:
        """Count a finished sample and tell whether the vote is decided. A cancelled sample has no say.

        Raises:
            BadRequest: the sample's index is outside the request, or was counted before.

        """
        if not 0 <= completion.index < self._n:
            raise BadRequest(f"sample {completion.index} is not one of {self._n}: indices run from 0 to {self._n - 1}")
        if completion.index in self._keys:
            raise BadRequest(f"sample {completion.index} finished twice: count each sample once")
        if completion.finish_reason != "cancelled":
            truncated = completion.finish_reason == "length"
            self._keys[completion.index] = answer_key(
                completion.text, self._kind, truncated=truncated, choices=self.choices
            )
        return self.decided

    @property
    def decided(self) -> bool:
        """Whether the rule lets sampling stop now."""
        return is_decided(self._rule, self._keys, self._n)

    @property
    def finished(self) -> int:
        """How many samples ran to their own end."""
        return len(self._keys)

    @property
    def keys(self) -> Mapping[int, str | None]:
        """The finished samples' keys by index; None is a sample without an answer."""
        return MappingProxyType(self._keys)

    @property
    def votes(self) -> tuple[Vote, ...]:
        """The tally so far, winner first."""
        return tally([self._keys[index] for index in sorted(self._keys)])

    @property
    def leader(self) -> Vote | None:
        """The answer that is ahead, None before the first vote."""
        return winner(self.votes)
