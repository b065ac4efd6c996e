"""One question's way through one member, or two: what each is asked, its samples counted as they end, who wins."""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avengers_edge.clock import Clock
from avengers_edge.errors import AvengersError, Cancelled
from avengers_edge.records import (
    SEED_LIMIT,
    Answer,
    Ask,
    Completion,
    Engine,
    Generation,
    Kind,
    Member,
    Message,
    OnToken,
    Request,
    Route,
    Sample,
    SamplingParams,
    Team,
    Usage,
    Vote,
)
from avengers_edge.voting.ballot import Ballot
from avengers_edge.voting.behaviour import Judge
from avengers_edge.voting.keys import extract_answer
from avengers_edge.voting.kinds import UNVOTED, comparison_of, find_choices, kind_of
from avengers_edge.voting.tally import confidence, medoid, representative
from avengers_edge.voting.trial import Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]

_SAMPLING = {each.name for each in dataclasses.fields(SamplingParams)} & {each.name for each in dataclasses.fields(Ask)}
"""What the user can say about sampling."""

_DRAWING = ("temperature", "top_p", "top_k", "min_p")
"""What of it a greedy answer has no use for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """A vote under way: samples that ended out of those asked for, the answer that leads, and the member at work."""

    finished: int
    samples: int
    leader: Vote | None
    member: str


OnProgress = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """What one member was asked, what it wrote, and which key each sample that ended votes for."""

    member: Member
    request: Request
    generation: Generation
    keys: Mapping[int, str | None]

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that began, in index order."""
        return tuple(
            Sample(self.member.name, done.seed, done.text, self.keys.get(done.index), done.tokens, done.finish_reason)
            for done in self.generation.completions
        )

    @property
    def saved_tokens(self) -> int:
        """What the samples that did not run to their end would still have cost, at the mean of those that did."""
        completions = self.generation.completions
        ended = [done.tokens for done in completions if done.finish_reason != "cancelled"]
        if not ended:
            return 0
        spent_in_vain = sum(done.tokens for done in completions) - sum(ended)
        return max(0, round((self.request.n - len(ended)) * sum(ended) / len(ended) - spent_in_vain))


class Election:
    """Holds the vote on one question: over one member's samples, or over two members' where the first one's disagree.

    Args:
        question: what is asked.
        ask: how.
        team: whose defaults hold where `ask` and a member's mode say nothing.
        can_switch: whether there is a second member.
        worth: how many samples were measured to be worth voting over, where they were; the team's default is the most.
            1 says that no vote was measured to beat the greedy answer, which is then given.
        on_progress: hears of each sample that ended.
        on_token: hears of each piece of text; the second member's samples are counted on from the first one's.
        cancel: ends sampling; what there is by then is counted.
        judge: runs code, so that samples of code are compared by what they do. Without one, or where the question has
            no example to run them on, they are compared by what they say, and the route's `fallback` says why.

    Raises:
        BadRequest: tests that are no Python.
        NoSandbox: there are tests, and code cannot be run here.

    """

    def __init__(
        self,
        question: str,
        ask: Ask,
        team: Team,
        *,
        can_switch: bool = False,
        worth: int | None = None,
        on_progress: OnProgress | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.kind: Kind = kind_of(question, ask)
        self._question, self._ask, self._team = question, ask, team
        self._on_progress, self._on_token, self._cancel = on_progress, on_token, cancel
        self._samples, self._greedy = _how_many(self.kind, ask, team, worth)
        tried = ask.tests is not None or (self.kind == "code" and self._samples > 1)
        self._trial = Trial(question, ask.tests, judge) if tried else None
        self._seed = secrets.randbelow(SEED_LIMIT) if ask.seed is None else ask.seed
        switch_below = team.switch_below if ask.switch_below is None else ask.switch_below
        self._ballot = Ballot(
            self.kind,
            self._samples,
            "off" if self._trial and self._trial.held else ask.early_stop,
            find_choices(question),
            switch_below=switch_below if can_switch else 0.0,
            key_of=comparison_of(ask),
        )
        self._first = self._ballot
        self._stages: list[Stage] = []

    def request_for(self, member: Member) -> Request:
        """Ask a member as the user says, else as its mode says, else as its team does.

        Raises:
            BadRequest: a value that sampling has no use for.

        """
        said: dict[str, Any] = {name: value for name in _SAMPLING if (value := getattr(self._ask, name)) is not None}
        if self._greedy:
            said["temperature"] = 0.0
        return Request(
            messages_for(self._question, self.kind, member, self._ask),
            dataclasses.replace(member.sampling(self.kind, self._team.sampling), **said),
            self._samples,
            # The second has its own: two members can be one model that is asked for this kind in the same words.
            (self._seed + 1) % SEED_LIMIT if self._stages else self._seed,
            self._ballot.needed,
            keep=self._ask.history is not None,
            tools=self._ask.tools,
        )

    def sample(self, engine: Engine, member: Member, request: Request) -> None:
        """Sample a member until the vote is decided, or as long as it takes to know that it disagrees with itself."""
        after = self._samples * len(self._stages)

        def count(completion: Completion) -> int:
            needed = self._ballot.add(completion)
            if self._on_progress:
                asked = after + self._samples
                self._on_progress(Progress(self._ballot.finished, asked, self._ballot.leader, member.name))
            return needed

        def tell(index: int, piece: str) -> None:
            if self._on_token:
                self._on_token(after + index, piece)

        if self._on_progress:
            self._on_progress(Progress(self._ballot.finished, after + request.n, self._ballot.leader, member.name))
        generation = engine.generate(
            request, on_finish=count, on_token=tell if self._on_token else None, cancel=self._cancel
        )
        self._stages.append(Stage(member, request, generation, self._ballot.keys))

    def judge(self) -> None:
        """Give the samples of the member that was asked last the keys of what their code does, if that can be run."""
        if self._trial and self._trial.held:
            ended = [done for done in self._stages[-1].generation.completions if done.finish_reason != "cancelled"]
            sources = [extract_answer(done.text, self.kind, truncated=done.finish_reason == "length") for done in ended]
            keys = self._trial.keys(sources)
            self._ballot.revise({done.index: key for done, key in zip(ended, keys, strict=True)})
            self._stages[-1] = dataclasses.replace(self._stages[-1], keys=self._ballot.keys)

    def switch(self) -> bool:
        """Open the vote to another member where too few samples agree (Model-Switch); tell whether that was done."""
        if not self._ballot.switches or (self._cancel and self._cancel.is_set()):
            return False
        self._first, self._ballot = self._ballot, self._ballot.union()
        return True

    def go_without(self, member: Member, error: AvengersError, route: Route) -> Route:
        """Leave out a second member that failed, and say so in the route.

        Raises:
            AvengersError: the error itself, where no other member was sampled.

        """
        if not self._stages:
            raise error
        self._ballot = self._first
        return dataclasses.replace(route, fallback=f"{member.name} could not vote too: {error}")

    def answer(self, route: Route, clock: Clock, embed: Embed) -> Answer:
        """Elect the answer; `embed` finds the most central of several free texts.

        Raises:
            Cancelled: not one sample had begun.

        """
        votes = self._ballot.votes
        samples = tuple(sample for stage in self._stages for sample in stage.samples)
        if not samples:
            raise Cancelled("cancelled before the first sample began: ask again")
        if self._trial and self._trial.fallback:
            reasons = [route.fallback, self._trial.fallback] if route.fallback else [self._trial.fallback]
            route = dataclasses.replace(route, fallback="; ".join(reasons))
        chosen = samples[self._choose(samples, embed)]
        cut = chosen.finish_reason != "stop"
        answer = extract_answer(chosen.text, self.kind, truncated=cut, choices=self._ballot.choices)
        requested = sum(stage.request.n for stage in self._stages)
        generations = [stage.generation for stage in self._stages]
        return Answer(
            answer=answer or chosen.text.strip(),
            text=chosen.text,
            kind=self.kind,
            model=chosen.model,
            models=tuple(stage.member.name for stage in self._stages),
            confidence=confidence(votes),
            route=route,
            votes=votes,
            samples_requested=requested,
            samples_used=self._ballot.finished,
            stopped_early=self._ballot.finished < requested,
            samples=samples,
            usage=Usage(
                prompt_tokens=sum(generation.prompt_tokens for generation in generations),
                completion_tokens=sum(sample.tokens for sample in samples),
                cached_tokens=sum(generation.reused_tokens for generation in generations),
                saved_tokens=sum(stage.saved_tokens for stage in self._stages),
            ),
            timings_ms=clock.timings(generations),
        )

    def _choose(self, samples: Sequence[Sample], embed: Embed) -> int:
        """Choose the sample to show: one of the winning group, or the most central where there is no vote."""
        leader = self._ballot.leader
        if leader is not None:
            return representative([s.key for s in samples], [s.finish_reason for s in samples], leader.key)
        ended = [place for place, sample in enumerate(samples) if sample.finish_reason != "cancelled"]
        if self.kind == "text" and len(ended) > 2:
            return ended[medoid(embed([samples[place].text for place in ended]).tolist())]
        return ended[0] if ended else 0


def _how_many(kind: Kind, ask: Ask, team: Team, worth: int | None) -> tuple[int, bool]:
    """Tell how many samples are taken, and whether that is the greedy answer.

    Code that nobody votes on is greedy: of a single sample the coolest one passes most often (Codex, arXiv
    2107.03374). Of what can be voted on one sample is enough only as the greedy answer, so whoever says how tokens are
    drawn has a vote. What a vote is worth says nothing of tests, which want one sample of many that passes.
    """
    if ask.samples is not None:
        return ask.samples, False
    if ask.tests is not None:
        return team.samples, False
    drawn = ask.temperature != 0 and any(getattr(ask, name) is not None for name in _DRAWING)
    if kind in UNVOTED:
        return 1, kind == "code" and not drawn
    if worth == 1:
        return (team.samples, False) if drawn else (1, True)
    return min(team.samples, worth or team.samples), False


def messages_for(question: str, kind: Kind, member: Member, ask: Ask | None = None) -> tuple[Message, ...]:
    """Put a question the way a member is asked: its instruction for the kind, its system prompt unless one is given."""
    ask = ask or Ask()
    mode, system = member.mode, ask.system
    instruction = mode.instructions.get(kind) if mode else None
    if system is None and mode:
        system = mode.system
    user = Message("user", f"{question}\n\n{instruction}" if instruction else question)
    return (*((Message("system", system),) if system else ()), *(ask.history or ()), user, *ask.results)
