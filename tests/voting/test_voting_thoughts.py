"""What is thought and what is said come apart in the same way, whether a text comes at once or piece by piece."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.voting.markers import ThoughtSplitter, said_in, split_thoughts

PARTS = ["<think>", "</think>", "<Thinking>", "</thinking>", " ", "\n\n", "a < b", "say", "<", "<th", "</", "think>"]


def told(text, cuts=()):
    """What is said and what is thought of a text that comes in pieces."""
    splitter = ThoughtSplitter()
    places = sorted({0, *cuts, len(text)})
    pairs = [splitter.push(text[begin:end]) for begin, end in itertools.pairwise(places)]
    return "".join(said for said, _ in pairs) + splitter.close(), "".join(thought for _, thought in pairs)


@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("No thought.", "No thought.", ""),
        (" white space stays ", " white space stays ", ""),
        ("<think>\nHm.\n</think>\n\nSeven.\n", "Seven.\n", "\nHm.\n"),
        ("<think>Hm", "", "Hm"),
        ("<think>a</think>b<think>c</think> d", "b d", "ac"),
        ("1 <2 and <thin", "1 <2 and <thin", ""),
    ],
)
def test_what_is_said_and_what_is_thought(text, said, thought):
    assert told(text) == (said, thought)


@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), st.data())
def test_it_does_not_matter_how_a_text_is_cut(text, data):
    cuts = data.draw(st.sets(st.integers(0, len(text))))
    assert told(text, cuts) == told(text)


SAID = st.sampled_from(["say", " ", "a < b", "<", ""])


@given(st.lists(st.tuples(SAID, SAID), max_size=4), st.sampled_from(["", "<think>", "<think>so"]))
def test_pieces_say_what_the_whole_says(pairs, end):
    """As long as every thought has its beginning, which the engine sees to."""
    text = "".join(f"<think>{thought}</think>{said}" for thought, said in pairs) + end
    assert told(text)[0].strip() == split_thoughts(text)[0].strip() == said_in(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [(" as it is\n", " as it is\n"), ("<think>x</think>\n\nyes\n", "yes"), ("<think>x", ""), ("Hm</think>yes", "yes")],
)
def test_a_text_without_its_thoughts(text, said):
    assert said_in(text) == said
