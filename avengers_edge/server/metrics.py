"""Counts for Prometheus, in its text format; no text of a client is in them."""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterator

from avengers_edge.records import Answer
from avengers_edge.server.answering import Result
from avengers_edge.server.replies import usage_of

_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """What the server did since it started; for the event loop's thread only."""

    def __init__(self) -> None:
        self._requests: collections.Counter[tuple[str, int]] = collections.Counter()
        self._seconds: dict[str, list[int]] = {}
        self._spent: collections.defaultdict[str, float] = collections.defaultdict(float)
        self._tokens: collections.Counter[str] = collections.Counter()
        self._answers: collections.Counter[str] = collections.Counter()
        self._samples: collections.Counter[str] = collections.Counter()

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that ended."""
        self._requests[path, status] += 1
        buckets = self._seconds.setdefault(path, [0] * (len(_BOUNDS) + 1))
        buckets[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self._spent[path] += seconds

    def answer(self, result: Result, member: str | None) -> None:
        """Count an answer and what it cost."""
        usage = usage_of(result)
        self._tokens["prompt"] += usage.prompt_tokens
        self._tokens["completion"] += usage.completion_tokens
        self._tokens["cached"] += usage.prompt_tokens_details.cached_tokens
        if isinstance(result, Answer):
            self._tokens["saved"] += result.usage.saved_tokens
            self._answers[result.model] += 1
            self._samples["requested"] += result.samples_requested
            self._samples["used"] += result.samples_used
        else:
            self._answers[member or ""] += 1

    def text(self, gauges: dict[str, int]) -> str:
        """Write all of it, and gauges as they are now."""
        return "".join(f"{line}\n" for line in self._lines(gauges))

    def _lines(self, gauges: dict[str, int]) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests by path and status.")
        for (place, code), count in sorted(self._requests.items()):
            yield f'avengers_requests_total{{path="{place}",status="{code}"}} {count}'
        yield from _head("request_seconds", "histogram", "How long requests took.")
        for path, buckets in sorted(self._seconds.items()):
            total = 0
            for bound, count in zip((*map(str, _BOUNDS), "+Inf"), buckets, strict=True):
                total += count
                yield f'avengers_request_seconds_bucket{{path="{path}",le="{bound}"}} {total}'
            yield f'avengers_request_seconds_sum{{path="{path}"}} {self._spent[path]:.6f}'
            yield f'avengers_request_seconds_count{{path="{path}"}} {total}'
        for name, label, help_text, counter in (
            ("tokens_total", "kind", "Tokens: of prompts, found in the cache, written, spared by early stopping.",
             self._tokens),
            ("answers_total", "model", "Answers by the member that wrote them.", self._answers),
            ("samples_total", "kind", "Samples of votes: asked for, and run to their end.", self._samples),
        ):  # fmt: skip
            yield from _head(name, "counter", help_text)
            for value, number in sorted(counter.items()):
                yield f'avengers_{name}{{{label}="{_escaped(value)}"}} {number}'
        for name, level in gauges.items():
            yield from _head(name, "gauge", _GAUGES.get(name, name))
            yield f"avengers_{name} {level}"


_GAUGES = {
    "running": "Requests that are answered now.",
    "waiting": "Requests that wait for that.",
    "models_resident": "Models in memory.",
    "ready": "Whether what most requests need is loaded.",
}


def _head(name: str, kind: str, help_text: str) -> Iterator[str]:
    yield f"# HELP avengers_{name} {help_text}"
    yield f"# TYPE avengers_{name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
