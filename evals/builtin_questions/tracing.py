"""Short programs to be run in the head, and what they print."""

from __future__ import annotations

from builtin_questions.drafts import Draft, Template, number, text
from builtin_questions.draw import Draw
from builtin_questions.texts import all_words


def _program(*lines: str) -> str:
    return "What does this Python program print?\n\n```python\n" + "\n".join(lines) + "\n```"


def _loop_sum(draw: Draw) -> Draft:
    start, stop, step, factor = draw.whole(1, 6), draw.whole(14, 30), draw.whole(2, 4), draw.whole(2, 5)
    return number(
        _program(
            "total = 0", f"for i in range({start}, {stop}, {step}):", f"    total += {factor} * i", "print(total)"
        ),
        sum(factor * each for each in range(start, stop, step)),
    )


def _filtered(draw: Draw) -> Draft:
    values, by, rest = draw.different(1, 40, 8), draw.whole(2, 4), draw.whole(0, 1)
    return number(
        _program(
            f"values = {values}",
            "total = 0",
            "for value in values:",
            f"    if value % {by} == {rest}:",
            "        total += value",
            "    else:",
            "        total -= 1",
            "print(total)",
        ),
        sum(value if value % by == rest else -1 for value in values),
    )


def _halving(draw: Draw) -> Draft:
    start = draw.whole(40, 400)
    value, steps = start, 0
    while value > 1:
        value = value // 2 if value % 2 == 0 else value - 1
        steps += 1
    return number(
        _program(
            f"n = {start}",
            "steps = 0",
            "while n > 1:",
            "    if n % 2 == 0:",
            "        n = n // 2",
            "    else:",
            "        n = n - 1",
            "    steps += 1",
            "print(steps)",
        ),
        steps,
    )


def _nested(draw: Draw) -> Draft:
    rows, columns = draw.whole(3, 6), draw.whole(3, 6)
    sign, test = draw.pick((("<", int.__lt__), (">", int.__gt__), ("!=", int.__ne__)))
    return number(
        _program(
            "count = 0",
            f"for i in range({rows}):",
            f"    for j in range({columns}):",
            f"        if i {sign} j:",
            "            count += 1",
            "print(count)",
        ),
        sum(test(i, j) for i in range(rows) for j in range(columns)),
    )


def _recursion(draw: Draw) -> Draft:
    n, minus, plus, base = draw.whole(6, 15), draw.whole(2, 3), draw.whole(1, 4), draw.whole(1, 5)
    values: dict[int, int] = {}
    for each in range(-minus, n + 1):
        values[each] = base if each <= 1 else values[each - minus] * 2 + plus
    return number(
        _program(
            "def f(n):",
            "    if n <= 1:",
            f"        return {base}",
            f"    return 2 * f(n - {minus}) + {plus}",
            "",
            f"print(f({n}))",
        ),
        values[n],
    )


def _slice(draw: Draw) -> Draft:
    word, other = (draw.pick([each for each in all_words() if len(each) > 5]) for _ in range(2))
    cut, back = draw.whole(1, 4), draw.whole(1, 3)
    return text(
        _program(f'a = "{word}"', f'b = "{other}"', f"print(a[:{cut}] + b[-{back}:] + a[::-1])"),
        word[:cut] + other[-back:] + word[::-1],
    )


def _list_changes(draw: Draw) -> Draft:
    values, new, place = draw.different(1, 30, 5), draw.whole(31, 60), draw.whole(0, 2)
    after = values.copy()
    after.insert(place, new)
    after.pop()
    after[-1] += after[0]
    return number(
        _program(
            f"a = {values}",
            f"a.insert({place}, {new})",
            "a.pop()",
            "a[-1] = a[-1] + a[0]",
            "print(sum(a[1:]))",
        ),
        sum(after[1:]),
    )


def _same_list(draw: Draw) -> Draft:
    values, new = draw.different(1, 20, 3), draw.whole(21, 50)
    copied = draw.chance(0.5)
    return number(
        _program(f"a = {values}", f"b = {'a.copy()' if copied else 'a'}", f"b.append({new})", "print(sum(a) + len(b))"),
        sum(values) + (0 if copied else new) + 4,
    )


def _counts(draw: Draw) -> Draft:
    words = [draw.pick(("red", "blue", "green", "grey")) for _ in range(draw.whole(7, 10))]
    one, two = draw.some(("red", "blue", "green", "grey"), 2)
    return number(
        _program(
            f'words = "{" ".join(words)}".split()',
            "counts = {}",
            "for word in words:",
            "    counts[word] = counts.get(word, 0) + 1",
            f'print(10 * counts.get("{one}", 0) + counts.get("{two}", 0))',
        ),
        10 * words.count(one) + words.count(two),
    )


def _swapped(draw: Draw) -> Draft:
    a, b, times = draw.whole(1, 9), draw.whole(1, 9), draw.whole(4, 7)
    x, y = a, b
    for _ in range(times):
        x, y = y, x + y
    return number(
        _program(f"x, y = {a}, {b}", f"for _ in range({times}):", "    x, y = y, x + y", "print(x)"),
        x,
    )


def _digits(draw: Draw) -> Draft:
    n = draw.whole(1_000, 99_999)
    result = 0
    for place, digit in enumerate(reversed(str(n))):
        result += int(digit) * (place + 1)
    return number(
        _program(
            f"n = {n}",
            "result = 0",
            "weight = 1",
            "while n > 0:",
            "    result += weight * (n % 10)",
            "    n //= 10",
            "    weight += 1",
            "print(result)",
        ),
        result,
    )


def _comprehension(draw: Draw) -> Draft:
    top, by, minus = draw.whole(8, 16), draw.whole(2, 4), draw.whole(1, 9)
    return number(
        _program(
            f"squares = [n * n - {minus} for n in range({top}) if n % {by} == 0]", "print(squares[-1] + len(squares))"
        ),
        max(n for n in range(top) if n % by == 0) ** 2 - minus + len(range(0, top, by)),
    )


def _early_end(draw: Draw) -> Draft:
    values, limit = draw.different(3, 30, 8), draw.whole(40, 80)
    total, seen = 0, 0
    for value in values:
        if value % 5 == 0:
            continue
        total += value
        if total > limit:
            break
        seen += 1
    return number(
        _program(
            "total = 0",
            "seen = 0",
            f"for value in {values}:",
            "    if value % 5 == 0:",
            "        continue",
            "    total += value",
            f"    if total > {limit}:",
            "        break",
            "    seen += 1",
            "print(100 * seen + total)",
        ),
        100 * seen + total,
    )


TRACING: tuple[Template, ...] = (
    _loop_sum,
    _filtered,
    _halving,
    _nested,
    _recursion,
    _slice,
    _list_changes,
    _same_list,
    _counts,
    _swapped,
    _digits,
    _comprehension,
    _early_end,
)
