"""The vote while it is being held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from avengers_edge.errors import BadRequest
from avengers_edge.records import Completion, EarlyStop, Kind, Vote
from avengers_edge.voting.behaviour import failures
from avengers_edge.voting.keys import answer_key
from avengers_edge.voting.stopping import quorum_of, still_needed
from avengers_edge.voting.tally import tally, winner


class Ballot:
    """Collects the samples of one request as they finish, in any order; used from one thread at a time.

    Free text has no majority, so it is decided only when every sample is in; unless there is a way to compare it, by
    its value where a JSON schema bounds it, by its calls where it may call functions.

    Model-Switch (arXiv 2505.19797): where less than a share of `switch_below` of the samples agree, a second member is
    asked, and `union` votes on the samples of both. `exact` holds for the switch as well: sampling goes on until it is
    certain that enough agree. Once it is certain that too few do, all samples are wanted, because all of them vote in
    the union. `adaptive` judges by the samples that it let end.

    Args:
        kind: what an answer is.
        n: how many samples this request has.
        rule: when sampling may stop.
        choices: the answers that the question offers.
        switch_below: 0 never switches; nor does free text or a single sample.
        earlier: keys of samples that count as well, before these in the tie-break.
        key_of: makes the keys of free text, so that it is voted on.

    Raises:
        BadRequest: n is below 1.

    """

    def __init__(
        self,
        kind: Kind,
        n: int,
        rule: EarlyStop = "exact",
        choices: Sequence[str] | None = None,
        *,
        switch_below: float = 0.0,
        earlier: Sequence[str | None] = (),
        key_of: Callable[[str], str | None] | None = None,
    ) -> None:
        if n < 1:
            raise BadRequest(f"a vote over {n} samples was asked for: use 1 or more")
        self._kind: Kind = kind
        self._n = n
        self._key_of_text = key_of if kind == "text" else None
        free = kind == "text" and key_of is None
        self._rule: EarlyStop = "off" if free else rule
        self.choices = None if choices is None else tuple(choices)
        self._switch_below = switch_below if not free and n > 1 else 0.0
        self._earlier = len(earlier)
        self._keys: dict[int, str | None] = dict(enumerate(earlier))

    def add(self, completion: Completion) -> int:
        """Count a finished sample and tell how many more are `needed`. A cancelled sample has no say.

        Raises:
            BadRequest: the sample's index is outside the request, or was counted before.

        """
        if not 0 <= completion.index < self._n:
            raise BadRequest(f"sample {completion.index} is not one of {self._n}: indices run from 0 to {self._n - 1}")
        place = self._earlier + completion.index
        if place in self._keys:
            raise BadRequest(f"sample {completion.index} finished twice: count each sample once")
        if completion.finish_reason != "cancelled":
            self._keys[place] = self._key_of(completion)
        return self.needed

    def _key_of(self, completion: Completion) -> str | None:
        if self._key_of_text is not None:
            return self._key_of_text(completion.text)
        truncated = completion.finish_reason == "length"
        return answer_key(completion.text, self._kind, truncated=truncated, choices=self.choices)

    def revise(self, keys: Mapping[int, str | None]) -> None:
        """Replace the keys of this request's finished samples, by index, once all of them can be judged.

        Raises:
            BadRequest: a sample that has not finished.

        """
        for index, key in keys.items():
            if self._earlier + index not in self._keys:
                raise BadRequest(f"sample {index} has not finished: judge those that have")
            self._keys[self._earlier + index] = key

    @property
    def needed(self) -> int:
        """How many more samples it takes at the least; 0 when sampling may stop."""
        quorum = quorum_of(self._switch_below, self._n) if self._rule == "exact" else 0
        return still_needed(self._rule, self._keys, self.asked, quorum)

    @property
    def switches(self) -> bool:
        """Whether, now that sampling has ended, too few agree; never where a second member could not change the winner.

        The Beta rule can be sure of a winner that few agree on, and then it is sure of it in the union too.
        """
        leader = self.leader
        agreed = leader.count if leader else 0
        return self.finished > 0 and agreed / self.finished < self._switch_below and self.union().needed > 0

    def union(self) -> Ballot:
        """Open the ballot of as many samples of a second member, on which the finished samples here vote too."""
        earlier = [self._keys[place] for place in sorted(self._keys)]
        return Ballot(self._kind, self._n, self._rule, self.choices, earlier=earlier, key_of=self._key_of_text)

    @property
    def asked(self) -> int:
        """How many samples can vote, the earlier ones included."""
        return self._earlier + self._n

    @property
    def finished(self) -> int:
        """How many samples ran to their own end, the earlier ones included."""
        return len(self._keys)

    @property
    def keys(self) -> Mapping[int, str | None]:
        """The keys of this request's finished samples by index; None is a sample without an answer."""
        return {place - self._earlier: key for place, key in self._keys.items() if place >= self._earlier}

    @property
    def votes(self) -> tuple[Vote, ...]:
        """The tally so far, winner first, the earlier samples included; code that fails loses to code that does not."""
        votes = tally([self._keys[place] for place in sorted(self._keys)])
        return tuple(sorted(votes, key=lambda vote: failures(vote.key))) if self._kind == "code" else votes

    @property
    def leader(self) -> Vote | None:
        """The answer that is ahead, None before the first vote."""
        return winner(self.votes)
