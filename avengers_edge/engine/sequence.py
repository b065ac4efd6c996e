"""A request in the scheduler and its samples: a group of sequences that begin with one prompt."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avengers_edge.engine.detokenizer import Detokenizer, ThinkingBudget
from avengers_edge.engine.protocol import RequestHandle
from avengers_edge.engine.sampler import Drawn, TokenSampler
from avengers_edge.engine.speculation import PromptLookup
from avengers_edge.records import (
    SEED_LIMIT,
    Completion,
    FinishReason,
    Generation,
    OnFinish,
    OnToken,
    Request,
    TokenLogprob,
)

if TYPE_CHECKING:
    from avengers_edge.engine.llama_context import LlamaModel, Logits


def derive_seed(seed: int, index: int) -> int:
    """Derive the seed of sample `index`: equal seeds on equal logits would make equal samples."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % SEED_LIMIT


@dataclass(slots=True, eq=False)
class SequenceGroup:
    """A request, its prompt's tokens and what has come of it so far."""

    request: Request
    on_finish: OnFinish | None = None
    on_token: OnToken | None = None
    server: threading.Thread | None = None
    prompt: list[int] = field(default_factory=list)
    opened: str = ""  # a thought that the prompt's end begins: each sample's text begins with it
    longest: int = 0  # tokens that a sample may write: what was asked for, held to what fits
    cancelling: threading.Event = field(default_factory=threading.Event)  # set from any thread
    id: int = 0  # which request a kept sequence is of
    seq_id: int | None = None  # holds the prompt's cells until the last sample has started
    spare_seq_id: int | None = None  # for the first sample, where more than one is to start
    evaluated: int = 0  # tokens of the prompt that are in the cache
    reused: int = 0
    started: int = 0
    running: int = 0
    needed: int = 0  # samples that must still end before the request can
    completions: dict[int, Completion] = field(default_factory=dict)
    error: BaseException | None = None
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    lookup: PromptLookup = field(init=False)
    handle: RequestHandle = field(init=False)

    def __post_init__(self) -> None:
        self.needed = self.request.least or self.request.n
        self.handle = RequestHandle(self.cancelling.set, self.server)  # it does not hold this, whose end frees it

    def begin(self, prompt: list[int], opened: str = "") -> None:
        self.prompt, self.opened, self.lookup = prompt, opened, PromptLookup(prompt)

    def cancel(self) -> None:
        """Ask for an end at the next step."""
        self.cancelling.set()

    @property
    def cancelled(self) -> bool:
        return self.cancelling.is_set()

    @property
    def runs(self) -> int:
        """How many samples are computed: greedy ones are all alike, so one is."""
        return 1 if self.request.sampling.temperature == 0 else self.request.n

    @property
    def prefill_length(self) -> int:
        """Prompt tokens that are evaluated once: all but the last, which every sample feeds itself."""
        return len(self.prompt) - 1

    @property
    def ready(self) -> bool:
        return self.evaluated >= self.prefill_length

    @property
    def settled(self) -> bool:
        """Return whether no sample needs to start any more."""
        return self.needed == 0 or self.cancelled or self.error is not None

    @property
    def unstarted(self) -> int:
        return 0 if self.settled else self.runs - self.started

    @property
    def missing(self) -> int:
        """How many samples have to start now: what is needed and not running."""
        return min(self.unstarted, self.needed - self.running)

    def record(self, completion: Completion) -> None:
        """Take a sample that ended; where it stands for others that would be alike, take those as well."""
        self._take(completion)
        if self.runs < self.request.n and completion.finish_reason != "cancelled":
            for index in range(1, self.request.n):
                if not self.settled:
                    self.emit(index, completion.text)
                    self._take(dataclasses.replace(completion, index=index, seed=derive_seed(self.request.seed, index)))

    def _take(self, completion: Completion) -> None:
        self.completions[completion.index] = completion
        self.needed = self.request.n - sum(done.finish_reason != "cancelled" for done in self.completions.values())
        if completion.finish_reason == "cancelled" or self.error or not self.on_finish:
            return
        try:
            self.needed = min(self.needed, max(0, self.on_finish(completion)))
        except BaseException as error:  # as in `emit`
            self.error = error

    def emit(self, index: int, piece: str) -> None:
        if piece and self.on_token and not self.error:
            try:
                self.on_token(index, piece)
            except BaseException as error:  # a callback's failure is its request's, not the engine's
                self.error = error

    def finish(self) -> None:
        if self.error:
            self.fail(self.error)
            return
        generation = Generation(
            completions=tuple(self.completions[index] for index in sorted(self.completions)),
            prompt_tokens=len(self.prompt),
            prefill_ms=self.prefill_seconds * 1000,
            decode_ms=self.decode_seconds * 1000,
            reused_tokens=self.reused,
        )
        self.handle.future.set_result(generation)

    def fail(self, error: BaseException) -> None:
        self.handle.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Sequence:
    """A sample that is being decoded: its next token to feed, where, and what it has written."""

    group: SequenceGroup
    index: int
    seed: int
    seq_id: int
    sampler: TokenSampler
    detokenizer: Detokenizer
    thinking: ThinkingBudget
    token: int
    position: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    draft: tuple[int, ...] = ()
    accepted: int = 0  # draft tokens of the last step
    forced: deque[int] = field(default_factory=deque)  # tokens that come next, whatever the logits say

    def propose(self) -> tuple[int, ...]:
        """Draft what follows, no longer than the sample may still become."""
        left = self.group.longest - len(self.tokens) - 1
        return self.group.lookup.draft(self.tokens or self.group.prompt)[:left]

    def rows(self) -> list[tuple[int, int, int]]:
        """Return what to evaluate, as (token, position, sequence): the next token and the draft."""
        return [(token, self.position + i, self.seq_id) for i, token in enumerate((self.token, *self.draft))]

    def emit(self, piece: str) -> None:
        self.group.emit(self.index, piece)

    def completion(self, reason: FinishReason) -> Completion:
        logprobs = None if self.group.request.sampling.logprobs is None else tuple(self.logprobs)
        return Completion(self.index, self.seed, self.detokenizer.text, len(self.tokens), reason, logprobs)

    def advance(self, logits: Logits, model: LlamaModel) -> FinishReason | None:
        """Draw until a draft token is not accepted or the sample ends; return how it ended if it did.

        `logits` has what follows the token that was fed and each draft token, shape (1 + draft tokens, vocabulary).
        """
        self.accepted = 0
        for row in logits:
            drawn = self.sampler.take(row, self.forced.popleft()) if self.forced else self.sampler.draw(row)
            self.position += 1
            reason = self._append(drawn, model)
            if reason or self.accepted >= len(self.draft) or drawn.token != self.draft[self.accepted]:
                return reason
            self.accepted += 1
        return None

    def _append(self, drawn: Drawn, model: LlamaModel) -> FinishReason | None:
        if model.ends_generation(drawn.token):
            return "stop"
        self.token = drawn.token
        self.tokens.append(drawn.token)
        self.group.lookup.learn(self.tokens)
        if drawn.logprob is not None:
            self.logprobs.append(_named(drawn, drawn.logprob, model))
        piece = model.piece(drawn.token)
        self.emit(self.detokenizer.push(piece))
        if self.detokenizer.stopped:
            return "stop"
        if self.thinking.push(piece) and not self.forced:
            self.forced.extend(model.thought_end)
        return "length" if len(self.tokens) == self.group.longest else None


def _named(drawn: Drawn, logprob: float, model: LlamaModel) -> TokenLogprob:
    first, *top = (
        (model.piece(token).decode("utf-8", "replace"), value) for token, value in ((drawn.token, logprob), *drawn.top)
    )
    return TokenLogprob(*first, tuple(top))
