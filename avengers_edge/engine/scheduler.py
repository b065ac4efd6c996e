"""Continuous batching: many requests with many samples each, one `llama_decode` a step.

A prompt is evaluated once, all but its last token, on a sequence of its own. Each sample then shares those cells (the
last sample takes the sequence over) and starts by evaluating the last prompt token itself. So every sample, early or
late, begins in the same way, and a waiting one can start whenever another ends.

One step: end what was called off, admit requests, start samples, plan the rows, decode, draw. A row is the next token
of a running sample, a guess at the tokens after it (`drafts`), or a token of a prompt. How many samples run and what
fills up a step is read off the measured `StepCurve`. A request of one sample shares its prompt with nobody, so the step
that ends the prompt draws that sample's first token as well.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence

from avengers_edge.engine.cells import Cells, Context, Logits
from avengers_edge.engine.curve import StepCurve
from avengers_edge.engine.job import Job, derive_seed
from avengers_edge.engine.live import Live, Vocabulary
from avengers_edge.engine.plan import best_guesses, share_prefill
from avengers_edge.engine.prefix import Held
from avengers_edge.engine.sampler import TokenSampler
from avengers_edge.engine.thinking import ThinkingBudget
from avengers_edge.engine.transcript import Transcript
from avengers_edge.errors import AvengersError, BadRequest, ContextFull
from avengers_edge.records import FinishReason, Request

_AT_ONCE = 8
"""Requests that share the width whatever each of them wants: one of a thousand samples does not shut the door."""


class Scheduler:
    """The requests of one context. Used by the thread that owns it; only `Job.cancel` may be called from others.

    A sample is started only when the cells for its longest course are free, so none fails midway. Seconds are shared
    out: a step's time is divided among its rows, so that a request's seconds are what it costs the machine, whatever
    else ran beside it.

    Args:
        model: names tokens.
        context: the cache and the step.
        curve: what a step costs.
        sampler_for: makes a sample's way of drawing, from its request and its own seed.
        prefill_chunk: prompt tokens in a step that has no sample to hold up; cancelling waits for one step.

    """

    def __init__(
        self,
        model: Vocabulary,
        context: Context,
        curve: StepCurve,
        sampler_for: Callable[[Request, int], TokenSampler],
        *,
        prefill_chunk: int,
    ) -> None:
        self._model, self._context, self.curve = model, context, curve
        self._sampler_for = sampler_for
        self.cells = Cells(context, rewinds=model.rewinds)
        self._room = context.batch_size - context.outputs
        self._chunk = min(prefill_chunk, self._room)
        # Whoever parts the cache among slots wants all of them to run; a prompt's slot is its last sample's.
        self.width = context.sequences if context.split else curve.widest(min(context.sequences - 1, context.outputs))
        self._queue: deque[Job] = deque()
        self._jobs: list[Job] = []
        self._live: list[Live] = []
        self._short = False  # whether a request waits for cells, not only for width
        self._groups = itertools.count(1)
        self.steps, self.step_seconds = 0, 0.0
        self.prefilled, self.guessed, self.accepted = 0, 0, 0

    def check(self, prompt_tokens: int, request: Request) -> None:
        """Refuse a request of which not even one sample fits.

        Raises:
            BadRequest: the prompt has no token at all.
            ContextFull: the message has the need and the limit.

        """
        if prompt_tokens < 1:
            raise BadRequest(f"{self._model.name} reads nothing in this prompt: ask something else")
        need = prompt_tokens + request.sampling.max_tokens
        limit = min(self._context.longest, self._model.n_ctx_train)
        if need > limit:
            setting = "`--context`, which the slots share" if self._context.split else "`context` in settings.toml"
            raise ContextFull(
                f"{prompt_tokens} prompt tokens and {request.sampling.max_tokens} to generate need {need} tokens of "
                f"context, and {self._model.name} has {limit}: shorten the prompt, lower max_tokens"
                + (f" or raise {setting}" if limit < self._model.n_ctx_train else "")
            )

    def add(self, job: Job) -> None:
        """Queue a request that was checked."""
        self._queue.append(job)

    @property
    def busy(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self._queue or self._jobs)

    def step(self) -> list[Job]:
        """Do one step; give the requests that ended with it."""
        begin = time.perf_counter()
        called_off = [job for job in self._queue if job.settled]
        for job in called_off:
            self._queue.remove(job)
        self._end_what_is_settled()
        self._admit()
        prefill = self._plan_prefill()
        self._start_samples(prefill)
        self._evaluate(prefill)
        self._end_what_is_settled()
        ended = [job for job in self._jobs if not job.running and not job.unstarted]
        for job in ended:
            self._close(job)
        if not self.busy:
            self.cells.tidy()
        self.step_seconds += time.perf_counter() - begin
        return called_off + ended

    def abandon(self) -> list[Job]:
        """Give up every request, so that the engine can say why."""
        given_up = [*self._jobs, *self._queue]
        for live in self._live:
            live.sampler.close()
        self._live.clear()
        self._jobs.clear()
        self._queue.clear()
        return given_up

    # --- who runs ---------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Give waiting requests, in order, what their first sample needs, so that whoever is admitted gets on."""
        self._short = False
        fair = max(1, self.width // _AT_ONCE)
        while self._queue and sum(min(job.needed, fair) for job in self._jobs) < self.width:
            job = self._queue[0]
            longest = job.request.sampling.max_tokens
            if not self.cells.has_room(len(job.prompt) + longest, sequences=min(job.runs, 2)):
                self._short = True
                return
            self._queue.popleft()
            job.sequence, job.reused = self.cells.open_for(job.prompt, self._prompts_under_way(), beyond=longest)
            job.spare = self.cells.open() if job.runs > 1 else None
            job.evaluated = job.reused
            job.group = next(self._groups)
            self._jobs.append(job)

    def _prompts_under_way(self) -> list[Held]:
        held = [Held(job.sequence, job.prompt[: job.evaluated]) for job in self._jobs if job.sequence is not None]
        # Each sample of a request holds its prompt, and tokens of its own beyond it.
        samples = {live.job.group: live for live in self._live if live.job.sequence is None}
        return held + [
            Held(live.sequence, [*live.job.prompt, *live.tokens][: live.position]) for live in samples.values()
        ]

    def _start_samples(self, prefill: Sequence[tuple[Job, int]]) -> None:
        """Start the samples that are needed, request by request in turn; then those that come nearly for free."""
        ready = [job for job in self._jobs if job.ready]
        ready += [job for job, count in prefill if job.runs == 1 and job.evaluated + count == job.body]
        while len(self._live) < self.width:
            # Whoever has a sample running does not take the cells that a newcomer waits for.
            wanting = [job for job in ready if job.missing > 0 and not (self._short and job.running)]
            if not any(self._start(job) for job in sorted(wanting, key=lambda job: job.running)):
                break
        if not self._queue and not any(job.missing > 0 or not job.ready for job in self._jobs):
            for job in ready:
                waiting = min(job.unstarted, self.width - len(self._live))
                for _ in range(self.curve.beside(len(self._live), waiting)):
                    if self.cells.spares(job.request.sampling.max_tokens):
                        self._start(job)

    def _start(self, job: Job) -> bool:
        first, last = job.started == 0, job.started == job.runs - 1
        longest = job.request.sampling.max_tokens
        if job.sequence is None or not (first or self.cells.has_room(longest, sequences=0 if last else 1)):
            return False
        seed = derive_seed(job.request.seed, job.started)
        try:
            sampler = self._sampler_for(job.request, seed)
        except AvengersError as error:
            job.error = error
            return False
        if not first:
            self.cells.promise(longest)  # the first one's was given with the prompt's
        if last:
            sequence, job.sequence = job.sequence, None
        else:
            sequence, job.spare = self.cells.open() if job.spare is None else job.spare, None
            self.cells.share(job.sequence, sequence, job.body)
        transcript = Transcript(job.request.sampling.stop, job.opened)
        thinking = ThinkingBudget(job.request.sampling, opened=bool(job.opened))
        live = Live(job, job.started, seed, sequence, sampler, transcript, thinking, job.prompt[-1], job.body)
        self._live.append(live)
        live.tell(job.opened)
        job.started += 1
        job.running += 1
        return True

    # --- one step ---------------------------------------------------------------------------------------------------

    def _evaluate(self, prefill: Sequence[tuple[Job, int]]) -> None:
        """Plan the rows, decode them, draw from them."""
        self._plan_guesses(sum(count for _, count in prefill))
        self._live.sort(key=lambda live: live.sequence)
        taken_over = {live.job.group: live.sequence for live in self._live}
        rows: list[tuple[int, int, int, bool]] = []
        for job, count in prefill:
            sequence = taken_over[job.group] if job.sequence is None else job.sequence
            rows += [(job.prompt[at], at, sequence, False) for at in range(job.evaluated, job.evaluated + count)]
        rows += [(*row, True) for live in self._live for row in live.rows()]
        if not rows:
            return
        rows.sort(key=lambda row: row[2])  # a split cache decodes together what stands together
        begin = time.perf_counter()
        tokens, positions, sequences, wanted = (list(column) for column in zip(*rows, strict=True))
        logits = self._context.decode(tokens, positions, sequences, wanted)
        share = (time.perf_counter() - begin) / len(rows)
        self.steps += 1
        for job, count in prefill:
            job.evaluated += count
            job.prefill_seconds += share * count
            self.prefilled += count
        self._draw(logits, share)

    def _plan_prefill(self) -> list[tuple[Job, int]]:
        unready = [job for job in self._jobs if not job.ready and not job.settled]
        rows = self.curve.prefill_beside(len(self._live), self._room) if self._live else self._chunk
        return share_prefill(unready, rows)

    def _plan_guesses(self, prefill_rows: int) -> None:
        # In a split cache the second tokens of several samples are a pass of their own, and cost more than they save.
        guesses = self._model.rewinds and (len(self._live) == 1 or not self._context.split)
        offers = best_guesses(self._live, self._context.outputs - len(self._live)) if guesses else []
        for live in self._live:
            live.draft = ()
        taken = self.curve.with_guesses(len(self._live) + prefill_rows, [offer.chance for offer in offers])
        for offer in offers[:taken]:
            offer.live.draft = offer.tokens
        self.guessed += taken

    def _draw(self, logits: Logits, share: float) -> None:
        """Draw each sample's next tokens: one, and one more for each guess that holds."""
        row = 0
        for live in list(self._live):
            rows = 1 + len(live.draft)
            live.job.decode_seconds += share * rows
            try:
                reason = live.advance(logits[row : row + rows], self._model)
                self._settle_guess(live, rows - 1)
            except BadRequest as error:  # a grammar that leaves nothing; whatever else fails is the model
                live.job.error, reason = error, "cancelled"
            row += rows
            if reason:
                self._end(live, reason)

    def _settle_guess(self, live: Live, guessed: int) -> None:
        """Drop the cells of what was guessed wrong."""
        if guessed:
            self.accepted += live.held
            live.job.drafts.score(guessed, live.held)
            if live.held < guessed:
                self._context.truncate(live.sequence, live.position)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _end_what_is_settled(self) -> None:
        for live in [live for live in self._live if live.job.settled]:
            self._end(live, "cancelled")

    def _end(self, live: Live, reason: FinishReason) -> None:
        job = live.job
        self._live.remove(live)
        live.sampler.close()
        live.tell(live.transcript.close())
        job.running -= 1
        self.cells.take_back(job.request.sampling.max_tokens)
        # A turn that the user stopped is part of the conversation; a sample that lost the vote is not.
        if job.request.keep and (reason != "cancelled" or job.cancelled):
            tokens = [*job.prompt, *live.tokens][: live.position]
            self.cells.keep(Held(live.sequence, tokens, job.group, job.body))
        else:
            self.cells.close(live.sequence)
        job.record(live.completion(reason))

    def _close(self, job: Job) -> None:
        self._jobs.remove(job)
        unused = job.request.sampling.max_tokens if not job.started else 0
        self.cells.take_back(len(job.prompt) + unused)
        if job.spare is not None:
            self.cells.close(job.spare)
        if job.sequence is None:
            return
        if job.request.keep and not job.started and job.evaluated:
            self.cells.keep(Held(job.sequence, job.prompt[: job.evaluated], job.group))
        else:
            self.cells.close(job.sequence)
