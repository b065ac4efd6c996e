r"""What programs print: one answer in the question's own kind, in Python's notation, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.records import KINDS, Kind
from avengers_edge.voting.keys import answer_key, canonical_key
from avengers_edge.voting.printed import printed_answer

NUMBERS = [
    ("Total: 42 apples", "42"),
    ("1e-05", "0.00001"),
    ("3.0", "3"),
    ("Fraction(3, 4)", "0.75"),
    ("3/4", "0.75"),
    ("Decimal('1.5')", "1.5"),
    ("nan", None),
    ("inf", None),
    ("None", None),
    ("True", None),
    ("[1, 2]", None),
    ("ZeroDivisionError: division by 0", None),
    ("IndexError: list index 5 out of range", None),
    ("42", "42"),
    ("The answer is 42.", "42"),
    ("x = 42", "42"),
    ("3 + 4 = 7", "7"),
    ("x = 3, y = 4", None),
    ("a: 3, b: 4", None),
    ("$1,234.50", "1234.5"),
    ("42%", "42"),
    ("1 234", None),
    ("1, 2", None),
    ("[42]", "42"),
    ("(42,)", "42"),
    ("0.30000000000000004", "0.3"),
    ("5.999999999999999", "6"),
    ("0.3333333333333333", "0.3333333333333333"),
    ("1234567890123.45", "1234567890123.45"),
    ("np.float64(3.0)", "3"),
    ("12.5 cm^2", "12.5"),
    ("-5", "-5"),
    ("-0.0", "0"),
    ("1e400", None),
    ("hello", None),
    ("No solution found in 100 tries", None),
    ("Sum of first 10 primes: 129", "129"),
    ("12:30", "12:30"),
    ("42.", "42"),
    ("Step 1\n\n  42  \n\n", "42"),
    ("5 nan", None),
    ("3*sqrt(2)", None),
    ("1+2j", None),
    ("", None),
    ("80 km/h", "80"),
    ("{42}", "42"),
    ("1.5e+20", "150000000000000000000"),
    ("Alice has 3 and Bob has 4", None),
    ("She has 3 apples left", "3"),
    ("Rational(3, 4)", "0.75"),
    ("x = 3 y = 4", None),
]


def test_one_number_with_at_most_a_unit_and_a_label() -> None:
    for printed, key in NUMBERS:
        answer = printed_answer(printed, "number")
        assert (answer and canonical_key(answer, "number")) == key, printed


FORMULAS = [
    ("3*sqrt(13)", "3\\sqrt{13}"),
    ("x**2 + 1", "x^2+1"),
    ("Rational(3,4)", "\\frac{3}{4}"),
    ("pi/2", "\\frac{\\pi}{2}"),
    ("(1, 2)", "(1,2)"),
    ("{1, 2}", "\\{1,2\\}"),
    ("[1, 2]", "1,2"),
    ("3 + 4*I", "3+4i"),
    ("(3+4j)", "3+4i"),
    ("[3, -2]", "-2, 3"),
    ("(0, 1]", "(0,1]"),
    ("[0, oo)", "[0,\\infty)"),
    ("Interval(0, 1)", "[0,1]"),
    ("Interval.open(0, oo)", "(0,\\infty)"),
    ("Union(Interval.open(-oo, 1), Interval(2, 3))", "(-\\infty,1)\\cup[2,3]"),
    ("-sqrt(2)/2", "-\\frac{\\sqrt{2}}{2}"),
    ("3*x/2", "\\frac{3x}{2}"),
    ("-3*x/2", "-\\frac{3x}{2}"),
    ("2**(1/3)", "\\sqrt[3]{2}"),
    ("x**10", "x^{10}"),
    ("1/(2*n + 2)", "\\frac{1}{2n+2}"),
    ("(x + 1)*(x - 2)", "(x+1)(x-2)"),
    ("(x + 1)**2", "(x+1)^2"),
    ("Eq(x, 3)", "x=3"),
    ("x = 3", "3"),
    ("y = 2*x + 1", "y=2x+1"),
    ("Matrix([[1, 2], [3, 4]])", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
    ("[[1, 2], [3, 4]]", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}"),
    ("[(1, 2), (3, 4)]", "(1,2),(3,4)"),
    ("{x: 3}", "3"),
    ("[{x: 1, y: 2}]", "x=1,y=2"),
    ("0.5", "\\frac12"),
    ("42", "42"),
    ("1e-05", "0.00001"),
    ("exp(2)", "e^2"),
    ("log(2)", "\\ln 2"),
    ("sin(x)", "\\sin x"),
    ("2*pi", "2\\pi"),
    ("sqrt(3)*pi", "\\sqrt{3}\\pi"),
    ("\\frac{3}{4}", "0.75"),
    ("Evelyn", "Evelyn"),
    ("Answer: 3*sqrt(13)", "3\\sqrt{13}"),
    ("42 cm", "42"),
    ("sqrt(5)/2 + 1/2", "\\frac{\\sqrt5}{2}+\\frac12"),
    ("1/2 + sqrt(5)/2", "\\frac{1}{2}+\\frac{\\sqrt{5}}{2}"),
    ("(1 + sqrt(5))/2", "\\frac{1+\\sqrt5}{2}"),
    ("2 - 3*I", "2-3i"),
    ("(3 < x) & (x < 5)", "3<x<5"),
    ("x > 3", "x>3"),
    ("[5]", "5"),
    ("I", "i"),
    ("-I", "-i"),
    ("(3, pi/2)", "\\left(3,\\frac{\\pi}{2}\\right)"),
    ("a*b/c", "\\frac{ab}{c}"),
    ("x*(y + 1)", "x(y+1)"),
    ("-x**2 + 3", "-x^2+3"),
    ("x**(-2)", "x^{-2}"),
    ("sqrt(x + 1)", "\\sqrt{x+1}"),
    ("2*sqrt(3)/3", "\\frac{2\\sqrt{3}}{3}"),
    ("Fraction(-3, 4)", "-\\frac{3}{4}"),
    ("x_1 + x2", "x_1+x_2"),
    ("[-1, 1/2]", "-1,\\frac{1}{2}"),
    ("-5", "- 5"),
    ("4*x**3 - 2*x", "4x^3-2x"),
    ("7.0", "7"),
]


def test_a_printed_formula_has_the_key_of_its_latex() -> None:
    for printed, latex in FORMULAS:
        answer = printed_answer(printed, "expression")
        assert answer is not None, printed
        assert canonical_key(answer, "expression") == canonical_key(latex, "expression") is not None, printed
        assert answer_key(rf"\boxed{{{answer}}}", "expression") == canonical_key(latex, "expression"), printed


def test_what_is_no_formula_has_none() -> None:
    for printed in [
        *(
            "nan",
            "inf",
            "None",
            "True",
            "zoo",
            "[]",
            "{}",
            "",
            "No solution",
            "'abc'",
            "f'x'",
            "lambda x: x",
            "import os",
        ),
        *(
            "Traceback (most recent call last):",
            "ValueError: x = 5",
            "sympy.SympifyError: 3*x",
            "print(3)",
            "<object at 0x7f>",
        ),
        *(
            "(" * 500,
            "9" * 700 + "x",
            "x if y else z",
            "1e999",
            "Piecewise((1, x > 0), (0, True))",
            "a.b.c",
            "x[0]",
            "...",
        ),
    ]:
        assert printed_answer(printed, "expression") is None


CHOICES = [
    ("B", None, "B"),
    ("b", None, "B"),
    ("(B)", None, "B"),
    ("B.", None, "B"),
    ("Option B", None, "B"),
    ("B. foo", None, "B"),
    ("B foo", None, None),
    ("Answer: B", None, "B"),
    ("library", ("a bakery", "library"), "B"),
    ("LIBRARY ", ("a bakery", "library"), "B"),
    ("A bakery", ("a bakery", "library"), "A"),
    ("B) library", ("a bakery", "library"), "B"),
    ("B) bakery", ("a bakery", "library"), None),
    ("C", ("x", "y"), None),
    ("42.0", ("40", "42 km"), "B"),
    ("0.5", ("1/2", "1/3"), "A"),
    ("A, B", None, None),
    ("True", None, None),
    ("'B'", None, "B"),
    ("['B']", None, "B"),
    ("The answer is (C)", None, "C"),
    ("Option B: library", ("a bakery", "library"), "B"),
    ("1 foo", ("1  FOO", "2"), "A"),
    ("hello", ("x", "y"), None),
    ("A train", None, None),
    ("B library", ("a bakery", "library"), "B"),
    ("", None, None),
]


def test_a_letter_or_an_options_text() -> None:
    for printed, choices, letter in CHOICES:
        assert printed_answer(printed, "choice", choices=choices) == letter


@pytest.mark.parametrize(
    ("printed", "choices", "label"),
    [
        ("TRUE", ("True", "False"), "True"),
        ("valid\n", ("valid", "invalid"), "valid"),
        ("Answer: No", ("yes", "no"), "no"),
        ("very  positive", ("positive", "very positive"), "very positive"),
        ("maybe", ("yes", "no"), None),
        ("yes and no", ("yes", "no"), None),
        ("True", ("yes", "no"), None),
        ("blue", None, "blue"),
    ],
)
def test_a_label_is_one_of_the_choices(printed: str, choices: tuple[str, ...] | None, label: str | None) -> None:
    assert printed_answer(printed, "label", choices=choices) == label


def test_free_text_is_the_last_line_and_code_is_never_printed() -> None:
    assert printed_answer("a\n  b c \r\n\n", "text") == "b c"
    assert printed_answer("def f(): pass", "code") is None


# --- laws

whole = st.integers(-(10**400), 10**400)
fractions = st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**4)
lines_before = st.sampled_from(["", "Step 1\n", "x = 3\n\n", "[1, 2, 3]\n"])
lines_after = st.sampled_from(["", "\n", "\r\n", "\n \n\t\n"])
numeric = st.sampled_from(["number", "expression"])


@given(st.one_of(whole, st.integers(-100, 100)), numeric, lines_before, lines_after)
def test_a_printed_int_has_the_key_of_its_figures(value: int, kind: Kind, before: str, after: str) -> None:
    answer = printed_answer(f"{before}{value}{after}", kind)
    assert answer is not None
    assert canonical_key(answer, kind) == canonical_key(str(value), kind)
    if abs(value) < 10**100:
        assert (
            canonical_key(answer, kind)
            == answer_key(f"Answer: {value}", kind)
            == answer_key(f"\\boxed{{{value:,}}}", kind)
        )


@given(fractions, numeric, st.sampled_from([str, repr]))
def test_a_printed_fraction_has_the_key_of_its_latex(value: Fraction, kind: Kind, show: type) -> None:
    answer = printed_answer(show(value), kind)
    sign, size = ("-" if value < 0 else ""), abs(value)
    latex = rf"{sign}\frac{{{size.numerator}}}{{{size.denominator}}}"
    assert answer is not None
    assert canonical_key(answer, kind) == canonical_key(latex, kind)


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=4), numeric, st.sampled_from([str, repr, float]))
def test_a_printed_decimal_has_the_key_of_its_figures(value: Decimal, kind: Kind, show: type) -> None:
    answer = printed_answer(str(show(value)), kind)
    assert answer is not None
    assert canonical_key(answer, kind) == canonical_key(f"{value:f}", kind)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_the_noise_of_binary_arithmetic_is_rounded_off(left: int, right: int) -> None:
    answer = printed_answer(str(left / 10 + right / 100), "number")
    assert answer is not None
    assert canonical_key(answer, "number") == canonical_key(str(Fraction(10 * left + right, 100)), "number")


coefficients = st.integers(1, 99)


@given(coefficients, coefficients, coefficients, st.sampled_from("xnt"))
def test_sympy_and_latex_agree_on_polynomials_roots_and_quotients(a: int, b: int, c: int, x: str) -> None:
    pairs = [
        (f"{a}*{x}**2 + {b}*{x} - {c}", f"{a}{x}^2+{b}{x}-{c}"),
        (f"{a}*sqrt({b})", rf"{a}\sqrt{{{b}}}"),
        (f"-{a}*sqrt({b})/{c}", rf"-\frac{{{a}\sqrt{{{b}}}}}{{{c}}}"),
        (f"{a}*pi/{b}", rf"\frac{{{a}\pi}}{{{b}}}"),
        (f"{a} + {b}*I", f"{a}+{b}i"),
        (f"({a} + sqrt({b}))/{c}", rf"\frac{{{a}+\sqrt{{{b}}}}}{{{c}}}"),
        (f"({a}, {b}/{c})", rf"\left({a}, \frac{{{b}}}{{{c}}}\right)"),
        (f"[{a}, -sqrt({b})]", rf"{a}, -\sqrt{{{b}}}"),
        (f"{x}**{b + 1}/({x} + {a})", rf"\frac{{{x}^{{{b + 1}}}}}{{{x}+{a}}}"),
    ]
    for printed, latex in pairs:
        answer = printed_answer(printed, "expression")
        assert answer is not None
        assert canonical_key(answer, "expression") == canonical_key(latex, "expression")


WORDS = st.text(st.sampled_from("abc xyz1"), min_size=2, max_size=12).map(str.strip).filter(lambda text: len(text) > 1)


@given(st.lists(WORDS, min_size=2, max_size=6, unique_by=lambda text: " ".join(text.split())), st.data())
def test_an_options_text_and_its_letter_give_the_letter(choices: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(choices) - 1))
    letter, choice = "ABCDEF"[at], choices[at]
    spellings = [
        letter,
        letter.lower(),
        f"({letter})",
        f"{letter}.",
        f"Option {letter}",
        f"Answer: {letter}",
        f"'{letter}'",
    ]
    spellings += [
        f"{letter}. {choice}",
        f"{letter}) {choice}",
        choice,
        choice.upper(),
        f"  {choice.replace(' ', '  ')}",
    ]
    spelled_as_letter = {folded(choice) for choice in choices if len(folded(choice)) < 2}
    for printed in spellings:
        if not spelled_as_letter:
            assert printed_answer(printed, "choice", choices=choices) == letter


def folded(text: str) -> str:
    return text.removeprefix("a ").strip()


@given(st.lists(st.sampled_from(["yes", "no", "valid", "very positive"]), min_size=1, unique=True), st.data())
def test_a_label_is_read_whatever_its_case(choices: list[str], data: st.DataObject) -> None:
    choice = data.draw(st.sampled_from(choices))
    for printed in (choice, choice.upper(), choice.title(), f"{choice}.", f"'{choice}'"):
        assert printed_answer(printed, "label", choices=choices) == choice


@given(
    st.text(st.sampled_from("0123456789.,-+*/()[]{}=: xyzIABpi'\"sqrt\\\n\r\0\ud800%$e"), max_size=120),
    st.sampled_from(KINDS),
)
def test_reading_never_raises_and_an_answer_has_a_key(printed: str, kind: Kind) -> None:
    answer = printed_answer(printed, kind, choices=("ape", "bee") if kind in ("choice", "label") else None)
    assert answer is None or answer.strip() != ""
    if answer is not None and kind != "text":
        assert canonical_key(answer, kind) is not None


def test_long_output_is_read_in_one_pass() -> None:
    """Ends at all: a line that is longer than any answer is none."""
    for piece in ["9", "1,", "(", "x+", "-", "[[", "a ", "x = ", "Fraction(", "1/", "not ", "'", "{1:", ": ", "np."]:
        for kind in KINDS:
            printed_answer(piece * (1_000_000 // len(piece)), kind, choices=("yes", "no"))
