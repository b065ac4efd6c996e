"""One question's vote: which samples are drawn of whom, wave by wave, what each of them votes for, who wins."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import queue
import secrets
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from avengers_edge._util.timing import Clock
from avengers_edge.errors import AvengersError, Cancelled
from avengers_edge.inquiry import Inquiry
from avengers_edge.records import (
    SEED_LIMIT,
    Answer,
    CancelToken,
    Completion,
    Engine,
    Event,
    Generation,
    Member,
    Progress,
    Request,
    Route,
    Sample,
    Team,
    Token,
    Usage,
    Vote,
    VoteForm,
)
from avengers_edge.voting.ballot import UNIT, Ballot, agreement, medoid, representative, vote_weight, winner
from avengers_edge.voting.choices import letters_tally
from avengers_edge.voting.code_votes import CodeExecution, Judge
from avengers_edge.voting.kinds import SINGLE_SAMPLE_KINDS, comparison_of
from avengers_edge.ways import Programs, answer_in, read, requests_for, source_in, text_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_T = TypeVar("_T")
Emit: TypeAlias = Callable[[Event], None]
Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]

_DRAWING = ("temperature", "top_p", "top_k", "min_p")
"""What of sampling a greedy answer has no use for."""

_WAVE, _SMALL_WAVE = 4, 2
"""Samples of a wave over two ways, of a vote of more than 6 and a smaller one, which large waves would leave nothing to
spare. Waves are the same whatever stops them, so that each slot's sample is, too."""

_PROGRAMS_AT_A_TIME = 4
_POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Draw:
    """The next samples of one member: its requests, and the place of each sample in the whole vote, in order."""

    member: Member
    requests: tuple[Request, ...]
    places: tuple[int, ...]


Wave = tuple[Draw, ...]
"""What is drawn at once, of one model."""


class Election:
    """Holds the vote on one question over the samples of one member, or of two.

    Two ways of asking one model vote together: the greedy answer of each first, then samples of both in turn, weighed
    by the members' records. Of two models the second is asked where too few of the first one's samples agree
    (Model-Switch, arXiv 2504.00762). Where all programs failed, the next-ranked member answers.

    Args:
        inquiry: what is asked, and how.
        members: who may be asked, best first.
        team: whose defaults hold where the user and a member's mode say nothing.
        route: what is expected of the members, and which sample budget was measured.
        can_switch: whether a second member may vote.
        cancel: ends sampling; what there is by then is counted.
        tokens: whether the pieces of the samples' texts are wanted as events.
        judge: runs code, so that samples of code are compared by what they do. Without one, or where the question has
            no example to run them on, they are compared by their text, and the route's `fallback` says why.
        programs: runs the programs of members that answer by one.

    Raises:
        BadRequest: tests that are no Python.
        NoSandbox: there are tests, and code cannot be run here.

    """

    def __init__(
        self,
        inquiry: Inquiry,
        members: Sequence[Member],
        team: Team,
        route: Route,
        *,
        can_switch: bool = False,
        cancel: threading.Event | None = None,
        tokens: bool = True,
        judge: Judge | None = None,
        programs: Programs | None = None,
    ) -> None:
        self._inquiry, self._members, self._team, self._route = inquiry, tuple(members), team, route
        self._cancel, self._tokens, self._programs = CancelToken(cancel), tokens, programs
        ask = inquiry.ask
        self._seed = secrets.randbelow(SEED_LIMIT) if ask.seed is None else ask.seed
        self._budget, self._greedy = _how_many(inquiry, members[0], team, route.samples)
        self._switch_below = team.switch_below if ask.switch_below is None else ask.switch_below
        self._can_switch = can_switch and len(members) > 1
        tried = ask.tests is not None or (inquiry.kind == "code" and self._budget > 1)
        self._execution = CodeExecution(inquiry.question, ask.tests, judge) if tried else None
        free = inquiry.kind == "text" and comparison_of(ask) is None
        # The mean over the orders of the options is balanced only over all of them.
        ordered = members[0].form == "letters"
        self._rule = "off" if free or ordered or (self._execution and self._execution.enabled) else ask.early_stop
        self._votable = not free
        self._samples: dict[int, Sample] = {}
        self._generations: list[Generation] = []
        self._requested = self._first_place = 0
        self._of_two = self._ended = False
        self._ballot = Ballot((UNIT,))

    # --- who is asked ---

    def waves(self) -> Iterator[Wave]:
        """Yield what is to be drawn next, for as long as the vote is open; `sample` each wave before the next."""
        for wave in self._waves():
            yield wave
            if self._ended:
                return

    def _waves(self) -> Iterator[Wave]:
        first, *others = self._members
        if self._pairs(others):
            yield from self._waves_of_two(first, others[0])
        else:
            yield from self._waves_of_one_by_one(first, others)
        for member in others if first.form == "program" else ():
            # A text is an answer even where no key is read in it; only a failed program is none.
            said = any(sample.key or sample.output is None for sample in self._samples.values())
            if said or self._cancel.is_set():
                return
            if member.name not in self._asked:
                self._open(self._ballot_of((UNIT,), earlier=True), 1)
                yield (self._draw(member, range(1), wave=len(self._generations), greedy=True),)

    def _pairs(self, others: Sequence[Member]) -> bool:
        """Return whether the two best members vote together: two ways of one model, neither of them by letters."""
        if not (others and self._can_switch and self._votable and self._budget > 1 and self._execution is None):
            return False
        both = (self._members[0], others[0])
        alike = both[0].model == both[1].model and "letters" not in (both[0].form, both[1].form)
        return alike and self._inquiry.ask.switch_below is None

    def _waves_of_two(self, first: Member, second: Member) -> Iterator[Wave]:
        both = (first, second)
        self._of_two = True
        weights = [self._weight(both[place % 2]) for place in range(self._budget)]
        self._open(self._ballot_of(weights), self._budget)
        drawn = _is_drawn(self._inquiry)
        yield tuple(self._draw(both[at], (at,), wave=at, greedy=not drawn) for at in range(2))
        votes = [sample.key for sample in self._samples.values()]
        ask = self._inquiry.ask
        if ask.samples is None and ask.early_stop != "off" and (None in votes or len(set(votes)) == 1):
            # Two ways that agree settle it, and one that has no answer leaves it to the other.
            self._requested = len(votes)
            return
        size = _WAVE if self._budget > _WAVE + 2 else _SMALL_WAVE
        for wave, start in enumerate(range(2, self._budget, size), 1):
            if not self._ballot.needed or self._cancel.is_set():
                return
            slots = range(start, min(start + size, self._budget))
            yield tuple(
                self._draw(both[at], own, wave=2 * wave + at, greedy=False)
                for at in range(2)
                if (own := [slot for slot in slots if slot % 2 == at])
            )

    def _waves_of_one_by_one(self, first: Member, others: Sequence[Member]) -> Iterator[Wave]:
        count = self._count(first)
        # Letters are elected by the mean of their probabilities, of which agreement by count says little.
        switches = first.form != "letters" or self._inquiry.ask.switch_below is not None
        share = self._switch_below if self._can_switch and self._votable and switches else 0.0
        self._open(self._ballot_of([self._weight(first)] * count, switch_below=share), count)
        yield (self._draw(first, range(count), wave=0, greedy=self._greedy),)
        if share and not self._cancel.is_set():
            count = self._count(others[0])
            union = self._ballot.switch([self._weight(others[0])] * count)
            if union is not None:
                self._open(union, count)
                yield (self._draw(others[0], range(count), wave=1, greedy=self._greedy),)

    def _count(self, member: Member) -> int:
        """Count a member's samples: all orders of the options where it answers by letters and nobody wants fewer."""
        orders = self._inquiry.orders(member)
        return self._budget if orders == 1 else min(orders, self._inquiry.ask.samples or orders)

    def _weight(self, member: Member) -> int:
        return vote_weight(self._route.accuracy_of(member.name), self._inquiry.kind)

    def _ballot_of(self, weights: Sequence[int], *, switch_below: float = 0.0, earlier: bool = False) -> Ballot:
        before = [(None, UNIT)] * len(self._samples) if earlier else []
        return Ballot(weights, self._rule, self._inquiry.kind, switch_below=switch_below, earlier=before)

    def _open(self, ballot: Ballot, count: int) -> None:
        self._ballot, self._first_place = ballot, self._requested
        self._requested += count

    def _draw(self, member: Member, slots: Sequence[int], *, wave: int, greedy: bool) -> Draw:
        # Two members can be one model that is asked for this kind in the same words: each draws with seeds of its own.
        seed = (self._seed + wave) % SEED_LIMIT if wave else self._seed
        requests = requests_for(
            self._inquiry,
            member,
            self._team.sampling,
            len(slots),
            seed=seed,
            greedy=greedy,
            first=slots[0],
            open_ended=True,
        )
        if member.form != "letters":
            least = len(slots) if self._defers(member) else min(self._share(self._ballot.needed), len(slots))
            requests = (dataclasses.replace(requests[0], least=least),)
        return Draw(member, requests, tuple(self._first_place + slot for slot in slots))

    @property
    def _asked(self) -> tuple[str, ...]:
        """The members that have a sample, in the order in which they were asked."""
        return tuple(dict.fromkeys(self._samples[place].model for place in sorted(self._samples)))

    # --- what they say ---

    def sample(self, engine: Engine, wave: Wave) -> Iterator[Event]:
        """Draw a wave until the vote is decided, and read it; yield tokens and the progress of the vote."""
        yield from self._progress(wave[0].member)
        jobs = [(draw, request, at) for draw in wave for at, request in enumerate(draw.requests)]
        generations = yield from events_of(
            [functools.partial(self._generate, engine, *job) for job in jobs], self._cancel
        )
        self._generations += generations
        for (draw, _, at), generation in zip(jobs, generations, strict=True):
            if self._read_rest(draw, at, generation):
                yield from self._progress(draw.member)

    def _generate(self, engine: Engine, draw: Draw, request: Request, at: int, emit: Emit) -> Generation:
        ended = 0

        def finish(done: Completion) -> int:
            nonlocal ended
            ended += 1
            needed = left = request.n - ended
            if not self._defers(draw.member):
                needed = min(left, self._share(self._count_vote(draw, at, done)))
            for event in self._progress(draw.member):
                emit(event)
            return needed

        def token(index: int, piece: str) -> None:
            emit(Token(piece, draw.places[at + index], voted))

        voted = len(self._ballot.weights) > 1
        on_token = token if self._tokens and draw.member.form == "text" else None
        return engine.generate(request, on_finish=finish, on_token=on_token, cancel=self._cancel)

    def _share(self, needed: int) -> int:
        """Round up the share of the samples needed that one of the requests under way has: two ways draw together."""
        return math.ceil(needed / 2) if self._of_two else needed

    def _defers(self, member: Member) -> bool:
        """Return whether samples have no vote before something was run, for which the engine must not wait."""
        return member.form == "program" or (self._execution is not None and self._execution.enabled)

    def _count_vote(self, draw: Draw, at: int, done: Completion) -> int:
        place = draw.places[at + done.index]
        sample = read(self._inquiry, draw.member, done, self._programs, shift=at + draw.places[0] - self._first_place)
        return self._count_sample(place, sample)

    def _count_sample(self, place: int, sample: Sample) -> int:
        slot = place - self._first_place
        weighed = dataclasses.replace(sample, weight=self._ballot.weights[slot] / UNIT)
        self._samples[place] = weighed
        return self._ballot.add(slot, sample.key)

    def _read_rest(self, draw: Draw, at: int, generation: Generation) -> bool:
        """Read the samples that were cut, and those whose program or code has to be run; whether there were any."""
        rest = [done for done in generation.completions if draw.places[at + done.index] not in self._samples]
        cut = [done for done in rest if done.finish_reason == "cancelled"]
        ended = [done for done in rest if done.finish_reason != "cancelled"]
        for done in cut:
            place = draw.places[at + done.index]
            self._samples[place] = read(self._inquiry, draw.member, done, self._programs)
        with ThreadPoolExecutor(_PROGRAMS_AT_A_TIME, "avengers-programs") as pool:
            try:
                samples = list(pool.map(self._reader(draw), ended))
            except BaseException:  # Ctrl-C, for which no program is waited
                self._cancel.set()
                raise
        if self._execution and self._execution.enabled and ended:
            keys = self._execution.keys([source_in(done.text, cut=done.finish_reason == "length") for done in ended])
            samples = [dataclasses.replace(sample, key=key) for sample, key in zip(samples, keys, strict=True)]
        for done, sample in zip(ended, samples, strict=True):
            self._count_sample(draw.places[at + done.index], sample)
        return bool(ended)

    def _reader(self, draw: Draw) -> Callable[[Completion], Sample]:
        return lambda done: read(self._inquiry, draw.member, done, self._programs, cancel=self._cancel)

    def _progress(self, member: Member) -> tuple[Progress, ...]:
        """Make the event of how the vote stands; none of a single sample whose text comes as tokens."""
        if self._requested == 1 and member.form == "text":
            return ()
        return (Progress(self._ballot.finished, self._requested, self._ballot.leader, member.name),)

    def drop_member(self, member: Member, error: AvengersError) -> None:
        """Leave out a member that failed, where others were sampled, and let the answer say so.

        Raises:
            AvengersError: the error itself, where no other sample ended.

        """
        if not self._samples:
            raise error
        self._ended, self._requested = True, len(self._samples)
        self._route = self._route.noting(f"{member.name} could not vote too: {error}")

    # --- who wins ---

    def answer(self, clock: Clock, embed: Embed) -> Answer:
        """Elect the answer; `embed` finds the most central of several free texts.

        Raises:
            Cancelled: not one sample had begun, or its program was ended.
            AvengersError: programs were asked for, and none of them printed an answer.

        """
        if not self._samples:
            raise Cancelled("cancelled before the first sample began: ask again")
        samples = tuple(self._samples[place] for place in sorted(self._samples))
        by_letters = letters_tally(samples) if all(sample.chances for sample in samples) else ()
        votes = by_letters or self._ballot.votes
        place = self._choose(samples, votes, embed)
        chosen = samples[place]
        if chosen.output is not None and chosen.key is None:
            if self._cancel.is_set():
                raise Cancelled("cancelled while its program ran: ask again")
            raise AvengersError(
                f"no program of {chosen.model} gave an answer ({chosen.failure or 'it was cut off'}): ask again, "
                "ask another member, or say with --kind what the answer is"
            )
        answer = by_letters[0].key if by_letters else answer_in(chosen, self._inquiry)
        share = agreement(votes) if self._requested > 1 else None
        finished = sum(sample.finish_reason != "cancelled" for sample in samples)
        return Answer(
            answer=answer,
            text=text_of(chosen, answer, self._inquiry),
            kind=self._inquiry.kind,
            model=chosen.model,
            models=self._asked,
            confidence=self._confidence(share),
            agreement=share,
            route=self._route.noting(self._execution.fallback if self._execution else None),
            votes=votes,
            samples_requested=self._requested,
            samples_used=finished,
            stopped_early=finished < self._requested,
            samples=samples,
            usage=self._usage(samples, finished),
            timings_ms=clock.timings(self._generations),
            shown_sample=place,
        )

    def _choose(self, samples: Sequence[Sample], votes: Sequence[Vote], embed: Embed) -> int:
        """Choose the sample to show: one of the winning group, or the most central where there is no vote."""
        if (leader := winner(votes)) is not None:
            if not leader.count:  # the likeliest option over all orders was so in none of them
                return 0
            return representative([s.key for s in samples], [s.finish_reason for s in samples], leader.key)
        ended = [place for place, sample in enumerate(samples) if sample.finish_reason != "cancelled"]
        if self._inquiry.kind == "text" and len(ended) > 2:
            return ended[medoid(embed([samples[place].text for place in ended]).tolist())]
        texts = [place for place in ended if samples[place].output is None]
        return next(iter([*texts, *ended]), 0)

    def _confidence(self, share: float | None) -> float | None:
        """Return the calibrated chance that the answer is right, where votes like this one were recorded."""
        first = self._members[0]
        form: VoteForm = "letters" if first.form == "letters" else "ways" if self._of_two else "samples"
        calibration, expected = self._route.confidence.get(form), self._route.accuracy_of(first.name)
        if share is None or calibration is None or expected is None or len(self._asked) > 1 + self._of_two:
            return None
        return round(calibration.chance(share, expected), 4)

    def _usage(self, samples: Sequence[Sample], finished: int) -> Usage:
        """Count tokens; a sample that did not run to its end would have cost the mean of those that did."""
        completed = sum(sample.tokens for sample in samples)
        ended = sum(sample.tokens for sample in samples if sample.finish_reason != "cancelled")
        spared = (self._requested - finished) * ended / finished - (completed - ended) if finished else 0.0
        return Usage(
            prompt_tokens=sum(generation.prompt_tokens for generation in self._generations),
            completion_tokens=completed,
            cached_tokens=sum(generation.reused_tokens for generation in self._generations),
            saved_tokens=max(0, round(spared)),
        )


def events_of(jobs: Sequence[Callable[[Emit], _T]], cancel: CancelToken) -> Generator[Event, None, list[_T]]:
    """Run blocking jobs in a thread each; yield the events that they emit, from any thread, and return their results.

    Whoever leaves the iteration, or interrupts it, cancels the jobs, and waits for them: a step of the engine.
    """
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()  # None where a job ends
    with ThreadPoolExecutor(len(jobs), "avengers-jobs") as pool:
        under_way = [pool.submit(job, events.put) for job in jobs]
        for future in under_way:
            future.add_done_callback(lambda _: events.put(None))
        running = len(under_way)
        try:
            while running:
                with contextlib.suppress(queue.Empty):  # it polls: on Windows Ctrl-C takes effect between waits only
                    event = events.get(timeout=_POLL_SECONDS)
                    if event is None:
                        running -= 1
                    else:
                        yield event
        except BaseException:
            cancel.set()
            raise
        return [future.result() for future in under_way]


def _is_drawn(inquiry: Inquiry) -> bool:
    """Return whether the user says how tokens are drawn, which a greedy answer has no use for."""
    ask = inquiry.ask
    return ask.temperature != 0 and any(getattr(ask, name) is not None for name in _DRAWING)


def _how_many(inquiry: Inquiry, first: Member, team: Team, budget: int | None) -> tuple[int, bool]:
    """Return how many samples are taken, and whether that is the greedy answer.

    Code that nobody votes on is greedy: of a single sample the coolest one passes most often (Codex, arXiv
    2107.03374). Of what can be voted on one sample is enough only as the greedy answer, so whoever says how tokens are
    drawn has a vote. A measured budget says nothing of tests, which want one sample of many that passes, and whoever
    prefers speed takes the greedy answer where a budget is known.
    """
    ask, drawn = inquiry.ask, _is_drawn(inquiry)
    if ask.samples is not None:
        return ask.samples, False
    if ask.tests is not None:
        return team.samples, False
    if inquiry.kind in SINGLE_SAMPLE_KINDS:
        return 1, not drawn and (inquiry.kind == "code" or first.form == "program")
    if budget is not None and (budget == 1 or ask.prefer < 1):
        return (team.samples, False) if drawn else (1, True)
    return min(team.samples, budget or team.samples), False
