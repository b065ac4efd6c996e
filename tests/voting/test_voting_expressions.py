r"""Formulas: matrices in any layout, roots in any listing, and figures and words as in numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.voting.keys import answer_key, canonical_key

MATRICES = [
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \\ \end{pmatrix}",
    "\\begin{pmatrix}\n  1 & 2 \\\\\n  3 & 4\n\\end{pmatrix}",
    r"\begin{bmatrix}1 & 2\\[2pt] 3 & 4\end{bmatrix}",
    r"\begin{matrix}1&2\\3&4\end{matrix}",
    r"\left(\begin{array}{cc}1&2\\ 3&4\end{array}\right)",
    r"\left[\begin{array}{rr} 1 & 2 \\ \hline 3 & 4 \end{array}\right]",
    r"A = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    "[[1, 2], [3, 4]]",
]
SAID = [
    "\\boxed{{{}}}",
    "Answer: ${}$",
    "Answer:\n\\[\n{}\n\\]",
    "Answer:\n$$\n{}\n$$\n",
    "So we get\n$$\n{}\n$$",
    "**Answer:** {}",
]


def test_a_matrix_has_one_key_in_every_layout() -> None:
    for matrix in MATRICES:
        for said in SAID:
            if matrix.startswith("[["):
                said = "\\boxed{{{}}}"
            assert answer_key(said.format(matrix), "expression") == "[[1,2],[3,4]]"


@pytest.mark.parametrize(
    "other",
    [
        r"\begin{pmatrix}1&2\\4&3\end{pmatrix}",
        r"\begin{pmatrix}1&2&3&4\end{pmatrix}",
        r"\begin{pmatrix}12\\34\end{pmatrix}",
        r"\begin{vmatrix}1&2\\3&4\end{vmatrix}",
    ],
)
def test_other_matrices_and_determinants_have_other_keys(other: str) -> None:
    assert canonical_key(other, "expression") != "[[1,2],[3,4]]"


entry = st.sampled_from(["0", "-1", "12", "x", "\\frac{1}{2}", "\\sqrt{2}", "a+b", "0.5", "\\pi"])
gap = st.sampled_from(["", " ", "  ", "\n"])


@given(
    st.lists(st.lists(entry, min_size=2, max_size=2), min_size=1, max_size=3),
    gap,
    gap,
    st.sampled_from("pb"),
    st.booleans(),
)
def test_white_space_brackets_and_a_last_row_end_do_not_count(
    rows: list[list[str]], left: str, right: str, bracket: str, ends: bool
) -> None:
    tight = "\\begin{pmatrix}" + "\\\\".join("&".join(row) for row in rows) + "\\end{pmatrix}"
    body = f"{left}\\\\{right}".join(f"{left}&{right}".join(row) for row in rows) + (" \\\\" if ends else "")
    loose = f"\\begin{{{bracket}matrix}}{right}{body}{left}\\end{{{bracket}matrix}}"
    assert canonical_key(loose, "expression") == canonical_key(tight, "expression")
    assert answer_key(f"Answer: ${loose}$", "expression") == canonical_key(tight, "expression")


ROOTS = [
    *(
        "1,2",
        "1, 2",
        "2, 1",
        "x=1,x=2",
        "x = 1, x = 2",
        "x=1, 2",
        "x = 2 \\text{ or } x = 1",
        "1 \\text{ and } 2",
        "1; 2",
    ),
    *("x=1 or x=2", "x_1 = 1, 2", "1 und 2", "1 ou 2"),
]


def test_roots_have_one_key_in_every_listing() -> None:
    for roots in ROOTS:
        for said in ["Answer: {}", "\\boxed{{{}}}", "Answer: ${}$"]:
            assert answer_key(said.format(roots), "expression") == "1,2"


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=4, unique=True))
def test_the_order_of_roots_does_not_count_that_of_coordinates_does(values: list[int]) -> None:
    other = list(reversed(values))
    listed, again = (", ".join(map(str, each)) for each in (values, other))
    assert canonical_key(listed, "expression") == canonical_key(again.replace(" ", ""), "expression")
    assert canonical_key(f"({listed})", "expression") != canonical_key(f"({again})", "expression")
    assert canonical_key(rf"\{{{listed}\}}", "expression") == canonical_key(rf"\{{{again}\}}", "expression")


def test_figures_and_functions_in_formulas() -> None:
    for text, key in [
        ("Answer: 1,234", "1234"),
        ("Answer: 12,34,567", "1234567"),
        ("Answer: 1.234,56", "1234.56"),
        ("Answer: 0{,}5", "0.5"),
        ("Answer: - 5", "-5"),
        ("\\boxed{- 5}", "-5"),
        ("\\boxed{- \\frac{1}{2}}", "-0.5"),
        ("minus 5", "-5"),
        ("negative five", "-5"),
        ("Answer: three quarters", "0.75"),
        ("The result is $7$, not $8$.", "7"),
        ("The result is $x^2$ rather than $x^3$.", "x^2"),
        ("Answer: 7, not 8", "7"),
        ("It is 7.", "7"),
        ("\\boxed{\\frac{-\\sqrt{2}}{2}}", "-\\sqrt(2)/2"),
        ("\\boxed{-\\frac{\\sqrt{2}}{2}}", "-\\sqrt(2)/2"),
        ("\\boxed{\\sin(x)}", "\\sinx"),
        ("Answer: sin x", "\\sinx"),
        ("\\boxed{\\ln 2}", "\\ln2"),
        ("\\boxed{(-\\infty, +\\infty)}", "(-\\infty,\\infty)"),
        ("\\boxed{[(1, 2)]}", "(1,2)"),
        ("\\boxed{x = 5, y = 7}", "x=5,y=7"),
        ("\\boxed{\\mathbf{\\text{Evelyn}}}", "Evelyn"),
    ]:
        assert answer_key(text, "expression") == key


def test_formulas_without_end_are_read_in_one_pass() -> None:
    """Ends at all: matrices are looked for in short texts only."""
    for piece in [
        "\\begin{pmatrix}",
        "1\\\\2&",
        "\\begin{a}",
        "x=1,",
        "1 or ",
        "; ",
        "\\\\[",
        "\\sin(",
        "\\frac{-",
        "is ",
        ", not ",
        "[(",
        "+-",
    ]:
        for head in ["", "Answer: "]:
            text = head + piece * (100_000 // len(piece))
            answer_key(text, "expression")
            canonical_key(text, "expression")
