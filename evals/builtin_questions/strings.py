"""Words and letters: sorting, counting, reversing, enciphering."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase

from builtin_questions.drafts import Draft, Template, number, text
from builtin_questions.draw import Draw
from builtin_questions.texts import all_words

_ONE_LINE = "Separate them by single spaces."


def _sorted(draw: Draw) -> Draft:
    words = draw.some(all_words(), draw.whole(6, 11))
    return text(f"Sort these words alphabetically: {' '.join(words)}\n{_ONE_LINE}", " ".join(sorted(words)))


def _sorted_close(draw: Draw) -> Draft:
    """Sort words with the same first letter, where the second and third decide."""
    letter = draw.pick("bcmprst")
    words = draw.some([word for word in all_words() if word[0] == letter], draw.whole(5, 8))
    return text(f"Put these words into alphabetical order: {' '.join(words)}\n{_ONE_LINE}", " ".join(sorted(words)))


def _sorted_backwards(draw: Draw) -> Draft:
    words = draw.some(all_words(), draw.whole(5, 9))
    return text(
        f"Sort these words in reverse alphabetical order, from z to a: {' '.join(words)}\n{_ONE_LINE}",
        " ".join(sorted(words, reverse=True)),
    )


def _sorted_by_length(draw: Draw) -> Draft:
    words = draw.some(all_words(), draw.whole(5, 8))
    return text(
        f"Sort these words from the shortest to the longest, and words of the same length alphabetically: "
        f"{' '.join(words)}\n{_ONE_LINE}",
        " ".join(sorted(words, key=lambda word: (len(word), word))),
    )


def _sorted_by_end(draw: Draw) -> Draft:
    found: dict[str, str] = {}
    for word in draw.shuffled(all_words()):
        found.setdefault(word[-1], word)
    words = list(found.values())[: draw.whole(4, 6)]
    return text(
        f"Sort these words alphabetically by their last letter: {' '.join(words)}\n{_ONE_LINE}",
        " ".join(sorted(words, key=lambda word: word[-1])),
    )


def _sorted_numbers(draw: Draw) -> Draft:
    numbers = draw.different(-99, 400, draw.whole(7, 11))
    falling = draw.chance(0.5)
    way = "from the largest to the smallest" if falling else "from the smallest to the largest"
    return text(
        f"Sort these numbers {way}: {' '.join(map(str, numbers))}\n{_ONE_LINE}",
        " ".join(map(str, sorted(numbers, reverse=falling))),
    )


def _count_letter(draw: Draw) -> Draft:
    words = draw.some(all_words(), draw.whole(2, 5))
    letter = draw.pick(sorted(set("".join(words))))
    return number(
        f'How many times does the letter "{letter}" occur in "{" ".join(words)}"?', "".join(words).count(letter)
    )


def _count_vowels(draw: Draw) -> Draft:
    words = draw.some(all_words(), draw.whole(2, 5))
    joined = " ".join(words)
    return number(
        f'How many vowels (a, e, i, o, u) are there in "{joined}"?', sum(joined.count(each) for each in "aeiou")
    )


def _count_words(draw: Draw) -> Draft:
    words, least = draw.some(all_words(), draw.whole(9, 14)), draw.whole(5, 7)
    return number(
        f"How many of these words have at least {least} letters: {', '.join(words)}?",
        sum(len(word) >= least for word in words),
    )


def _reverse_word(draw: Draw) -> Draft:
    word = draw.pick([word for word in all_words() if len(word) > 5])
    return text(f'Write the word "{word}" backwards.', word[::-1])


def _reverse_order(draw: Draw) -> Draft:
    words = draw.some(all_words(), draw.whole(5, 9))
    return text(
        f"Write these words in the opposite order, without changing the words: {' '.join(words)}\n{_ONE_LINE}",
        " ".join(words[::-1]),
    )


def _shifted(word: str, by: int) -> str:
    return "".join(ascii_lowercase[(ascii_lowercase.index(each) + by) % 26] for each in word)


def _encode(draw: Draw) -> Draft:
    word, by = draw.pick(all_words()), draw.whole(1, 6)
    steps = f"{by} place{'s' if by > 1 else ''}"
    return text(
        f'Encode the word "{word}" by moving every letter {steps} forward in the alphabet (after z comes a again).',
        _shifted(word, by),
    )


def _decode(draw: Draw) -> Draft:
    word, by = draw.pick(all_words()), draw.whole(1, 6)
    steps = f"{by} place{'s' if by > 1 else ''}"
    return text(
        f"A word was encoded by moving every letter {steps} forward in the alphabet (after z comes a again). The "
        "result "
        f'is "{_shifted(word, by)}". What was the word?',
        word,
    )


def _initials(draw: Draw) -> Draft:
    words, place = draw.some([word for word in all_words() if len(word) > 3], draw.whole(4, 7)), draw.whole(0, 2)
    which = ("first", "second", "last")[place]
    letters = "".join(word[(0, 1, -1)[place]] for word in words)
    return text(f"Take the {which} letter of each of these words and join them: {' '.join(words)}", letters)


def _without_letter(draw: Draw) -> Draft:
    word = draw.pick([word for word in all_words() if len(word) > 6])
    letter = draw.pick(word)
    return text(f'Remove every "{letter}" from the word "{word}". What is left?', word.replace(letter, ""))


def _every_second(draw: Draw) -> Draft:
    words: Sequence[str] = draw.some(all_words(), 2)
    joined = "".join(words)
    return text(
        f'Write down the 1st, 3rd, 5th and every further odd-numbered letter of "{joined}", joined to one word.',
        joined[::2],
    )


def _letter_values(draw: Draw) -> Draft:
    word = draw.pick([word for word in all_words() if len(word) < 6])
    return number(
        f'If a = 1, b = 2 and so on up to z = 26, what is the sum of the letters of the word "{word}"?',
        sum(ascii_lowercase.index(each) + 1 for each in word),
    )


SORTING: tuple[Template, ...] = (
    _sorted,
    _sorted_close,
    _sorted_backwards,
    _sorted_by_length,
    _sorted_by_end,
    _sorted_numbers,
)
LETTERS: tuple[Template, ...] = (
    _count_letter,
    _count_vowels,
    _count_words,
    _reverse_word,
    _reverse_order,
    _encode,
    _decode,
    _initials,
    _without_letter,
    _every_second,
    _letter_values,
)
