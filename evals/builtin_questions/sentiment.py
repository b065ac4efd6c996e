"""Reviews and messages: positive, negative or neutral, with turns in the middle and praise that is none."""

from __future__ import annotations

from builtin_questions.drafts import Draft, Template, label
from builtin_questions.draw import Draw
from builtin_questions.texts import rows

_LABELS = ("positive", "negative", "neutral")
_CLAUSES = ("good", "bad", "so")
_ASKED = (
    "What is the overall sentiment of this text?",
    "How does the writer feel about it on the whole?",
    "Classify the attitude that this text expresses.",
)
_LIKED = ("I would choose {0} again tomorrow", "I am so glad that I chose {0}", "I can only recommend {0}")
_DISLIKED = ("never again", "I want my money back", "I would not wish {0} on anyone", "save your money and avoid {0}")
_SARCASM = (
    "Oh wonderful, {}. Exactly what I had been hoping for.",
    "Well done, everybody: {}. Five stars for effort, I suppose.",
    "Guess what: {}. Truly the highlight of my week.",
    "So {}. But of course, why should anything work for that price?",
)
_MISHAPS = (
    "the parcel was left out in the rain again",
    "the train was cancelled without a word",
    "my order arrived with half of it missing",
    "the hotline played the same song for fifty minutes",
    "the new printer ate its first three pages",
    "the heating failed on the coldest night of the year",
    "the website logged me out just before I could pay",
    "the waiter forgot us until the kitchen was closed",
    "the guarantee ended the day before the screen went black",
    "the repair took six weeks and broke something else",
    "my seat had been sold to two other people as well",
    "the instructions were printed in every language but mine",
)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _ask(draw: Draw, said: str, answer: str) -> Draft:
    return label(f'{draw.pick(_ASKED)}\n\n"{said}"\n', _LABELS, answer)


def _subject(draw: Draw) -> tuple[str, list[str], list[str], list[str]]:
    """Draw what is reviewed, with what pleases, what annoys and what is merely so, each a clause of its own."""
    reviews = rows("sentiment_reviews")
    subject = draw.pick(reviews)[0]
    said = {kind: [line for about, how, line in reviews if (about, how) == (subject, kind)] for kind in _CLAUSES}
    return subject, said["good"], said["bad"], said["so"]


def _plain(draw: Draw) -> Draft:
    subject, liked, disliked, _ = _subject(draw)
    good = draw.chance(0.5)
    one, two = draw.some(liked if good else disliked, 2)
    last = draw.pick(_LIKED if good else _DISLIKED).format(subject)
    said = (
        f"{_sentence(one)} {_sentence(two)} {_sentence(last)}" if draw.chance(0.5) else _sentence(f"{one}, and {two}")
    )
    return _ask(draw, said, "positive" if good else "negative")


def _contrast(draw: Draw) -> Draft:
    """Let the verdict at the end decide against what was said before."""
    subject, liked, disliked, _ = _subject(draw)
    good, fault, praise = draw.chance(0.5), draw.pick(disliked), draw.pick(liked)
    last = draw.pick(_LIKED if good else _DISLIKED).format(subject)
    if good:
        said = f"True, {fault}. Still, {praise}, and all in all {last}."
    else:
        said = f"Granted, {praise}. But {fault}, and so my verdict is clear: {last}."
    return _ask(draw, said, "positive" if good else "negative")


def _neutral(draw: Draw) -> Draft:
    subject, _, _, facts = _subject(draw)
    one, two = draw.some(facts, 2)
    opening = draw.pick(("Some facts about", "For those who asked about", "About"))
    return _ask(draw, f"{opening} {subject}: {one}, and {two}.", "neutral")


def _sarcastic(draw: Draw) -> Draft:
    return _ask(draw, draw.pick(_SARCASM).format(draw.pick(_MISHAPS)), "negative")


def _turned(draw: Draw) -> Draft:
    answer, things, before, after = draw.pick(rows("sentiment_turns"))
    return _ask(draw, f"A word about {draw.pick(things.split(', '))}. {before}, but {after}.", answer)


SENTIMENT: tuple[Template, ...] = (_plain, _contrast, _neutral, _sarcastic, _turned)
