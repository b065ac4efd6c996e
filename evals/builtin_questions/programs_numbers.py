"""Programming tasks over numbers."""

from __future__ import annotations

from builtin_questions.draw import Draw
from builtin_questions.programs import Arguments, Program


def _small(draw: Draw) -> Arguments:
    return (draw.whole(2, 60),)


def _large(draw: Draw) -> Arguments:
    return (draw.whole(100, 99_999),)


def _pair(draw: Draw) -> Arguments:
    return draw.whole(2, 90), draw.whole(2, 90)


def _interval(draw: Draw) -> Arguments:
    low = draw.whole(0, 50)
    return low, low + draw.whole(0, 40)


NUMBER_PROGRAMS: tuple[Program, ...] = (
    Program(
        "is_prime(n)",
        "returns True if the whole number `n` (0 or greater) is prime, and otherwise False.",
        "    return n > 1 and all(n % each for each in range(2, int(n**0.5) + 1))",
        lambda draw: (draw.whole(2, 120),),
        ((0,), (1,), (2,), (49,), (97,)),
    ),
    Program(
        "prime_factors(n)",
        "returns the list of prime factors of the whole number `n` (2 or greater) in ascending order, each as often "
        "as it divides `n`.",
        """
    factors, each = [], 2
    while n > 1:
        while n % each == 0:
            factors.append(each)
            n //= each
        each += 1
    return factors
""",
        lambda draw: (draw.whole(4, 400),),
        ((2,), (64,), (97,)),
    ),
    Program(
        "digit_sum(n)",
        "returns the sum of the $which digits of the whole number `n` (0 or greater), or 0 if it has none.",
        """
    wanted = {"even": (0,), "odd": (1,)}["$which"]
    return sum(int(digit) for digit in str(n) if int(digit) % 2 in wanted)
""",
        _large,
        ((0,), (7,), (8,)),
        {"which": ("even", "odd")},
    ),
    Program(
        "collatz_steps(n)",
        "counts how many steps the whole number `n` (1 or greater) needs to become 1, where a step halves an even "
        "number and turns an odd number m into 3m + 1.",
        """
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps
""",
        _small,
        ((1,), (2,), (27,)),
    ),
    Program(
        "to_base_$base(n)",
        "returns the whole number `n` (0 or greater) written in base $base, as a string without leading zeros.",
        """
    digits = ""
    while n > 0:
        digits = str(n % $base) + digits
        n //= $base
    return digits or "0"
""",
        _small,
        ((0,), (1,), (1000,)),
        {"base": (2, 3, 5, 7, 8)},
    ),
    Program(
        "greatest_common_divisor(a, b)",
        "returns the greatest common divisor of two positive whole numbers.",
        """
    while b:
        a, b = b, a % b
    return a
""",
        _pair,
        ((1, 9), (12, 12), (36, 84)),
    ),
    Program(
        "to_roman(n)",
        "returns the whole number `n` from 1 to 399 as a Roman numeral, as in 44 -> 'XLIV'.",
        """
    signs = [(100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]
    result = ""
    for value, sign in signs:
        while n >= value:
            result += sign
            n -= value
    return result
""",
        lambda draw: (draw.whole(1, 399),),
        ((1,), (4,), (399,)),
    ),
    Program(
        "perfect_squares(low, high)",
        "returns the list of all perfect squares from `low` to `high`, both included, in ascending order. Both are "
        "whole numbers, 0 or greater.",
        "    return [n for n in range(low, high + 1) if int(n**0.5 + 0.5) ** 2 == n]",
        _interval,
        ((0, 1), (5, 8), (9, 9)),
    ),
    Program(
        "count_divisible(low, high)",
        "returns how many whole numbers from `low` to `high`, both included, are divisible by $a but not by $b.",
        "    return sum(n % $a == 0 and n % $b != 0 for n in range(low, high + 1))",
        _interval,
        ((1, 100), (7, 7)),
        {"a": (2, 3, 4), "b": (5, 6, 7)},
    ),
    Program(
        "fizz(n)",
        "returns a list with one string for each whole number from 1 to `n`: 'fizz' if it is divisible by $a, 'buzz' "
        "if it is divisible by $b, 'fizzbuzz' if by both, and otherwise the number itself written as a string.",
        """
    result = []
    for each in range(1, n + 1):
        words = ("fizz" if each % $a == 0 else "") + ("buzz" if each % $b == 0 else "")
        result.append(words or str(each))
    return result
""",
        lambda draw: (draw.whole(4, 16),),
        ((0,), (30,)),
        {"a": (2, 3), "b": (4, 5, 7)},
    ),
    Program(
        "change(amount)",
        "pays `amount` cents with as few coins as possible and returns how many coins that takes. There are coins of "
        "1, $a and $b cents.",
        """
    fewest = [0]
    for value in range(1, amount + 1):
        fewest.append(1 + min(fewest[value - coin] for coin in (1, $a, $b) if coin <= value))
    return fewest[amount]
""",
        _small,
        ((0,), (1,)),
        {"a": (3, 4, 5), "b": (7, 9, 11)},
    ),
    Program(
        "sequence(n)",
        "returns the list of the first `n` terms of the sequence that begins with $a, $b and in which every later "
        "term is the sum of the two terms before it.",
        """
    terms = [$a, $b]
    while len(terms) < n:
        terms.append(terms[-1] + terms[-2])
    return terms[:n]
""",
        lambda draw: (draw.whole(3, 14),),
        ((0,), (1,), (2,)),
        {"a": (1, 2, 3), "b": (4, 5, 7)},
    ),
    Program(
        "minutes(clock)",
        "takes a time of day as a string like '07:45' and returns how many minutes have passed since midnight.",
        """
    hours, rest = clock.split(":")
    return 60 * int(hours) + int(rest)
""",
        lambda draw: (f"{draw.whole(0, 23):02d}:{draw.whole(0, 59):02d}",),
        (("00:00",), ("23:59",)),
    ),
)
