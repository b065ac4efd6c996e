"""A request on its way through the scheduler, and each of its samples."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from dataclasses import dataclass, field

from avengers_edge.engine.drafts import Drafts
from avengers_edge.engine.ticket import Ticket
from avengers_edge.records import (
    SEED_LIMIT,
    Completion,
    Generation,
    OnFinish,
    OnToken,
    Request,
)


def derive_seed(seed: int, index: int) -> int:
    """Give sample `index` its own seed: equal seeds on equal logits would make equal samples."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % SEED_LIMIT


@dataclass(slots=True, eq=False)
class Job:
    """A request, its prompt's tokens and what has come of it so far."""

    request: Request
    on_finish: OnFinish | None = None
    on_token: OnToken | None = None
    server: threading.Thread | None = None
    prompt: list[int] = field(default_factory=list)
    opened: str = ""  # a thought that the prompt's end begins: each sample's text begins with it
    off: threading.Event = field(default_factory=threading.Event)  # set from any thread
    group: int = 0  # which request a kept sequence is of
    sequence: int | None = None  # holds the prompt's cells until the last sample has started
    spare: int | None = None  # for the first sample, where more than one is to start
    evaluated: int = 0  # tokens of the prompt that are in the cache
    reused: int = 0
    started: int = 0
    running: int = 0
    needed: int = 0  # samples that must still end before the request can
    completions: dict[int, Completion] = field(default_factory=dict)
    error: BaseException | None = None
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    drafts: Drafts = field(init=False)
    ticket: Ticket = field(init=False)

    def __post_init__(self) -> None:
        self.needed = self.request.least or self.request.n
        self.ticket = Ticket(self.off.set, self.server)  # of its own it holds nothing: its end frees it

    def begin(self, prompt: list[int], opened: str = "") -> None:
        """Take the prompt's tokens, and the thought that it opens."""
        self.prompt, self.opened, self.drafts = prompt, opened, Drafts(prompt)

    def cancel(self) -> None:
        """Ask for an end at the next step."""
        self.off.set()

    @property
    def cancelled(self) -> bool:
        """Whether its end was asked for."""
        return self.off.is_set()

    @property
    def runs(self) -> int:
        """How many samples are computed: greedy ones are all alike, so one is."""
        return 1 if self.request.sampling.temperature == 0 else self.request.n

    @property
    def body(self) -> int:
        """Prompt tokens that are evaluated once: all but the last, which every sample feeds itself."""
        return len(self.prompt) - 1

    @property
    def ready(self) -> bool:
        """Tell whether samples can start."""
        return self.evaluated >= self.body

    @property
    def settled(self) -> bool:
        """Tell whether no sample needs to start any more."""
        return self.needed == 0 or self.cancelled or self.error is not None

    @property
    def unstarted(self) -> int:
        """How many samples could still start."""
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
                    self.tell(index, completion.text)
                    self._take(dataclasses.replace(completion, index=index, seed=derive_seed(self.request.seed, index)))

    def _take(self, completion: Completion) -> None:
        self.completions[completion.index] = completion
        self.needed = self.request.n - sum(done.finish_reason != "cancelled" for done in self.completions.values())
        if completion.finish_reason == "cancelled" or self.error or not self.on_finish:
            return
        try:
            self.needed = min(self.needed, max(0, self.on_finish(completion)))
        except BaseException as error:  # as in `tell`
            self.error = error

    def tell(self, index: int, piece: str) -> None:
        """Pass decided text on to whoever listens."""
        if piece and self.on_token and not self.error:
            try:
                self.on_token(index, piece)
            except BaseException as error:  # a listener's failure is its request's, not the engine's
                self.error = error

    def finish(self) -> None:
        """Hand the result out, or the reason why there is none."""
        if self.error:
            self.fail(self.error)
        else:
            self.ticket.future.set_result(self.generation())

    def fail(self, error: BaseException) -> None:
        """Hand out why there is no result."""
        self.ticket.future.set_exception(error)

    def generation(self) -> Generation:
        """Sum the job up."""
        return Generation(
            completions=tuple(self.completions[index] for index in sorted(self.completions)),
            prompt_tokens=len(self.prompt),
            prefill_ms=self.prefill_seconds * 1000,
            decode_ms=self.decode_seconds * 1000,
            reused_tokens=self.reused,
        )
