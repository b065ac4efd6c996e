"""Programming tasks over texts."""

from __future__ import annotations

from builtin_questions.draw import Draw
from builtin_questions.programs import Arguments, Program, sentence, word


def _sentence(draw: Draw) -> Arguments:
    return (sentence(draw),)


def _word(draw: Draw) -> Arguments:
    return (word(draw),)


def _palindrome_or_not(draw: Draw) -> Arguments:
    half = word(draw)[:3]
    whole = half + half[::-1] if draw.chance(0.5) else half + half[:2]
    return (whole.capitalize() if draw.chance(0.5) else whole,)


def _maybe_anagrams(draw: Draw) -> Arguments:
    one = word(draw)
    other = "".join(draw.shuffled(one)) if draw.chance(0.6) else word(draw)
    return one, other


def _runs(draw: Draw) -> Arguments:
    return ("".join(draw.pick("abc") * draw.whole(1, 4) for _ in range(draw.whole(2, 5))),)


def _brackets(draw: Draw) -> Arguments:
    text = ""
    for _ in range(draw.whole(1, 3)):
        inner = draw.pick(("()", "[]", "([])", "(())", "[()]"))
        text += draw.pick((inner, f"({inner})", f"[{inner}]"))
    if draw.chance(0.5):
        at = draw.whole(0, len(text) - 1)
        text = text[:at] + text[at + 1 :]
    return (text,)


def _snake(draw: Draw) -> Arguments:
    return ("_".join(word(draw) for _ in range(draw.whole(1, 4))),)


def _camel(draw: Draw) -> Arguments:
    first, *rest = (word(draw) for _ in range(draw.whole(1, 4)))
    return (first + "".join(each.capitalize() for each in rest),)


def _digits_between(draw: Draw) -> Arguments:
    return (" ".join(f"{word(draw)}{draw.whole(0, 40)}" for _ in range(draw.whole(1, 4))),)


TEXT_PROGRAMS: tuple[Program, ...] = (
    Program(
        "count_vowels(text)",
        "returns how many vowels (a, e, i, o, u, in lower or upper case) the string `text` has.",
        '    return sum(letter in "aeiou" for letter in text.lower())',
        _sentence,
        (("",), ("AEIOU",), ("rhythm",)),
    ),
    Program(
        "is_palindrome(text)",
        "returns True if the string `text` reads the same backwards, where upper and lower case count as equal, and "
        "otherwise False.",
        "    return text.lower() == text.lower()[::-1]",
        _palindrome_or_not,
        (("",), ("x",), ("Ab",)),
    ),
    Program(
        "are_anagrams(a, b)",
        "returns True if the string `b` has exactly the letters of the string `a`, each equally often, and otherwise "
        "False.",
        "    return sorted(a) == sorted(b)",
        _maybe_anagrams,
        (("", ""), ("aab", "abb"), ("a", "aa")),
    ),
    Program(
        "caesar(text)",
        "moves every lower-case letter of the string `text` forward by $k places in the alphabet (after z comes a "
        "again), leaves all other characters as they are, and returns the result.",
        """
    result = ""
    for letter in text:
        if "a" <= letter <= "z":
            letter = chr((ord(letter) - ord("a") + $k) % 26 + ord("a"))
        result += letter
    return result
""",
        _sentence,
        (("",), ("xyz XYZ!",)),
        {"k": (1, 3, 5, 7, 13)},
    ),
    Program(
        "run_lengths(text)",
        "replaces every run of equal characters in the string `text` by the character and the length of the run, as in "
        "'aab' -> 'a2b1', and returns the result.",
        """
    result, at = "", 0
    while at < len(text):
        end = at
        while end < len(text) and text[end] == text[at]:
            end += 1
        result += text[at] + str(end - at)
        at = end
    return result
""",
        _runs,
        (("",), ("z",), ("aaaaaaaaaaaa",)),
    ),
    Program(
        "is_balanced(text)",
        "takes a string of the characters ( ) [ ] and returns True if every bracket is closed by one of its kind in "
        "the right order, and otherwise False.",
        """
    open_ones = []
    for sign in text:
        if sign in "([":
            open_ones.append(sign)
        elif not open_ones or open_ones.pop() + sign not in ("()", "[]"):
            return False
    return not open_ones
""",
        _brackets,
        (("",), (")(",), ("([)]",), ("((",)),
    ),
    Program(
        "to_camel(name)",
        "turns a name written as 'two_words' into one written as 'twoWords': every underscore goes, and the letter "
        "after it becomes upper case.",
        """
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
""",
        _snake,
        (("a_b_c",), ("x",)),
    ),
    Program(
        "to_snake(name)",
        "turns a name written as 'twoWords' into one written as 'two_words': before every upper-case letter comes an "
        "underscore, and the letter becomes lower case. The name begins with a lower-case letter.",
        '    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)',
        _camel,
        (("aBC",), ("x",)),
    ),
    Program(
        "longest_word(text)",
        "returns the longest word of the string `text`, whose words are separated by single spaces. If several are "
        "equally long, it returns the $which of them.",
        """
    words = text.split(" ")
    if "$which" == "last":
        words = words[::-1]
    return max(words, key=len)
""",
        _sentence,
        (("one two six",), ("a",)),
        {"which": ("first", "last")},
    ),
    Program(
        "initials(text)",
        "returns the first letters of all words of the string `text`, in upper case and each followed by a period, "
        "as in 'red apple' -> 'R.A.'.",
        '    return "".join(each[0].upper() + "." for each in text.split())',
        _sentence,
        (("",), ("x",)),
    ),
    Program(
        "reverse_words(text)",
        "reverses the letters of every word of the string `text` but keeps the order of the words, which are separated "
        "by single spaces.",
        '    return " ".join(each[::-1] for each in text.split(" "))',
        _sentence,
        (("",), ("ab",)),
    ),
    Program(
        "sum_of_numbers(text)",
        "adds up all whole numbers written in digits in the string `text` and returns the sum; digits next to each "
        "other belong to one number.",
        """
    total, current = 0, ""
    for sign in text + " ":
        if sign.isdigit():
            current += sign
        elif current:
            total += int(current)
            current = ""
    return total
""",
        _digits_between,
        (("",), ("none",), ("12a3",)),
    ),
    Program(
        "first_single(text)",
        "returns the first character that occurs exactly once in the string `text`, or an empty string if there is "
        "none.",
        """
    for letter in text:
        if text.count(letter) == 1:
            return letter
    return ""
""",
        _runs,
        (("",), ("aabb",), ("aabc",)),
    ),
    Program(
        "letter_counts(text)",
        "returns a dictionary from every letter of the string `text`, in lower case, to how often it occurs there in "
        "lower or upper case. Spaces are not counted.",
        """
    counts = {}
    for letter in text.lower():
        if letter != " ":
            counts[letter] = counts.get(letter, 0) + 1
    return counts
""",
        lambda draw: (sentence(draw, 1, 2),),
        (("",), ("Aa",)),
    ),
    Program(
        "hide(text)",
        "replaces every character of the string `text` but the last $k by '$sign'. A text of at most $k characters "
        "stays as it is.",
        '    return "$sign" * (len(text) - $k) + text[-$k:]',
        _word,
        (("",), ("ab",), ("abcd",), ("abcde",)),
        {"k": (2, 3, 4), "sign": ("*", "#", "x")},
    ),
)
