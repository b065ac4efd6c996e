"""The vote while it is being held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avengers_edge.errors import BadRequest
from avengers_edge.records import EarlyStop, Kind, Vote
from avengers_edge.voting.behaviour import failures
from avengers_edge.voting.stopping import quorum_of, still_needed
from avengers_edge.voting.tally import tally, winner


class Ballot:
    """Collects the votes of one question as its samples finish, in any order; used from one thread at a time.

    A slot is the place of a sample in the tie-break. All slots are known from the start, with what their votes weigh,
    so that `exact` can stop as soon as those to come cannot change the winner.

    Model-Switch (arXiv 2505.19797): where less than a share of `switch_below` of the votes agree, a second member is
    asked, and `switch` opens the vote on the samples of both. `exact` holds for the switch as well: sampling goes on
    until it is certain that enough agree. Once it is certain that too few do, all samples are wanted, because all of
    them vote in the union. `adaptive` judges by the samples that it let end.

    Args:
        weights: what the vote of each slot weighs, in thousandths; its length is the number of samples.
        rule: when sampling may stop.
        kind: what an answer is. Code that fails loses to code that does not.
        switch_below: 0 never switches; nor does a single sample.
        earlier: the votes of samples that count as well, before these in the tie-break, with what they weigh.

    Raises:
        BadRequest: no slot, or a weight below 1.

    """

    def __init__(
        self,
        weights: Sequence[int],
        rule: EarlyStop = "exact",
        kind: Kind = "number",
        *,
        switch_below: float = 0.0,
        earlier: Sequence[tuple[str | None, int]] = (),
    ) -> None:
        if not weights:
            raise BadRequest("a vote over 0 samples was asked for: use 1 or more")
        if min(weights) < 1:
            raise BadRequest(f"a vote weighs {min(weights)} thousandths: use 1 or more")
        self._own, self._rule, self._kind = tuple(weights), rule, kind
        self._switch_below = switch_below if len(weights) > 1 else 0.0
        self._earlier = tuple(earlier)
        self._weights = (*(weight for _, weight in earlier), *weights)
        self._keys: dict[int, str | None] = {place: key for place, (key, _) in enumerate(earlier)}

    def add(self, slot: int, key: str | None) -> int:
        """Count a finished sample's vote (None: it casts none) and tell how many more are `needed`.

        Raises:
            BadRequest: the slot is not one of this ballot's, or was counted before.

        """
        if not 0 <= slot < len(self._own):
            raise BadRequest(
                f"sample {slot} is not one of {len(self._own)}: indices run from 0 to {len(self._own) - 1}"
            )
        place = len(self._earlier) + slot
        if place in self._keys:
            raise BadRequest(f"sample {slot} finished twice: count each sample once")
        self._keys[place] = key
        return self.needed

    def weight_of(self, slot: int) -> int:
        """Say what the vote of a slot weighs, in thousandths."""
        return self._own[slot]

    @property
    def slots(self) -> int:
        """How many samples it is held over, the earlier ones left out."""
        return len(self._own)

    @property
    def needed(self) -> int:
        """How many more samples it takes at the least; 0 when sampling may stop."""
        quorum = quorum_of(self._switch_below, len(self._own)) if self._rule == "exact" else 0
        return still_needed(self._rule, self._keys, self.asked, quorum, self._weights)

    def switch(self, weights: Sequence[int]) -> Ballot | None:
        """Open the vote to a second member's samples where too few agree, now that sampling has ended; else None.

        None as well where they could not change the winner: the Beta rule can be sure of one that few agree on, and
        then it is sure of it in the union too.
        """
        leader = self.leader
        if not self.finished or (leader.count if leader else 0) / self.finished >= self._switch_below:
            return None
        earlier = [(self._keys[place], self._weights[place]) for place in sorted(self._keys)]
        union = Ballot(weights, self._rule, self._kind, earlier=earlier)
        return union if union.needed > 0 else None

    @property
    def asked(self) -> int:
        """How many samples can vote, the earlier ones included."""
        return len(self._weights)

    @property
    def finished(self) -> int:
        """How many samples ran to their own end, the earlier ones included."""
        return len(self._keys)

    @property
    def keys(self) -> Mapping[int, str | None]:
        """The votes of this ballot's own finished samples by slot; None is a sample without a vote."""
        skipped = len(self._earlier)
        return {place - skipped: key for place, key in self._keys.items() if place >= skipped}

    @property
    def votes(self) -> tuple[Vote, ...]:
        """The tally so far, winner first, the earlier samples included; code that fails loses to code that does not."""
        places = sorted(self._keys)
        votes = tally([self._keys[place] for place in places], [self._weights[place] for place in places])
        return tuple(sorted(votes, key=lambda vote: failures(vote.key))) if self._kind == "code" else votes

    @property
    def leader(self) -> Vote | None:
        """The answer that is ahead, None before the first vote."""
        return winner(self.votes)
