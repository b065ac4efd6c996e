"""A model and a KV cache that a reader can compute by hand; they complain where llama.cpp would abort."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avengers_edge.engine.sampler import TokenSampler
from avengers_edge.engine.scheduler import Scheduler
from avengers_edge.engine.sequence import SequenceGroup
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.records import Generation, Request

END = 0
ALPHABET = "abcdefghijklmnopqrstuvwxyz "
FLAT = StepCurve(((1, 1.0), (64, 1.0)))
"""A machine on which every step costs the same, so everything starts at once."""
STEEP = StepCurve(((1, 1.0), (64, 64.0)))
"""A machine on which each row costs a second, so nothing comes for free."""


class FakeModel:
    """Token k is letter k of the alphabet, token 0 ends the turn."""

    name = "fake.gguf"
    n_ctx_train = 4096
    thought_end = ()

    def __init__(self, *, supports_rollback: bool = True) -> None:
        self.supports_rollback = supports_rollback

    def tokenize(self, prompt: str) -> list[int]:
        return [1 + ALPHABET.find(letter) % len(ALPHABET) for letter in prompt.lower()]

    def piece(self, token: int) -> bytes:
        return ALPHABET[token - 1].encode()

    def ends_generation(self, token: int) -> bool:
        return token == END


class FakeContext:
    """A cache that remembers which tokens each sequence holds, each cell an object of its own until it is shared.

    A row's logits depend on all the tokens before it and on nothing else: greedy, the alphabet goes on by position.
    """

    batch_size = 128
    outputs = 64
    seconds = 0.0

    def __init__(
        self, *, cells: int = 2048, sequences: int = 32, supports_rollback: bool = True, split: bool = False
    ) -> None:
        self.longest, self.sequences, self.supports_rollback, self.split = cells, sequences, supports_rollback, split
        self.cells = cells * sequences if split else cells
        self.held: dict[int, list[list[int]]] = {}  # a cell is a list of one token, so that it has an identity
        self.steps: list[list[tuple[int, int, int]]] = []
        self.most_cells = 0
        self.saved: dict[Path, list[int]] = {}

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[bool]
    ) -> np.ndarray:
        assert 0 < len(tokens) <= self.batch_size
        assert sum(wanted) <= self.outputs
        assert list(sequences) == sorted(sequences), "a split cache takes apart what does not stand together"
        logits = []
        for token, position, sequence, want in zip(tokens, positions, sequences, wanted, strict=True):
            assert 0 <= sequence < self.sequences
            cells = self.held.setdefault(sequence, [])
            assert position == len(cells), "positions of a sequence must be consecutive"
            cells.append([token])
            assert len(cells) <= self.longest, "a sequence outgrew its part of the cache"
            if want:
                logits.append(self._logits([cell[0] for cell in cells]))
        used = len({id(cell) for cells in self.held.values() for cell in cells})
        assert used <= self.cells, "the KV cache overflowed"
        self.most_cells = max(self.most_cells, used)
        self.steps.append(list(zip(tokens, positions, sequences, strict=True)))
        return np.array(logits, np.float32).reshape(-1, 1 + len(ALPHABET))

    @staticmethod
    def _logits(tokens: Sequence[int]) -> np.ndarray:
        noise = random.Random(str(tokens))
        logits = np.array([noise.uniform(0, 1) for _ in range(1 + len(ALPHABET))])
        logits[1 + (len(tokens) - 1) % len(ALPHABET)] = 2.0
        return logits

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        assert not self.held.get(target), "the target sequence still holds cells"
        assert self.supports_rollback or tokens == len(self.held.get(source, [])), "a recurrent state is copied whole"
        shared = self.held.get(source, [])[:tokens]
        self.held[target] = [list(cell) for cell in shared] if self.split else shared

    def rollback(self, sequence: int, tokens: int) -> None:
        assert self.supports_rollback
        self.held[sequence] = self.held[sequence][:tokens]

    def release(self, sequence: int) -> None:
        self.held.pop(sequence, None)

    def clear(self) -> None:
        self.held.clear()

    def save(self, path: Path, sequence: int, tokens: Sequence[int]) -> None:
        assert [cell[0] for cell in self.held[sequence]] == list(tokens)
        self.saved[path] = list(tokens)

    def restore(self, path: Path, sequence: int) -> list[int]:
        assert not self.held.get(sequence)
        tokens = self.saved.get(path, [])
        self.held[sequence] = [[token] for token in tokens]
        return tokens

    def tokens(self, sequence: int) -> list[int]:
        """What a sequence holds."""
        return [cell[0] for cell in self.held.get(sequence, [])]


class CountingSampler(TokenSampler):
    """A sampler that tells whether it was closed."""

    open = 0

    def __init__(self, request: Request, seed: int) -> None:
        super().__init__(request.sampling, seed)
        CountingSampler.open += 1

    def close(self) -> None:
        CountingSampler.open -= 1
        super().close()


class FakeLlama:
    """The real scheduler over the fake model and cache, stepped by whoever asks."""

    def __init__(
        self,
        *,
        cells: int = 2048,
        sequences: int = 32,
        supports_rollback: bool = True,
        split: bool = False,
        curve: StepCurve = FLAT,
        model: FakeModel | None = None,
        opened: str = "",
    ) -> None:
        self.model, self.opened = model or FakeModel(supports_rollback=supports_rollback), opened
        self.context = FakeContext(cells=cells, sequences=sequences, supports_rollback=supports_rollback, split=split)
        self.scheduler = Scheduler(self.model, self.context, curve, CountingSampler, prefill_chunk=16)

    def submit(self, request, *, on_finish=None, on_token=None) -> SequenceGroup:
        group = SequenceGroup(request, on_finish, on_token)
        group.begin(self.model.tokenize(request.messages[-1].content), self.opened)
        self.scheduler.fit(group)
        self.scheduler.add(group)
        return group

    def step(self) -> list[SequenceGroup]:
        ended = self.scheduler.step()
        for group in ended:
            group.finish()
        return ended

    def run(self, requests: Sequence[Request]) -> list[Generation]:
        groups = [self.submit(request) for request in requests]
        while self.scheduler.busy:
            self.step()
        return [group.handle.result() for group in groups]

    def generate(
        self, request: Request, *, on_finish=None, on_token=None, cancel: threading.Event | None = None
    ) -> Generation:
        group = self.submit(request, on_finish=on_finish, on_token=on_token)
        while self.scheduler.busy:
            if cancel and cancel.is_set():
                group.cancel()
            self.step()
        return group.handle.result()
