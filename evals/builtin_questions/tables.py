"""Small text tables and what can be read from them or worked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from builtin_questions.drafts import Draft, Template, choice, label, number
from builtin_questions.draw import Draw

_SUBJECTS = (
    (
        "Bicycles sold by each shop",
        "Shop",
        ("Harbour", "Station", "Market", "Old Town", "Airport", "Campus"),
        ("January", "February", "March", "April"),
    ),
    (
        "Visitors of each museum, in hundreds",
        "Museum",
        ("Glass", "Railway", "Toy", "Maritime", "Folk Art", "Clock"),
        ("Spring", "Summer", "Autumn", "Winter"),
    ),
    (
        "Revenue of each division, in thousand dollars",
        "Division",
        ("Tools", "Paint", "Timber", "Garden", "Lighting", "Tiles"),
        ("2019", "2020", "2021", "2022"),
    ),
    (
        "Points of each team",
        "Team",
        ("Falcons", "Otters", "Badgers", "Comets", "Pilots", "Rovers"),
        ("Round 1", "Round 2", "Round 3", "Round 4"),
    ),
    (
        "Litres of water used by each farm, in thousands",
        "Farm",
        ("Hillside", "Meadow", "Brook", "Orchard", "Valley", "Windmill"),
        ("May", "June", "July", "August"),
    ),
)


@dataclass(frozen=True, slots=True)
class _Table:
    """Cells by row and column, with the words around them."""

    title: str
    corner: str
    cells: Mapping[str, Mapping[str, int]]

    @property
    def rows(self) -> list[str]:
        return list(self.cells)

    @property
    def columns(self) -> list[str]:
        return list(next(iter(self.cells.values())))

    def column(self, name: str) -> list[int]:
        return [row[name] for row in self.cells.values()]

    def ask(self, question: str) -> str:
        lines = [" | ".join([self.corner, *self.columns])]
        lines += [" | ".join([name, *map(str, row.values())]) for name, row in self.cells.items()]
        return f"{self.title}:\n\n" + "\n".join(lines) + f"\n\n{question}"


def _drawn(draw: Draw) -> _Table:
    """Draw a table in which no number occurs twice, so that every "most" is one."""
    title, corner, all_rows, all_columns = draw.pick(_SUBJECTS)
    rows = draw.some(all_rows, draw.whole(4, 6))
    columns = all_columns[: draw.whole(3, 4)]
    values = iter(draw.different(12, 240, len(rows) * len(columns)))
    return _Table(title, corner, {row: {column: next(values) for column in columns} for row in rows})


def _cell(draw: Draw) -> Draft:
    table = _drawn(draw)
    row, column = draw.pick(table.rows), draw.pick(table.columns)
    return number(
        table.ask(f"Which number does the table give for {row} in the column {column}?"), table.cells[row][column]
    )


def _row_total(draw: Draw) -> Draft:
    table = _drawn(draw)
    row = draw.pick(table.rows)
    return number(table.ask(f"What is the sum of all numbers in the row {row}?"), sum(table.cells[row].values()))


def _column_total(draw: Draw) -> Draft:
    table = _drawn(draw)
    column = draw.pick(table.columns)
    return number(table.ask(f"What is the total of the column {column}?"), sum(table.column(column)))


def _difference(draw: Draw) -> Draft:
    table = _drawn(draw)
    column = draw.pick(table.columns)
    one, two = sorted(draw.some(table.rows, 2), key=lambda row: table.cells[row][column])
    return number(
        table.ask(f"In the column {column}, by how much does {two} exceed {one}?"),
        table.cells[two][column] - table.cells[one][column],
    )


def _change(draw: Draw) -> Draft:
    table = _drawn(draw)
    row, first, last = draw.pick(table.rows), table.columns[0], table.columns[-1]
    before, after = table.cells[row][first], table.cells[row][last]
    word = "increase" if after > before else "decrease"
    return number(table.ask(f"By how much did the number of {row} {word} from {first} to {last}?"), abs(after - before))


def _above(draw: Draw) -> Draft:
    table = _drawn(draw)
    column, limit = draw.pick(table.columns), draw.whole(60, 180)
    return number(
        table.ask(f"In how many rows is the number in the column {column} greater than {limit}?"),
        sum(value > limit for value in table.column(column)),
    )


def _average(draw: Draw) -> Draft:
    table = _drawn(draw)
    row = draw.pick(table.rows)
    values = table.cells[row].values()
    return number(
        table.ask(
            f"What is the average (arithmetic mean) of the numbers in the row {row}? Give an exact number or a "
            "fraction."
        ),
        Fraction(sum(values), len(values)),
    )


def _extreme_row(draw: Draw) -> Draft:
    table = _drawn(draw)
    column, (word, best) = draw.pick(table.columns), draw.pick((("largest", max), ("smallest", min)))
    row = best(table.rows, key=lambda name: table.cells[name][column])
    return choice(
        table.ask(f"Which {table.corner.lower()} has the {word} number in the column {column}?"), table.rows, row
    )


def _second_row(draw: Draw) -> Draft:
    table = _drawn(draw)
    column = draw.pick(table.columns)
    row = sorted(table.rows, key=lambda name: table.cells[name][column])[-2]
    return choice(
        table.ask(f"Which {table.corner.lower()} has the second largest number in the column {column}?"),
        table.rows,
        row,
    )


def _extreme_total(draw: Draw) -> Draft:
    totals: list[int] = []
    while len(set(totals)) < max(len(totals), 1):
        table = _drawn(draw)
        totals = [sum(row.values()) for row in table.cells.values()]
    row = table.rows[totals.index(max(totals))]
    return choice(table.ask(f"Which {table.corner.lower()} has the largest total over all columns?"), table.rows, row)


def _most_growth(draw: Draw) -> Draft:
    growth: list[int] = []
    while len(set(growth)) < max(len(growth), 1) or max(growth) <= 0:
        table = _drawn(draw)
        first, last = table.columns[0], table.columns[-1]
        growth = [row[last] - row[first] for row in table.cells.values()]
    return choice(
        table.ask(f"Which {table.corner.lower()} gained the most, in absolute numbers, from {first} to {last}?"),
        table.rows,
        table.rows[growth.index(max(growth))],
    )


def _compare(draw: Draw) -> Draft:
    table = _drawn(draw)
    one, two = draw.some(table.rows, 2)
    totals = [sum(table.cells[row].values()) for row in (one, two)]
    return label(
        table.ask(f"Is the total of the row {one} greater than the total of the row {two}?"),
        ("yes", "no"),
        "yes" if totals[0] > totals[1] else "no",
    )


def _steady(draw: Draw) -> Draft:
    table, wanted = _drawn(draw), draw.chance(0.5)
    rows = [name for name, row in table.cells.items() if (list(row.values()) == sorted(row.values())) is wanted]
    name = draw.pick(rows or table.rows)
    rises = list(table.cells[name].values()) == sorted(table.cells[name].values())
    return label(
        table.ask(f"Does the number of {name} rise from each column to the next?"),
        ("yes", "no"),
        "yes" if rises else "no",
    )


TABLES: tuple[Template, ...] = (
    _cell,
    _row_total,
    _column_total,
    _difference,
    _change,
    _above,
    _average,
    _extreme_row,
    _second_row,
    _extreme_total,
    _most_growth,
    _compare,
    _steady,
)
