"""Laws of the scheduler that only a cache with a memory can show."""

from __future__ import annotations

import gc

import pytest
from fake_llama import FLAT, STEEP, CountingSampler, FakeLlama
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.scheduler import share_prefill
from avengers_edge.engine.sequence import SequenceGroup, derive_seed
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.records import AS_LONG_AS_FITS, SEED_LIMIT, Message, Request, SamplingParams


def ask(text="abcdefgh", n=4, max_tokens=10, temperature=1.0, seed=0, least=None, keep=False):
    sampling = SamplingParams(temperature=temperature, max_tokens=max_tokens)
    return Request((Message("user", text),), sampling, n, seed, least, keep)


def texts(generation):
    return [completion.text for completion in generation.completions]


@pytest.fixture(autouse=True)
def every_sampler_is_closed():
    CountingSampler.open = 0
    yield
    assert CountingSampler.open == 0


# --- one prompt, many samples


def test_a_prompt_is_evaluated_once_however_many_samples_share_it():
    llama = FakeLlama()
    llama.generate(ask("a" * 30, n=8, max_tokens=2))
    assert llama.scheduler.prefilled == 29
    first_tokens = [row for step in llama.context.steps for row in step if row[1] < 29]
    assert len(first_tokens) == 29


def test_a_greedy_sample_continues_at_the_prompts_end():
    (completion,) = FakeLlama().generate(ask("abc", n=1, max_tokens=4, temperature=0)).completions
    assert completion.text == "cdef"  # position 2 is the last prompt token, its letter "c"


def test_the_step_that_ends_a_prompt_draws_its_only_samples_first_token():
    alone, shared = FakeLlama(curve=STEEP), FakeLlama(curve=STEEP)
    alone.generate(ask("abc", n=1, max_tokens=4, temperature=0))
    shared.generate(ask("abc", n=2, max_tokens=4))
    assert len(alone.context.steps) == 4
    assert len(shared.context.steps) > 4  # its samples share the prompt's cells, which have to be there first


def test_greedy_samples_are_computed_once():
    one, many = FakeLlama(), FakeLlama()
    (text,) = texts(one.generate(ask(n=1, temperature=0)))
    assert texts(many.generate(ask(n=6, temperature=0))) == [text] * 6
    assert len(many.context.steps) == len(one.context.steps)


def test_a_prompt_of_one_token_works():
    assert len(FakeLlama().generate(ask("a", n=3)).completions) == 3


def test_nothing_is_held_after_a_run():
    llama = FakeLlama()
    llama.generate(ask(n=20))
    assert llama.context.held == {}


def test_seeds_differ_by_index_and_stay_in_range():
    seeds = {derive_seed(1, index) for index in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < SEED_LIMIT for seed in seeds)


def test_a_draft_changes_the_steps_and_not_the_text():
    """On the steep machine no draft pays, on the flat one all do."""
    slow, fast = FakeLlama(curve=STEEP), FakeLlama(curve=FLAT)
    request = ask("the cat the cat the cat", n=6, max_tokens=40, temperature=0.3)
    assert texts(slow.generate(request)) == texts(fast.generate(request))
    assert slow.scheduler.drafted == 0 < fast.scheduler.accepted
    assert len(fast.context.steps) < len(slow.context.steps)


# --- many requests


def test_a_request_alone_and_among_others_gives_the_same_text():
    alone = FakeLlama().generate(ask("hello", n=3, seed=5))
    among = FakeLlama().run([ask("other words", n=4), ask("hello", n=3, seed=5), ask("and more", n=2)])[1]
    assert texts(alone) == texts(among)


def test_many_requests_of_one_sample_need_no_copies_and_all_end():
    llama = FakeLlama(sequences=4)
    assert len(llama.run([ask("abc" * k, n=1, seed=k) for k in range(1, 13)])) == 12


def test_all_slots_of_a_split_cache_run_at_once_however_steep_the_curve():
    llama = FakeLlama(sequences=6, split=True, curve=STEEP)
    jobs = [llama.submit(ask("abc", n=1, seed=k, max_tokens=30, temperature=0.01)) for k in range(6)]
    while not all(job.running for job in jobs):
        llama.step()
        assert not any(job.handle.future.done() for job in jobs)
    for job in jobs:
        job.cancel()
    llama.step()


@pytest.mark.parametrize("n", [1, 5, 20])
def test_votes_of_more_samples_than_slots_end_and_are_those_of_a_shared_cache(n):
    split, shared = FakeLlama(sequences=4, split=True), FakeLlama()
    requests = [ask("abc" * k, n=n, seed=k) for k in range(1, 6)]
    assert [texts(done) for done in split.run(requests)] == [texts(done) for done in shared.run(requests)]


def test_a_newcomer_does_not_wait_for_all_samples_of_a_large_request():
    llama = FakeLlama(sequences=9)
    large = llama.submit(ask("large", n=200, max_tokens=30))
    for _ in range(3):
        llama.step()
    small = llama.submit(ask("small", n=2, max_tokens=5))
    while not small.handle.future.done():
        llama.step()
    assert large.started < 60
    large.cancel()
    llama.step()


def test_a_newcomer_that_needs_much_room_gets_it():
    """Samples of a running request do not take, one after the other, the cells that the newcomer waits for."""
    llama = FakeLlama(cells=200)
    large = llama.submit(ask("large", n=100, max_tokens=40))
    llama.step()
    small = llama.submit(ask("s" * 60, n=1, max_tokens=60))
    while not small.handle.future.done():
        llama.step()
    assert large.started < 50
    large.cancel()
    llama.step()


def test_a_long_prompt_does_not_stall_running_samples():
    """Each step of its prefill has a row of every sample that was running before it came."""
    llama = FakeLlama(curve=StepCurve(((1, 1.0), (8, 1.0), (64, 8.0))))
    running = llama.submit(ask("ab", n=2, max_tokens=100, temperature=0.01))
    while running.running < 2:
        llama.step()
    samples = {sequence for _, _, sequence in llama.context.steps[-1]}
    long, before = llama.submit(ask("x" * 300, n=1, max_tokens=1)), len(llama.context.steps)
    while not (long.prompt and long.ready):
        llama.step()
        assert running.running == 2
    prefill = llama.context.steps[before:]
    assert len(samples) == 2
    assert len(prefill) >= 300 // 16
    assert all(samples <= {sequence for _, _, sequence in step} for step in prefill)
    running.cancel()
    while llama.scheduler.busy:
        llama.step()


def test_a_prompt_goes_in_longer_pieces_beside_samples_than_alone_where_time_allows():
    llama = FakeLlama(curve=FLAT)
    running = llama.submit(ask("ab", n=2, max_tokens=100, temperature=0.01))
    while running.running < 2:
        llama.step()
    before = llama.scheduler.prefilled
    llama.submit(ask("x" * 300, n=1, max_tokens=1))
    llama.step()
    assert llama.scheduler.prefilled - before == llama.context.batch_size - llama.context.outputs
    running.cancel()
    while llama.scheduler.busy:
        llama.step()


def test_cancelling_during_prefill_ends_it_within_one_step():
    llama = FakeLlama()
    job = llama.submit(ask("x" * 300, n=4))
    llama.step()
    job.cancel()
    assert llama.step() == [job]
    assert job.handle.result().completions == ()
    assert llama.scheduler.prefilled < 64
    assert llama.context.held == {}


def test_a_listeners_failure_is_its_own_requests_only():
    llama = FakeLlama()

    def fail(completion):
        raise RuntimeError("not today")

    bad, good = llama.submit(ask("bad"), on_finish=fail), llama.submit(ask("good"))
    while llama.scheduler.busy:
        llama.step()
    with pytest.raises(RuntimeError, match="not today"):
        bad.handle.result()
    assert texts(good.handle.result()) == texts(FakeLlama().generate(ask("good")))


# --- waves


def test_a_request_begins_with_the_fewest_samples_that_can_decide():
    llama = FakeLlama(curve=STEEP)
    generation = llama.generate(ask(n=10, least=4), on_finish=lambda completion: max(0, 3 - completion.index))
    assert len(generation.completions) == 4


def test_more_samples_start_when_more_are_needed():
    llama = FakeLlama(curve=STEEP)
    heard = []

    def undecided(completion):
        heard.append(completion.index)
        return 10 - len(heard)

    assert len(llama.generate(ask(n=10, least=4), on_finish=undecided).completions) == 10


def test_samples_that_come_for_free_start_at_once():
    llama = FakeLlama(curve=FLAT)
    job = llama.submit(ask(n=10, least=4, max_tokens=100))
    llama.step()
    llama.step()
    assert job.started == 10
    job.cancel()
    llama.step()


# --- prefixes


def test_a_second_turn_evaluates_only_what_is_new():
    llama = FakeLlama()
    (first,) = llama.generate(ask("the quick brown fox", n=1, keep=True, temperature=0, max_tokens=9)).completions
    before = llama.scheduler.prefilled
    again = llama.generate(ask(f"the quick brown fox{first.text} and then", n=1, temperature=0))
    # The last token of a sample that was cut is not evaluated, and the last of the prompt is fed by the sample itself.
    assert again.reused_tokens == 19 + 8
    assert llama.scheduler.prefilled - before == 1 + len(" and then") - 1


def test_the_sample_that_a_conversation_goes_on_from_is_found_among_all():
    llama = FakeLlama()
    first = llama.generate(ask("the quick brown fox", n=5, keep=True, max_tokens=12))
    text = first.completions[3].text
    turn = f"the quick brown fox{text} and so on"
    second = llama.generate(ask(turn, n=2))
    assert second.reused_tokens >= 19 + len(text) - 1
    assert texts(second) == texts(FakeLlama().generate(ask(turn, n=2)))


def test_two_conversations_with_one_beginning_keep_their_own_cells():
    llama = FakeLlama()
    opening = "you are a helpful assistant "
    first = llama.generate(ask(opening + "one" * 20, n=1, keep=True)).completions[0].text
    llama.generate(ask(opening + "two" * 20, n=1, keep=True))
    again = llama.generate(ask(opening + "one" * 20 + first + "go on", n=1, keep=True))
    assert again.reused_tokens >= len(opening) + 60 + len(first) - 1


def test_prompts_under_way_share_a_common_beginning():
    llama = FakeLlama()
    opening = "a long instruction for all "
    llama.submit(ask(opening + "first", n=3, max_tokens=50))
    for _ in range(4):
        llama.step()
    second = llama.submit(ask(opening + "second", n=3))
    while llama.scheduler.busy:
        llama.step()
    assert second.handle.result().reused_tokens >= len(opening)


def test_a_model_that_cannot_rewind_goes_on_from_a_whole_sequence_or_starts_again():
    llama = FakeLlama(supports_rollback=False)
    (first,) = llama.generate(ask("the quick brown fox", n=1, keep=True, temperature=0, max_tokens=9)).completions
    on = llama.generate(ask(f"the quick brown fox{first.text} and then", n=1, keep=True))
    assert on.reused_tokens == 19 + 8
    elsewhere = llama.generate(ask("the quick brown bear", n=2))
    assert elsewhere.reused_tokens == 0
    assert texts(elsewhere) == texts(FakeLlama().generate(ask("the quick brown bear", n=2)))


def test_what_is_kept_gives_way_to_what_is_asked():
    llama = FakeLlama(cells=256)
    llama.generate(ask("z" * 100, n=2, keep=True, max_tokens=40))
    generation = llama.generate(ask("y" * 150, n=2, max_tokens=50))
    assert len(generation.completions) == 2


def test_a_saved_conversation_goes_on_in_another_engine(tmp_path):
    llama, path = FakeLlama(), tmp_path / "state"
    (first,) = llama.generate(ask("the quick brown fox", n=1, keep=True)).completions
    saved = llama.scheduler.kv_cache.save(path)
    fresh = FakeLlama()
    fresh.context.saved = llama.context.saved
    assert fresh.scheduler.kv_cache.restore(path) == saved
    turn = ask(f"the quick brown fox{first.text} and then", n=1)
    second = fresh.generate(turn)
    assert second.reused_tokens == saved
    assert texts(second) == texts(FakeLlama().generate(turn))


def test_a_state_that_does_not_fit_is_of_no_use_and_no_harm(tmp_path):
    llama = FakeLlama()
    assert llama.scheduler.kv_cache.save(tmp_path / "nothing kept") == 0
    assert llama.scheduler.kv_cache.restore(tmp_path / "not there") == 0
    assert len(llama.generate(ask()).completions) == 4


def test_a_state_that_others_need_the_room_of_is_not_restored(tmp_path):
    llama = FakeLlama(cells=256)
    llama.generate(ask("z" * 100, n=1, keep=True, max_tokens=20))
    assert llama.scheduler.kv_cache.save(tmp_path / "state") > 100
    busy = FakeLlama(cells=256)
    busy.context.saved = llama.context.saved
    job = busy.submit(ask("y" * 100, n=1, max_tokens=100, temperature=0))
    while not job.running:
        busy.step()
    assert busy.scheduler.kv_cache.restore(tmp_path / "state") == 0
    while busy.scheduler.busy:
        busy.step()
    assert len(job.handle.result().completions) == 1


# --- whatever is asked


@given(
    shapes=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 12), st.booleans()), min_size=1, max_size=6
    ),
    sequences=st.integers(2, 8),
    cells=st.integers(64, 160),
    flat=st.booleans(),
    supports_rollback=st.booleans(),
)
def test_any_mix_of_requests_runs_to_its_end_within_the_cells(shapes, sequences, cells, flat, supports_rollback):
    """The fake cache asserts that positions are consecutive and that cells never run out."""
    llama = FakeLlama(
        cells=cells, sequences=sequences, curve=FLAT if flat else STEEP, supports_rollback=supports_rollback
    )
    requests = [
        ask("abc"[place % 3] * prompt, n=n, max_tokens=limit, keep=keep, seed=place)
        for place, (prompt, n, limit, keep) in enumerate(shapes)
    ]
    for request, generation in zip(requests, llama.run(requests), strict=True):
        assert [completion.index for completion in generation.completions] == list(range(request.n))
        assert texts(generation) == texts(FakeLlama(curve=STEEP).generate(request))


# --- found by review


def test_many_voters_are_as_quick_as_they_come():
    """A queue that waits for width, not for cells, holds nobody up."""
    few, many = FakeLlama(sequences=64, cells=8192), FakeLlama(sequences=64, cells=8192)
    few.run([ask("abcdefgh"[: 3 + i % 5], n=10, seed=i) for i in range(16)])
    many.run([ask("abcdefgh"[: 3 + i % 5], n=10, seed=i) for i in range(32)])
    assert len(many.context.steps) <= 2.5 * len(few.context.steps)


def test_whoever_is_admitted_gets_on_though_smaller_requests_keep_coming():
    llama = FakeLlama(cells=256)
    jobs = [llama.submit(ask("s" * 5, n=2, max_tokens=20, seed=i)) for i in range(5)]
    large = llama.submit(ask("l" * 40, n=1, max_tokens=60))
    for step in range(300):
        if large.handle.future.done():
            break
        llama.step()
        jobs.append(llama.submit(ask("s" * 5, n=2, max_tokens=20, seed=step)))
    assert large.handle.future.done()
    for job in jobs:
        job.cancel()
    while llama.scheduler.busy:
        llama.step()


def test_chats_with_one_long_system_prompt_keep_their_own_history():
    llama = FakeLlama()
    opening, turns = "s" * 90, ["", ""]
    for turn in range(4):
        for chat in (0, 1):
            said = turns[chat] + f"{'ab'[chat]} question "
            generation = llama.generate(ask(opening + said, n=1, keep=True, seed=turn))
            turns[chat] = said + generation.completions[0].text
            if turn:
                assert generation.prompt_tokens - generation.reused_tokens <= len("a question ") + 2


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_a_failing_listener_of_tokens_is_its_own_requests_only(temperature):
    llama = FakeLlama()

    def fail(index, piece):
        if index:
            raise RuntimeError("not today")

    bad = llama.submit(ask("bad", temperature=temperature), on_token=fail)
    good = llama.submit(ask("good"))
    while llama.scheduler.busy:
        llama.step()
    with pytest.raises(RuntimeError, match="not today"):
        bad.handle.result()
    assert len(good.handle.result().completions) == 4


def test_a_turn_that_was_stopped_is_part_of_the_conversation():
    llama = FakeLlama()
    llama.generate(ask("the quick brown fox", n=1, keep=True, max_tokens=9))
    job = llama.submit(ask("the quick brown fox" + "x" * 60, n=1, keep=True, max_tokens=99, temperature=0))
    while not job.running:
        llama.step()
    llama.step()
    job.cancel()
    llama.step()
    text = job.handle.result().completions[0].text
    assert llama.generate(ask("the quick brown fox" + "x" * 60 + text + " well", n=1)).reused_tokens >= 78


def test_a_turn_that_was_stopped_before_it_began_leaves_the_conversation_as_it_was():
    llama = FakeLlama()
    (first,) = llama.generate(ask("the quick brown fox", n=1, keep=True)).completions
    turn = f"the quick brown fox{first.text} and on"
    llama.submit(ask(turn, n=1, keep=True)).cancel()
    llama.step()
    assert llama.generate(ask(turn, n=1)).reused_tokens >= 19


def test_a_request_that_ended_holds_no_memory_until_a_full_collection():
    llama = FakeLlama()
    gc.collect()
    others = [each for each in gc.get_objects() if isinstance(each, SequenceGroup)]  # that other tests hold
    gc.disable()
    try:
        llama.generate(ask())
        left = [each for each in gc.get_objects() if isinstance(each, SequenceGroup)]
        assert not {id(each) for each in left} - {id(each) for each in others}
    finally:
        gc.enable()


# --- sharing a step's rows out among prompts


def unready(*left):
    """Requests of whose prompts so many tokens are still to be evaluated."""
    groups = [SequenceGroup(Request((Message("user", "?"),))) for _ in left]
    for group, tokens in zip(groups, left, strict=True):
        group.begin([1] * (tokens + 4))
        group.evaluated = 3
    return groups


def shared(left, rows):
    groups = unready(*left)
    counts = dict(share_prefill(groups, rows))
    assert set(counts) <= set(groups)
    assert all(counts.values())
    return [counts.get(group, 0) for group in groups]


LEFT = st.lists(st.integers(1, 50), max_size=8)


@given(LEFT, st.integers(0, 200))
def test_all_rows_are_used_and_no_prompt_gets_more_than_it_has(left, rows):
    counts = shared(left, rows)
    assert sum(counts) == min(rows, sum(left))
    assert all(count <= most for count, most in zip(counts, left, strict=True))


@given(LEFT.filter(bool), st.integers(1, 200))
def test_the_first_gets_half_so_that_none_waits_forever(left, rows):
    assert shared(left, rows)[0] >= min(left[0], (rows + 1) // 2)


@given(LEFT.filter(bool), st.integers(1, 200))
def test_after_the_first_each_has_what_it_needs_before_the_next_gets_any(left, rows):
    counts = shared(left, rows)[1:]
    begun = [place for place, count in enumerate(counts) if count]
    assert all(counts[place] == left[1:][place] for place in begun[:-1])
    assert begun == list(range(len(begun)))


def test_rows_shared_out_by_hand():
    assert shared([], 10) == []
    assert shared([100], 10) == [10]
    assert shared([100, 3, 100], 10) == [5, 3, 2]
    assert shared([2, 3, 4], 100) == [2, 3, 4]
    assert shared([100, 1], 10) == [9, 1]
    assert shared([100, 100, 1], 10) == [5, 5, 0]


def test_a_limit_beyond_the_context_is_held_to_what_fits():
    engine = FakeLlama(cells=64)
    (generation,) = engine.run([ask("ab", n=1, max_tokens=10**8)])
    assert generation.completions[0].finish_reason in ("stop", "length")
    group = engine.submit(ask("ab", n=1, max_tokens=10**8))
    assert len(group.prompt) + group.longest == 64


def test_of_what_has_no_limit_the_first_takes_half_of_what_is_free_and_others_run_beside_it():
    engine = FakeLlama(cells=4096)
    groups = [engine.submit(ask(text, n=1, max_tokens=AS_LONG_AS_FITS)) for text in ("ab", "cd", "ef")]
    engine.step()
    assert [group.longest for group in groups] == sorted((group.longest for group in groups), reverse=True)
    assert groups[0].longest == (4096 - len(groups[0].prompt)) // 2
    assert all(group.longest >= 512 for group in groups)
    assert len(engine.scheduler._groups) == 3
    for group in groups:
        group.cancel()
    while engine.scheduler.busy:
        engine.step()
