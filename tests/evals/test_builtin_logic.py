"""Laws of the built-in riddles: every answer is found a second time, from the text of the question alone."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise, permutations, product

from builtin_sets import chosen, only, questions_of

from avengers_edge.calibration.questions import Question

PERSON = r"([A-Z][a-z]+) is a (knight|knave)"


def believed(claim: str, world: dict[str, bool]) -> bool:
    """What an islander's sentence is worth in a world."""

    def holds(match: re.Match[str] | tuple[str, str]) -> bool:
        name, kind = (match[1], match[2]) if isinstance(match, re.Match) else match
        return world[name] is (kind == "knight")

    if found := re.fullmatch(rf"If {PERSON}, then {PERSON}", claim):
        return not holds((found[1], found[2])) or holds((found[3], found[4]))
    if found := re.fullmatch(rf"{PERSON} (or|and) {PERSON}", claim):
        both = holds((found[1], found[2])), holds((found[4], found[5]))
        return any(both) if found[3] == "or" else all(both)
    if found := re.fullmatch(r"(\w+) and (\w+) are of (the same kind|different kinds)", claim):
        return (world[found[1]] is world[found[2]]) is (found[3] == "the same kind")
    if found := re.fullmatch(r"(Exactly|At least) (\d) of us (\d) (?:is a|are) (knight|knave)s?", claim):
        assert int(found[3]) == len(world)
        count = list(world.values()).count(found[4] == "knight")
        return count == int(found[2]) if found[1] == "Exactly" else count >= int(found[2])
    simple = re.fullmatch(PERSON, claim)
    assert simple is not None, claim
    return holds(simple)


def test_only_one_island_fits_what_was_said() -> None:
    for item in questions_of("knights"):
        said = {}
        for line in item.question.splitlines()[1:-1]:
            claim = only(re.findall(r'"(.+?)[.,]"', line))
            said[only(re.findall(r"(\w+) (?:says|tells you):|says (\w+)\.$", line)[0:1])[0 if ":" in line else 1]] = (
                claim
            )
        meeting = only(re.findall(r"You meet (.+)\.\n", item.question))
        assert list(said) == re.split(", | and ", meeting)
        worlds = [dict(zip(said, kinds, strict=True)) for kinds in product((True, False), repeat=len(said))]
        fitting = [world for world in worlds if all(believed(said[name], world) is world[name] for name in world)]
        answer = {name: kind == "knight" for name, kind in re.findall(PERSON, str(item.answer))}
        assert fitting == [answer], item
        assert list(answer) == list(said)


def test_expressions_have_the_value_python_gives_them() -> None:
    for item in questions_of("boolean"):
        lines = item.question.splitlines()
        if "true or false" in lines[1]:
            continue
        values = {name: value == "True" for name, value in re.findall(r"\b([pqrs]) is (True|False)", lines[0])}
        assert str(eval(lines[1], {}, values)) == item.answer, item


RULES = {
    "alarm": ("door is open", "guard is away", "There is smoke", lambda a, b, c: c or (a and b)),
    "pump": ("half empty", "power is on", "Nobody has", lambda a, b, c: a and b and c),
    "atlas": ("is valid.", "fees are paid.", "A teacher signs.", lambda a, b, c: (a and b) or (a and c)),
    "lift": ("lift is shut", "Five people", "has not locked the", lambda a, b, c: a and b and c),
}


def test_rules_of_everyday_are_kept() -> None:
    items = [item for item in questions_of("boolean") if "in no other case" in item.question]
    assert items
    for item in items:
        facts = item.question.partition("in no other case. ")[2]
        *words, rule = only([rule for word, rule in RULES.items() if word in item.question])
        assert str(rule(*(each in facts for each in words))) == item.answer, item


# Figure and mood of the syllogisms that hold without a claim of existence (Aristotle's, less the weakened ones).
# A: all are, E: none are, I: some are, O: some are not; middle term M, conclusion from S to P.
FIGURES = {
    ("MP", "SM"): {"AAA", "EAE", "AII", "EIO"},
    ("PM", "SM"): {"EAE", "AEE", "EIO", "AOO"},
    ("MP", "MS"): {"IAI", "AII", "OAO", "EIO"},
    ("PM", "MS"): {"AEE", "IAI", "EIO"},
}
FORMS = (
    ("O", r"Some (.+) are not (.+)"),
    ("A", r"All (.+) are (.+)"),
    ("E", r"No (.+) are (.+)"),
    ("I", r"Some (.+) are (.+)"),
)


def read(sentence: str) -> tuple[str, str, str]:
    for form, pattern in FORMS:
        if found := re.fullmatch(pattern, sentence):
            return form, found[1], found[2]
    raise AssertionError(sentence)


def stands(first: tuple[str, str, str], second: tuple[str, str, str], conclusion: tuple[str, str, str]) -> bool:
    """Look an argument up in the table, with either order of its premises and of a conclusion that can be turned."""
    (form, subject, predicate) = conclusion
    ways = [(subject, predicate)] + ([(predicate, subject)] if form in "EI" else [])
    for minor, major in ways:
        for one, two in ((first, second), (second, first)):
            if major in one[1:] and minor in two[1:]:
                names = {minor: "S", major: "P"}
                figure = tuple("".join(names.get(term, "M") for term in each[1:]) for each in (one, two))
                if one[0] + two[0] + form in FIGURES[figure]:
                    return True
    return False


def test_syllogisms_are_valid_by_the_table_of_the_fifteen() -> None:
    for item in questions_of("syllogisms"):
        parts = re.findall(r"(?:Premise \d|Conclusion): (.+)\.", item.question)
        if "need not be any members" in item.question:
            first, second, conclusion = (read(part) for part in parts)
            assert item.answer == ("valid" if stands(first, second, conclusion) else "invalid"), item


NEGATIONS = [
    (r"it does not rain", "it rains"),
    (r"nobody is at home", "somebody is at home"),
    (r"no stranger is near", "a stranger is near"),
    (r"it is not so that more people buy", "more people buy"),
    (r"(.+) (?:does|do) not (bark|stay|hold|fall|fail|run|buy)\b(.*)", r"\1 \2s\3"),
    (r"(.+) is not (.+)", r"\1 is \2"),
]


def literal(words: str) -> tuple[str, bool]:
    """A clause without its negation, and whether it is asserted."""
    words = words[:1].lower() + words[1:]
    for pattern, positive in NEGATIONS:
        if found := re.fullmatch(pattern, words):
            return found.expand(positive), False
    return words, True


def clause(sentence: str) -> list[tuple[str, bool]]:
    """A sentence as alternatives of which one must hold."""
    for pattern, order in (
        (r"If (.+), then (.+)", (1, 2)),
        (r"(.+) whenever (.+)", (2, 1)),
        (r"(.+) only if (.+)", (1, 2)),
        (r"(.+) if (.+)", (2, 1)),
    ):
        if found := re.fullmatch(pattern, sentence):
            (name, so), after = literal(found[order[0]]), literal(found[order[1]])
            return [(name, not so), after]
    if found := re.fullmatch(r"Unless (.+), (.+)", sentence):
        return [literal(found[1]), literal(found[2])]
    return [literal(each) for each in sentence.split(" or ")]


def test_conditionals_are_valid_by_their_truth_table() -> None:
    for item in questions_of("syllogisms"):
        if "need not be any members" in item.question:
            continue
        parts = [clause(part) for part in re.findall(r"(?:Premise \d|Conclusion): (.+)\.", item.question)]
        names = sorted({name for part in parts for name, _ in part})
        assert len(names) == (3 if "If" in item.question.rpartition("Conclusion")[2] else 2), item
        valid = True
        for values in product((True, False), repeat=len(names)):
            world = dict(zip(names, values, strict=True))
            first, second, conclusion = (any(world[name] is so for name, so in part) for part in parts)
            valid = valid and (not (first and second) or conclusion)
        assert item.answer == ("valid" if valid else "invalid"), item


PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}
NTH = "(" + "|".join(PLACES) + ")"


def fits(hint: str, order: tuple[str, ...]) -> bool:
    """Whether an order, from the first, the left or the tallest, agrees with a hint."""
    at = {name: place for place, name in enumerate(order)}
    for pattern, agrees in (
        (r"(.+) (?:finished before|stands somewhere to the left of|is taller than) (.+)", lambda a, b: at[a] < at[b]),
        (r"(.+) (?:finished after|stands somewhere to the right of|is shorter than) (.+)", lambda a, b: at[a] > at[b]),
        (r"(.+) stands directly to the right of (.+)", lambda a, b: at[a] == at[b] + 1),
        (r"(.+) came in directly after (.+)", lambda a, b: at[a] == at[b] + 1),
        (r"(.+) comes directly after (.+) when they line up.*", lambda a, b: at[a] == at[b] + 1),
        (rf"(.+) (?:did not finish|is not) {NTH}\b.*", lambda a, nth: at[a] != PLACES[nth]),
        (rf"(.+) (?:finished|is) {NTH}\b.*", lambda a, nth: at[a] == PLACES[nth]),
    ):
        if found := re.fullmatch(pattern, hint):
            return bool(agrees(*found.groups()))
    raise AssertionError(hint)


def test_hints_leave_one_order_and_every_hint_is_needed() -> None:
    for item in questions_of("ordering"):
        assert item.choices is not None
        hints = item.question.splitlines()[0].split(". ")
        hints, asked = hints[1:-1], hints[-1]
        hints = [hint[:1].lower() + hint[1:] if hint.startswith("The ") else hint for hint in hints]
        orders = list(permutations(item.choices))
        left = [order for order in orders if all(fits(hint, order) for hint in hints)]
        assert only(left)[PLACES[only(re.findall(NTH, asked))]] == chosen(item), item
        for hint in hints:
            assert sum(all(fits(other, order) for other in hints if other != hint) for order in orders) > 1, item


def test_things_end_where_the_moves_take_them() -> None:
    for item in questions_of("tracking"):
        text = item.question.partition("\n")[0]
        if "cups" in text:
            row = [place == only(re.findall(r"under the (\w+) cup\.", text)) for place in ("left", "middle", "right")]
            for one, two in re.findall(r"the (\w+) and the (\w+) cup", text):
                a, b = (("left", "middle", "right").index(each) for each in (one, two))
                row[a], row[b] = row[b], row[a]
            assert chosen(item) == f"the {('left', 'middle', 'right')[row.index(True)]} cup"
        elif "facing" in text:
            way = {"north": 1j, "east": 1, "south": -1j, "west": -1}
            facing = way[only(re.findall(r"facing (\w+)", text))]
            for turn in re.findall(r"turns (left|right|around)", text):
                facing *= {"left": 1j, "right": -1j, "around": -1}[turn]
            assert way[chosen(item)] == facing
        elif "straight line" in text:
            place = sum(
                int(metres) * {"north": 1j, "east": 1, "south": -1j, "west": -1}[to]
                for metres, to in re.findall(r"(\d+) m (\w+)", text)
            )
            assert Fraction(str(item.answer)) ** 2 == Fraction(place.real) ** 2 + Fraction(place.imag) ** 2
        else:
            start = re.split(", | and ", text.partition(": ")[2].partition(". ")[0])
            holding = dict(each.split(" ", 1) for each in start)
            for one, two in re.findall(r"(\w+) and (\w+) swap", text):
                holding[one], holding[two] = holding[two], holding[one]
            assert chosen(item) == holding[only(re.findall(r"does (\w+) have", text))], item


DAY = r"(\d{1,2} [A-Z][a-z]+ \d{4})"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = {name: number for number, name in enumerate(calendar.month_name) if name}


def day(written: str) -> date:
    number, month, year = written.split()
    return date(int(year), MONTHS[month], int(number))


def is_day(year: int, month: int, number: int) -> bool:
    try:
        date(year, month, number)
    except ValueError:
        return False
    return True


def date_answer(text: str) -> object:
    """The answer to a question about days and times, by the standard library's calendar."""
    days = [day(each) for each in re.findall(DAY, text)]
    clocks = [datetime.strptime(each, "%H:%M") for each in re.findall(r"\b\d\d:\d\d\b", text)]
    if found := re.search(r"Today is (\w+)\. .* (?:in (\d+) days|(\d+) days ago)", text):
        shift = int(found[2]) if found[2] else -int(found[3])
        return WEEKDAYS[(date(2024, 1, 1) + timedelta(WEEKDAYS.index(found[1]) + shift)).weekday()]
    if "which day of the week is" in text:
        assert WEEKDAYS[days[0].weekday()] == only(re.findall(r"is a (\w+day)", text))
        return WEEKDAYS[days[1].weekday()]
    if "How many days after" in text:
        return (days[1] - days[0]).days
    if found := re.search(r"Which date is (\d+) days after", text):
        return days[0] + timedelta(int(found[1]))
    if found := re.search(r"Is (\d+) a leap year", text):
        return "yes" if is_day(int(found[1]), 2, 29) else "no"
    if found := re.search(r"How many days do (.+) of the year (\d+)", text):
        months = [MONTHS[each] for each in re.split(", | and ", found[1])]
        return sum(is_day(int(found[2]), month, number) for month in months for number in range(1, 32))
    if "day of the year" in text:
        return (days[0] - date(days[0].year, 1, 1)).days + 1
    if "full years old" in text:
        years = 0
        while days[0].replace(year=days[0].year + years + 1) <= days[1]:
            years += 1
        return years
    if found := re.search(r"takes (\d+) hours? and (\d+) minutes?", text):
        return (clocks[0] + timedelta(hours=int(found[1]), minutes=int(found[2]))).strftime("%H:%M")
    if "A shift" in text:
        return (clocks[1] - clocks[0]).total_seconds() / 60 % (24 * 60)
    found = re.search(r"loses (\d+) minutes in every hour .* is it (\d+) hours later", text)
    assert found is not None, text
    return int(found[1]) * int(found[2])


def test_dates_agree_with_the_calendar() -> None:
    for item in questions_of("dates"):
        expected = date_answer(item.question.partition("\n")[0])
        if item.answer_type == "choice":
            assert expected == (day(chosen(item)) if isinstance(expected, date) else chosen(item)), item
        elif item.answer_type == "label":
            assert item.answer == expected, item
        else:
            assert Fraction(str(item.answer)) == Fraction(str(expected)), item


def table_answer(item: Question) -> object:
    """The answer to a question about a table, from the table in its text."""
    _, table, question = item.question.split("\n\n")
    question = question.partition("\n")[0]
    header, *lines = (line.split(" | ") for line in table.splitlines())
    rows = {name: dict(zip(header[1:], map(int, cells), strict=True)) for name, *cells in lines}
    named = sorted((name for name in rows if re.search(rf"\b{name}\b", question)), key=question.index)
    columns = [name for name in header[1:] if re.search(rf"\b{name}\b", question)]
    total = {name: sum(row.values()) for name, row in rows.items()}
    by_column = sorted(rows, key=lambda name: rows[name][columns[0]]) if columns else []
    if "Which number" in question:
        return rows[named[0]][columns[0]]
    if "sum of all numbers" in question:
        return total[named[0]]
    if "total of the column" in question:
        return sum(row[columns[0]] for row in rows.values())
    if "exceed" in question:
        return rows[named[0]][columns[0]] - rows[named[1]][columns[0]]
    if found := re.search(r"did the number of .+ (increase|decrease)", question):
        grown = rows[named[0]][header[-1]] - rows[named[0]][header[1]]
        return grown if found[1] == "increase" else -grown
    if found := re.search(r"greater than (\d+)\?", question):
        return sum(row[columns[0]] > int(found[1]) for row in rows.values())
    if "average" in question:
        return Fraction(total[named[0]], len(header) - 1)
    if "second largest" in question:
        return by_column[-2]
    if "number in the column" in question:
        return by_column[-1 if "largest" in question else 0]
    if "largest total" in question:
        return max(total, key=total.__getitem__)
    if "gained the most" in question:
        return max(rows, key=lambda name: rows[name][header[-1]] - rows[name][header[1]])
    if "greater than the total" in question:
        return "yes" if total[named[0]] > total[named[1]] else "no"
    assert "rise from each" in question
    cells = list(rows[named[0]].values())
    return "yes" if all(a < b for a, b in pairwise(cells)) else "no"


def test_tables_say_what_the_answer_says() -> None:
    for item in questions_of("tables"):
        expected = table_answer(item)
        given_answer = chosen(item) if item.answer_type == "choice" else str(item.answer)
        if item.answer_type == "number":
            assert Fraction(given_answer) == Fraction(str(expected)), item
            assert Fraction(given_answer) >= 0
        else:
            assert given_answer == expected, item
