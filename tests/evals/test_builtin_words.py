"""Laws of the built-in word tasks: every answer is found a second time, from the text of the question alone."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from builtin_questions.texts import people, rows
from builtin_sets import chosen, only, questions_of

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def in_order(question: str, words: list[str]) -> bool:
    """Tell whether words stand in the order that a question asks for, comparing neighbours only."""
    for one, two in pairwise(words):
        if "numbers" in question:
            right = (int(one) > int(two)) is ("largest to" in question)
        elif "reverse" in question:
            right = one > two
        elif "shortest" in question:
            right = (len(one), one) < (len(two), two)
        elif "last letter" in question:
            right = one[-1] < two[-1]
        else:
            right = one < two
        if not right:
            return False
    return True


def test_sorted_words_are_the_given_ones_in_the_order_asked_for() -> None:
    for item in questions_of("sorting"):
        request = item.question.splitlines()[0]
        asked, given_words = request.rsplit(": ", 1)
        words = str(item.answer).split(" ")
        assert Counter(words) == Counter(given_words.split(" "))
        assert len(set(words)) == len(words)
        assert in_order(asked, words), item


def letter_answer(text: str) -> str:
    """The answer to a question about letters, letter by letter."""
    quoted = re.findall(r'"([^"]+)"', text)
    if "How many times" in text:
        return str(sum(each == quoted[0] for each in quoted[1]))
    if "vowels" in text:
        return str(len(re.findall("[aeiou]", quoted[0])))
    if found := re.search(r"at least (\d) letters: (.+)\?", text):
        return str(len(re.findall(rf"\b[a-z]{{{found[1]},}}\b", found[2])))
    if "backwards" in text:
        return "".join(quoted[0][-place - 1] for place in range(len(quoted[0])))
    if "opposite order" in text:
        return " ".join(reversed(text.splitlines()[0].rpartition(": ")[2].split(" ")))
    if found := re.search(r"letter (\d) places? forward", text):
        way = -1 if "was encoded" in text else 1
        return "".join(ALPHABET[(ALPHABET.index(each) + way * int(found[1])) % 26] for each in quoted[0])
    if found := re.search(r"Take the (first|second|last) letter .+: (.+)", text):
        pattern = {"first": r"\b([a-z])", "second": r"\b[a-z]([a-z])", "last": r"([a-z])\b"}[found[1]]
        return "".join(re.findall(pattern, found[2]))
    if "Remove every" in text:
        return "".join(each for each in quoted[1] if each != quoted[0])
    if "odd-numbered" in text:
        return "".join(each for place, each in enumerate(quoted[0], 1) if place % 2)
    assert "a = 1, b = 2" in text
    return str(sum(ord(each) - 96 for each in quoted[0]))


def test_letters_are_counted_moved_and_picked_rightly() -> None:
    for item in questions_of("letters"):
        assert item.answer == letter_answer(item.question), item


def test_an_emotion_is_the_one_its_line_is_filed_under() -> None:
    filed = {
        re.sub(r"NAME", "*", line): emotion
        for kind in ("events", "quotes", "scenes")
        for emotion, line in rows(f"emotion_{kind}")
    }
    for item in questions_of("emotion"):
        said, asked, *_ = item.question.splitlines()
        name = only(sorted(set(re.findall("|".join(people()), asked))))
        line = said.replace(name, "*")
        line = line if line in filed else said.partition(': "')[2].removesuffix('"')
        assert filed[line] == chosen(item), item
        assert len(item.choices or ()) == 6


def test_a_sentiment_is_that_of_its_last_clause() -> None:
    """Whatever comes first, the end decides: verdicts, faults after praise, praise after faults."""
    sign = {"good": "positive", "bad": "negative", "so": "neutral"}
    ends = {line.casefold(): sign[kind] for _, kind, line in rows("sentiment_reviews")}
    ends |= {after.casefold(): answer for answer, _, _, after in rows("sentiment_turns")}
    for subject in {subject for subject, _, _ in rows("sentiment_reviews")}:
        for verdict in ("I would choose {} again tomorrow", "I am so glad that I chose {}", "I can only recommend {}"):
            ends[verdict.format(subject).casefold()] = "positive"
        for verdict in ("never again", "I want my money back", "I would not wish {} on anyone"):
            ends[verdict.format(subject).casefold()] = "negative"
        ends[f"save your money and avoid {subject}"] = "negative"
    for frame in ("exactly what I had been hoping for", "five stars for effort, I suppose"):
        ends[frame.casefold()] = "negative"
    for frame in ("truly the highlight of my week", "why should anything work for that price?"):
        ends[frame.casefold()] = "negative"
    for item in questions_of("sentiment"):
        said = only(re.findall(r'\n"(.+)"\n', item.question)).casefold().removesuffix(".")
        decided = {answer for end, answer in ends.items() if said.endswith(end)}
        assert decided == {item.answer}, item


@pytest.mark.parametrize(("name", "answers"), [("sentiment", 3), ("emotion", 6)])
def test_every_answer_comes_up(name: str, answers: int) -> None:
    items = questions_of(name)
    assert len({chosen(item) if item.answer_type == "choice" else item.answer for item in items}) == answers
