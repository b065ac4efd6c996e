"""Laws of drafting: what is drafted did follow once, and its rate of acceptance is counted."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.speculation import LONGEST, PromptLookup

ORDER = 3
TOKENS = st.lists(st.integers(0, 2), max_size=40)
"""Few different ones, so that much repeats."""


def written(lookup, tokens):
    """Write tokens one by one as a sample does; give its own list."""
    own = []
    for token in tokens:
        own.append(token)
        lookup.learn(own)
    return own


def followed(source, last, draft):
    """Whether the draft, and no less than what there is of it, stands in a source after these three tokens."""
    return any(
        source[at - ORDER : at] == last and source[at : at + LONGEST] == draft for at in range(ORDER, len(source))
    )


@given(TOKENS, st.lists(TOKENS, min_size=1, max_size=4))
def test_a_draft_is_what_followed_the_last_three_tokens_somewhere_and_comes_whenever_something_did(prompt, samples):
    lookup = PromptLookup(prompt)
    told = [prompt, *(written(lookup, sample) for sample in samples)]
    for own in told:
        last, draft = own[-ORDER:], list(lookup.draft(own))
        seen = len(last) == ORDER and any(
            source[at - ORDER : at] == last for source in told for at in range(ORDER, len(source))
        )
        assert bool(draft) == seen
        assert not draft or any(followed(source, last, draft) for source in told)


@given(TOKENS, st.lists(st.integers(0, 2), min_size=ORDER, max_size=ORDER))
def test_the_newest_token_is_no_draft_of_what_follows_it(prompt, last):
    """A sample has noted its newest token by the time it drafts; what came before it is not what comes after."""
    fresh = [10, 11, 12, 13, *last]
    lookup = PromptLookup([token + 20 for token in prompt])
    assert list(lookup.draft(written(lookup, fresh))) == []


def test_a_sample_drafts_from_its_own_past():
    lookup = PromptLookup([])
    assert list(lookup.draft(written(lookup, [1, 2, 3, 4, 5, 1, 2, 3]))) == [4, 5, 1, 2, 3]


def test_a_sample_drafts_what_its_sibling_wrote():
    lookup = PromptLookup([])
    written(lookup, [7, 1, 2, 3, 4, 5, 6])
    assert list(lookup.draft(written(lookup, [8, 1, 2, 3]))) == [4, 5, 6]


def test_a_siblings_text_is_drafted_as_far_as_it_has_come_meanwhile():
    lookup = PromptLookup([])
    sibling = written(lookup, [1, 2, 3, 4])
    own = written(lookup, [9, 1, 2, 3])
    own_draft = list(lookup.draft(own))
    sibling += [5, 6]
    assert (own_draft, list(lookup.draft(own))) == ([4], [4, 5, 6])


def test_the_prompt_is_drafted_from_and_the_latest_place_wins():
    lookup = PromptLookup([1, 2, 3, 4, 1, 2, 3, 5])
    assert list(lookup.draft([1, 2, 3])) == [5]
    written(lookup, [1, 2, 3, 6])
    assert list(lookup.draft([1, 2, 3])) == [6]


def test_a_draft_is_no_longer_than_the_longest():
    assert list(PromptLookup(range(100)).draft([10, 11, 12])) == list(range(13, 13 + LONGEST))


@pytest.mark.parametrize("tokens", [[], [1], [2, 3], [4, 5, 6]])
def test_where_nothing_like_it_was_seen_there_is_no_draft(tokens):
    assert list(PromptLookup([1, 2, 3]).draft(tokens)) == []


def test_the_acceptance_at_a_depth_is_the_product_of_what_held_at_each_depth_before():
    """Before anything is known one of two is accepted; a draft of three, of which one was, tells of two depths."""
    lookup = PromptLookup([])
    assert lookup.acceptance == [0.5**depth for depth in range(1, LONGEST + 1)]
    lookup.record(3, 1)
    first, second, third = 2 / 3, 1 / 3, 1 / 2
    assert lookup.acceptance[:3] == pytest.approx([first, first * second, first * second * third])
    lookup.record(2, 2)
    assert lookup.acceptance[:2] == pytest.approx([3 / 4, 3 / 4 * 2 / 4])
    lookup.record(1, 0)
    assert lookup.acceptance[0] == pytest.approx(3 / 5)


@given(st.lists(st.integers(1, LONGEST).flatmap(lambda drafted: st.tuples(st.just(drafted), st.integers(0, drafted)))))
def test_acceptance_is_a_probability_and_falls_with_depth(outcomes):
    lookup = PromptLookup([])
    for drafted, accepted in outcomes:
        lookup.record(drafted, accepted)
    assert len(lookup.acceptance) == LONGEST
    assert all(0 < rate < 1 for rate in lookup.acceptance)
    assert all(deeper <= rate for rate, deeper in itertools.pairwise(lookup.acceptance))


def test_what_always_holds_becomes_certain_and_what_never_does_hopeless():
    sure, vain = PromptLookup([]), PromptLookup([])
    for _ in range(200):
        sure.record(LONGEST, LONGEST)
        vain.record(LONGEST, 0)
    assert sure.acceptance[-1] > 0.9
    assert vain.acceptance[0] < 0.01
