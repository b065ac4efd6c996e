"""Stand-ins that a reader can compute by hand. They complain when a caller breaks the real ones' contract."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from avengers_edge.records import Completion, Generation, Request, TokenLogprob


class QueuedEngine:
    """Answers with the texts it was given, in order, each as one finished sample of 3 tokens.

    As many samples run as are needed at the least, or `width` if that is more. Those that are still running when it is
    decided come back cancelled, with 1 token.
    """

    def __init__(self, texts: Sequence[str], *, reason: str = "stop", width: int = 1) -> None:
        self.texts, self.reason, self.width = deque(texts), reason, width
        self.requests: list[Request] = []

    def generate(self, request, *, on_finish=None, on_token=None, cancel=None) -> Generation:
        self.requests.append(request)
        done, begun, needed = [], 0, request.least or request.n
        while needed and not (cancel and cancel.is_set()):
            begun = min(request.n, max(begun, self.width, len(done) + needed))
            completion = Completion(len(done), len(done), self.texts.popleft(), 3, self.reason)
            if on_token:
                on_token(completion.index, completion.text)
            done.append(completion)
            left = request.n - len(done)
            needed = on_finish(completion) if on_finish else left
            assert 0 <= needed <= left, f"{needed} more samples were wanted of {left}"
        cut = [Completion(index, index, "", 1, "cancelled") for index in range(len(done), begun)]
        return Generation((*done, *cut), prompt_tokens=5, prefill_ms=1.0, decode_ms=2.0, reused_tokens=2)


class WordEngine:
    """Says the texts it was given in turn, word by word; each sample has as many tokens as words.

    While `hold` is not set, it stops after each sample's first word, as long as it is not called off.
    """

    def __init__(self, texts):
        self.texts, self.requests = texts, []
        self.hold, self.began, self.called_off = threading.Event(), threading.Event(), threading.Event()
        self.hold.set()
        self.error = None

    def generate(self, request, *, on_finish=None, on_token=None, cancel=None):
        self.requests.append(request)
        if self.error:
            raise self.error
        done, needed = [], request.least or request.n
        while needed:
            index = len(done)
            text = self.texts[index % len(self.texts)]
            for place, word in enumerate(text.split(" ")):
                if on_token:
                    on_token(index, word if place == 0 else f" {word}")
                self.began.set()
                while not self.hold.wait(0.005):
                    if cancel.is_set():
                        self.called_off.set()
                        return Generation((*done, Completion(index, 0, word, 1, "cancelled")), 5, 1.0, 2.0)
            tokens = tuple(TokenLogprob(word, -0.5, ((word, -0.5),)) for word in text.split(" "))
            logprobs = None if request.sampling.logprobs is None else tokens
            done.append(Completion(index, index, text, len(tokens), "stop", logprobs))
            needed = on_finish(done[-1]) if on_finish else request.n - len(done)
        return Generation(tuple(done), 5, 1.0, 2.0, reused_tokens=2)


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


class Lengths(WordLengthEmbedder):
    """Reads 4 words, which are its tokens."""

    name, most_tokens = "lengths", 4

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]
