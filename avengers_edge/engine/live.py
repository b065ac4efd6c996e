"""A sample that is being decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from avengers_edge.engine.cells import Logits
from avengers_edge.engine.job import Job
from avengers_edge.engine.sampler import Drawn, TokenSampler
from avengers_edge.engine.thinking import ThinkingBudget
from avengers_edge.engine.transcript import Transcript
from avengers_edge.records import Completion, FinishReason, TokenLogprob


class Vocabulary(Protocol):
    """What the scheduler asks of a model."""

    name: str
    n_ctx_train: int
    rewinds: bool

    @property
    def last_words(self) -> Sequence[int]:
        """The tokens that end a thought which has taken its budget."""

    def piece(self, token: int) -> bytes:
        """Give a token's bytes."""

    def ends_generation(self, token: int) -> bool:
        """Tell whether the model ends its turn with this token."""


@dataclass(slots=True, eq=False)
class Live:
    """A sample that is being decoded: its next token to feed, where, and what it has written."""

    job: Job
    index: int
    seed: int
    sequence: int
    sampler: TokenSampler
    transcript: Transcript
    thinking: ThinkingBudget
    token: int
    position: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    draft: Sequence[int] = ()
    held: int = 0  # how many guesses of the last step were right
    forced: deque[int] = field(default_factory=deque)  # tokens that come next, whatever the logits say

    def guess(self) -> Sequence[int]:
        """Guess what follows, no longer than the sample may still become."""
        left = self.job.request.sampling.max_tokens - len(self.tokens) - 1
        return self.job.drafts.guess(self.tokens or self.job.prompt)[:left]

    def rows(self) -> list[tuple[int, int, int]]:
        """Give what to evaluate, as (token, position, sequence): the next token and the guess."""
        return [(token, self.position + i, self.sequence) for i, token in enumerate((self.token, *self.draft))]

    def tell(self, piece: str) -> None:
        """Pass decided text on to whoever listens."""
        self.job.tell(self.index, piece)

    def completion(self, reason: FinishReason) -> Completion:
        """Sum the sample up."""
        logprobs = None if self.job.request.sampling.logprobs is None else tuple(self.logprobs)
        return Completion(self.index, self.seed, self.transcript.text, len(self.tokens), reason, logprobs)

    def advance(self, logits: Logits, model: Vocabulary) -> FinishReason | None:
        """Draw until a guess fails or the sample ends; say how it ended if it did.

        Args:
            logits: what follows the token that was fed and each guess, shape (1 + guesses, vocabulary).
            model: names tokens.

        Raises:
            BadRequest: the grammar leaves no token.
            EngineDied: the logits are no distribution.

        """
        self.held = 0
        for row in logits:
            drawn = self.sampler.take(row, self.forced.popleft()) if self.forced else self.sampler.draw(row)
            self.position += 1
            reason = self._push(drawn, model)
            if reason or self.held >= len(self.draft) or drawn.token != self.draft[self.held]:
                return reason
            self.held += 1
        return None

    def _push(self, drawn: Drawn, model: Vocabulary) -> FinishReason | None:
        if model.ends_generation(drawn.token):
            return "stop"
        self.token = drawn.token
        self.tokens.append(drawn.token)
        self.job.drafts.learn(self.tokens)
        if drawn.logprob is not None:
            self.logprobs.append(_named(drawn, drawn.logprob, model))
        piece = model.piece(drawn.token)
        self.tell(self.transcript.push(piece))
        if self.transcript.stopped:
            return "stop"
        if self.thinking.push(piece) and not self.forced:
            self.forced.extend(model.last_words)
        return "length" if len(self.tokens) == self.job.request.sampling.max_tokens else None


def _named(drawn: Drawn, logprob: float, model: Vocabulary) -> TokenLogprob:
    def text(token: int) -> str:
        return model.piece(token).decode("utf-8", "replace")

    return TokenLogprob(text(drawn.token), logprob, tuple((text(token), value) for token, value in drawn.top))
