"""The decode loop: many samples of many prompts, one `llama_decode` a step.

A prompt is evaluated once, all but its last token, on a sequence of its own. Each sample then shares those cells (the
last sample takes the sequence over) and starts by evaluating the last prompt token itself. So every sample, early or
late, begins in the same way, and a waiting one can start whenever another ends.
"""

from __future__ import annotations

import bisect
import hashlib
import heapq
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from avengers_edge.engine.native import LlamaContext, LlamaModel, Row, SamplerChain
from avengers_edge.engine.transcript import Transcript
from avengers_edge.errors import BadRequest, DoesNotFit
from avengers_edge.records import SEED_LIMIT, Completion, FinishReason, Generation, OnFinish, OnToken, Request


def derive_seed(seed: int, index: int) -> int:
    """Give sample `index` its own seed: equal seeds on equal logits would make equal samples."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % SEED_LIMIT


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the batch."""

    request: Request
    prompt: Sequence[int]
    place: int = 0  # in the order of requests
    on_finish: OnFinish | None = None
    on_token: OnToken | None = None
    sequence: int | None = None  # holds the prompt's cells until the last sample has started
    started: int = 0
    enough: bool = False
    completions: dict[int, Completion] = field(default_factory=dict)
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def waiting(self) -> bool:
        """Tell whether a sample has still to start."""
        return not self.enough and self.started < self.request.n

    def generation(self) -> Generation:
        """Sum the job up."""
        return Generation(
            completions=tuple(self.completions[index] for index in sorted(self.completions)),
            prompt_tokens=len(self.prompt),
            prefill_ms=self.prefill_seconds * 1000,
            decode_ms=self.decode_seconds * 1000,
        )


@dataclass(slots=True, eq=False)
class _Live:
    """A sample that is being decoded."""

    job: Job
    index: int
    seed: int
    sequence: int
    chain: SamplerChain
    transcript: Transcript
    token: int
    position: int
    generated: int = 0


class Batch:
    """One run of the loop.

    A sample is admitted only when the cells for its longest course are free, so none fails midway.

    Seconds are shared out: a step's time is divided among its samples, so that a job's seconds are what it costs the
    machine, whatever else ran beside it.
    """

    def __init__(self, model: LlamaModel, context: LlamaContext, *, width: int, prefill_chunk: int) -> None:
        self._model, self._context = model, context
        self._width, self._chunk = width, min(prefill_chunk, context.batch_size)
        self._live: list[_Live] = []
        self._sequences = list(range(context.sequences))  # free ones, a heap: the lowest is taken first
        self._reserved = 0

    def check(self, prompt_tokens: int, request: Request) -> None:
        """Refuse a request of which not even one sample fits.

        Raises:
            BadRequest: the prompt has no token at all.
            DoesNotFit: the message has the need and the limit.

        """
        if prompt_tokens < 1:
            raise BadRequest(f"{self._model.name} reads nothing in this prompt: ask something else")
        need = prompt_tokens + request.sampling.max_tokens
        limit = min(self._context.cells_per_sequence, self._model.n_ctx_train)
        if need > limit:
            raise DoesNotFit(
                f"{prompt_tokens} prompt tokens and {request.sampling.max_tokens} to generate need {need} tokens of "
                f"context, and {self._model.name} has {limit}: shorten the prompt, lower --max-tokens"
                + (" or raise `context` in settings.toml" if limit < self._model.n_ctx_train else "")
            )

    def run(self, jobs: Iterable[Job], cancel: threading.Event | None = None) -> Iterator[Job]:
        """Work through the jobs, yielding each as it ends; on `cancel` all end within one step."""
        incoming = iter(jobs)
        open_jobs: deque[Job] = deque()
        pending = next(incoming, None)
        try:
            while pending or open_jobs:
                # 1) Admit prompts while there is room beside those that still have samples waiting.
                while pending and not any(job.waiting for job in open_jobs) and self._admits(pending):
                    self._prefill(pending, cancel)
                    open_jobs.append(pending)
                    pending = next(incoming, None)
                    self._start_samples(open_jobs)
                # 2) One step for every live sample; the ended make room for the waiting.
                if self._live:
                    self._step()
                if cancel and cancel.is_set():
                    self._stop_all(open_jobs)
                    pending = None
                self._start_samples(open_jobs)
                # 3) Hand out what has ended.
                for job in [job for job in open_jobs if not job.waiting and not self._lives(job)]:
                    open_jobs.remove(job)
                    self._close(job)
                    yield job
        finally:
            for live in self._live:
                live.chain.close()
            self._live.clear()
            self._context.clear()

    def _admits(self, job: Job) -> bool:
        room = self._context.cells - self._reserved
        need = len(job.prompt) + job.request.sampling.max_tokens
        return len(self._live) < self._width and bool(self._sequences) and need <= room

    def _prefill(self, job: Job, cancel: threading.Event | None) -> None:
        begin = time.perf_counter()
        job.sequence = heapq.heappop(self._sequences)
        self._reserved += len(job.prompt)
        body = job.prompt[:-1]
        for start in range(0, len(body), self._chunk):
            if cancel and cancel.is_set():
                job.enough = True
                break
            chunk = body[start : start + self._chunk]
            self._context.decode([Row(token, start + i, job.sequence, False) for i, token in enumerate(chunk)])
        job.prefill_seconds = time.perf_counter() - begin

    def _start_samples(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            longest = job.request.sampling.max_tokens
            while (
                job.waiting and len(self._live) < self._width and self._reserved + longest <= self._context.cells
            ) and (sequence := self._sequence_for_next(job)) is not None:
                self._reserved += longest
                # In order of sequence: a cache that is not unified evaluates neighbours together, others one by one.
                bisect.insort(self._live, self._start(job, sequence), key=lambda live: live.sequence)

    def _sequence_for_next(self, job: Job) -> int | None:
        """Find a sequence that holds the prompt's cells: the prompt's own for the last sample, else a free one."""
        if job.started == job.request.n - 1:
            sequence, job.sequence = job.sequence, None
            return sequence
        if job.sequence is None or not self._sequences:
            return None
        sequence = heapq.heappop(self._sequences)
        self._context.share(job.sequence, sequence)
        return sequence

    def _start(self, job: Job, sequence: int) -> _Live:
        index = job.started
        job.started += 1
        seed = derive_seed(job.request.seed, index)
        return _Live(
            job=job,
            index=index,
            seed=seed,
            sequence=sequence,
            chain=self._context.sampler(job.request.sampling, seed),
            transcript=Transcript(job.request.sampling.stop),
            token=job.prompt[-1],
            position=len(job.prompt) - 1,
        )

    def _step(self) -> None:
        begin = time.perf_counter()
        self._context.decode([Row(live.token, live.position, live.sequence) for live in self._live])
        ended = [(live, reason) for row, live in enumerate(self._live) if (reason := self._advance(live, row))]
        share = (time.perf_counter() - begin) / len(self._live)
        for live in self._live:
            live.job.decode_seconds += share
        for live, reason in ended:
            self._end(live, reason)
        for live in [live for live in self._live if live.job.enough]:
            self._end(live, "cancelled")

    def _advance(self, live: _Live, row: int) -> FinishReason | None:
        """Draw the sample's next token; say how it ended if it did."""
        token = live.chain.sample(row)
        if self._model.ends_generation(token):
            return "stop"
        live.token, live.position, live.generated = token, live.position + 1, live.generated + 1
        self._tell(live, live.transcript.push(self._model.piece(token)))
        if live.transcript.stopped:
            return "stop"
        return "length" if live.generated == live.job.request.sampling.max_tokens else None

    def _end(self, live: _Live, reason: FinishReason) -> None:
        self._live.remove(live)
        live.chain.close()
        self._context.release(live.sequence)
        heapq.heappush(self._sequences, live.sequence)
        self._reserved -= live.job.request.sampling.max_tokens
        self._tell(live, live.transcript.close())
        completion = Completion(live.index, live.seed, live.transcript.text, live.generated, reason)
        live.job.completions[live.index] = completion
        if reason != "cancelled" and live.job.on_finish and live.job.on_finish(completion):
            live.job.enough = True

    def _stop_all(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            job.enough = True
        for live in list(self._live):
            self._end(live, "cancelled")

    def _close(self, job: Job) -> None:
        if job.sequence is not None:
            self._context.release(job.sequence)
            heapq.heappush(self._sequences, job.sequence)
            job.sequence = None
        self._reserved -= len(job.prompt)

    def _lives(self, job: Job) -> bool:
        return any(live.job is job for live in self._live)

    @staticmethod
    def _tell(live: _Live, piece: str) -> None:
        if piece and live.job.on_token:
            live.job.on_token(live.index, piece)
