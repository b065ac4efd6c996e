"""Programming tasks over lists and dictionaries."""

from __future__ import annotations

from builtin_questions.draw import Draw
from builtin_questions.programs import Arguments, Program, few_numbers, whole_numbers, word


def _one_list(draw: Draw) -> Arguments:
    return (whole_numbers(draw),)


def _repeating_list(draw: Draw) -> Arguments:
    return (few_numbers(draw),)


def _two_lists(draw: Draw) -> Arguments:
    return few_numbers(draw, 9), few_numbers(draw, 9)


def _sorted_lists(draw: Draw) -> Arguments:
    return sorted(whole_numbers(draw)), sorted(whole_numbers(draw))


def _list_and_count(draw: Draw) -> Arguments:
    return whole_numbers(draw), draw.whole(1, 5)


def _table(draw: Draw) -> Arguments:
    columns = draw.whole(2, 4)
    return ([[draw.whole(0, 9) for _ in range(columns)] for _ in range(draw.whole(2, 4))],)


def _pairs(draw: Draw) -> Arguments:
    return ([(draw.pick(("ann", "bob", "cy", "dee")), draw.whole(1, 20)) for _ in range(draw.whole(3, 7))],)


def _counts(draw: Draw) -> Arguments:
    return ({word(draw): draw.whole(1, 9) for _ in range(draw.whole(3, 6))},)


def _nested(draw: Draw) -> Arguments:
    def grow(depth: int) -> list[object]:
        return [grow(depth - 1) if depth and draw.chance(0.4) else draw.whole(0, 9) for _ in range(draw.whole(1, 3))]

    return (grow(3),)


LIST_PROGRAMS: tuple[Program, ...] = (
    Program(
        "sum_of_multiples(values)",
        "returns the sum of those numbers in the list `values` that are divisible by $k.",
        "    return sum(value for value in values if value % $k == 0)",
        _one_list,
        (([],),),
        {"k": (2, 3, 4, 5)},
    ),
    Program(
        "without_repeats(values)",
        "returns a new list with every number of `values` once, in the order in which they first occur.",
        "    return list(dict.fromkeys(values))",
        _repeating_list,
        (([],), ([7],)),
    ),
    Program(
        "rotate(values, steps)",
        "moves every element of the list `values` by `steps` places to the $side, where what falls off one end comes "
        "back at the other, and returns the new list. `steps` may be larger than the list.",
        """
    if not values:
        return []
    steps %= len(values)
    if "$side" == "right":
        steps = len(values) - steps
    return values[steps:] + values[:steps]
""",
        _list_and_count,
        (([], 3), ([1, 2, 3], 3), ([1, 2, 3], 7), ([5], 0)),
        {"side": ("left", "right")},
    ),
    Program(
        "chunks(values)",
        "splits the list `values` into consecutive lists of $k elements and returns the list of these lists. The last "
        "one may be shorter.",
        "    return [values[at : at + $k] for at in range(0, len(values), $k)]",
        _one_list,
        (([],), ([1],), ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10],)),
        {"k": (2, 3, 4)},
    ),
    Program(
        "running_$kind(values)",
        "returns a list of the same length as `values` whose element at place i is the $kind of all elements of "
        "`values` from the first up to and including place i.",
        """
    steps = {"total": sum, "maximum": max, "minimum": min}
    return [steps["$kind"](values[: place + 1]) for place in range(len(values))]
""",
        _one_list,
        (([],), ([4],)),
        {"kind": ("total", "maximum", "minimum")},
    ),
    Program(
        "most_common(values)",
        "returns the number that occurs most often in the non-empty list `values`. If several occur equally often, it "
        "returns the $which of them.",
        """
    most = max(values.count(value) for value in values)
    found = [value for value in values if values.count(value) == most]
    return min(found) if "$which" == "smallest" else max(found)
""",
        _repeating_list,
        (([3],), ([1, 2, 2, 1],)),
        {"which": ("smallest", "largest")},
    ),
    Program(
        "merge(a, b)",
        "takes two lists of numbers, each sorted in ascending order, and returns one sorted list with all their "
        "elements.",
        "    return sorted(a + b)",
        _sorted_lists,
        (([], []), ([1], []), ([], [2, 3])),
    ),
    Program(
        "common(a, b)",
        "returns a list of the numbers that occur in both lists, each once, in $order order.",
        '    return sorted(set(a) & set(b), reverse="$order" == "descending")',
        _two_lists,
        (([], [1]), ([1, 2], [3])),
        {"order": ("ascending", "descending")},
    ),
    Program(
        "only_in_one(a, b)",
        "returns, in ascending order and each once, the numbers that occur in exactly one of the two lists.",
        "    return sorted(set(a) ^ set(b))",
        _two_lists,
        (([], []), ([1, 1], [])),
    ),
    Program(
        "longest_run(values)",
        "returns the length of the longest run of equal neighbours in the list `values`, and 0 for an empty list.",
        """
    best = length = 0
    for place, value in enumerate(values):
        length = length + 1 if place and value == values[place - 1] else 1
        best = max(best, length)
    return best
""",
        lambda draw: (few_numbers(draw, 2, 5, 10),),
        (([],), ([4],), ([1, 1, 1],)),
    ),
    Program(
        "transpose(table)",
        "takes a list of rows of equal length and returns the list of its columns, each one a list.",
        "    return [list(column) for column in zip(*table)]",
        _table,
        (([[1]],), ([[1, 2, 3]],)),
    ),
    Program(
        "row_with_${most}_sum(table)",
        "takes a non-empty list of rows (lists of numbers) and returns the index of the row with the $most sum; if "
        "several rows tie, the first of them.",
        """
    sums = [sum(row) for row in table]
    return sums.index(max(sums) if "$most" == "largest" else min(sums))
""",
        _table,
        (([[1], [1]],), ([[0, 0], [3, 1], [2, 2]],)),
        {"most": ("largest", "smallest")},
    ),
    Program(
        "flatten(values)",
        "takes a list of numbers and lists, which may be nested to any depth, and returns a flat list of all the "
        "numbers in their order.",
        """
    flat = []
    for value in values:
        if isinstance(value, list):
            flat.extend(flatten(value))
        else:
            flat.append(value)
    return flat
""",
        _nested,
        (([],), ([[], [[]]],), ([1, [2, [3, [4]]]],)),
    ),
    Program(
        "totals(pairs)",
        "takes a list of (name, points) pairs and returns a dictionary from each name to the sum of its points.",
        """
    result = {}
    for name, points in pairs:
        result[name] = result.get(name, 0) + points
    return result
""",
        _pairs,
        (([],),),
    ),
    Program(
        "ranking(points)",
        "takes a dictionary from words to whole numbers and returns the list of words from the highest number to the "
        "lowest. Words with equal numbers are in alphabetical order.",
        "    return sorted(points, key=lambda name: (-points[name], name))",
        _counts,
        (({},), ({"b": 1, "a": 1},)),
    ),
    Program(
        "by_length(words)",
        "takes a list of words and returns a dictionary from each word length to the list of words of that length, in "
        "their original order.",
        """
    result = {}
    for each in words:
        result.setdefault(len(each), []).append(each)
    return result
""",
        lambda draw: ([word(draw) for _ in range(draw.whole(3, 6))],),
        (([],),),
    ),
    Program(
        "has_pair(values, total)",
        "returns True if two elements at different places of the list `values` have the sum `total`, and otherwise "
        "False.",
        """
    return any(a + b == total for place, a in enumerate(values) for b in values[place + 1 :])
""",
        lambda draw: (whole_numbers(draw, 0, 15), draw.whole(8, 22)),
        (([], 0), ([5], 10), ([5, 5], 10)),
    ),
    Program(
        "second_$most(values)",
        "returns the second $most of the different numbers in the list `values`, or None if there are fewer than two "
        "different numbers.",
        """
    different = sorted(set(values), reverse="$most" == "largest")
    return different[1] if len(different) > 1 else None
""",
        _repeating_list,
        (([],), ([2, 2],), ([1, 3],)),
        {"most": ("largest", "smallest")},
    ),
    Program(
        "best_window(values)",
        "returns the largest sum of $k neighbouring elements of the list `values`, or None if it has fewer than $k "
        "elements.",
        """
    sums = [sum(values[at : at + $k]) for at in range(len(values) - $k + 1)]
    return max(sums) if sums else None
""",
        _one_list,
        (([],), ([-5, -2],), ([-5, -2, -9, -1],)),
        {"k": (2, 3, 4)},
    ),
)
