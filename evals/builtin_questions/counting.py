"""Whole numbers: divisors, digits, counting and simple chances."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

from builtin_questions.drafts import Draft, Template, number
from builtin_questions.draw import Draw

_WORDS = ("BANANA", "LEVEL", "PEPPER", "COFFEE", "BALLOON", "KITTEN", "SUMMER", "LETTER", "COLLEGE", "SUCCESS", "RIVER")


def _greatest_divisor(draw: Draw) -> Draft:
    common = draw.whole(3, 24)
    a, b = (common * each for each in draw.different(3, 30, 2))
    return number(f"What is the greatest common divisor of {a} and {b}?", math.gcd(a, b))


def _least_multiple(draw: Draw) -> Draft:
    a, b = draw.different(6, 40, 2)
    return number(f"What is the least common multiple of {a} and {b}?", math.lcm(a, b))


def _divisors(draw: Draw) -> Draft:
    n = draw.whole(4, 30) * draw.whole(4, 12)
    count = sum(n % each == 0 for each in range(1, n + 1))
    return number(f"How many positive divisors does {n} have, 1 and {n} included?", count)


def _divisible(draw: Draw) -> Draft:
    a, b = draw.different(3, 9, 2)
    top = draw.whole(60, 300)
    both = top // math.lcm(a, b)
    return number(
        f"How many whole numbers from 1 to {top} are divisible by {a} or by {b} (or by both)?",
        top // a + top // b - both,
    )


def _primes(draw: Draw) -> Draft:
    low = draw.whole(10, 120)
    high = low + draw.whole(20, 50)
    count = sum(all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(low, high + 1))
    return number(f"How many prime numbers are there from {low} to {high}, both ends included?", count)


def _digit_sum(draw: Draw) -> Draft:
    a, b = draw.whole(101, 999), draw.whole(11, 99)
    return number(f"What is the sum of the digits of the product {a} * {b}?", sum(map(int, str(a * b))))


def _last_digit(draw: Draw) -> Draft:
    a, b = draw.whole(12, 89), draw.whole(20, 120)
    return number(f"What is the last digit of {a}^{b}?", pow(a, b, 10))


def _arrangements(draw: Draw) -> Draft:
    word = draw.pick(_WORDS)
    count = math.factorial(len(word))
    for repeats in Counter(word).values():
        count //= math.factorial(repeats)
    return number(f"In how many different ways can the letters of the word {word} be arranged?", count)


def _committee(draw: Draw) -> Draft:
    women, men = draw.whole(4, 8), draw.whole(4, 8)
    a, b = draw.whole(1, 3), draw.whole(1, 3)
    return number(
        f"A club has {women} women and {men} men. In how many ways can it choose a committee of exactly {a} "
        f"{'woman' if a == 1 else 'women'} and {b} {'man' if b == 1 else 'men'}?",
        math.comb(women, a) * math.comb(men, b),
    )


def _handshakes(draw: Draw) -> Draft:
    people, late = draw.whole(8, 25), draw.whole(2, 6)
    return number(
        f"At a meeting {people} people each shake hands once with everyone else. Then {late} more people arrive, and "
        f"each of them shakes hands once with everybody there, the other newcomers included. How many handshakes are "
        f"there in all?",
        math.comb(people + late, 2),
    )


def _dice(draw: Draw) -> Draft:
    total = draw.whole(3, 11)
    ways = 6 - abs(total - 7)
    return number(
        f"Two fair six-sided dice are rolled. What is the probability that they show a total of {total}? "
        f"Give a fraction in lowest terms.",
        Fraction(ways, 36),
    )


def _marbles(draw: Draw) -> Draft:
    red, blue = draw.whole(3, 9), draw.whole(3, 9)
    total = red + blue
    return number(
        f"A bag holds {red} red and {blue} blue marbles. Two are taken out without putting the first one back. "
        f"What is the probability that both are red? Give a fraction in lowest terms.",
        Fraction(red * (red - 1), total * (total - 1)),
    )


def _from_binary(draw: Draw) -> Draft:
    value = draw.whole(40, 500)
    return number(f"The number {value:b} is written in base 2. What is it in base 10?", value)


def _to_base(draw: Draw) -> Draft:
    value, base = draw.whole(60, 400), draw.whole(3, 8)
    digits, rest = "", value
    while rest:
        digits, rest = f"{rest % base}{digits}", rest // base
    return number(f"Write the number {value} (given in base 10) in base {base}. Give only its digits.", int(digits))


def _remainders(draw: Draw) -> Draft:
    a, b = draw.pick(((5, 7), (4, 9), (7, 8), (5, 11), (6, 7), (8, 9), (9, 11), (7, 12)))
    r, s = draw.whole(1, a - 1), 0
    while s in (0, r):
        s = draw.whole(1, b - 1)
    least = next(n for n in range(1, a * b + 1) if n % a == r and n % b == s)
    return number(
        f"What is the smallest positive whole number that leaves remainder {r} when divided by {a} and "
        f"remainder {s} when divided by {b}?",
        least,
    )


def _coins(draw: Draw) -> Draft:
    total = 5 * draw.whole(4, 12)
    ways = sum((total - 10 * tens - 5 * fives) >= 0 for tens in range(total) for fives in range(total))
    return number(
        f"In how many ways can {total} cents be paid with coins of 1, 5 and 10 cents, if there are enough of each and "
        f"the order does not matter?",
        ways,
    )


COUNTING: tuple[Template, ...] = (
    _greatest_divisor,
    _least_multiple,
    _divisors,
    _divisible,
    _primes,
    _digit_sum,
    _last_digit,
    _arrangements,
    _committee,
    _handshakes,
    _dice,
    _marbles,
    _from_binary,
    _to_base,
    _remainders,
    _coins,
)
