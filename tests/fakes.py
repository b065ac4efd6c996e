"""Stand-ins that a reader can compute by hand. They complain when a caller breaks the real ones' contract."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from avengers_edge.engine.batch import Batch, Job
from avengers_edge.engine.native import Row
from avengers_edge.records import Completion, Generation, OnFinish, OnToken, Request, SamplingParams

END = 0
ALPHABET = "abcdefghijklmnopqrstuvwxyz "


class FakeModel:
    """Token k is letter k of the alphabet, token 0 ends the turn."""

    name = "fake.gguf"
    n_ctx_train = 4096

    def tokenize(self, prompt: str) -> list[int]:
        return [1 + ALPHABET.find(letter) % len(ALPHABET) for letter in prompt.lower()]

    def piece(self, token: int) -> bytes:
        return ALPHABET[token - 1].encode()

    def ends_generation(self, token: int) -> bool:
        return token == END


class FakeContext:
    """A KV cache that remembers which positions each sequence holds, and refuses what llama.cpp would abort on."""

    batch_size = 64

    def __init__(self, *, cells: int = 2048, sequences: int = 32) -> None:
        self.cells = self.cells_per_sequence = cells
        self.sequences = sequences
        self.held: dict[int, list[object]] = {}
        self.rows: list[Row] = []
        self.steps = 0
        self.most_cells = 0
        self.open_chains = 0

    def decode(self, rows: Sequence[Row]) -> None:
        assert 0 < len(rows) <= self.batch_size
        for row in rows:
            assert 0 <= row.sequence < self.sequences
            cells = self.held.setdefault(row.sequence, [])
            assert row.position == len(cells), "positions of a sequence must be consecutive"
            cells.append(object())
        used = len({id(cell) for cells in self.held.values() for cell in cells})
        assert used <= self.cells, "the KV cache overflowed"
        self.most_cells = max(self.most_cells, used)
        self.rows, self.steps = list(rows), self.steps + 1

    def share(self, source: int, target: int) -> None:
        assert not self.held.get(target), "the target sequence still holds cells"
        self.held[target] = list(self.held.get(source, []))

    def release(self, sequence: int) -> None:
        self.held.pop(sequence, None)

    def clear(self) -> None:
        self.held.clear()

    def sampler(self, sampling: SamplingParams, seed: int) -> FakeChain:
        self.open_chains += 1
        return FakeChain(self, sampling, seed)


class FakeChain:
    """Greedy walks up the alphabet by position; else letters are drawn by seed, the turn ending one time in sixteen."""

    def __init__(self, context: FakeContext, sampling: SamplingParams, seed: int) -> None:
        self._context, self._sampling = context, sampling
        self._draw = random.Random(seed)
        self._open = True

    def sample(self, row: int) -> int:
        assert self._open, "a closed chain was sampled"
        fed = self._context.rows[row]
        assert fed.logits, "logits were not asked for"
        if self._sampling.temperature == 0:
            return 1 + fed.position % len(ALPHABET)
        return END if self._draw.random() < 1 / 16 else self._draw.randint(1, len(ALPHABET))

    def close(self) -> None:
        if self._open:
            self._open = False
            self._context.open_chains -= 1


class FakeLlama:
    """The real decode loop over the fake model and cache."""

    def __init__(self, *, cells: int = 2048, sequences: int = 32, width: int = 8) -> None:
        self.model, self.context = FakeModel(), FakeContext(cells=cells, sequences=sequences)
        self.width = width

    def generate(
        self,
        request: Request,
        *,
        on_finish: OnFinish | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Generation:
        (job,) = self.run([request], on_finish=on_finish, on_token=on_token, cancel=cancel)
        return job.generation()

    def run(self, requests, *, on_finish=None, on_token=None, cancel=None) -> list[Job]:
        batch = Batch(self.model, self.context, width=self.width, prefill_chunk=16)
        jobs = []
        for place, request in enumerate(requests):
            prompt = self.model.tokenize(request.messages[-1].content)
            batch.check(len(prompt), request)
            jobs.append(Job(request, prompt, place=place, on_finish=on_finish, on_token=on_token))
        return list(batch.run(jobs, cancel))


class QueuedEngine:
    """Answers with the texts it was given, in order, each as one finished sample."""

    def __init__(self, texts: Sequence[str], *, reason: str = "stop") -> None:
        self.texts, self.reason = deque(texts), reason
        self.requests: list[Request] = []

    def generate(self, request, *, on_finish=None, on_token=None, cancel=None) -> Generation:
        self.requests.append(request)
        done = []
        for index in range(request.n):
            completion = Completion(index, index, self.texts.popleft(), 3, self.reason)
            done.append(completion)
            if on_token:
                on_token(index, completion.text)
            if on_finish and on_finish(completion):
                break
        return Generation(tuple(done), prompt_tokens=5, prefill_ms=1.0, decode_ms=2.0)


class WordLengthEmbedder:
    """A text's vector: how many of its words are short (up to 3 letters) and long, scaled to length 1."""

    fingerprint = "word-lengths"
    dimension = 2

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            words = text.split() or ["x"]
            short = sum(len(word) <= 3 for word in words)
            rows.append([short, len(words) - short])
        vectors = np.array(rows, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
