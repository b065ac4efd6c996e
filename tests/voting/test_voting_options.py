r"""Option letters: in whatever wrapping, the explicit answer wins over every looser sentence."""
# ruff: noqa: RUF001 - typographic signs are what models write

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.voting.keys import answer_key

WRAPPED = (
    *(
        "?",
        "?.",
        "(?)",
        "**?**",
        "**(?)**",
        "`?`",
        '"?"',
        "[?]",
        "{?}",
        "<?>",
        "→ ?",
        "“?”",
        "【?】",
        "「?」",
        "?)",
        "(?).",
        "?。",
    ),
    *("$?$", "$$?$$", "\\(?\\)", "\\[?\\]", "$(?)$", "**$?$**", "$?.$", "\\( ? \\)"),
    *("$\\text{?}$", "$\\mathbf{?}$", "\\mathbf{?}", "\\textbf{?}", "\\text{(?)}", "$\\mathrm{?}$", "$\\mathbf{(?)}$"),
    *(
        "$\\mathbf{\\text{?}}$",
        "\\textbf{?.}",
        "$\\boldsymbol{?}$",
        "\\boxed{?}",
        "$\\boxed{\\text{?}}$",
        "\\boxed{\\mathbf{(?)}}",
    ),
    *("Option ?", "option (?)", "Option **?**", "letter ?", "choice ?", "Option $?$"),
)
ANNOUNCED = (
    *(
        "Answer: {}",
        "**Answer:** {}",
        "Answer:\n{}",
        "Final answer: {}",
        "The answer is {}",
        "The correct option is {}",
    ),
    *("Antwort: {}", "Die richtige Antwort ist {}", "Réponse : {}", "La bonne réponse est {}", "Respuesta: {}"),
    *("La respuesta correcta es {}", "答案：{}", "答案是{}", "正确答案是 {}", "答え：{}", "答えは{}", "正解は{}"),
)
LOOSER = (
    *(
        "Option ! looks right.",
        "(!) is correct.",
        "I choose !.",
        "! is the right one.",
        "**!**",
        "!",
        "Option !",
        "选!",
    ),
    *("! is the best answer here.", "So I would pick option !, it seems.", "Lösung: Option !"),
)
letters = st.sampled_from("BCD")
FULL_WIDTH = str.maketrans("ABCD()", "ＡＢＣＤ（）")


@given(letters, st.sampled_from(WRAPPED), st.sampled_from(ANNOUNCED))
def test_a_letter_is_read_in_every_wrapping(letter: str, wrapped: str, announced: str) -> None:
    said = wrapped.replace("?", letter)
    assert answer_key(announced.format(said), "choice") == letter
    assert answer_key(announced.format(said), "choice", choices=("ape", "bee", "cat", "dog")) == letter
    if "\\" not in wrapped:
        assert answer_key(announced.format(said.translate(FULL_WIDTH)), "choice") == letter


def test_a_wrapped_letter_alone_is_an_answer() -> None:
    for wrapped in [each for each in WRAPPED if each not in ("→ ?",)]:
        for letter in "AB":
            assert answer_key(wrapped.replace("?", letter), "choice") == letter


@given(letters, letters, st.sampled_from(WRAPPED), st.sampled_from(ANNOUNCED), st.sampled_from(LOOSER))
def test_no_looser_sentence_before_wins_over_the_explicit_answer(
    said: str, other: str, wrapped: str, announced: str, looser: str
) -> None:
    text = f"{looser.replace('!', other)}\n{announced.format(wrapped.replace('?', said))}"
    assert answer_key(text, "choice") == said


def test_what_stands_before_an_unclear_answer_does_not_take_its_place() -> None:
    for looser in LOOSER:
        for unclear in ["B and C", "B or D", "none of them", "???", "not D"]:
            assert answer_key(f"{looser.replace('!', 'C')}\nAnswer: {unclear}", "choice") is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Answer: <letter>\nOption B is right.", "B"),
        ("I choose option B, not option C.", "B"),
        ("Option B fits rather than option C.", "B"),
        ("Answer: B, not C", "B"),
        ("Answer: A instead of C", "A"),
        ("Answer: A rather small dog", None),
        ("答えはAです", "A"),
        ("答案是A，因为", "A"),
        ("Die Antwort ist B und C", None),
        ("答案：B、C", None),
        ("The value $n$ is what we choose from $m$.", None),
    ],
)
def test_letters_beside_other_words(text: str, key: str | None) -> None:
    assert answer_key(text, "choice") == key


def test_a_number_or_label_before_an_unclear_answer_does_not_take_its_place() -> None:
    assert answer_key("It may be 7.\nAnswer: unknown", "number") is None
    assert answer_key("One might say yes.\nAnswer: neither", "label", choices=("yes", "no")) is None
    assert answer_key("Answer: unknown\nNo, it is 7.", "number") == "7"


def test_letters_without_end_are_read_in_one_pass() -> None:
    """Ends at all: nothing looks further than a few words ahead or back."""
    for piece in ["$", "\\text{", "$\\text{B}$ ", "Option A ", "选", "A、", "（Ａ", "not A ", "答案是", "Antwort: "]:
        for head in ["", "Answer: "]:
            answer_key(head + piece * (100_000 // len(piece)), "choice", choices=("ape", "bee"))
