"""Laws of the decode loop that only a cache with a memory can show."""

from __future__ import annotations

from fakes import FakeLlama
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.batch import derive_seed
from avengers_edge.records import SEED_LIMIT, Message, Request, SamplingParams


def ask(text="abcdefgh", n=4, max_tokens=10, temperature=1.0, seed=0):
    return Request((Message("user", text),), SamplingParams(temperature=temperature, max_tokens=max_tokens), n, seed)


def test_a_prompt_is_evaluated_once_however_many_samples_share_it():
    llama = FakeLlama(width=8)
    llama.generate(ask("a" * 30, n=8, max_tokens=2, temperature=0))
    # 29 tokens once, then two steps for each sample: the last prompt token and the first of its own.
    assert llama.context.most_cells == 29 + 8 * 2
    assert llama.context.steps == 2 + 2  # two prefill chunks of 16, two decode steps


def test_a_greedy_sample_continues_at_the_prompts_end():
    (completion,) = FakeLlama().generate(ask("abc", n=1, max_tokens=4, temperature=0)).completions
    assert completion.text == "cdef"  # position 2 is the last prompt token, its letter "c"


def test_a_prompt_of_one_token_works():
    assert len(FakeLlama().generate(ask("a", n=3)).completions) == 3


def test_nothing_is_held_after_a_run():
    llama = FakeLlama()
    llama.generate(ask(n=20))
    assert llama.context.held == {}
    assert llama.context.open_chains == 0


def test_many_requests_of_one_sample_need_no_copies_and_all_end():
    llama = FakeLlama(sequences=4, width=4)
    jobs = llama.run([ask("abc" * k, n=1, seed=k) for k in range(1, 13)])
    assert sorted(job.place for job in jobs) == list(range(12))


def test_seeds_differ_by_index_and_stay_in_range():
    seeds = {derive_seed(1, index) for index in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < SEED_LIMIT for seed in seeds)


@given(
    shapes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=6),
    width=st.integers(1, 6),
    sequences=st.integers(2, 8),
    cells=st.integers(64, 160),
)
def test_any_mix_of_requests_runs_to_its_end_within_the_cells(shapes, width, sequences, cells):
    """The fake cache asserts that positions are consecutive and that cells never run out."""
    llama = FakeLlama(cells=cells, sequences=sequences, width=width)
    jobs = llama.run([ask("a" * prompt, n=n, max_tokens=limit) for prompt, n, limit in shapes])
    assert sorted(job.place for job in jobs) == list(range(len(shapes)))
    for job in jobs:
        assert sorted(job.completions) == list(range(job.request.n))
    assert llama.context.held == {}
    assert llama.context.open_chains == 0
