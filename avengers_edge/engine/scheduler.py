"""Continuous batching: many requests with many samples each, one `llama_decode` a step.

A prompt is evaluated once, all but its last token. Each sample shares those cells (the last one takes the sequence
over) and evaluates the last prompt token itself, so it begins in the same way whenever it starts. One step: end what
was cancelled, admit requests, start samples, plan the rows, decode, draw. A row is the next token of a sample, a draft
token after it, or a token of a prompt; how many of each is read off the measured `StepCurve`.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from avengers_edge.engine.detokenizer import Detokenizer, ThinkingBudget
from avengers_edge.engine.kv_cache import KVCacheManager, PrefixEntry
from avengers_edge.engine.sampler import TokenSampler
from avengers_edge.engine.sequence import Sequence, SequenceGroup, derive_seed
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import AvengersError, BadRequest, ContextFull
from avengers_edge.records import AS_LONG_AS_FITS, FinishReason, Request

if TYPE_CHECKING:
    from avengers_edge.engine.llama_context import LlamaContext, LlamaModel, Logits

_AT_ONCE = 8
_LEAST_ANSWER, _LEAST_SHARE = 16, 16
"""A prompt leaves an answer 16 tokens and a sixteenth of the context at the least, or what was asked for."""
_LEAST_GRANT = 512
"""Tokens that an answer without a limit gets where others leave less."""

"""Requests that run beside each other whatever each of them wants: one of a thousand samples does not hold up all."""


class Scheduler:
    """The requests of one context. Used by the thread that owns it; others may call `SequenceGroup.cancel` only.

    A sample is started only when the cells for its longest course are free, so none fails midway. A step's time is
    divided among its rows, so that a request's seconds are what it costs the machine, whatever else ran beside it.

    Args:
        model: names tokens.
        context: the cache and the step.
        curve: what a step costs.
        sampler_for: makes a sample's way of drawing, from its request and its own seed.
        prefill_chunk: prompt tokens in a step that has no sample to hold up; cancelling waits for one step.

    """

    def __init__(
        self,
        model: LlamaModel,
        context: LlamaContext,
        curve: StepCurve,
        sampler_for: Callable[[Request, int], TokenSampler],
        *,
        prefill_chunk: int,
    ) -> None:
        self._model, self._context, self.curve = model, context, curve
        self._sampler_for = sampler_for
        self.kv_cache = KVCacheManager(context, supports_rollback=model.supports_rollback)
        self._room = context.batch_size - context.outputs
        self._chunk = min(prefill_chunk, self._room)
        # A cache split among slots is to run them all; a prompt's slot is its last sample's.
        most = min(context.sequences - 1, context.outputs)
        self.max_running = context.sequences if context.split else curve.widest(most)
        self._waiting: deque[SequenceGroup] = deque()
        self._groups: list[SequenceGroup] = []
        self._running: list[Sequence] = []
        self._short = False  # whether a request waits for cells, not only for its turn
        self._ids = itertools.count(1)
        self.steps, self.step_seconds = 0, 0.0
        self.prefilled, self.drafted, self.accepted = 0, 0, 0

    def fit(self, group: SequenceGroup) -> None:
        """Hold what a request may write to what fits behind its prompt; refuse one that leaves no room for an answer.

        Raises:
            BadRequest: the prompt has no token at all.
            ContextFull: the message has the need and the limit.

        """
        tokens, wanted = len(group.prompt), group.request.sampling.max_tokens
        if tokens < 1:
            raise BadRequest(f"{self._model.name} reads nothing in this prompt: ask something else")
        limit = min(self._context.longest, self._model.n_ctx_train)
        least = min(wanted, max(_LEAST_ANSWER, limit // _LEAST_SHARE))
        if tokens + least > limit:
            setting = "`--context`, which the slots share" if self._context.split else "`context` in settings.toml"
            raise ContextFull(
                f"{tokens} prompt tokens and {least} for an answer need {tokens + least} tokens of context, and "
                f"{self._model.name} has {limit}: shorten the prompt"
                + (f" or raise {setting}" if limit < self._model.n_ctx_train else "")
            )
        group.longest = min(wanted, limit - tokens)

    def _granted(self, group: SequenceGroup) -> int:
        """Return how much a request may write now; without a limit of its own half of what is free."""
        tokens = len(group.prompt)
        if group.request.sampling.max_tokens < AS_LONG_AS_FITS or self._context.split:
            return group.longest
        limit = min(self._context.longest, self._model.n_ctx_train) - tokens
        return min(limit, max(_LEAST_GRANT, (self.kv_cache.unreserved - tokens) // 2))

    def add(self, group: SequenceGroup) -> None:
        self._waiting.append(group)

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._groups)

    def step(self) -> list[SequenceGroup]:
        """Do one step; give the requests that ended with it."""
        begin = time.perf_counter()
        cancelled = [group for group in self._waiting if group.settled]
        for group in cancelled:
            self._waiting.remove(group)
        self._end_what_is_settled()
        self._admit()
        prefill = self._plan_prefill()
        self._start_samples(prefill)
        self._evaluate(prefill)
        self._end_what_is_settled()
        ended = [group for group in self._groups if not group.running and not group.unstarted]
        for group in ended:
            self._close(group)
        if not self.busy:
            self.kv_cache.reset_if_empty()
        self.step_seconds += time.perf_counter() - begin
        return cancelled + ended

    def abandon(self) -> list[SequenceGroup]:
        """Drop every request and return them, so that the engine can fail them."""
        given_up = [*self._groups, *self._waiting]
        for sequence in self._running:
            sequence.sampler.close()
        for queue in (self._running, self._groups, self._waiting):
            queue.clear()
        return given_up

    # --- who runs ---------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Reserve for waiting requests, in order, the cells of their first sample, so that what is admitted gets on."""
        self._short = False
        fair = max(1, self.max_running // _AT_ONCE)
        while self._waiting and sum(min(group.needed, fair) for group in self._groups) < self.max_running:
            group = self._waiting[0]
            longest = group.longest = self._granted(group)
            if not self.kv_cache.can_reserve(len(group.prompt) + longest, sequences=min(group.runs, 2)):
                self._short = True
                return
            self._waiting.popleft()
            group.seq_id, group.reused = self.kv_cache.open_for(group.prompt, self._prompts_under_way(), beyond=longest)
            group.spare_seq_id = self.kv_cache.open() if group.runs > 1 else None
            group.evaluated = group.reused
            group.id = next(self._ids)
            self._groups.append(group)

    def _prompts_under_way(self) -> list[PrefixEntry]:
        prompts = [
            PrefixEntry(group.seq_id, group.prompt[: group.evaluated])
            for group in self._groups
            if group.seq_id is not None
        ]
        # Each sample of a request holds its prompt, and tokens of its own beyond it.
        samples = {sequence.group.id: sequence for sequence in self._running if sequence.group.seq_id is None}
        return prompts + [
            PrefixEntry(each.seq_id, [*each.group.prompt, *each.tokens][: each.position]) for each in samples.values()
        ]

    def _start_samples(self, prefill: list[tuple[SequenceGroup, int]]) -> None:
        """Start the samples that are needed, request by request in turn; then those that come nearly for free."""
        ready = [group for group in self._groups if group.ready]
        ready += [
            group for group, count in prefill if group.runs == 1 and group.evaluated + count == group.prefill_length
        ]
        while len(self._running) < self.max_running:
            # Whoever has a sample running does not take the cells that a newcomer waits for.
            wanting = [group for group in ready if group.missing > 0 and not (self._short and group.running)]
            if not any(self._start(group) for group in sorted(wanting, key=lambda group: group.running)):
                break
        if not self._waiting and not any(group.missing > 0 or not group.ready for group in self._groups):
            for group in ready:
                waiting = min(group.unstarted, self.max_running - len(self._running))
                for _ in range(self.curve.beside(len(self._running), waiting)):
                    if self.kv_cache.has_free(group.longest):
                        self._start(group)

    def _start(self, group: SequenceGroup) -> bool:
        first, last = group.started == 0, group.started == group.runs - 1
        longest = group.longest
        if group.seq_id is None or not (first or self.kv_cache.can_reserve(longest, sequences=0 if last else 1)):
            return False
        seed = derive_seed(group.request.seed, group.started)
        try:
            sampler = self._sampler_for(group.request, seed)
        except AvengersError as error:
            group.error = error
            return False
        if not first:
            self.kv_cache.reserve(longest)  # the first one's was given with the prompt's
        if last:
            seq_id, group.seq_id = group.seq_id, None
        else:
            seq_id = self.kv_cache.open() if group.spare_seq_id is None else group.spare_seq_id
            group.spare_seq_id = None
            self._context.copy_prefix(group.seq_id, seq_id, group.prefill_length)
        sequence = Sequence(
            group,
            group.started,
            seed,
            seq_id,
            sampler,
            Detokenizer(group.request.sampling.stop, group.opened),
            ThinkingBudget(group.request.sampling, group.longest, opened=bool(group.opened)),
            token=group.prompt[-1],
            position=group.prefill_length,
        )
        self._running.append(sequence)
        sequence.emit(group.opened)
        group.started += 1
        group.running += 1
        return True

    # --- one step ---------------------------------------------------------------------------------------------------

    def _evaluate(self, prefill: list[tuple[SequenceGroup, int]]) -> None:
        self._plan_drafts(sum(count for _, count in prefill))
        self._running.sort(key=lambda sequence: sequence.seq_id)
        taken_over = {sequence.group.id: sequence.seq_id for sequence in self._running}
        rows: list[tuple[int, int, int, bool]] = []
        for group, count in prefill:
            seq_id = taken_over[group.id] if group.seq_id is None else group.seq_id
            rows += [(group.prompt[at], at, seq_id, False) for at in range(group.evaluated, group.evaluated + count)]
        rows += [(*row, True) for sequence in self._running for row in sequence.rows()]
        if not rows:
            return
        rows.sort(key=lambda row: row[2])  # a split cache decodes together what stands together
        begin = time.perf_counter()
        tokens, positions, seq_ids, wanted = (list(column) for column in zip(*rows, strict=True))
        logits = self._context.decode(tokens, positions, seq_ids, wanted)
        share = (time.perf_counter() - begin) / len(rows)
        self.steps += 1
        for group, count in prefill:
            group.evaluated += count
            group.prefill_seconds += share * count
            self.prefilled += count
        self._draw(logits, share)

    def _plan_prefill(self) -> list[tuple[SequenceGroup, int]]:
        unready = [group for group in self._groups if not group.ready and not group.settled]
        rows = self.curve.prefill_beside(len(self._running), self._room) if self._running else self._chunk
        return share_prefill(unready, rows)

    def _plan_drafts(self, prefill_rows: int) -> None:
        """Add the likeliest draft tokens to the step, each after those that it depends on."""
        for sequence in self._running:
            sequence.draft = ()
        # In a split cache the second tokens of several samples are a pass of their own, and cost more than they save.
        if not self._model.supports_rollback or (len(self._running) > 1 and self._context.split):
            return
        drafts: list[tuple[float, Sequence, tuple[int, ...]]] = []
        for sequence in self._running:
            draft = sequence.propose()
            acceptance = sequence.group.lookup.acceptance
            drafts += [(acceptance[depth], sequence, draft[: depth + 1]) for depth in range(len(draft))]
        # Acceptance never grows with depth, and the sort is stable, so that a token comes after the one before it.
        drafts.sort(key=lambda each: -each[0])
        drafts = drafts[: self._context.outputs - len(self._running)]
        count = self.curve.with_drafts(len(self._running) + prefill_rows, [probability for probability, _, _ in drafts])
        for _, sequence, draft in drafts[:count]:
            sequence.draft = draft
        self.drafted += count

    def _draw(self, logits: Logits, share: float) -> None:
        """Draw each sample's next tokens: one, and one more for each draft token that is accepted."""
        row = 0
        for sequence in list(self._running):
            rows = 1 + len(sequence.draft)
            sequence.group.decode_seconds += share * rows
            try:
                reason = sequence.advance(logits[row : row + rows], self._model)
                self._settle_draft(sequence, rows - 1)
            except BadRequest as error:  # a grammar that leaves nothing; whatever else fails is the model
                sequence.group.error, reason = error, "cancelled"
            row += rows
            if reason:
                self._end(sequence, reason)

    def _settle_draft(self, sequence: Sequence, drafted: int) -> None:
        if drafted:
            self.accepted += sequence.accepted
            sequence.group.lookup.record(drafted, sequence.accepted)
            if sequence.accepted < drafted:
                self._context.rollback(sequence.seq_id, sequence.position)

    # --- ends -------------------------------------------------------------------------------------------------------

    def _end_what_is_settled(self) -> None:
        for sequence in [sequence for sequence in self._running if sequence.group.settled]:
            self._end(sequence, "cancelled")

    def _end(self, sequence: Sequence, reason: FinishReason) -> None:
        group = sequence.group
        self._running.remove(sequence)
        sequence.sampler.close()
        sequence.emit(sequence.detokenizer.close())
        group.running -= 1
        self.kv_cache.release(group.longest)
        # A turn that the user stopped is part of the conversation; a sample that lost the vote is not.
        if group.request.keep and (reason != "cancelled" or group.cancelled):
            tokens = [*group.prompt, *sequence.tokens][: sequence.position]
            self.kv_cache.keep(PrefixEntry(sequence.seq_id, tokens, group.id, group.prefill_length))
        else:
            self.kv_cache.close(sequence.seq_id)
        group.record(sequence.completion(reason))

    def _close(self, group: SequenceGroup) -> None:
        self._groups.remove(group)
        unused = group.longest if not group.started else 0
        self.kv_cache.release(len(group.prompt) + unused)
        if group.spare_seq_id is not None:
            self.kv_cache.close(group.spare_seq_id)
        if group.seq_id is None:
            return
        if group.request.keep and not group.started and group.evaluated:
            self.kv_cache.keep(PrefixEntry(group.seq_id, group.prompt[: group.evaluated], group.id))
        else:
            self.kv_cache.close(group.seq_id)


def share_prefill(unready: list[SequenceGroup], rows: int) -> list[tuple[SequenceGroup, int]]:
    """Share rows out among the requests with prompts to evaluate: in order, but the first leaves half to the others."""
    if not unready:
        return []
    first, *others = unready
    shares = dict.fromkeys(unready, 0)
    for group, most in [(first, -(-rows // 2)), *((group, rows) for group in (*others, first))]:
        count = min(group.prefill_length - group.evaluated - shares[group], most, rows)
        shares[group] += count
        rows -= count
    return [(group, count) for group, count in shares.items() if count]
