"""Laws of the sampler, on logits small enough to work out by hand."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from avengers_edge.engine.sampler import TokenSampler, check, largest
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import SamplingParams

LOGITS = st.floats(-50, 50, width=32)
ROWS = st.integers(1, 1500).flatmap(lambda size: arrays(np.float32, size, elements=LOGITS, fill=st.just(-3.0)))
QUARTERS = [0.5, 0.25, 0.125, 0.125]


def row(*values: float) -> NDArray[np.float32]:
    """Logits that nobody may write to."""
    made = np.array(values, np.float32)
    made.setflags(write=False)
    return made


def of(*chances: float) -> NDArray[np.float32]:
    """The logits of these probabilities."""
    return row(*(math.log(chance) if chance else -math.inf for chance in chances))


def draws(logits: NDArray[np.float32], count: int = 4000, constraint: Any = None, **options: Any) -> dict[int, float]:
    """How often each token is drawn."""
    sampler = TokenSampler(SamplingParams(**{"temperature": 1.0, **options}), 7, constraint)
    counts = Counter(sampler.draw(logits).token for _ in range(count))
    return {token: times / count for token, times in counts.items()}


class Only:
    """Allows some tokens; remembers what it was asked and told."""

    def __init__(self, tokens: Collection[int]) -> None:
        self.tokens = tokens
        self.accepted: list[int] = []
        self.closed = False

    def allows(self, token: int) -> bool:
        return token in self.tokens

    def allowed(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        return np.isin(tokens, list(self.tokens))

    def accept(self, token: int) -> None:
        self.accepted.append(token)

    def close(self) -> None:
        self.closed = True


# --- the distribution


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_the_softmax_says(temperature: float) -> None:
    logits = row(1.0, 3.0, -2.0, 2.5, 0.0)
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    seen = draws(logits, temperature=temperature)
    for token, chance in enumerate(expected):
        assert seen.get(token, 0.0) == pytest.approx(chance, abs=0.04)


def test_a_wide_vocabulary_is_drawn_as_the_softmax_says() -> None:
    logits = np.random.default_rng(3).normal(0, 2, 5003).astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum()
    groups = np.arange(logits.size) % 7  # in every block and in the tail
    seen = Counter({int(groups[t]): 0 for t in range(7)})
    for token, share in draws(logits, 5000).items():
        seen[int(groups[token])] += share  # type: ignore[assignment]
    for group in range(7):
        assert seen[group] == pytest.approx(float(chances[groups == group].sum()), abs=0.04)


@pytest.mark.parametrize("place", [0, 511, 512, 1023, 1024, 1029])
def test_the_only_possible_token_is_drawn_wherever_it_lies(place: int) -> None:
    logits = np.full(1030, -np.inf, np.float32)
    logits[place] = 0
    assert draws(logits, 20) == {place: 1.0}


@given(ROWS, st.integers(0, 2**32 - 2), st.sampled_from([0.0, 1e-30, 0.7, 2.0]))
def test_the_same_seed_draws_the_same_tokens(logits: NDArray[np.float32], seed: int, temperature: float) -> None:
    first, second = (TokenSampler(SamplingParams(temperature=temperature), seed) for _ in range(2))
    assert [first.draw(logits) for _ in range(5)] == [second.draw(logits) for _ in range(5)]


def test_samples_with_other_seeds_differ() -> None:
    logits = row(*([0.0] * 50))
    texts = {tuple(TokenSampler(SamplingParams(), seed).draw(logits).token for _ in range(1)) for seed in range(40)}
    assert len(texts) > 10


def test_a_draw_is_what_numpys_raw_philox_stream_says() -> None:
    raw = np.random.Philox(key=11).random_raw(5)
    sampler = TokenSampler(SamplingParams(temperature=1), 11)
    flat = row(*([0.0] * 100))
    assert [sampler.draw(flat).token for _ in range(5)] == [int(each) * 100 >> 64 for each in raw]


@pytest.mark.parametrize(
    "options",
    [{"top_k": 2}, {"top_p": 0.9}, {"min_p": 0.1}, {"logprobs": 2}, {"logit_bias": ((1, 2.0),)}, {"grammar": "any"}],
)
def test_every_draw_takes_one_number_whatever_is_asked(options: dict[str, Any]) -> None:
    constraint = Only({1, 2}) if "grammar" in options else None
    sampler = TokenSampler(SamplingParams(temperature=1.0, **options), 5, constraint)
    plain = TokenSampler(SamplingParams(temperature=1.0), 5)
    for _ in range(9):
        sampler.draw(of(*QUARTERS))
        plain.draw(of(*QUARTERS))
    flat = row(*([0.0] * 64))
    sampler._constraint, sampler._sampling = None, SamplingParams(temperature=1.0)
    sampler._biased, sampler._biases = sampler._biased[:0], sampler._biases[:0]
    assert sampler.draw(flat).token == plain.draw(flat).token


@given(ROWS)
def test_greedy_takes_the_lowest_of_the_likeliest(logits: NDArray[np.float32]) -> None:
    drawn = TokenSampler(SamplingParams(temperature=0), 0).draw(logits)
    assert drawn.token == int(np.flatnonzero(logits == logits.max())[0])


@given(ROWS, st.integers(0, 99))
def test_top_k_1_equals_greedy(logits: NDArray[np.float32], seed: int) -> None:
    greedy = TokenSampler(SamplingParams(temperature=0), 0).draw(logits)
    assert TokenSampler(SamplingParams(top_k=1), seed).draw(logits) == greedy


@given(ROWS)
def test_a_row_is_only_read(logits: NDArray[np.float32]) -> None:
    before = logits.copy()
    logits.setflags(write=False)
    options = SamplingParams(top_k=3, top_p=0.9, min_p=0.01, repeat_penalty=1.3, logit_bias=((0, 5.0),), logprobs=2)
    sampler = TokenSampler(options, 1)
    for _ in range(3):
        sampler.draw(logits)
    assert np.array_equal(logits, before)


# --- truncation


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 1}, {0}),
        ({"top_k": 3}, {0, 1, 2}),  # of equals the lower token
        ({"top_k": 9}, {0, 1, 2, 3}),
        ({"top_p": 0.5}, {0}),
        ({"top_p": 0.51}, {0, 1}),
        ({"top_p": 0.8}, {0, 1, 2}),
        ({"top_p": 0.9}, {0, 1, 2, 3}),
        ({"min_p": 0.4}, {0, 1}),
        ({"min_p": 0.2}, {0, 1, 2, 3}),
        ({"min_p": 1.0}, {0}),
        ({"top_k": 2, "top_p": 0.66}, {0}),  # of top_k's two tokens the first has two thirds
        ({"top_k": 2, "top_p": 0.67}, {0, 1}),
        ({"top_k": 3, "min_p": 0.3}, {0, 1}),
        ({"top_p": 0.51, "temperature": 2.0}, {0, 1}),  # truncated before the temperature
        ({"min_p": 0.4, "temperature": 0.1}, {0}),  # drawn after it: 2 ** 10 to 1
    ],
)
def test_exactly_the_tokens_worked_out_by_hand_are_kept(options: dict[str, Any], kept: set[int]) -> None:
    assert set(draws(of(*QUARTERS), 600, **options)) == kept


def test_what_is_kept_keeps_its_proportions() -> None:
    seen = draws(of(*QUARTERS), top_k=2)
    assert seen[0] == pytest.approx(2 / 3, abs=0.04)


@given(ROWS, st.integers(1, 70))
def test_largest_is_a_stable_sort_cut_off(values: NDArray[np.float32], count: int) -> None:
    assert np.array_equal(largest(values, count), np.argsort(-values, kind="stable")[:count])


@given(ROWS, st.floats(0.05, 0.99))
def test_top_p_keeps_the_fewest_that_reach_it(logits: NDArray[np.float32], top_p: float) -> None:
    sampler = TokenSampler(SamplingParams(top_p=top_p), 0)
    kept = sampler._kept(logits)
    assert kept is not None
    weights = np.exp(logits.astype(np.float64) - logits.max())
    chances = weights / weights.sum()
    assert chances[kept].sum() >= top_p - 1e-5
    assert chances[kept].sum() - chances[kept].min() < top_p + 1e-5
    assert chances[kept].min() >= np.delete(chances, kept).max(initial=0)


# --- bias and penalties


def test_a_bias_of_100_forces_a_token_and_minus_100_bans_it() -> None:
    assert draws(row(5, 4, 3), 300, logit_bias=((2, 100.0),)) == {2: 1.0}
    assert 0 not in draws(row(5, 4, 3), 300, logit_bias=((0, -100.0),))


def test_biases_of_one_token_add_up() -> None:
    seen = draws(row(0, 0), logit_bias=((0, math.log(3) / 2), (0, math.log(3) / 2)))
    assert seen[0] == pytest.approx(0.75, abs=0.04)


def test_greedy_heeds_bias_and_penalties() -> None:
    sampler = TokenSampler(SamplingParams(temperature=0, repeat_penalty=2.0, logit_bias=((2, 4.0),)), 0)
    logits = row(3.0, 2.9, 0.0, -1.0)
    # 2: 4.0, then 2.0; 0: 3.0, then 1.5; 1: 2.9, then 1.45
    assert [sampler.draw(logits).token for _ in range(4)] == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("options", "written", "expected"),
    [
        ({"repeat_penalty": 2.0}, [0, 1], [1.0, -2.0, 0.5]),  # a negative logit is multiplied
        ({"presence_penalty": 0.5}, [0, 0, 2], [1.5, -1.0, 0.0]),
        ({"frequency_penalty": 0.5}, [0, 0, 2], [1.0, -1.0, 0.0]),
        ({"frequency_penalty": 0.5, "presence_penalty": 1.0, "repeat_penalty": 2.0}, [0, 0], [-1.0, -1.0, 0.5]),
        ({"frequency_penalty": -1.0}, [2], [2.0, -1.0, 1.5]),
        ({"presence_penalty": 0.5, "penalty_window": 2}, [0, 1, 2], [2.0, -1.5, 0.0]),
        ({"presence_penalty": 0.5, "penalty_window": 0}, [0, 1, 2], [2.0, -1.0, 0.5]),
    ],
)
def test_penalties_are_those_worked_out_by_hand(
    options: dict[str, Any], written: list[int], expected: list[float]
) -> None:
    sampler = TokenSampler(SamplingParams(**options), 0)
    for token in written:
        sampler._remember(token)
    assert sampler._adjusted(row(2.0, -1.0, 0.5)).tolist() == expected


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 12))
def test_the_window_holds_the_last_tokens(written: list[int], size: int) -> None:
    sampler = TokenSampler(SamplingParams(presence_penalty=1.0, penalty_window=size), 0)
    for token in written:
        sampler._remember(token)
    assert sampler._counts == Counter(written[-size:] if size else [])


# --- log-probabilities


def test_logprobs_are_those_worked_out_by_hand() -> None:
    options = SamplingParams(temperature=0.1, top_k=1, logit_bias=((3, 100.0),), logprobs=3)
    drawn = TokenSampler(options, 0).draw(of(*QUARTERS))
    assert drawn.token == 3
    assert drawn.logprob == pytest.approx(math.log(0.125))  # before bias, truncation and temperature
    assert [token for token, _ in drawn.top] == [0, 1, 2]
    assert [value for _, value in drawn.top] == pytest.approx([math.log(0.5), math.log(0.25), math.log(0.125)])


def test_logprobs_are_given_only_where_asked_for() -> None:
    assert TokenSampler(SamplingParams(), 0).draw(row(0, 1)).logprob is None
    drawn = TokenSampler(SamplingParams(logprobs=0), 0).draw(row(0, 0))
    assert (drawn.logprob, drawn.top) == (pytest.approx(math.log(0.5)), ())


@given(ROWS, st.integers(0, 20))
def test_probabilities_sum_to_no_more_than_one(logits: NDArray[np.float32], count: int) -> None:
    drawn = TokenSampler(SamplingParams(logprobs=count), 0).draw(logits)
    assert len(drawn.top) == min(count, logits.size)
    assert sum(math.exp(value) for _, value in drawn.top) <= 1 + 1e-5
    assert drawn.logprob is not None and drawn.logprob <= 0
    assert sorted((value for _, value in drawn.top), reverse=True) == [value for _, value in drawn.top]


# --- constraints


@given(ROWS, st.integers(0, 99), st.sampled_from([0.0, 0.3, 2.0]), st.data())
def test_a_constraint_is_never_broken(
    logits: NDArray[np.float32], seed: int, temperature: float, data: st.DataObject
) -> None:
    constraint = Only(data.draw(st.sets(st.integers(0, logits.size - 1), min_size=1)))
    options = data.draw(st.sampled_from([{}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.5}]))
    sampler = TokenSampler(SamplingParams(temperature=temperature, **options), seed, constraint)
    tokens = [sampler.draw(logits).token for _ in range(4)]
    assert set(tokens) <= set(constraint.tokens)
    assert constraint.accepted == tokens


def test_a_constraint_that_allows_all_changes_nothing() -> None:
    logits = row(*np.linspace(-3, 3, 700))
    free, bound = (TokenSampler(SamplingParams(), 3, constraint) for constraint in (None, Only(range(700))))
    assert [free.draw(logits) for _ in range(20)] == [bound.draw(logits) for _ in range(20)]


@pytest.mark.parametrize("allowed", [{0, 1}, {1, 2}, {0, 3}, {2, 3}, {1}])
def test_what_is_allowed_keeps_its_proportions(allowed: set[int]) -> None:
    # The law that drawing again with the same number would break.
    chances = [0.3, 0.2, 0.4, 0.1]
    seen = draws(of(*chances), 6000, Only(allowed))
    total = sum(chances[token] for token in allowed)
    for token in allowed:
        assert seen[token] == pytest.approx(chances[token] / total, abs=0.04)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_an_allowed_token_far_below_all_others_is_found(temperature: float) -> None:
    logits = np.full(1000, 50.0, np.float32)
    logits[[7, 500]] = [-60.0, -300.0]
    assert draws(logits, 30, Only({7, 500}), temperature=temperature) == {7: 1.0}


def test_a_greedy_constrained_draw_takes_the_likeliest_allowed() -> None:
    assert draws(row(9, 5, 5, 4), 2, Only({3, 2, 1}), temperature=0) == {1: 1.0}


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_constraint_that_leaves_nothing_is_a_bad_request(temperature: float) -> None:
    sampler = TokenSampler(SamplingParams(temperature=temperature), 0, Only(set()))
    with pytest.raises(BadRequest, match="leaves no token"):
        sampler.draw(row(1, 2, 3))


def test_closing_a_sampler_closes_its_constraint() -> None:
    constraint = Only({1})
    TokenSampler(SamplingParams(), 0, constraint).close()
    TokenSampler(SamplingParams(), 0).close()
    assert constraint.closed


# --- bad input


@pytest.mark.parametrize("bad", [[0.0, math.nan], [-math.inf, -math.inf], [0.0, math.inf]])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_distribution_are_the_models_fault(bad: list[float], temperature: float) -> None:
    with pytest.raises(EngineDied, match="no distribution"):
        TokenSampler(SamplingParams(temperature=temperature), 0).draw(row(*bad))


def test_a_bias_outside_the_vocabulary_is_refused() -> None:
    check(SamplingParams(logit_bias=((9, 1.0),)), 10)
    with pytest.raises(BadRequest, match="token 10: the model has tokens 0 to 9"):
        check(SamplingParams(logit_bias=((10, 1.0),)), 10)


def test_the_smallest_temperature_draws_as_greedy_does() -> None:
    options = dataclasses.replace(SamplingParams(), temperature=5e-324)
    assert TokenSampler(options, 0).draw(row(-90.0, 80.0, 79.0)).token == 1
