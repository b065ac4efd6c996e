"""Continuous batching: many requests with many samples each, one `llama_decode` a step.

A prompt is evaluated once, all but its last token, on a sequence of its own. Each sample then shares those cells (the
last sample takes the sequence over) and starts by evaluating the last prompt token itself. So every sample, early or
late, begins in the same way, and a waiting one can start whenever another ends.

One step: end what was called off, admit requests, start samples, plan the rows, decode, draw. A row is the next token
of a running sample, a guess at the tokens after it (`drafts`), or a token of a prompt. How many samples run and what
fills up a step is read off the measured `StepCurve`.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from avengers_edge.engine.cells import Cells, Context, Logits
from avengers_edge.engine.curve import StepCurve
from avengers_edge.engine.job import Job, Live, derive_seed
from avengers_edge.engine.prefix import Held
from avengers_edge.engine.sampler import Drawn, TokenSampler
from avengers_edge.engine.transcript import Transcript
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit
from avengers_edge.records import FinishReason, Request, TokenLogprob

_FAIR_ROWS = 4
"""Rows that a request is counted with while others wait to be admitted: one of a thousand samples does not shut the
door, and few enough run beside each other that all get on."""


class Vocabulary(Protocol):
    """What the scheduler asks of a model."""

    name: str
    n_ctx_train: int
    rewinds: bool

    def piece(self, token: int) -> bytes:
        """Give a token's bytes."""

    def ends_generation(self, token: int) -> bool:
        """Tell whether the model ends its turn with this token."""


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
        self._chunk = min(prefill_chunk, context.batch_size - context.outputs)
        self.width = curve.widest(min(context.sequences - 1, context.outputs))
        self._queue: deque[Job] = deque()
        self._jobs: list[Job] = []
        self._live: list[Live] = []
        self._groups = itertools.count(1)
        self.steps, self.step_seconds, self.decode_seconds = 0, 0.0, 0.0
        self.prefilled, self.guessed, self.accepted = 0, 0, 0

    def check(self, prompt_tokens: int, request: Request) -> None:
        """Refuse a request of which not even one sample fits.

        Raises:
            BadRequest: the prompt has no token at all.
            DoesNotFit: the message has the need and the limit.

        """
        if prompt_tokens < 1:
            raise BadRequest(f"{self._model.name} reads nothing in this prompt: ask something else")
        need = prompt_tokens + request.sampling.max_tokens
        limit = min(self._context.cells, self._model.n_ctx_train)
        if need > limit:
            raise DoesNotFit(
                f"{prompt_tokens} prompt tokens and {request.sampling.max_tokens} to generate need {need} tokens of "
                f"context, and {self._model.name} has {limit}: shorten the prompt, lower --max-tokens"
                + (" or raise `context` in settings.toml" if limit < self._model.n_ctx_train else "")
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
        self._end_what_is_over()
        self._admit()
        self._start_samples()
        self._evaluate()
        self._end_what_is_over()
        ended = [job for job in self._jobs if not job.running and not job.unstarted]
        ended += [job for job in self._queue if job.over]
        for job in ended:
            self._close(job)
        if not self.busy:
            self.cells.tidy()
        self.step_seconds += time.perf_counter() - begin
        return ended

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
        """Give waiting requests a sequence, in order, while there is room for them."""
        while self._queue and sum(min(job.needed, _FAIR_ROWS) for job in self._jobs) < self.width:
            job = self._queue[0]
            need = len(job.prompt) + job.request.sampling.max_tokens
            if not self.cells.has_room(need, sequences=min(job.runs, 2)):
                return
            self._queue.popleft()
            job.sequence, job.reused = self.cells.open_for(job.prompt, self._prompts_under_way())
            job.evaluated = job.reused
            job.group = next(self._groups)
            self._jobs.append(job)

    def _prompts_under_way(self) -> list[Held]:
        held = [Held(job.sequence, job.prompt[: job.evaluated]) for job in self._jobs if job.sequence is not None]
        # The last sample of a request took its prompt's sequence over, and holds tokens of its own beyond it.
        samples = {live.job.group: live for live in self._live if live.job.sequence is None}
        return held + [
            Held(live.sequence, [*live.job.prompt, *live.tokens][: live.position]) for live in samples.values()
        ]

    def _start_samples(self) -> None:
        """Start the samples that are needed, request by request in turn; then those that come nearly for free."""
        ready = [job for job in self._jobs if job.ready]
        crowded = bool(self._queue)  # then nobody who has a sample running takes the cells that a newcomer waits for
        while len(self._live) < self.width:
            wanting = [job for job in ready if job.missing > 0 and not (crowded and job.running)]
            startable = next((job for job in sorted(wanting, key=lambda job: job.running) if self._start(job)), None)
            if startable is None:
                break
        if not crowded and not any(job.missing > 0 or not job.ready for job in self._jobs):
            for job in ready:
                waiting = min(job.unstarted, self.width - len(self._live))
                for _ in range(self.curve.beside(len(self._live), waiting)):
                    self._start(job)

    def _start(self, job: Job) -> bool:
        longest = job.request.sampling.max_tokens
        if not self.cells.has_room(longest) or job.sequence is None:
            return False
        if job.started == job.runs - 1:
            sequence, job.sequence = job.sequence, None
        elif (shared := self.cells.open_from(job.sequence, job.body)) is not None:
            sequence = shared
        else:
            return False
        self.cells.promise(longest)
        seed = derive_seed(job.request.seed, job.started)
        transcript = Transcript(job.request.sampling.stop)
        sampler = self._sampler_for(job.request, seed)
        self._live.append(Live(job, job.started, seed, sequence, sampler, transcript, job.prompt[-1], job.body))
        job.started += 1
        job.running += 1
        return True

    # --- one step ---------------------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        """Plan the rows, decode them, draw from them."""
        prefill = self._plan_prefill()
        self._plan_guesses(sum(count for _, count in prefill))
        rows = [row for live in self._live for row in live.rows()]
        wanted = len(rows)
        for job, count in prefill:
            span = range(job.evaluated, job.evaluated + count)
            rows += [(job.prompt[at], at, job.sequence or 0) for at in span]
        if not rows:
            return
        begin = time.perf_counter()
        tokens, positions, sequences = (list(column) for column in zip(*rows, strict=True))
        logits = self._context.decode(tokens, positions, sequences, [row < wanted for row in range(len(rows))])
        share = (time.perf_counter() - begin) / len(rows)
        self.decode_seconds += share * len(rows)
        self.steps += 1
        for job, count in prefill:
            job.evaluated += count
            job.prefill_seconds += share * count
            self.prefilled += count
        self._draw(logits, share)

    def _plan_prefill(self) -> list[tuple[Job, int]]:
        """Share the prompt tokens of this step out among the requests that still have some."""
        unready = [job for job in self._jobs if not job.ready and not job.over]
        if not unready:
            return []
        left = self.curve.prefill_beside(len(self._live), self._chunk) if self._live else self._chunk
        plan = []
        for place, job in enumerate(sorted(unready, key=lambda job: job.body - job.evaluated)):
            count = min(job.body - job.evaluated, -(-left // (len(unready) - place)))
            plan.append((job, count))
            left -= count
        return [(job, count) for job, count in plan if count]

    def _plan_guesses(self, prefill_rows: int) -> None:
        """Choose guesses for the rows to spare, likeliest first."""
        for live in self._live:
            live.draft = ()
        if not self._model.rewinds or not self._live:
            return
        guesses = [(live, live.guess()) for live in self._live]
        offers = sorted(
            (-live.job.drafts.chance(depth), place, depth)
            for place, (live, guess) in enumerate(guesses)
            for depth in range(len(guess))
        )[: self._context.outputs - len(self._live)]
        taken = self.curve.with_guesses(len(self._live) + prefill_rows, [-chance for chance, _, _ in offers])
        for _, place, depth in offers[:taken]:
            live, guess = guesses[place]
            live.draft = guess[: depth + 1]
        self.guessed += taken

    def _draw(self, logits: Logits, share: float) -> None:
        """Draw each sample's next tokens: one, and one more for each guess that holds."""
        row = 0
        for live in list(self._live):
            rows = 1 + len(live.draft)
            live.job.decode_seconds += share * rows
            try:
                reason = self._advance(live, logits[row : row + rows])
            except AvengersError as error:
                live.job.error, reason = error, "cancelled"
            row += rows
            if reason:
                self._end(live, reason)

    def _advance(self, live: Live, logits: Logits) -> FinishReason | None:
        """Draw until a guess fails or the sample ends; say how it ended if it did."""
        reason, drawn_rows = None, 0
        for depth in range(len(logits)):
            drawn = live.sampler.draw(logits[depth])
            drawn_rows += 1
            reason = self._push(live, drawn)
            if reason or depth >= len(live.draft) or drawn.token != live.draft[depth]:
                break
        live.position += drawn_rows
        held = drawn_rows - 1
        if live.draft:
            live.job.drafts.held(len(live.draft), held)
            self.accepted += held
            if held < len(live.draft):
                self._context.truncate(live.sequence, live.position)
        return reason

    def _push(self, live: Live, drawn: Drawn) -> FinishReason | None:
        if self._model.ends_generation(drawn.token):
            return "stop"
        live.token = drawn.token
        live.tokens.append(drawn.token)
        live.job.drafts.learn(live.tokens)
        if drawn.logprob is not None:
            live.logprobs.append(self._named(drawn))
        live.tell(live.transcript.push(self._model.piece(drawn.token)))
        if live.transcript.stopped:
            return "stop"
        return "length" if len(live.tokens) == live.job.request.sampling.max_tokens else None

    def _named(self, drawn: Drawn) -> TokenLogprob:
        def text(token: int) -> str:
            return self._model.piece(token).decode("utf-8", "replace")

        top = tuple((text(token), logprob) for token, logprob in drawn.top)
        return TokenLogprob(text(drawn.token), drawn.logprob or 0.0, top)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _end_what_is_over(self) -> None:
        for live in [live for live in self._live if live.job.over]:
            self._end(live, "cancelled")

    def _end(self, live: Live, reason: FinishReason) -> None:
        job = live.job
        self._live.remove(live)
        live.sampler.close()
        live.tell(live.transcript.close())
        job.running -= 1
        self.cells.take_back(job.request.sampling.max_tokens)
        if job.request.keep and reason != "cancelled":
            tokens = [*job.prompt, *live.tokens][: live.position]
            self.cells.keep(Held(live.sequence, tokens, job.group, job.body))
        else:
            self.cells.close(live.sequence)
        job.record(live.completion(reason))

    def _close(self, job: Job) -> None:
        if job in self._queue:
            self._queue.remove(job)
            return
        self._jobs.remove(job)
        self.cells.take_back(len(job.prompt))
        if job.sequence is not None:
            self.cells.close(job.sequence)
            job.sequence = None
