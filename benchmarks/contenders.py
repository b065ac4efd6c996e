"""Three ways from one question to a voted answer: this project's engine, llama-cpp-python's own class, llama-server.

All get the same file, messages, sampler settings and threads, and all vote by the same keys and tie-break. A `Poll`'s
seconds begin with the messages and end with the winner.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# All contenders spin alike: the default of GNU OpenMP makes them stumble over whatever else the machine does. It is
# read when llama.cpp is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import llama_cpp

from avengers_edge.engine.cores import usable_cores
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.records import Closing, Completion, Kind, Message, Request, SamplingParams
from avengers_edge.voting.ballot import UNIT, Ballot, tally, winner
from avengers_edge.voting.keys import answer_key

SERVER_START_SECONDS = 120
_ANSWER_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Setup:
    """What all contenders share: the model file, samples a question, tokens a sample, threads and weight repacking."""

    model: Path
    samples: int = 10
    max_tokens: int = 320
    temperature: float = 0.7
    threads: int | None = None
    repack: bool = False

    @property
    def sampling(self) -> SamplingParams:
        """The settings; the rest of them are off."""
        return SamplingParams(temperature=self.temperature, max_tokens=self.max_tokens)

    @property
    def cores(self) -> int:
        """Threads that compute."""
        return self.threads or usable_cores()


@dataclass(frozen=True, slots=True)
class Poll:
    """One question's vote. `answer` is the winning key, `samples` how many ran to their end, `tokens` all generated."""

    answer: str | None
    seconds: float
    samples: int
    tokens: int
    prompt_tokens: int


class Contender(Protocol):
    """A loaded model that samples and votes; a context manager."""

    def poll(self, messages: Sequence[Message], kind: Kind, seed: int) -> Poll:
        """Answer one question."""

    def close(self) -> None:
        """Free it."""


class Ours(Closing):
    """The project's engine, stopping as soon as the vote is decided; in a worker process, as commands run it."""

    def __init__(self, setup: Setup, *, in_process: bool = False, measure_seconds: float = 20) -> None:
        self._setup = setup
        options = LoadOptions(threads=setup.threads, repack=setup.repack)
        self._engine, _ = open_measured(setup.model, options, measure_seconds, in_process=in_process)

    def poll(self, messages: Sequence[Message], kind: Kind, seed: int) -> Poll:
        """See `Contender`."""
        start = time.perf_counter()
        ballot = Ballot([UNIT] * self._setup.samples)

        def finish(done: Completion) -> int:
            key = answer_key(done.text, kind, truncated=done.finish_reason == "length")
            return ballot.add(done.index, key)

        request = Request(tuple(messages), self._setup.sampling, self._setup.samples, seed, least=ballot.needed)
        generation = self._engine.generate(request, on_finish=finish)
        leader = ballot.leader
        return Poll(
            answer=leader.key if leader else None,
            seconds=time.perf_counter() - start,
            samples=ballot.finished,
            tokens=sum(completion.tokens for completion in generation.completions),
            prompt_tokens=generation.prompt_tokens,
        )

    def close(self) -> None:
        """Free the model."""
        self._engine.close()


class Sequential(Closing):
    """`create_chat_completion` of llama-cpp-python's `Llama`, once a sample, then the vote."""

    def __init__(self, setup: Setup, *, gpu_layers: int = -1) -> None:
        self._setup = setup
        with default_repacking(setup.repack):
            self._llama = llama_cpp.Llama(
                str(setup.model),
                n_ctx=4096,
                n_threads=setup.cores,
                n_threads_batch=setup.cores,
                flash_attn=True,
                n_gpu_layers=gpu_layers,
                verbose=False,
            )

    def poll(self, messages: Sequence[Message], kind: Kind, seed: int) -> Poll:
        """See `Contender`."""
        start = time.perf_counter()
        replies: list[Any] = [
            self._llama.create_chat_completion(seed=1000 * seed + index, **as_openai(messages, self._setup))
            for index in range(self._setup.samples)
        ]
        answer = vote([reply["choices"][0] for reply in replies], kind)
        return Poll(
            answer=answer,
            seconds=time.perf_counter() - start,
            samples=len(replies),
            tokens=sum(reply["usage"]["completion_tokens"] for reply in replies),
            prompt_tokens=replies[0]["usage"]["prompt_tokens"],
        )

    def close(self) -> None:
        """Free the model."""
        self._llama.close()


class Server(Closing):
    """`llama-server` with a slot for each sample, one request of `n` over HTTP on this machine, then the vote."""

    def __init__(self, program: Path, setup: Setup, *, cells_per_sample: int = 1024, extra: Sequence[str] = ()) -> None:
        self._setup = setup
        self.port = free_port()
        command = [str(program), "--host", "127.0.0.1", "--port", str(self.port), "-m", str(setup.model)]
        command += ["-np", str(setup.samples), "-c", str(setup.samples * cells_per_sample), "-t", str(setup.cores)]
        command += ["--metrics", "--no-ui", *([] if setup.repack else ["--no-repack"]), *extra]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        try:
            self._await_health()
        except BaseException:
            self.close()
            raise

    def poll(self, messages: Sequence[Message], kind: Kind, seed: int) -> Poll:
        """See `Contender`."""
        before = self._generated()
        body = as_openai(messages, self._setup) | {"n": self._setup.samples, "seed": seed + 1}
        start = time.perf_counter()
        status, raw = self._call("POST", "/v1/chat/completions", json.dumps(body))
        if status != 200:
            raise RuntimeError(f"llama-server answered {status}: {raw[:300]!r}")
        reply = json.loads(raw)
        choices = sorted(reply["choices"], key=lambda choice: choice["index"])
        answer = vote(choices, kind)
        return Poll(
            answer=answer,
            seconds=time.perf_counter() - start,
            samples=len(choices),
            tokens=self._generated() - before,
            prompt_tokens=reply["usage"]["prompt_tokens"],
        )

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _generated(self) -> int:
        """Read how many tokens it has generated so far; a reply's own usage counts its first sample alone."""
        found = re.search(rb"^llamacpp:tokens_predicted_total (\S+)", self._call("GET", "/metrics")[1], re.MULTILINE)
        return int(float(found[1])) if found else 0

    def _await_health(self) -> None:
        end = time.monotonic() + SERVER_START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                self._log.seek(0)
                last = self._log.read()[-300:].decode("utf-8", "replace").strip()
                raise RuntimeError(f"llama-server ended with exit code {self._process.returncode}: {last}")
            with contextlib.suppress(OSError):
                if self._call("GET", "/health")[0] == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"llama-server was not ready after {SERVER_START_SECONDS} s")

    def _call(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()


def open_measured(
    model: Path, options: LoadOptions, seconds: float, *, in_process: bool
) -> tuple[LlamaEngine | WorkerEngine, StepCurve]:
    """Load a model and let it measure its step-time curve, which it goes by from then on."""
    engine = (LlamaEngine if in_process else WorkerEngine)(model, options)
    try:
        return engine, engine.measure(seconds)
    except BaseException:
        engine.close()
        raise


def as_openai(messages: Sequence[Message], setup: Setup) -> dict[str, Any]:
    """Write a request's common part as both other contenders take it: plain temperature sampling."""
    return {
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "temperature": setup.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "max_tokens": setup.max_tokens,
    }


def vote(choices: Sequence[dict[str, Any]], kind: Kind) -> str | None:
    """Vote as `Ballot` does when every sample is in."""
    keys = [
        answer_key(choice["message"]["content"] or "", kind, truncated=choice["finish_reason"] == "length")
        for choice in choices
    ]
    leader = winner(tally(keys))
    return leader.key if leader else None


@contextlib.contextmanager
def default_repacking(repack: bool) -> Iterator[None]:
    """Set llama.cpp's default for weight repacking, which llama-cpp-python's class has no option for."""
    original = llama_cpp.llama_cpp.llama_model_default_params

    def changed() -> Any:  # noqa: ANN401 - a ctypes structure
        params = original()
        params.use_extra_bufts = repack
        return params

    llama_cpp.llama_cpp.llama_model_default_params = changed
    try:
        yield
    finally:
        llama_cpp.llama_cpp.llama_model_default_params = original


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
