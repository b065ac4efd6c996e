"""Laws of the built-in word tasks: every answer is found a second time, from the text of the question alone."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from builtin_sets import chosen, drafts_of, only, seeds
from hypothesis import given, settings

from avengers_edge.calibration.builtin.draw import Draw
from avengers_edge.calibration.builtin.emotion import EMOTION
from avengers_edge.calibration.builtin.sentiment import SENTIMENT
from avengers_edge.calibration.builtin.texts import all_words, people, rows

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


@settings(max_examples=20)
@given(seed=seeds)
def test_sorted_words_are_the_given_ones_in_the_order_asked_for(seed: int) -> None:
    for draft in drafts_of("sorting", seed, 12):
        request = draft.question.splitlines()[0]
        asked, given_words = request.rsplit(": ", 1)
        words = str(draft.answer).split(" ")
        assert Counter(words) == Counter(given_words.split(" "))
        assert len(set(words)) == len(words)
        assert in_order(asked, words), draft


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


@settings(max_examples=20)
@given(seed=seeds)
def test_letters_are_counted_moved_and_picked_rightly(seed: int) -> None:
    for draft in drafts_of("letters", seed, 22):
        assert draft.answer == letter_answer(draft.question), draft


@pytest.mark.parametrize("words", [all_words(), people()], ids=["words", "names"])
def test_words_are_plain_and_there_once(words: tuple[str, ...]) -> None:
    assert len(set(words)) == len(words)
    assert all(re.fullmatch("[A-Za-z][a-z]+", word) for word in words)


@settings(max_examples=20)
@given(seed=seeds)
def test_an_emotion_is_the_one_its_line_is_filed_under(seed: int) -> None:
    filed = {
        re.sub(r"NAME", "*", line): emotion
        for kind in ("events", "quotes", "scenes")
        for emotion, line in rows(f"emotion_{kind}")
    }
    for draft in drafts_of("emotion", seed, 10):
        said, asked, *_ = draft.question.splitlines()
        name = only(sorted(set(re.findall("|".join(people()), asked))))
        line = said.replace(name, "*")
        line = line if line in filed else said.partition(': "')[2].removesuffix('"')
        assert filed[line] == chosen(draft), draft
        assert len(draft.choices or ()) == 6


def test_every_emotion_has_as_many_lines() -> None:
    for kind in ("events", "quotes", "scenes"):
        counts = Counter(emotion for emotion, _ in rows(f"emotion_{kind}"))
        assert len(counts) == 6
        assert len(set(counts.values())) == 1


@settings(max_examples=20)
@given(seed=seeds)
def test_a_sentiment_is_that_of_its_last_clause(seed: int) -> None:
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
    for draft in drafts_of("sentiment", seed, 15):
        said = only(re.findall(r'\n"(.+)"\n', draft.question)).casefold().removesuffix(".")
        decided = {answer for end, answer in ends.items() if said.endswith(end)}
        assert decided == {draft.answer}, draft


@pytest.mark.parametrize("templates", [SENTIMENT, EMOTION], ids=["sentiment", "emotion"])
def test_every_answer_comes_up(templates) -> None:
    drafts = [template(Draw(str(place))) for place in range(60) for template in templates]
    answers = {chosen(draft) if draft.kind == "choice" else draft.answer for draft in drafts}
    assert len(answers) == (6 if templates is EMOTION else 3)


@pytest.mark.parametrize(
    "theme", ["geography", "history", "science", "biology_medicine", "technology", "language_arts", "everyday"]
)
def test_every_item_of_general_knowledge_is_a_question_with_four_options(theme: str) -> None:
    items = rows(theme)
    assert len(items) >= 50
    assert len({(item[0], item[1]) for item in items}) == len(items)
    for item in items:
        question, *options = item
        assert len(options) == len({option.casefold() for option in options}) == 4, item
        assert question.endswith("?"), item
        assert all(part == part.strip() and part for part in item), item
        assert not any(option.endswith(".") for option in options) or all(option.endswith(".") for option in options)
        assert question[0].isupper()
