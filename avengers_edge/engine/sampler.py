"""From a row of logits to a token, in a tenth of the time of llama.cpp's sampler chains.

Options apply in the order of llama.cpp's common sampler: logit bias, penalties, top_k, top_p, min_p, temperature. So
top_p and min_p cut the distribution at temperature 1, whatever the temperature is.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import SamplingParams

Tokens = NDArray[np.int32]
Row = NDArray[np.float32]

_BLOCK = 512
_FIRST_REACH = 10.0
"""How far below the maximum, in logits, a constraint is tried first where the draw itself asks for less."""
_LEAST_TEMPERATURE = 1e-20  # a smaller one would overflow float32; the draw is greedy long before


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token; its natural log-probability before any option, and the likeliest tokens with theirs, where asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Constraint(Protocol):
    """What may be written next, given the tokens that were accepted so far."""

    def allows(self, token: int) -> bool: ...
    def allowed(self, tokens: Tokens) -> NDArray[np.bool_]: ...
    def accept(self, token: int) -> None: ...
    def close(self) -> None: ...


def check(sampling: SamplingParams, n_vocab: int) -> None:
    """Refuse a logit bias of a token that a vocabulary of `n_vocab` tokens does not have."""
    for token, _ in sampling.logit_bias:
        if token >= n_vocab:
            raise BadRequest(f"logit_bias names token {token}: the model has tokens 0 to {n_vocab - 1}")


class TokenSampler:
    """One sample's own way from logits to tokens: its random numbers, its penalties, its constraint (which it closes).

    The numbers are Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) keyed with `seed`,
    taken raw: numpy promises that stream for every platform and version, but not what `Generator` makes of it. Each
    draw takes exactly one, so that a text does not depend on how its tokens were batched; a greedy one takes none.
    """

    def __init__(self, sampling: SamplingParams, seed: int, constraint: Constraint | None = None) -> None:
        self._sampling = sampling
        self._constraint = constraint
        self._random = np.random.Philox(key=seed)
        biases: dict[int, float] = {}
        for token, bias in sampling.logit_bias:
            biases[token] = biases.get(token, 0.0) + bias
        self._biased = np.fromiter(biases.keys(), np.int32, len(biases))
        self._biases = np.fromiter(biases.values(), np.float32, len(biases))
        penalised = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty) != (1, 0, 0)
        self._window: deque[int] = deque()
        self._window_size = sampling.penalty_window if penalised else 0
        self._counts = Counter[int]()

    def draw(self, logits: Row) -> Drawn:
        """Draw the token that follows, from logits of shape (V,), which are only read and not kept."""
        adjusted = self._adjusted(logits)
        top = adjusted.max()
        if not math.isfinite(top):
            raise EngineDied(f"the model gave logits that are no distribution (their maximum is {top}): load it again")
        token = self._greedy(adjusted, top) if self._sampling.temperature == 0 else self._drawn(adjusted, top)
        return self.take(logits, token)

    def take(self, logits: Row, token: int) -> Drawn:
        """Go on after a token, the one that was drawn or one that is decided whatever the logits say."""
        self._remember(token)
        if self._constraint is not None:
            self._constraint.accept(token)
        if self._sampling.logprobs is None:
            return Drawn(token)
        return _with_logprobs(logits, token, self._sampling.logprobs)

    def close(self) -> None:
        if self._constraint is not None:
            self._constraint.close()

    # --- bias and penalties

    def _adjusted(self, logits: Row) -> Row:
        if not self._biased.size and not self._counts:
            return logits
        row = logits.copy()
        row[self._biased] += self._biases
        if self._counts:
            options = self._sampling
            tokens = np.fromiter(self._counts.keys(), np.int32, len(self._counts))
            counts = np.fromiter(self._counts.values(), np.float32, len(self._counts))
            values = row[tokens]
            # Dividing a negative logit would make the token likelier.
            values = np.where(values > 0, values / options.repeat_penalty, values * options.repeat_penalty)
            row[tokens] = values - counts * options.frequency_penalty - options.presence_penalty
        return row

    def _remember(self, token: int) -> None:
        if not self._window_size:
            return
        self._window.append(token)
        self._counts[token] += 1
        if len(self._window) > self._window_size:
            oldest = self._window.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]

    # --- the draw

    def _greedy(self, row: Row, top: np.float32) -> int:
        token = int(row.argmax())
        if self._constraint is None or self._constraint.allows(token):
            return token
        tokens = self._permitted(self._constraint, row, top, 0.0)
        return int(tokens[row[tokens].argmax()])

    def _drawn(self, row: Row, top: np.float32) -> int:
        uniform = (int(self._random.random_raw()) >> 11) * 2.0**-53
        token, uniform = self._pick(row, top, uniform)
        if self._constraint is None or self._constraint.allows(token):
            return token
        # As llama.cpp does: keep the first draw if it is allowed, else draw from what is. `uniform` has become where in
        # the refused token's share the first number lay: again uniform, and independent of the refusal. (The number
        # itself would not be: it is known to lie in that share.)
        tokens = self._permitted(self._constraint, row, top, self._reach(row.size))
        values = row[tokens]
        place, _ = self._pick(values, values.max(), uniform)
        return int(tokens[place])

    def _reach(self, n_vocab: int) -> float:
        """How far below the likeliest all others together weigh less than 2^-24, which float32 takes for nothing."""
        # top_p looks at the distribution at temperature 1.
        return max(self._sampling.temperature, 1.0) * (math.log(n_vocab) + 24 * math.log(2))

    def _permitted(self, constraint: Constraint, row: Row, top: np.float32, reach: float) -> Tokens:
        """Return the allowed tokens within `reach` of the likeliest allowed one, which may be far below `top`."""
        floor = top - np.float32(max(reach, _FIRST_REACH))
        near = np.flatnonzero(row >= floor).astype(np.int32)
        near = near[constraint.allowed(near)]
        lowest = row[near].max() - np.float32(reach) if near.size else np.float32(-np.inf)
        if lowest >= floor:
            return near
        far = np.flatnonzero((row < floor) & (row >= lowest) & (row > -np.inf)).astype(np.int32)
        tokens = np.concatenate([near, far[constraint.allowed(far)]])
        if not tokens.size:
            raise BadRequest("the grammar leaves no token of this model's vocabulary to go on with: widen the grammar")
        tokens = tokens[row[tokens] >= row[tokens].max() - np.float32(reach)]
        return np.sort(tokens)

    def _pick(self, values: Row, top: np.float32, uniform: float) -> tuple[int, float]:
        """Draw from candidates with these logits, `top` the largest: its place, and how far into its share it lay."""
        kept = self._kept(values)
        if kept is not None:
            values = values[kept]
        weights = values - top
        weights *= np.float32(1 / max(self._sampling.temperature, _LEAST_TEMPERATURE))
        np.exp(weights, out=weights)
        place, inside = _search(weights, uniform)
        return (place if kept is None else int(kept[place])), inside

    def _kept(self, values: Row) -> NDArray[np.intp] | None:
        """Return the places that top_k, top_p and min_p keep, in ascending order; None keeps all."""
        options = self._sampling
        kept: NDArray[np.intp] | None = None
        if 0 < options.top_k < values.size:
            kept = largest(values, options.top_k)
        if options.top_p < 1:
            kept = _nucleus(values, kept, options.top_p)
        if options.min_p > 0:
            floor = values.max() + np.float32(math.log(options.min_p))
            kept = np.flatnonzero(values >= floor) if kept is None else kept[values[kept] >= floor]
        return None if kept is None else np.sort(kept)


def _search(weights: Row, uniform: float) -> tuple[int, float]:
    """Find the place where the running sum of weights passes `uniform` of their total, and how far into it that is."""
    start = 0
    if weights.size > _BLOCK:
        whole = weights.size - weights.size % _BLOCK
        sums = np.einsum("ij->i", weights[:whole].reshape(-1, _BLOCK))  # three times as fast as sum(axis=1)
        block, uniform = _search_in(np.append(sums, weights[whole:].sum()), uniform)
        start = block * _BLOCK
        weights = weights[start : start + _BLOCK]
    place, inside = _search_in(weights, uniform)
    return start + place, inside


def _search_in(weights: Row, uniform: float) -> tuple[int, float]:
    sums = weights.cumsum(dtype=np.float64)
    point = min(uniform * sums[-1], np.nextafter(sums[-1], 0))  # the product may round up to the total
    place = int(sums.searchsorted(point, side="right"))
    below = sums[place - 1] if place else 0.0
    return place, min(float((point - below) / (sums[place] - below)), 1 - 2.0**-53)


def largest(values: Row, count: int) -> NDArray[np.intp]:
    """Return the places of the `count` largest values, largest first, the lower place first among equals."""
    width = values.size // 64
    if count < width:
        # The count-th largest of these maxima is no larger than the count-th largest value, and quickly found.
        maxima = values[: 64 * width].reshape(64, width).max(axis=0)
        places = np.flatnonzero(values >= np.partition(maxima, width - count)[width - count])
    else:
        places = np.arange(values.size)
    return places[np.argsort(-values[places], kind="stable")[:count]]


def _nucleus(values: Row, among: NDArray[np.intp] | None, top_p: float) -> NDArray[np.intp]:
    """Keep the likeliest that make up at least `top_p` of the mass (Holtzman et al., arXiv 1904.09751)."""
    chosen = values if among is None else values[among]
    weights = np.exp(chosen - chosen.max())
    wanted = top_p * float(weights.sum())
    count = min(256, chosen.size)
    while True:  # sorting all is seldom needed
        order = largest(chosen, count)
        sums = weights[order].cumsum(dtype=np.float64)
        if sums[-1] >= wanted or count == chosen.size:
            break
        count = min(8 * count, chosen.size)
    order = order[: int(sums.searchsorted(wanted)) + 1]
    return order if among is None else among[order]


def _with_logprobs(logits: Row, token: int, count: int) -> Drawn:
    top = logits.max()
    total = float(top) + math.log(np.exp(logits - top).sum())
    places = largest(logits, count) if count else ()
    # Rounding must not make a probability larger than 1.
    return Drawn(
        token,
        min(float(logits[token]) - total, 0.0),
        tuple((int(place), min(float(logits[place]) - total, 0.0)) for place in places),
    )
