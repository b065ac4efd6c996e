"""The engine: one loaded model that answers requests, alone or many at once."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from avengers_edge.engine.backend import build_facts
from avengers_edge.engine.batch import Batch, Job
from avengers_edge.engine.native import LlamaContext, LlamaModel, LoadOptions
from avengers_edge.engine.template import ChatTemplate
from avengers_edge.records import Closing, Completion, Generation, OnFinish, OnToken, Request

WIDTH = 16
"""Samples decoded in one step. On two x86-64 cores, 1.5B Q4_K_M: a step of 8 is 276 ms, one of 16 is 287 ms."""

_CPU_PREFILL_CHUNK, _GPU_PREFILL_CHUNK = 128, 512  # small where it is slow, so that Ctrl-C is heard


class LlamaEngine(Closing):
    """A `records.Engine` over llama.cpp. One thread at a time; `close` returns the memory.

    Raises:
        EngineDied: the file cannot be loaded.
        VerificationFailed: it has no usable chat template.

    """

    def __init__(self, path: Path, options: LoadOptions, *, width: int = WIDTH) -> None:
        self._model = LlamaModel(path, options)
        try:
            self._template = ChatTemplate(self._model.chat_template, bos=self._model.bos, eos=self._model.eos)
            self._context = LlamaContext(self._model, options)
        except BaseException:
            self._model.close()
            raise
        self._width = min(width, options.sequences)
        on_gpu = options.gpu_layers != 0 and build_facts()["gpu_offload"]
        self._chunk = _GPU_PREFILL_CHUNK if on_gpu else _CPU_PREFILL_CHUNK

    def close(self) -> None:
        """Free the context, then the model; a second call does nothing."""
        self._context.close()
        self._model.close()

    def generate(
        self,
        request: Request,
        *,
        on_finish: OnFinish | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Generation:
        """Sample one request; see `records.Engine`."""
        batch = self._batch()
        (job,) = batch.run([self._job(batch, request, on_finish=on_finish, on_token=on_token)], cancel)
        return job.generation()

    def generate_many(
        self, requests: Iterable[Request], *, on_finish: Callable[[int, Completion], bool] | None = None
    ) -> Iterator[tuple[int, Generation]]:
        """Sample many requests in one batch; yield each one's place in the order and result as it ends.

        Requests are drawn as room comes free. `on_finish` hears of each sample with its request's place; True cancels
        the request's other samples.

        Raises:
            DoesNotFit: a request is longer than the context; it is raised when the request's turn comes.

        """
        batch = self._batch()

        def job_of(place: int, request: Request) -> Job:
            heard = functools.partial(on_finish, place) if on_finish else None
            return self._job(batch, request, place=place, on_finish=heard)

        for job in batch.run(itertools.starmap(job_of, enumerate(requests))):
            yield job.place, job.generation()

    def count_tokens(self, request: Request) -> int:
        """Count the prompt's tokens as the model will see them."""
        return len(self._model.tokenize(self._template.render(request.messages)))

    def _batch(self) -> Batch:
        return Batch(self._model, self._context, width=self._width, prefill_chunk=self._chunk)

    def _job(
        self,
        batch: Batch,
        request: Request,
        *,
        place: int = 0,
        on_finish: OnFinish | None = None,
        on_token: OnToken | None = None,
    ) -> Job:
        prompt = self._model.tokenize(self._template.render(request.messages))
        batch.check(len(prompt), request)
        return Job(request=request, prompt=prompt, place=place, on_finish=on_finish, on_token=on_token)
