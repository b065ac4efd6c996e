"""Laws of guessing: what is guessed did follow once, and what is said of its chances is counted."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.drafts import LONGEST, Drafts

ORDER = 3
TOKENS = st.lists(st.integers(0, 2), max_size=40)
"""Few different ones, so that much repeats."""


def written(drafts, tokens):
    """Write tokens one by one as a sample does; give its own list."""
    own = []
    for token in tokens:
        own.append(token)
        drafts.learn(own)
    return own


def followed(source, last, guess):
    """Whether the guess, and no less than what there is of it, stands in a source after these three tokens."""
    return any(
        source[at - ORDER : at] == last and source[at : at + LONGEST] == guess for at in range(ORDER, len(source))
    )


@given(TOKENS, st.lists(TOKENS, min_size=1, max_size=4))
def test_a_guess_is_what_followed_the_last_three_tokens_somewhere_and_comes_whenever_something_did(prompt, samples):
    drafts = Drafts(prompt)
    told = [prompt, *(written(drafts, sample) for sample in samples)]
    for own in told:
        last, guess = own[-ORDER:], list(drafts.guess(own))
        seen = len(last) == ORDER and any(
            source[at - ORDER : at] == last for source in told for at in range(ORDER, len(source))
        )
        assert bool(guess) == seen
        assert not guess or any(followed(source, last, guess) for source in told)


@given(TOKENS, st.lists(st.integers(0, 2), min_size=ORDER, max_size=ORDER))
def test_the_newest_token_is_no_guess_at_what_follows_it(prompt, last):
    """A sample has noted its newest token by the time it guesses; what came before it is not what comes after."""
    fresh = [10, 11, 12, 13, *last]
    drafts = Drafts([token + 20 for token in prompt])
    assert list(drafts.guess(written(drafts, fresh))) == []


def test_a_sample_guesses_from_its_own_past():
    drafts = Drafts([])
    assert list(drafts.guess(written(drafts, [1, 2, 3, 4, 5, 1, 2, 3]))) == [4, 5, 1, 2, 3]


def test_a_sample_guesses_what_its_sibling_wrote():
    drafts = Drafts([])
    written(drafts, [7, 1, 2, 3, 4, 5, 6])
    assert list(drafts.guess(written(drafts, [8, 1, 2, 3]))) == [4, 5, 6]


def test_a_siblings_text_is_guessed_as_far_as_it_has_come_meanwhile():
    drafts = Drafts([])
    sibling = written(drafts, [1, 2, 3, 4])
    own = written(drafts, [9, 1, 2, 3])
    own_guess = list(drafts.guess(own))
    sibling += [5, 6]
    assert (own_guess, list(drafts.guess(own))) == ([4], [4, 5, 6])


def test_the_prompt_is_guessed_from_and_the_latest_place_wins():
    drafts = Drafts([1, 2, 3, 4, 1, 2, 3, 5])
    assert list(drafts.guess([1, 2, 3])) == [5]
    written(drafts, [1, 2, 3, 6])
    assert list(drafts.guess([1, 2, 3])) == [6]


def test_a_guess_is_no_longer_than_the_longest():
    assert list(Drafts(range(100)).guess([10, 11, 12])) == list(range(13, 13 + LONGEST))


@pytest.mark.parametrize("tokens", [[], [1], [2, 3], [4, 5, 6]])
def test_where_nothing_like_it_was_seen_there_is_no_guess(tokens):
    assert list(Drafts([1, 2, 3]).guess(tokens)) == []


def test_the_chance_at_a_depth_is_the_product_of_what_held_at_each_depth_before():
    """Before anything is known one of two held; a guess of three of which one held tells of the first two depths."""
    drafts = Drafts([])
    assert drafts.chances == [0.5**depth for depth in range(1, LONGEST + 1)]
    drafts.score(3, 1)
    first, second, third = 2 / 3, 1 / 3, 1 / 2
    assert drafts.chances[:3] == pytest.approx([first, first * second, first * second * third])
    drafts.score(2, 2)
    assert drafts.chances[:2] == pytest.approx([3 / 4, 3 / 4 * 2 / 4])
    drafts.score(1, 0)
    assert drafts.chances[0] == pytest.approx(3 / 5)


@given(st.lists(st.integers(1, LONGEST).flatmap(lambda guessed: st.tuples(st.just(guessed), st.integers(0, guessed)))))
def test_chances_are_probabilities_and_fall_with_depth(outcomes):
    drafts = Drafts([])
    for guessed, accepted in outcomes:
        drafts.score(guessed, accepted)
    assert len(drafts.chances) == LONGEST
    assert all(0 < chance < 1 for chance in drafts.chances)
    assert all(deeper <= chance for chance, deeper in itertools.pairwise(drafts.chances))


def test_what_always_holds_becomes_certain_and_what_never_does_hopeless():
    sure, vain = Drafts([]), Drafts([])
    for _ in range(200):
        sure.score(LONGEST, LONGEST)
        vain.score(LONGEST, 0)
    assert sure.chances[-1] > 0.9
    assert vain.chances[0] < 0.01
