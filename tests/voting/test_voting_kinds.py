"""Kinds: what a question wants to hear, with "text" for everything doubtful."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.records import KINDS, Kind
from avengers_edge.voting.kinds import find_choices, infer_kind

QUESTIONS: list[tuple[Kind, str]] = [
    ("number", "A train travels 60 km in 45 minutes. What is its average speed in km/h?"),
    ("number", "How many planets are in the solar system?"),
    ("number", "Tom has 3 apples and buys twice as many. How many does he have now?"),
    ("number", "How much does Ann pay for 3 books at $4 each?"),
    ("number", "What is 17 * 23?"),
    ("number", "17*23"),
    ("number", "12 + 30 = ?"),
    ("number", "What is 15% of 80?"),
    ("number", "Calculate 3 plus 4."),
    ("number", "Compute the sum of the first 10 positive integers."),
    ("number", "What is the probability of rolling two sixes?"),
    ("number", "What is the area of a circle with radius 3?"),
    ("number", "Convert 5 miles to kilometers"),
    ("number", "How old is Ben if he is twice as old as Al, who is 7?"),
    ("number", "How long does it take to fill 40 litres at 8 litres a minute?"),
    ("number", "What is the square root of 144?"),
    ("number", "Find the remainder when 7^{100} is divided by 13."),
    ("number", "Evaluate the expression.\n\n((1 + 7 * -9) - (3 - 5)) ="),
    ("number", "What was the percentage change from 2014 to 2015?"),
    ("number", "Find the number of ways to seat $n=5$ guests at a round table."),
    ("expression", "Simplify (x^2 - 1)/(x - 1)."),
    ("expression", "Solve 2x + 3 = 11 for x."),
    ("expression", "Factor x^2 - 5x + 6"),
    ("expression", "What is the derivative of sin(x)?"),
    ("expression", "Find the integral of x^3."),
    ("expression", "Express y in terms of x."),
    ("expression", "Compute $\\frac{\\sqrt{8}}{2}$."),
    ("expression", "Find the roots of $x^2 + 1 = 0$."),
    ("choice", "Which is a fruit?\nA) stone\nB) apple\nC) car"),
    ("choice", "Which is a fruit?\nA. stone\nB. apple"),
    ("choice", "Which is a fruit?\n(A) stone\n(B) apple"),
    ("choice", "Which is a fruit? A) stone B) apple C) car"),
    ("choice", "How many legs has a spider?\nOptions:\nA. 6\nB. 8\nAnswer with the letter."),
    ("choice", "Which word is a verb? (A) write code (B) table"),
    ("label", "Is it true that the earth is flat?"),
    ("label", "Is 7 a prime number? Answer yes or no."),
    ("label", "Answer True or False.\nnot True and False is"),
    ("label", "Is the argument valid?\nOptions:\n- valid\n- invalid"),
    ("label", "Classify the review as positive, negative or neutral: I loved it."),
    ("label", "True or false: whales are fish."),
    ("code", "Write a Python function that reverses a string."),
    ("code", "write a function to add two numbers"),
    ("code", "Implement quicksort in Rust"),
    ("code", "Write a SQL query that counts users per country."),
    ("code", "Write a bash script which renames files"),
    ("code", "Complete this:\n\ndef add(a, b):\n"),
    ("code", "Fix this code:\n```python\nprint 1\n```"),
    ("code", "Write a program that prints the first 10 primes."),
    ("code", "Can you write me a regex for dates?"),
    ("text", "What is the best way to learn 3 languages?"),
    ("text", "Tell me about World War 2"),
    ("text", "Write a poem about 7 swans"),
    ("text", "Who wrote Hamlet?"),
    ("text", "What is the capital of France?"),
    ("text", "Explain how a steam engine works."),
    ("text", "Give me 5 tips for better sleep."),
    ("text", "List 10 animals that live in Africa."),
    ("text", "Summarize the plot of a novel in 3 sentences."),
    ("text", "Hello, how are you?"),
    ("text", "How much do you know about jazz?"),
    ("text", "Why did the 1929 crash happen?"),
    ("text", "What is the meaning of life?"),
    ("text", "Translate 'I have 2 dogs' to German."),
    ("text", "Write an email about the new code of conduct"),
    ("text", "What does this do?\n```python\nprint(1)\n```"),
    ("text", "Should I buy 2 monitors?"),
    ("text", "How do I bake bread at 220 degrees?"),
    ("text", "What happened in 1989?"),
    ("text", "What should I cook for 4 people?"),
    ("text", "What is the difference between TCP and UDP?"),
    ("text", "What are some good books?"),
    ("text", "Plan a trip to Rome for 3 days."),
    ("text", "A. Einstein was a physicist. Describe his life."),
    ("text", "Write a story about a school program"),
    ("text", "How often should I water 2 plants?"),
    ("text", ""),
]


def test_the_kind_is_what_a_person_would_expect() -> None:
    for kind, question in QUESTIONS:
        assert infer_kind(question) == kind


OFFERED = [
    ("Pick.\n\nOptions:\nA. red fish\nB. blue fish\n\nAnswer with the letter.", ("red fish", "blue fish")),
    ("Pick. A) red, B) blue, C) green", ("red", "blue", "green")),
    ("Pick.\n(A) red\n(B) blue", ("red", "blue")),
    ("Pick.\nA.red\nB.blue", ("red", "blue")),
    ("A. First list\nB. of two\nThen:\nA. red\nB. blue\nC. green", ("red", "blue", "green")),
    ("Pick.\nA. red\nC. blue", None),
    ("Pick.\nA. red", None),
    ("Is it so?\nOptions:\n- Yes\n- No", ("Yes", "No")),
    ("Answer True or False.", ("True", "False")),
    ('Reply with "hot", "cold" or "mild".', ("hot", "cold", "mild")),
    ("Is it so, yes or no?", ("yes", "no")),
    ("Is it true that pigs fly?", ("true", "false")),
    ("Who are you?", None),
]


@pytest.mark.parametrize(("question", "choices"), OFFERED)
def test_the_offered_answers_are_read_from_the_question(question: str, choices: tuple[str, ...] | None) -> None:
    assert find_choices(question) == choices


@given(st.text(max_size=300))
def test_every_question_has_a_kind_and_choices_exactly_when_it_is_closed(question: str) -> None:
    kind = infer_kind(question)
    assert kind in KINDS
    assert (find_choices(question) is not None) >= (kind in ("choice", "label"))


@pytest.mark.parametrize(
    "piece",
    [
        "A) ",
        "A. x\nB. y\n",
        "write a ",
        "answer a, ",
        "$",
        "how many ",
        "what is the ",
        "def f(",
        "```",
        "Options:\n- ",
        "1+",
        " ",
    ],
)
def test_a_megabyte_of_malice_is_read_in_one_pass(piece: str) -> None:
    """Ends at all: only the tail of a question is looked at."""
    assert infer_kind(piece * (1_000_000 // len(piece))) in KINDS
