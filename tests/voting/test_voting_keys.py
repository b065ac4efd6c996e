r"""Answers and keys: what a person would read as the answer, in one spelling per value."""
# ruff: noqa: RUF001 - typographic signs are what models write

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.records import KINDS, Kind
from avengers_edge.voting.keys import answer_key, canonical_key, extract_answer
from avengers_edge.voting.source import code_in

COMPASS = ("north", "south", "east", "west")
SHOPS = ("a bakery", "library", "book store", "store")

NUMBERS = [
    # explicit markers
    ("Answer: 80", "80"),
    ("answer:80", "80"),
    ("ANSWER: 80.", "80"),
    ("**Answer:** 80", "80"),
    ("**Answer**: 80 km/h", "80"),
    ("**Answer: 80**", "80"),
    ("### Final answer: 80", "80"),
    ("## Final Answer\n\n80 km/h", "80"),
    ("**Final Answer**\n\n$$\n80\n$$", "80"),
    ("Final Answer: The final answer is $\\boxed{80}$.", "80"),
    ("Answer:\n\n\\[\n80\n\\]\n", "80"),
    ("Answer (in km/h): 80", "80"),
    ("The answer is 80.", "80"),
    ("So the correct answer is **80**.", "80"),
    ("The final answer is: $80", "80"),
    ("The answer would be 80 apples", "80"),
    ("The answer to this problem is 80.", "80"),
    ("My answer = 80", "80"),
    ("48 / 2 = 24\n48 + 24 = 72\n#### 72", "72"),
    ("It is [[42]].", "42"),
    ("Thus \\boxed{80}", "80"),
    ("\\boxed{80}\\text{ km/h}", "80"),
    ("\\fbox{80}", "80"),
    ("\\boxed{ \\boxed{7} }", "7"),
    ("Answer: The average speed is 80 km/h", "80"),
    ("Answer: x = 80", "80"),
    ("Answer: 60 / 0.75 = 80 km/h", "80"),
    ("Answer: 80 km/h (60 km in 45 min)", "80"),
    ("Answer: 5 apples, since 10 - 5 = 5 and 2 rot", "5"),
    ("The answer is the sum of 3 and 5, which is 8.", "8"),
    ("The answer is the 18th floor.", "18"),
    ("Answer: approximately 80 km/h (49.7 mph)", "80"),
    ("Answer: ~80", "80"),
    # the last marker that holds a number wins
    ("Answer: 3\nWait, that is wrong.\nAnswer: 4", "4"),
    ("Answer: 3, or \\boxed{4}", "4"),
    ("\\boxed{3} is a step.\nThe answer is 4.", "4"),
    ("Answer: 42\n\nI hope this answer is helpful to you.", "42"),
    ("Finish with 'Answer: <number>'.\nAnswer: 9", "9"),
    ("Answer: <number>\n12 + 30 = 42", "42"),
    ("Answer: ...\nThat makes 42.", "42"),
    ("Answer:\n\n1. Start with 60 km.\n2. Divide by 0.75 h.\n3. That makes 80 km/h.", "80"),
    ("Answer:\nTo find the speed, divide 60 km by 0.75 h and look at it.\nThe speed is 80.", "80"),
    ("#### Step 2: add 10\nThe total is 15", "15"),
    ("#### 2. Add 10\nThe total is 15", "15"),
    # no marker: the last number
    ("80", "80"),
    ("80 km/h", "80"),
    ("-3", "-3"),
    ("There are 3 cats and 4 dogs, so 7 animals.", "7"),
    ("60 / 0.75 = 80 km/h", "80"),
    ("The total is **12 apples** for 3 people.", "12"),
    ("7 animals\n1. Is it right? yes", "7"),
    ("She has 12 left.\n\nStep 3: done", "12"),
    ("It covers 20 m^2", "20"),
    ("It weighs 20 kg, a bit over CO2", "20"),
    ("He has 5 and comes 2nd", "5"),
    ("Let x2 be 6", "6"),
    ("<<60/0.75=80>>80 km/h", "80"),
    ("in version 1.2.3 we got 8", "8"),
    # spellings
    ("Answer: $1,234.50", "1234.5"),
    ("Answer: 1 234", "1234"),
    ("Answer: 1 234 567 people", "1234567"),
    ("Answer: 1\u202f234", "1234"),
    ("\\boxed{1{,}234}", "1234"),
    ("\\boxed{1\\,234}", "1234"),
    ("\\boxed{1,\\!234}", "1234"),
    ("Answer: 1,00,000 rupees", "100000"),
    ("Answer: 2,5", "2.5"),
    ("Answer: 0,125", "0.125"),
    ("Answer: −5", "-5"),
    ("Answer: -$5", "-5"),
    ("Answer: $-5", "-5"),
    ("\\boxed{-\\frac{3}{4}}", "-0.75"),
    ("Answer: +5", "5"),
    ("Answer: -0", "0"),
    ("Answer: 007", "7"),
    ("Answer: .5", "0.5"),
    ("Answer: 0.50", "0.5"),
    ("Answer: 3/4", "0.75"),
    ("Answer: 1/3", "1/3"),
    ("Answer: 2/6", "1/3"),
    ("\\boxed{\\frac{1}{3}}", "1/3"),
    ("\\boxed{\\dfrac{10}{4}}", "2.5"),
    ("\\boxed{\\frac12}", "0.5"),
    ("Answer: 1 1/2 cups", "1.5"),
    ("\\boxed{1\\frac{1}{2}}", "1.5"),
    ("Answer: 1½", "1.5"),
    ("Answer: ¾", "0.75"),
    ("Answer: 50%", "50"),
    ("\\boxed{50\\%}", "50"),
    ("Answer: 50 percent", "50"),
    ("Answer: 1.5e3", "1500"),
    ("Answer: 2E-3", "0.002"),
    ("Answer: 1.5 \\times 10^3", "1500"),
    ("\\boxed{1.5 \\times 10^{3}} m", "1500"),
    ("Answer: 3 × 10⁸ m/s", "300000000"),
    ("Answer: 10^5", "100000"),
    ("Answer: 2.5 million people", "2500000"),
    ("Answer: twelve apples", "12"),
    ("Answer: Twenty-five", "25"),
    ("\\boxed{5 \\text{ cm}}", "5"),
    ("\\boxed{20\\text{ cm}^2}", "20"),
    ("\\boxed{45^\\circ}", "45"),
    ("\\boxed{\\$80}", "80"),
    ("Answer: $\\$80$", "80"),
    ("Answer: 80km", "80"),
    ("Answer: ８０", "80"),
    ("Answer: 3:45", "3:45"),
    ("Answer: 3/0", "3/0"),
    ("Answer: 1,2,3", "1,2,3"),
    ("Answer: 2\\sqrt{3}", "2\\sqrt(3)"),
    ("\\boxed{4\\pi}", "4\\pi"),
    # nothing to read, or refused
    ("", None),
    ("I do not know.", None),
    ("Answer: none of them", None),
    ("Answer: 1e999999999", None),
    ("Answer: 10^999999999", None),
    # thoughts
    ("<think>Is it 3? Answer: 3</think>Answer: 4", "4"),
    ("<think>Answer: 3</think>\n\n4", "4"),
    ("Maybe 3. Answer: 3</think>The result: 4", "4"),
    ("<think>a 1</think>x<think>b 2</think>y 3", "3"),
    ("<think>it may be 5, or 6", None),
    ("<think>so \\boxed{5} and then 6", "5"),
    ("<think>Answer: 5\nbut let me check 6", "5"),
    ("<think>Answer: 5", None),
    ("<thinking>3</thinking>4", "4"),
]


def test_number_keys_are_canonical_decimals_or_fractions() -> None:
    for text, key in NUMBERS:
        assert answer_key(text, "number") == key


ODD_LETTERS = ("?", "(?)", "So:\n?\n", "I say **?**", "pick ? now", "option (?)", "Answer: ?", "\\boxed{?}", "[[?]]")
CHOICES = [
    ("B", None, "B"),
    ("b", None, "B"),
    ("B.", None, "B"),
    ("(B)", None, "B"),
    ("**B**", None, "B"),
    ("B) foo", None, "B"),
    ("B. foo", None, "B"),
    ("A. foo because of bar", None, "A"),
    ("Answer: B", None, "B"),
    ("Answer: b", None, "B"),
    ("Answer: (B) foo", None, "B"),
    ("Answer: B) foo, not C) bar", None, "B"),
    ("Answer: **B. foo**", None, "B"),
    ("**Answer:** B", None, "B"),
    ("Answer:\nB", None, "B"),
    ("Answer:\n\n**(B)** foo", None, "B"),
    ("Answer: Option B", None, "B"),
    ("Answer: B, A is wrong", None, "B"),
    ("Answer: C (A is wrong)", None, "C"),
    ("Answer: A", None, "A"),
    ("Answer: A because it fits", None, "A"),
    ("Answer: B foo", None, "B"),
    ("The answer is B.", None, "B"),
    ("The correct answer is (B).", None, "B"),
    ("The best answer is B: foo", None, "B"),
    ("The correct option is **B**.", None, "B"),
    ("The correct choice is B", None, "B"),
    ("The answer is option B", None, "B"),
    ("\\boxed{B}", None, "B"),
    ("\\boxed{\\text{B}}", None, "B"),
    ("\\boxed{\\text{(B)}}", None, "B"),
    ("$\\boxed{\\mathrm{B}}$", None, "B"),
    ("[[B]]", None, "B"),
    ("#### B", None, "B"),
    ("Let us see.\nB", None, "B"),
    ("Let us see.\n\n**B. foo**", None, "B"),
    ("Option B is correct because of foo.", None, "B"),
    ("B is the correct answer here.", None, "B"),
    ("(C) is correct.", None, "C"),
    ("I would choose option D here.", None, "D"),
    ("After all this I think (D) fits.", None, "D"),
    ("Answer: A\nNo, wait.\nAnswer: C", None, "C"),
    ("A) x is wrong\nB) y is wrong\nC) z fits\n\nAnswer: C", None, "C"),
    ("Answer: library", SHOPS, "B"),
    ("Answer: The library.", SHOPS, "B"),
    ("library", SHOPS, "B"),
    ("Answer: book store", SHOPS, "C"),
    ("The answer is the book store.", SHOPS, "C"),
    ("Answer: A bakery", SHOPS, "A"),
    ("It expresses the south, as one sees.", COMPASS, "B"),
    ("The best direction is south", COMPASS, "B"),
    ("Answer: C", ("D", "C", "B", "A"), "C"),
    # no letter
    ("A train travels far.", None, None),
    ("I am a train.", None, None),
    ("The answer is a train.", None, None),
    ("Answer: A train", None, None),
    ("Answer: I don't know", None, None),
    ("Answer: not B", None, None),
    ("Answer: B and C", None, None),
    ("Answer: A, C", None, None),
    ("A) x\nB) y\nC) z", None, None),
    ("Both (A) and (B) may fit.", None, None),
    ("north or south", COMPASS, None),
    ("Answer: F", COMPASS, None),
    # characters that only case folding makes a letter
    *((text.replace("?", odd), COMPASS, None) for odd in "\u0130\u212a\u017f\u0131\ufb06" for text in ODD_LETTERS),
    *((text.replace("?", "b"), COMPASS, "B") for text in ODD_LETTERS),
    ("", None, None),
]


def test_choice_keys_are_letters() -> None:
    for text, choices, key in CHOICES:
        assert answer_key(text, "choice", choices=choices) == key


LABELS = [
    ("Yes", ("yes", "no"), "yes"),
    ("Yes, it is.", ("yes", "no"), "yes"),
    ("Answer: No", ("yes", "no"), "no"),
    ("**Answer:** No.", ("yes", "no"), "no"),
    ("The answer is no, not yes.", ("yes", "no"), "no"),
    ("One might say yes.\nIn the end: no.", ("yes", "no"), "no"),
    ("The argument is invalid.", ("valid", "invalid"), "invalid"),
    ("\\boxed{\\text{valid}}", ("valid", "invalid"), "valid"),
    ("The statement is TRUE", ("True", "False"), "true"),
    ("This is not true", ("True", "False"), None),
    ("It is very positive", ("positive", "very positive"), "very positive"),
    ("Both operands are False, and not False is True. So it evaluates to `True`.", ("True", "False"), "true"),
    ("No. One might say yes. In the end yes is wrong.", ("yes", "no"), "no"),
    ("yesterday", ("yes", "no"), None),
    ("yes and no", ("yes", "no"), None),
    ("Answer: The Positive one", None, "positive one"),
    ("Positive.", None, "positive"),
    ("", ("yes", "no"), None),
]


@pytest.mark.parametrize(("text", "choices", "key"), LABELS)
def test_label_keys_are_the_one_choice_that_is_named(
    text: str, choices: tuple[str, ...] | None, key: str | None
) -> None:
    assert answer_key(text, "label", choices=choices) == key


EXPRESSIONS = [
    ("\\boxed{\\dfrac{\\pi}{2}}", "\\pi/2"),
    ("Answer: π/2", "\\pi/2"),
    ("Answer: pi/2", "\\pi/2"),
    ("Answer: $\\frac{\\pi}2$", "\\pi/2"),
    ("\\boxed{\\left( 3, \\frac{\\pi}{2} \\right)}", "(3,\\pi/2)"),
    ("Answer: (3, π/2)", "(3,\\pi/2)"),
    ("\\boxed{\\frac12}", "0.5"),
    ("Answer: 0.50", "0.5"),
    ("Answer: $x = 2\\sqrt{3}$", "2\\sqrt(3)"),
    ("Answer: 2\\sqrt3", "2\\sqrt(3)"),
    ("Answer: 2*sqrt(3)", "2\\sqrt(3)"),
    ("\\boxed{\\sqrt[3]{2}}", "\\sqrt[3](2)"),
    ("\\boxed{\\{3, 1\\}}", "{1,3}"),
    ("\\boxed{\\{1,3\\}}", "{1,3}"),
    ("\\boxed{(3,1)}", "(3,1)"),
    ("\\boxed{[0, 1)}", "[0,1)"),
    ("\\boxed{x \\in [1,2]}", "[1,2]"),
    ("\\boxed{(-\\infty, 3]}", "(-\\infty,3]"),
    ("\\boxed{y = 2x + 3}", "2x+3"),
    ("\\boxed{2x+3}", "2x+3"),
    ("\\boxed{f(x) = x^{2} + 1}", "x^2+1"),
    ("Answer: x**2+1", "x^2+1"),
    ("\\boxed{x^{10}}", "x^10"),
    ("\\boxed{\\frac{1}{2n+2}}", "1/(2n+2)"),
    ("Answer: 1/(2n+2)", "1/(2n+2)"),
    ("\\boxed{\\frac{\\frac{a}{b}}{c}}", "(a/b)/c"),
    ("\\boxed{90^\\circ}", "90"),
    ("\\boxed{5 \\text{ cm}}", "5"),
    ("\\boxed{20 \\text{ cm}^2}", "20"),
    ("\\boxed{10,\\!000}", "10000"),
    ("\\boxed{\\$18.90}", "18.9"),
    ("Answer: $\\$18.90$", "18.9"),
    ("\\boxed{\\text{Evelyn}}", "Evelyn"),
    ("Answer: Evelyn", "Evelyn"),
    ("\\boxed{3, 5}", "3,5"),
    ("The simplified form is $3$.\nAnswer: The form is $x^2+1$.", "x^2+1"),
    ("The derivative is $2x$.", "2x"),
    ("First $a=1$.\nSo we get \\(60/3 = 40/2 = 20\\).", "20"),
    ("x^2 + 1", "x^2+1"),
    ("I am not sure about anything here, sorry to say.", None),
    ("", None),
]


def test_expression_keys_have_one_spelling_per_formula() -> None:
    for text, key in EXPRESSIONS:
        assert answer_key(text, "expression") == key


ADD = "def add(a, b):\n    return a + b"
SAME_CODE = [
    f"```python\n{ADD}\n```",
    f"Here you are:\n\n```python\n{ADD}\n```\nIt adds.",
    f"```py\n{ADD}\n```\nUse it:\n```python\nprint(add(1, 2))\n```\nOutput:\n```\n3\n```",
    f"```\n{ADD}\n```",
    f"~~~python\n{ADD}\n~~~",
    f"```python\n{ADD}",
    ADD,
    f"Sure!\n\n{ADD}",
    f"<think>maybe\n```python\nx = 1\n```\n</think>\n```python\n{ADD}\n```",
    '```python\ndef add(a, b):\n    """Add."""\n    # easy\n    return a+b\n```',
    "```python\r\ndef add(a,b):\r\n  return (a + b)\r\n```",
]


@pytest.mark.parametrize("text", SAME_CODE)
def test_code_key_ignores_layout_comments_docstrings_and_usage_examples(text: str) -> None:
    assert answer_key(text, "code") == canonical_key(ADD, "code")


@pytest.mark.parametrize("other", ["def add(a, b):\n    return a - b", "def plus(a, b):\n    return a + b"])
def test_different_programs_have_different_keys(other: str) -> None:
    assert canonical_key(other, "code") != canonical_key(ADD, "code")


def test_a_block_that_defines_the_function_asked_for_wins() -> None:
    text = "```python\ndef wanted(x): return x\n```\n```python\ndef shown(): wanted(1)\n```\n```python\nwanted(2)\n```"
    assert code_in(text) == "def shown(): wanted(1)"
    assert code_in(text, defining="wanted") == "def wanted(x): return x"
    assert code_in(text, defining="want") == code_in(text, defining="w.nted") == code_in(text)


@pytest.mark.parametrize("text", ["", "Hello", "I cannot do that.", "<think>```python\nx = 1\n```"])
def test_prose_and_thoughts_are_no_code(text: str) -> None:
    assert extract_answer(text, "code") is None


LISTED = [
    "1. Write it:\n\n{3}\n\n2. Use it.",
    "1. A:\n   - B:\n{6}\n",
    "1. x\n{16}",
    "- x\n{2}\n- y",
    "  {0}",
    "> Here:\n{>}",
    "1. x\n{t}",
]


@pytest.mark.parametrize("listed", LISTED)
@pytest.mark.parametrize("fence", ["```python", "```", "~~~py"])
def test_a_block_inside_a_list_loses_its_indentation(listed: str, fence: str) -> None:
    block = [fence, *ADD.split("\n"), fence[:3]]
    places = {"{>}": "> ", "{t}": "\t", **{f"{{{width}}}": " " * width for width in (0, 2, 3, 6, 16)}}
    for place, before in places.items():
        listed = listed.replace(place, "\n".join(before + line for line in block))
    assert extract_answer(listed, "code") == ADD
    assert answer_key(listed, "code") == canonical_key(ADD, "code")


@pytest.mark.parametrize(
    "text",
    [
        f"1. ```python\n   {ADD.replace(chr(10), chr(10) + '   ')}\n   ```",
        f"   ```python\n{ADD}\n   ```",
        f"1. x\n  ```python\n    {ADD.replace(chr(10), chr(10) + '    ')}\n  ```",
        f"1. x\n   ```python\n   {ADD.replace(chr(10), chr(10) + chr(10) + '   ')}",
    ],
    ids=["on the item's line", "body at the margin", "body further in", "never closed, with a blank line"],
)
def test_a_block_is_taken_as_far_out_as_its_first_line_allows(text: str) -> None:
    assert answer_key(text, "code") == canonical_key(ADD, "code")


def test_a_docstring_at_the_margin_keeps_a_listed_block_whole() -> None:
    text = '1. x\n   ```python\n   def f():\n       """Say\nit."""\n       return 1\n   ```'
    assert extract_answer(text, "code") == 'def f():\n    """Say\nit."""\n    return 1'


def test_a_block_at_the_margin_stays_as_it_is() -> None:
    assert extract_answer("```\n   title\ntext\n```", "code") == "   title\ntext"


def test_an_unclosed_fence_counts_only_in_a_text_that_ran_to_its_end() -> None:
    assert extract_answer("```python\nx = 1", "code") == "x = 1"
    assert extract_answer("```python\nx = 1", "code", truncated=True) is None
    assert extract_answer("```python\nx = 1\n```\nNow", "code", truncated=True) == "x = 1"


def test_other_languages_are_compared_by_their_words() -> None:
    one, two = "```c\nint main() { return 0; }\n```", "```c\nint main()\n{\n  return 0;\n}\n```"
    assert answer_key(one, "code") == answer_key(two, "code") is not None


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000,
        "x=" + "[" * 300 + "]" * 300,
        "-" * 20000 + "1",
        "a" + "+a" * 9000,
        "x = '\0'",
        "x=" + "9" * 9000,
        "\ud800",
    ],
    ids=["parens", "brackets", "unary", "chain", "null", "digits", "surrogate"],
)
def test_hostile_source_still_gets_a_key(source: str) -> None:
    assert canonical_key(source, "code")


def test_invalid_escapes_in_code_warn_nobody() -> None:
    assert answer_key('```python\nimport re\nre.compile("\\d")\n```', "code")


def test_free_text_is_shown_whole_and_votes_for_nothing() -> None:
    assert extract_answer("  Hello.\nAnswer: 3 ", "text") == "Hello.\nAnswer: 3"
    assert extract_answer("<think>hm</think>\nHello.", "text") == "Hello."
    assert extract_answer("<think>hm", "text") is None
    assert answer_key("Hello.", "text") is None


SURFACES: list[tuple[str, Kind, str]] = [
    ("Answer: 80 km/h", "number", "80"),
    ("Answer: $1,234.50", "number", "1,234.50"),
    ("\\boxed{\\frac{3}{4}}", "number", "3/4"),
    ("Answer: 50%", "number", "50"),
    ("Answer: 2.5 million", "number", "2.5 million"),
    ("Answer: (b) foo", "choice", "B"),
    ("\\boxed{\\frac{\\pi}{2}}", "expression", "\\frac{\\pi}{2}"),
    ("```python\nx = 1\n```", "code", "x = 1"),
    ("[[(0,1]]]", "expression", "(0,1]"),
    ("So:\n\n4\\pi", "expression", "4\\pi"),
    ("Take $x^2$ first.\n2k", "expression", "2k"),
    ("Take $x^2$ first.\nThat is all.", "expression", "x^2"),
]


@pytest.mark.parametrize(("text", "kind", "surface"), SURFACES)
def test_the_surface_is_what_a_person_would_read(text: str, kind: Kind, surface: str) -> None:
    assert extract_answer(text, kind) == surface


def test_a_label_is_shown_as_the_question_spells_it() -> None:
    assert extract_answer("answer: NO!", "label", choices=("Yes", "No")) == "No"


TRUNCATED: list[tuple[str, Kind, str | None]] = [
    ("60 / 0.75 = 80 km/h and so", "number", None),
    ("Answer: 12", "number", None),
    ("Answer: 12\nBecause", "number", "12"),
    ("#### 12", "number", None),
    ("#### 12\n", "number", "12"),
    ("\\boxed{12} and", "number", "12"),
    ("\\boxed{12", "number", None),
    ("[[12]]", "number", "12"),
    ("[[12]", "number", None),
    ("Answer: 3\nWait. Answer: 4", "number", "3"),
    ("B", "choice", None),
    ("Answer: B\n", "choice", "B"),
    ("so $x^2$", "expression", None),
    ("yes", "label", None),
]


@pytest.mark.parametrize(("text", "kind", "key"), TRUNCATED)
def test_a_truncated_text_answers_only_by_a_complete_marker(text: str, kind: Kind, key: str | None) -> None:
    assert answer_key(text, kind, truncated=True, choices=("yes", "no") if kind == "label" else None) == key


def test_long_numbers_are_compared_as_text() -> None:
    digits = "7" * 500
    assert answer_key(f"Answer: {digits}", "number") == digits
    assert answer_key(f"Answer: {digits}8", "number") != digits


# --- laws

rationals = st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**4)


@given(rationals)
def test_every_spelling_of_a_rational_has_one_key(value: Fraction) -> None:
    over, under = value.numerator, value.denominator
    sign, size = ("-" if over < 0 else ""), abs(over)
    whole, part = divmod(size, under)
    spellings = [
        f"Answer: {over}/{under}",
        f"Answer: {sign}{size}/{under} cups",
        f"\\boxed{{{sign}\\frac{{{size}}}{{{under}}}}}",
        f"\\boxed{{\\dfrac{{{over}}}{{{under}}}}}",
        f"The answer is {3 * over}/{3 * under}.",
    ]
    if whole and part:
        spellings.append(f"Answer: {sign}{whole} {part}/{under}")
        spellings.append(f"\\boxed{{{sign}{whole}\\frac{{{part}}}{{{under}}}}}")
    assert {answer_key(text, "number") for text in spellings} == {canonical_key(f"{over}/{under}", "number")}


@given(st.integers(-(10**15), 10**15), st.integers(0, 6))
def test_every_spelling_of_a_decimal_has_one_key(scaled: int, places: int) -> None:
    sign, digits = ("-" if scaled < 0 else ""), str(abs(scaled)).rjust(places + 1, "0")
    whole, part = (digits[:-places], "." + digits[-places:]) if places else (digits, "")
    grouped = f"{int(whole):,}"
    latex = grouped.replace(",", "{,}")
    spellings = [
        f"{sign}{whole}{part}",
        f"Answer: {sign}{grouped}{part}",
        f"**Answer:** {sign}${grouped}{part}",
        f"Answer: {sign}{grouped}{part} km/h",
        f"Answer: {sign}{whole}{part}%",
        f"\\boxed{{{sign}{latex}{part}}}",
        f"\\boxed{{x = {sign}{whole}{part} \\text{{ cm}}}}",
        f"Answer: {sign}{whole}{part}0e0" if part else f"Answer: {sign}{whole}.0",
        f"Answer: {scaled}e-{places}",
        f"Answer: {scaled} \\times 10^{{-{places}}}",
        f"We add 3 and 4.\n#### {sign}{grouped}{part}",
        f"So the total is **{sign}{grouped}{part}**.",
    ]
    assert len({answer_key(text, "number") for text in spellings}) == 1


@given(rationals, rationals)
def test_different_rationals_have_different_keys(one: Fraction, two: Fraction) -> None:
    assert (canonical_key(str(one), "number") == canonical_key(str(two), "number")) == (one == two)


messy = st.text(
    st.sampled_from(
        "\\boxed{}frac[]()$#*:.,-+/^ \n0123456789ABCaeswrAnswer:<think>/|`~½²−１%=\ud800\0"
        "\u0130\u0131\u017f\u212a\u00df\ufb06"  # letters that change, or grow, with their case
    ),
    max_size=200,
)
odd_letters = st.builds(
    str.replace, st.sampled_from(ODD_LETTERS), st.just("?"), st.sampled_from("\u0130\u0131\u017f\u212a\u00df\ufb06b")
)
kinds = st.sampled_from(KINDS)


@given(
    st.one_of(st.text(max_size=200), messy, odd_letters),
    kinds,
    st.booleans(),
    st.sampled_from([None, (), ("A",), ("yes", "no", ""), ("\u0130", "\u212a", "\u017f"), COMPASS]),
)
def test_extraction_never_raises_and_a_key_needs_an_answer(
    text: str, kind: Kind, truncated: bool, choices: tuple[str, ...] | None
) -> None:
    answer = extract_answer(text, kind, truncated=truncated, choices=choices)
    key = answer_key(text, kind, truncated=truncated, choices=choices)
    assert answer is None or answer != ""
    assert key is None or (answer is not None and key != "")


@given(messy, kinds)
def test_a_truncated_text_never_answers_more_than_the_whole_one(text: str, kind: Kind) -> None:
    if answer_key(text, kind, truncated=True) is not None:
        assert answer_key(text, kind) is not None


answers = st.one_of(
    st.integers(-(10**6), 10**6).map(lambda value: ("number", str(value))),
    st.sampled_from("ABCDE").map(lambda letter: ("choice", letter)),
    st.sampled_from(["yes", "no"]).map(lambda label: ("label", label)),
    st.sampled_from(["x+1", "\\frac{a}{b}", "(1,2)", "2\\pi"]).map(lambda formula: ("expression", formula)),
)
prose = st.sampled_from(
    ["", "\n\nI hope this helps.", "\nLet me know about 3 more.", "\nB is a letter. (C)", "\n- 7\n- 8"]
)


@given(answers, prose)
def test_boxed_line_and_sentence_say_the_same_and_later_prose_changes_nothing(
    answer: tuple[Kind, str], after: str
) -> None:
    kind, said = answer
    choices = ("yes", "no") if kind == "label" else None
    texts = [
        f"\\boxed{{{said}}}",
        f"Answer: {said}",
        f"First 12.\n**Final answer:** {said}",
        f"<think>1</think>Answer: {said}",
    ]
    keys = {answer_key(text + after, kind, choices=choices) for text in texts}
    assert keys == {canonical_key(said, kind)}


HOSTILE = [
    "\\boxed{" * 28_000,
    "\\boxed{" * 12_000 + "}" * 12_000,
    "Answer:" * 28_000,
    "Answer:\n" * 24_000,
    "Answer: " + " " * 200_000,
    "answer to the " * 14_000,
    "Answer: " + "(" * 200_000,
    "(" * 200_000,
    "{" * 200_000,
    "[[" * 100_000,
    "1," * 100_000,
    "1 234 " * 32_000,
    "1/2/" * 50_000,
    "9" * 200_000,
    "Answer: " + "9" * 200_000,
    "-" * 200_000,
    "\\" * 200_000,
    "$" * 200_000,
    "**" * 100_000,
    "```\n" * 50_000,
    "<think>" * 28_000,
    "<think></think>" * 13_200,
    "#### " * 40_000,
    "A) " * 66_000,
    "\\frac{" * 32_000,
    "Answer: " + "\\frac{" * 300 + "}" * 300,
    "\n" * 200_000,
    "not yes " * 24_000,
]


def test_long_malice_is_read_in_one_pass() -> None:
    """Ends at all: a scan that is quadratic in 100,000 characters would not."""
    for kind in KINDS:
        for text in HOSTILE:
            answer_key(text[:100_000], kind, choices=("yes", "no") if kind == "label" else None)
