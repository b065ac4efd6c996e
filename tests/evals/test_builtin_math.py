"""Laws of the built-in sums and stories: every answer is worked out a second time, from the question's text alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, pairwise, permutations, product

import pytest
from builtin_sets import numbers_in, questions_of

from avengers_edge.calibration.questions import Question


def value_of(item: Question) -> Fraction:
    assert item.answer_type == "number"
    assert item.answer is not None
    return Fraction(item.answer)


def evaluated(formula: str, **letters: int) -> Fraction:
    """Work a formula out exactly: every whole or decimal number in it becomes a fraction."""
    exact = re.sub(r"(?<![\w.])\d+(?:\.\d+)?", lambda number: f'Fraction("{number[0]}")', formula.replace("^", "**"))
    exact = re.sub(r"(?<=[\d\")])\s*(?=[a-z(])", "*", exact) if letters else exact
    return Fraction(eval(exact, {"Fraction": Fraction, **letters}))


def test_sums_are_right() -> None:
    for item in questions_of("arithmetic"):
        if found := re.search(r"remainder when (\d+) is divided by (\d+)", item.question):
            assert value_of(item) == int(found[1]) % int(found[2])
        else:
            formula = max(re.findall(r"[-+*/^() .\d]+", item.question), key=len).strip(" .")
            assert value_of(item) == evaluated(formula), item


def sides(equation: str, **letters: int | Fraction) -> bool:
    """Tell whether an equation such as 2(x - 3) + 1 = 7 holds for these values."""
    spelled = re.sub(r"(?<=[\d)])(?=[a-z(])", "*", equation.replace("^", "**"))
    left, right = (eval(side, dict(letters)) for side in spelled.split("="))
    return bool(left == right)


def test_equations_hold_for_their_answers() -> None:
    for item in questions_of("equations"):
        text = item.question
        if item.answer_type == "expression":
            product_of = re.search(r"Expand (\S.*\)) and", text)
            assert product_of is not None
            assert all(sides(f"{product_of[1]} = {item.answer}", x=Fraction(x)) for x in range(-3, 4)), item
            continue
        answer = value_of(item)
        equations = re.findall(r"[-\d(a-z][-+*/^()\d a-z]*= -?\d*[a-z]?(?: [-+] \d+)?", strip_words(text))
        if "x and y" in text or "x + y?" in text:
            solved = [
                (x, y) for x, y in product(range(-15, 16), repeat=2) if all(sides(each, x=x, y=y) for each in equations)
            ]
            assert len(equations) == 2
            assert len(solved) == 1, item
            x, y = solved[0]
            assert answer == (x + y if "x + y?" in text else {"x": x, "y": y}[text[-2]])
        elif "two solutions" in text or "positive solution" in text:
            roots = [x for x in range(-40, 41) if sides(equations[0], x=x)]
            expected = {
                "larger": max(roots),
                "smaller": min(roots),
                "sum of the squares": sum(x * x for x in roots),
                "positive": max(roots),
            }
            assert len(roots) == 2
            assert answer == next(value for word, value in expected.items() if word in text), item
        elif "When a number" in text:
            times, minus, plus = numbers_in(text)
            assert times * answer - minus == 2 * answer + plus
        elif "consecutive" in text:
            step = 1 if "whole" in text else 2
            assert 3 * answer - 3 * step == numbers_in(text)[0]
            assert step == 1 or answer % 2 == (1 if "odd" in text else 0)
        else:
            (equation,) = equations
            (letter,) = set(re.findall("[a-z]", equation))
            assert sides(equation, **{letter: answer}), item


def strip_words(text: str) -> str:
    """Blank out words, so that what is left of a question is its formulas."""
    return re.sub(r"\b[A-Za-z]{2,}\b", ";", text)


def test_every_way_of_asking_for_an_equation_is_read_by_the_test_above() -> None:
    assert strip_words("Given that 2x = 4, what is x?") == "; ; 2x = 4, ; ; x?"


Formula = Callable[..., Fraction | int]
RATES: dict[str, Formula] = {
    r"% of \d": lambda percent, whole: percent * whole / 100,
    "museum": lambda before, after: abs(after - before) * 100 / before,
    "After a discount": lambda percent, price: price / (1 - percent / 100),
    "later the new price": lambda price, up, down: price * (1 + up / 100) * (1 - down / 100),
    "partners": lambda profit, a, b, c: profit * max(a, b, c) / (a + b + c),
    "choir": lambda boys, girls, more: (boys + girls) * more / (girls - boys),
    "A train travels": lambda speed, hours, minutes=Fraction(0): speed * (hours + minutes / 60),
    "A driver covers": lambda way, slow, fast: 2 * way / (way / slow + way / fast),
    "Two towns": lambda way, a, b: way / (a + b),
    "One team": lambda a, b: 1 / (1 / a + 1 / b),
    "workers": lambda few, days, many: few * days / many,
    "simple interest": lambda amount, rate, years: amount * rate / 100 * years,
    "An account": lambda amount, rate, years: amount * (1 + rate / 100) ** int(years),
    "salt": lambda a, weak, b, strong: (a * weak + b * strong) / (a + b),
    "recipe": lambda few, grams, many: grams / few * many,
    "fuel": lambda litres, per, price, way: litres / per * way * price,
    "map": lambda one, scale, cm: one * scale * cm / 100_000,
    "pupils": lambda pupils, a, b: pupils * a / 100 * b / 100,
    "pump": lambda come, leak, tank: tank / (come - leak),
}
STORIES: dict[str, Formula] = {
    "A baker": lambda trays, rolls, sold, single: trays * rolls - sold * rolls - single,
    "novel on each": lambda pages, days, more, rest: pages * days + (pages + more) * rest,
    "pocket money": lambda gets, spends, price: price / (gets - spends),
    "An orchard": lambda rows, trees, fruit, crate: rows * trees * fruit / crate,
    "A bus": lambda start, off, on, more: (start - off + on) / 2 + more,
    "A zoo": lambda adult, child, adults, children, voucher: adult * adults + child * children - voucher,
    "notepads": lambda pens, pen, pads, pad, note: note - pens * pen - pads * pad,
    "times as old": lambda times, now, then: times * now + (then - now),
    "years older": lambda gap, together, back: (together + gap) / 2 - back,
    "Posts": lambda length, width, gap: 2 * (length / gap) + 2 * (width / gap),
    "square tiles": lambda length, width, side: length * 100 / side * (width * 100 / side),
    "by the stairs": lambda floors, steps, times: floors * steps * 2 * times,
    "A snail": lambda depth, climb, slip: next(
        day for day in range(1, 999) if (climb - slip) * (day - 1) + climb >= depth
    ),
    "heads": lambda heads, legs: (legs - 2 * heads) / 2,
    "coins, some worth": lambda coins, five, ten, cents, _: (cents - five * coins) / (ten - five),
    "sweets": lambda sweets, children, eaten: sweets - children * eaten,
    "Overtime": lambda wage, hours, extra: wage * hours + wage * extra * 3 / 2,
    "A library": lambda shelves, books, lent: shelves * books / 3 - lent,
    "A candle": lambda height, shorter, hours: height - shorter / 10 * hours * 2,
    "printers": lambda a, b, jam, minutes: a * minutes + b * jam,
    "A hall": lambda rows, chairs, few, less, taken: rows * chairs + few * less - taken,
    "marbles do the three": lambda own, fewer, times: own + (own - fewer) + times * (own - fewer),
    "friends": lambda friends, price, out: price / (friends - out) - price / friends,
    "laps": lambda laps, metres, home, times, weeks: (laps * metres + home) * times * weeks,
    "hens lays": lambda hens, eats, box, days: (hens - eats) * days // box,
}
UNITS: dict[str, Formula] = {
    "2.54 cm": lambda cm, inches: cm * inches,
    "One foot": lambda twelve, feet, inches: twelve * feet + inches,
    "One pound": lambda sixteen, pounds, ounces: sixteen * pounds + ounces,
    "A bird": lambda metres: metres * 3600 / 1000,
    "A plane": lambda kilometres: kilometres * 1000 / 3600,
    "How many seconds": lambda hours, minutes, seconds: (hours * 60 + minutes) * 60 + seconds,
    "A ribbon": lambda metres, centimetres, piece: (metres * 1000 + centimetres * 10) // piece,
    "bottles": lambda size, litres: litres * 1000 / size,
    "kibibyte": lambda size, count: size * count,
    "A gigabyte": lambda thousand, free, size: free * thousand / size,
    "A line": lambda megabits, eight, seconds: megabits / eight * seconds,
}


@pytest.mark.parametrize(("name", "formulas"), [("rates", RATES), ("word_problems", STORIES), ("units", UNITS)])
def test_stories_are_right(name: str, formulas: dict[str, Formula]) -> None:
    """A formula takes the numbers of the text in their order."""
    for item in questions_of(name):
        if name == "units" and converted(item):
            continue
        matching = [formula for words, formula in formulas.items() if re.search(words, item.question)]
        assert len(matching) == 1, item
        answer = value_of(item)
        assert answer == matching[0](*numbers_in(item.question)), item
        assert answer >= 0
        if name == "word_problems":
            assert answer.denominator == 1, item


SIZES = {
    **{"millimetres": 1, "centimetres": 10, "metres": 1000, "kilometres": 10**6},
    **{"milligrams": 1, "grams": 1000, "kilograms": 10**6, "tonnes": 10**9},
    **{"millilitres": 1, "centilitres": 10, "litres": 1000, "cubic centimetres": 1, "cubic metres": 10**6},
    **{"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400},
    **{"square centimetres": 1, "square metres": 10**4, "hectares": 10**8},
    **{"watts": 1, "kilowatts": 1000, "megawatts": 10**6},
}


def converted(item: Question) -> bool:
    """Check a plain conversion; False where the question is another one."""
    if found := re.search(r"(-?\d+) degrees (Celsius|Fahrenheit) in degrees", item.question):
        given_degrees, answer = int(found[1]), value_of(item)
        celsius, fahrenheit = (given_degrees, answer) if found[2] == "Celsius" else (answer, given_degrees)
        assert 5 * (fahrenheit - 32) == 9 * celsius
        return True
    found = re.fullmatch(r"(?:Convert|How much is|Express) ([\d.]+) ([a-z ]+?) (?:to|in) ([a-z ]+)[.?]", item.question)
    if not found:
        return False
    assert Fraction(found[1]) * SIZES[found[2]] == value_of(item) * SIZES[found[3]], item
    return True


def continued(terms: list[Fraction]) -> set[Fraction]:
    """All next terms by the simple rules that fit every term shown."""
    found = set()
    steps = [after - before for before, after in pairwise(terms)]
    if len(set(steps)) == 1:
        found.add(terms[-1] + steps[0])
    if len({after / before for before, after in pairwise(terms)} if all(terms) else {1, 2}) == 1:
        found.add(terms[-1] * terms[1] / terms[0])
    bends = [after - before for before, after in pairwise(steps)]
    if len(set(bends)) == 1:
        found.add(terms[-1] + steps[-1] + bends[0])
    if all(third == one + two for one, two, third in zip(terms, terms[1:], terms[2:], strict=False)):
        found.add(terms[-1] + terms[-2])
    if steps[0] and all(steps[0] * after == steps[1] * before for before, after in pairwise(steps)):
        found.add(terms[-1] + steps[-1] * steps[1] / steps[0])
    if len(terms) >= 8 and all(len({b - a for a, b in pairwise(half)}) == 1 for half in (terms[::2], terms[1::2])):
        found.add(terms[-2] + terms[-2] - terms[-4])
    return found


def signed(text: str) -> list[Fraction]:
    return [Fraction(each) for each in re.findall(r"-?\d+", text)]


def test_sequences_go_on_in_one_way() -> None:
    for item in questions_of("sequences"):
        text, answer = item.question, value_of(item)
        if "arithmetic sequence begins" in text:
            a, b, _, _, place, _, _ = signed(text)
            assert answer == a + (b - a) * (place - 1)
        elif "What is the sum" in text:
            count, a, b, c = signed(text)
            assert c - b == b - a
            assert answer == count * (2 * a + (count - 1) * (b - a)) / 2
        elif "question mark" in text:
            filled = signed(text.replace("?,", f"{answer},").rpartition(":")[2])
            assert len(filled) == 7
            assert len({b - a for a, b in pairwise(filled)}) == 1
        elif "first term" in text:
            start, times, minus, place = signed(text)
            terms = [start]
            while len(terms) < place:
                terms.append(times * terms[-1] - minus)
            assert answer == terms[-1]
        else:
            assert continued(signed(text)) == {answer}, item


def divisors(n: int) -> int:
    return sum(n % each == 0 for each in range(1, n + 1))


def dealt(red: int, blue: int) -> Fraction:
    pairs = list(combinations([True] * red + [False] * blue, 2))
    return Fraction(sum(all(pair) for pair in pairs), len(pairs))


def committees(women: int, men: int, a: int, b: int) -> int:
    return len(list(combinations(range(women), a))) * len(list(combinations(range(men), b)))


def paid(total: int) -> int:
    ways = [1] + [0] * total
    for coin in (1, 5, 10):
        for cents in range(coin, total + 1):
            ways[cents] += ways[cents - coin]
    return ways[total]


COUNTS: dict[str, Callable[..., int | Fraction]] = {
    "greatest common divisor": lambda a, b: max(d for d in range(1, a + 1) if a % d == b % d == 0),
    "least common multiple": lambda a, b: next(n for n in range(a, a * b + 1) if n % a == n % b == 0),
    "positive divisors": lambda n, *_: divisors(n),
    "are divisible by": lambda low, high, a, b: sum(n % a == 0 or n % b == 0 for n in range(low, high + 1)),
    "prime numbers": lambda low, high: sum(divisors(n) == 2 for n in range(low, high + 1)),
    "sum of the digits": lambda a, b: sum(map(int, str(a * b))),
    "last digit": lambda a, b: a**b % 10,
    "committee": committees,
    "shake hands": lambda first, late: math.comb(first, 2) + first * late + math.comb(late, 2),
    "dice": lambda total: Fraction(sum(a + b == total for a, b in product(range(1, 7), repeat=2)), 36),
    "marbles": dealt,
    "in base 2": lambda digits, *_: int(str(digits), 2),
    "leaves remainder": lambda r, a, s, b: next(n for n in range(1, 10_000) if n % a == r and n % b == s),
    "cents be paid": lambda total, *_: paid(total),
}


def test_countings_are_right() -> None:
    for item in questions_of("counting"):
        text, answer = item.question, value_of(item)
        numbers = [int(each) for each in numbers_in(text)]
        if found := re.search(r"letters of the word (\w+)", text):
            if len(found[1]) < 8:
                assert answer == len(set(permutations(found[1])))
        elif "given in base 10" in text:
            assert int(str(answer), numbers[2]) == numbers[0]
        else:
            matching = [count for words, count in COUNTS.items() if words in text]
            assert len(matching) == 1, item
            assert answer == matching[0](*numbers), item
