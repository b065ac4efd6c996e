"""Laws of the text of one sample."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.detokenizer import Detokenizer


def run(pieces, stop=()):
    transcript = Detokenizer(stop)
    shown = [transcript.push(piece) for piece in pieces]
    shown.append(transcript.close())
    assert "".join(shown) == transcript.text
    return transcript, shown


def test_half_a_character_waits_for_its_other_half():
    raw = "é".encode()
    transcript, shown = run([b"caf", raw[:1], raw[1:]])
    assert shown == ["caf", "", "é", ""]
    assert transcript.text == "café"


def test_half_a_stop_string_waits_until_it_is_none():
    _, shown = run([b"a<", b"e", b"nd"], stop=("<end>",))
    assert shown == ["a", "", "", "<end"]
    _, shown = run([b"a<", b"b"], stop=("<end>",))
    assert shown == ["a", "<b", ""]


def test_text_from_the_stop_string_on_is_dropped():
    transcript, _ = run([b"one ", b"<en", b"d> two"], stop=("<end>",))
    assert transcript.stopped
    assert transcript.text == "one "
    assert transcript.push(b"more") == ""


def test_of_several_stop_strings_the_first_to_be_complete_counts():
    transcript, _ = run([b"abcdef"], stop=("ef", "bc"))
    assert transcript.text == "a"


def test_bytes_that_are_no_utf8_become_a_replacement_character():
    assert run([b"a\xff", b"b"])[0].text == "a\ufffdb"


@given(
    st.text(alphabet="ab<é🙂", max_size=40),
    st.lists(st.text(alphabet="ab<", min_size=1, max_size=4), max_size=3),
    st.data(),
)
def test_however_it_is_cut_into_tokens_the_text_ends_before_the_first_stop_to_be_complete(text, stops, data):
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)))))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    transcript, _ = run(pieces, tuple(stops))
    ends = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    assert transcript.text == (text[: min(ends)[1]] if ends else text)
