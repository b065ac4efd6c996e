"""Numbers: signs that stand apart, numbers in words, thousands in every country's grouping, and what is denied."""
# ruff: noqa: RUF001 - typographic signs are what models write

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.voting.keys import answer_key, canonical_key

SIGNS = [
    ("- 5", "-5"),
    ("-5", "-5"),
    ("minus 5", "-5"),
    ("negative 5", "-5"),
    ("negative five", "-5"),
    ("minus three quarters", "-0.75"),
    ("\\boxed{- 5}", "-5"),
    ("\\boxed{-\\ 5}", "-5"),
    ("\\boxed{- \\frac{3}{4}}", "-0.75"),
    ("\\boxed{\\text{minus } 5}", "-5"),
    ("Answer: - 5", "-5"),
    ("Answer: – 5", "-5"),
    ("Answer: - $5", "-5"),
    ("Answer: minus 5", "-5"),
    ("Answer: $- 5$", "-5"),
    ("Answer:\n- 5", "-5"),
    ("Answer: x = - 5", "-5"),
    ("The answer is negative five.", "-5"),
    ("It is minus 5 degrees.", "-5"),
    ("So x = - 5.", "-5"),
    ("It is a negative 3/4.", "-0.75"),
    # no sign of the number
    ("10 - 5 = 5", "5"),
    ("10 minus 5 is 5", "5"),
    ("5 – 10 is what we want, so 7", "7"),
    ("The answer is — 5", "5"),
    ("- 5 apples", "5"),
    ("- 5 apples\n- 7 pears", "7"),
    ("Answer:\n- 5 apples", "5"),
    ("He had 12 - 5 of them lost.", "5"),
]
WORDS = [
    ("one hundred", "100"),
    ("five million", "5000000"),
    ("three quarters", "0.75"),
    ("two dozen", "24"),
    ("a dozen", "12"),
    ("half a dozen", "6"),
    ("one hundred and five", "105"),
    ("twenty-one", "21"),
    ("twenty one", "21"),
    ("two and a half", "2.5"),
    ("two and three quarters", "2.75"),
    ("half", "0.5"),
    ("one-third", "1/3"),
    ("three point one four", "3.14"),
    ("one and a half million", "1500000"),
    ("two hundred thousand and seven", "200007"),
    ("zero", "0"),
    ("Answer: One hundred.", "100"),
    ("**Answer:** five million dollars", "5000000"),
    ("\\boxed{\\text{three quarters}}", "0.75"),
    ("Answer: three quarters of the cake", "0.75"),
    ("Answer: seven, because one was eaten", "7"),
    ("The answer is six of them.", "6"),
    ("She has twelve apples left.", "12"),
    ("Answer: 2 dozen eggs", "24"),
    ("Answer: 2 and a half", "2.5"),
    ("Answer: 3 hundred", "300"),
    ("Answer: 5 hundred thousand", "500000"),
    ("Answer: 2.5 million", "2500000"),
    # no number
    ("one two", None),
    ("the twenty third", None),
    ("I do not know one thing.", None),
    ("Answer: one of the largest", None),
    ("Answer: someone", None),
    ("hundredfold", None),
    ("a five-year plan", None),
]
GROUPING = [
    ("1.234,56", "1234.56"),
    ("12.345.678", "12345678"),
    ("1.234.567,89", "1234567.89"),
    ("1.000,50", "1000.5"),
    ("1'234", "1234"),
    ("1’234.50", "1234.5"),
    ("1_234_567", "1234567"),
    ("1 234,56", "1234.56"),
    ("1\u202f234,56", "1234.56"),
    ("1\u00a0234", "1234"),
    ("1,234.5", "1234.5"),
    ("1 234", "1234"),
    ("1 234 567", "1234567"),
    ("12,34,567", "1234567"),
    ("1.234", "1.234"),
    ("12.345", "12.345"),
    ("1,5", "1.5"),
    ("0,125", "0.125"),
    ("0{,}5", "0.5"),
    ("1.234{,}56", "1234.56"),
]
DENIED = [
    ("The result is 7, not 8.", "7"),
    ("The result is 7 rather than 8.", "7"),
    ("The result is 7 instead of 8.", "7"),
    ("It is 7 (not 8).", "7"),
    ("Not 8 but 7.", "7"),
    ("It is 7, as opposed to 8.", "7"),
    ("It is 7; 8 is wrong.", "7"),
    ("It is 7, and it isn't 8.", "7"),
    ("The total is seven, not eight.", "7"),
    ("Answer: 7, not 8", "7"),
    ("Answer: not 8 but 7", "7"),
    ("Das Ergebnis ist 7, nicht 8.", "7"),
    ("Le résultat est 7 et non 8.", "7"),
    ("El resultado es 7, no 8.", "7"),
    ("结果是7,而不是8。", "7"),
    ("8ではなく7です。", "7"),
    ("Answer: not 8", None),
]


def test_signs_words_and_denials_are_read_as_people_do() -> None:
    for text, key in [*SIGNS, *WORDS, *DENIED]:
        assert answer_key(text, "number") == key


def test_thousands_are_grouped_in_every_way_that_is_beyond_doubt() -> None:
    for figures, key in GROUPING:
        for said in ["{}", "Answer: {} km", "\\boxed{{{}}}", "The answer is {}."]:
            assert answer_key(said.format(figures), "number") == key
            assert answer_key(f"Answer: -{figures}", "number") == f"-{key}"


def test_a_list_is_not_read_as_its_first_number() -> None:
    assert answer_key("Answer: 1, 2", "number") == "1,2"
    assert answer_key("Answer: 1,2,3", "number") == answer_key("Answer: 1, 2, 3", "number") == "1,2,3"


SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(value: int, joint: str, tie: str) -> str:
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred")):
        if value >= size:
            rest = value % size
            link = joint if rest < 100 else " "
            return f"{in_words(value // size, joint, tie)} {name}" + (
                f"{link}{in_words(rest, joint, tie)}" if rest else ""
            )
    if value < 20:
        return SMALL[value]
    return TENS[value // 10 - 2] + (tie + SMALL[value % 10] if value % 10 else "")


whole = st.one_of(st.integers(2, 9999), st.integers(1, 999).map(lambda value: value * 10**6), st.integers(2, 10**9))


@given(whole, st.sampled_from([" ", " and "]), st.sampled_from("- "))
def test_a_number_in_words_has_the_key_of_its_figures(value: int, joint: str, tie: str) -> None:
    words = in_words(value, joint, tie)
    if len(words.replace("-", " ").split()) > 12:
        return
    for text in (words, f"Answer: {words}", f"Answer: {words} apples", f"\\boxed{{\\text{{{words}}}}}"):
        assert answer_key(text, "number") == str(value)
    assert answer_key(f"The answer is negative {words}.", "number") == f"-{value}"
    assert canonical_key(words, "expression") == str(value)


@given(st.integers(1000, 10**12), st.integers(0, 99))
def test_each_countrys_grouping_gives_one_key(value: int, cents: int) -> None:
    english = f"{value:,}.{cents:02}"
    german = english.translate(str.maketrans(",.", ".,"))
    spellings = [english, german, *(english.replace(",", sign) for sign in ("'", "’", "_", " ", "\u202f", "{,}"))]
    spellings.append(english.replace(",", " ").replace(".", ","))
    wanted = canonical_key(str(Fraction(value) + Fraction(cents, 100)), "number")
    for spelling in spellings:
        for text in (spelling, f"Answer: {spelling} km", f"\\boxed{{{spelling}}}", f"Answer: - {spelling}"):
            key = answer_key(text, "number")
            assert key is not None
            assert key.lstrip("-") == wanted


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from([", not {}", " rather than {}", " instead of {}", " (not {})", ", and not {}", ", never {}"]),
    st.sampled_from(["The result is", "It is", "That makes", "We get"]),
)
def test_what_is_denied_never_wins(said: int, denied: int, how: str, lead: str) -> None:
    text = f"{lead} {said}{how.format(denied)}."
    assert answer_key(text, "number") == answer_key(text, "expression") == str(said)


def test_number_words_without_end_are_read_in_one_pass() -> None:
    """Ends at all: nothing looks further than a few words ahead or back."""
    for piece in [
        *(
            "one ",
            "one hundred and ",
            "- ",
            "minus ",
            "negative ",
            "not ",
            "1.234",
            "1.234.",
            "1'",
            "1 234 ",
            "half a ",
        ),
        *(
            "1_234_",
            "{,}",
            "1{,}",
            "1.2{,}",
            "rather than ",
            "5ではなく",
            "万",
            "5万",
            "twenty-",
            " and a half",
            "0 and a ",
        ),
    ]:
        for head in ["", "Answer: "]:
            answer_key(head + piece * (100_000 // len(piece)), "number")
