"""Percentages, ratios and rates, with answers that come out even."""

from __future__ import annotations

from fractions import Fraction

from builtin_questions.drafts import Draft, Template, number
from builtin_questions.draw import Draw

_GOODS = ("jacket", "bicycle", "lamp", "desk", "camera", "tent", "guitar", "suitcase", "heater", "carpet")


def _percent_of(draw: Draw) -> Draft:
    percent, whole = draw.whole(3, 95), 20 * draw.whole(4, 90)
    return number(f"What is {percent}% of {whole}?", Fraction(percent * whole, 100))


def _percent_change(draw: Draw) -> Draft:
    before, percent = 20 * draw.whole(5, 60), 5 * draw.whole(1, 15)
    up = draw.chance(0.5)
    after = before + (1 if up else -1) * before * percent // 100
    return number(
        f"The number of visitors to a museum {'rose' if up else 'fell'} from {before} in May to {after} in June. "
        f"By what percentage did it {'rise' if up else 'fall'}?",
        percent,
    )


def _before_discount(draw: Draw) -> Draft:
    price, percent = 20 * draw.whole(2, 40), draw.pick((5, 10, 15, 20, 25, 30, 35, 40, 45))
    return number(
        f"After a discount of {percent}%, a {draw.pick(_GOODS)} costs {price * (100 - percent) // 100} dollars. "
        f"What did it cost, in dollars, before the discount?",
        price,
    )


def _two_changes(draw: Draw) -> Draft:
    price, up, down = 100 * draw.whole(1, 12), 10 * draw.whole(1, 6), 10 * draw.whole(1, 5)
    return number(
        f"The price of a {draw.pick(_GOODS)} is {price} dollars. It is raised by {up}%, and later the new price is "
        f"reduced by {down}%. What is the price now, in dollars?",
        Fraction(price * (100 + up) * (100 - down), 10_000),
    )


def _ratio_split(draw: Draw) -> Draft:
    (a, b, c), unit = draw.different(2, 9, 3), draw.whole(6, 45)
    return number(
        f"Three partners share a profit of {(a + b + c) * unit} dollars in the ratio {a} : {b} : {c}. How many dollars "
        f"does the partner with the largest share get?",
        max(a, b, c) * unit,
    )


def _ratio_difference(draw: Draw) -> Draft:
    (a, b), unit = sorted(draw.different(3, 11, 2)), draw.whole(4, 30)
    return number(
        f"In a school choir the ratio of boys to girls is {a} : {b}. There are {(b - a) * unit} more girls than boys. "
        f"How many children sing in the choir?",
        (a + b) * unit,
    )


def _distance(draw: Draw) -> Draft:
    speed, quarters = 4 * draw.whole(10, 30), draw.whole(5, 23)
    hours, minutes = divmod(15 * quarters, 60)
    duration = f"{hours} hour{'s' if hours > 1 else ''}" + (f" and {minutes} minutes" if minutes else "")
    return number(
        f"A train travels at a constant {speed} km/h for {duration}. How many kilometres does it travel?",
        speed * quarters // 4,
    )


def _average_speed(draw: Draw) -> Draft:
    slow, fast, distance = draw.pick(
        (
            (40, 60, 120),
            (30, 60, 90),
            (60, 90, 180),
            (20, 30, 60),
            (12, 24, 48),
            (50, 75, 150),
            (30, 70, 210),
            (15, 60, 60),
        )
    )
    times = draw.whole(1, 4)
    return number(
        f"A driver covers {distance * times} km at {slow} km/h and returns along the same road at {fast} km/h. "
        f"What is the average speed of the whole trip, in km/h?",
        Fraction(2 * slow * fast, slow + fast),
    )


def _meeting(draw: Draw) -> Draft:
    a, b, hours = 5 * draw.whole(8, 20), 5 * draw.whole(8, 20), draw.whole(2, 6)
    return number(
        f"Two towns are {(a + b) * hours} km apart. A car leaves each town at the same moment, and they drive towards "
        f"each other at {a} km/h and {b} km/h. After how many hours do they meet?",
        hours,
    )


def _work_together(draw: Draw) -> Draft:
    a, b = draw.pick(
        ((3, 6), (4, 12), (6, 12), (10, 15), (12, 24), (20, 30), (6, 30), (5, 20), (8, 24), (9, 18), (4, 6))
    )
    job = draw.pick(("fill a pool", "paint a fence", "sort the post", "clear a field", "print a catalogue"))
    return number(
        f"One team needs {a} hours to {job}; another team needs {b} hours for the same job. How many hours do they "
        "need if they work together?",
        Fraction(a * b, a + b),
    )


def _workers(draw: Draw) -> Draft:
    workers, more, days = draw.whole(3, 10), draw.whole(1, 6), draw.whole(2, 8)
    return number(
        f"{workers} workers, all equally fast, need {days * (workers + more)} days to build a wall. How many days "
        f"would {workers + more} such workers need?",
        workers * days,
    )


def _simple_interest(draw: Draw) -> Draft:
    amount, rate, years = 100 * draw.whole(3, 60), draw.whole(2, 9), draw.whole(2, 7)
    return number(
        f"{amount} dollars are lent at {rate}% simple interest a year. How many dollars of interest are due after "
        f"{years} years?",
        Fraction(amount * rate * years, 100),
    )


def _compound_interest(draw: Draw) -> Draft:
    amount, rate = 1000 * draw.whole(1, 12), draw.pick((2, 3, 4, 5, 6, 8, 10))
    return number(
        f"An account holds {amount} dollars and earns {rate}% interest at the end of each year, which stays in the "
        f"account. How many dollars are in the account after 2 years?",
        amount * Fraction(100 + rate, 100) ** 2,
    )


def _mixture(draw: Draw) -> Draft:
    (a, b), weak, strong = draw.different(2, 9, 2), 5 * draw.whole(1, 5), 5 * draw.whole(6, 14)
    return number(
        f"{a} litres of a {weak}% salt solution are mixed with {b} litres of a {strong}% salt solution. How many "
        f"percent of the mixture is salt? Give an exact number or a fraction.",
        Fraction(a * weak + b * strong, a + b),
    )


def _recipe(draw: Draw) -> Draft:
    people, more, each = draw.pick((4, 5, 6, 8)), draw.whole(3, 15), 5 * draw.whole(9, 40)
    return number(
        f"A recipe for {people} people uses {people * each} g of flour. How many grams of flour are needed for "
        f"{people + more} people?",
        (people + more) * each,
    )


def _fuel(draw: Draw) -> Draft:
    per_hundred, distance, price = draw.whole(4, 9), 50 * draw.whole(5, 24), Fraction(draw.whole(14, 22), 10)
    return number(
        f"A car uses {per_hundred} litres of fuel per 100 km. Fuel costs {float(price):.2f} dollars per litre. What "
        f"does the fuel for a trip of {distance} km cost, in dollars?",
        per_hundred * Fraction(distance, 100) * price,
    )


def _map_scale(draw: Draw) -> Draft:
    scale, length = draw.pick((20_000, 25_000, 50_000, 100_000, 200_000)), Fraction(draw.whole(12, 95), 10)
    return number(
        f"On a map with the scale 1 : {scale}, two villages are {float(length):.1f} cm apart. How many kilometres "
        f"apart are they in reality?",
        length * scale / 100_000,
    )


def _share_of_share(draw: Draw) -> Draft:
    a, b, unit = 10 * draw.whole(2, 8), 10 * draw.whole(1, 9), draw.whole(2, 12)
    total = 100 * unit
    return number(
        f"Of the {total} pupils of a school, {a}% play an instrument, and {b}% of those play the piano. How many "
        "pupils play the piano?",
        total * a * b // 10_000,
    )


def _pumps(draw: Draw) -> Draft:
    fill, leak, minutes = draw.whole(18, 60), draw.whole(3, 15), draw.whole(8, 50)
    return number(
        f"A pump brings {fill} litres of water a minute into an empty tank, while {leak} litres a minute leak out. The "
        f"tank holds {(fill - leak) * minutes} litres. After how many minutes is it full?",
        minutes,
    )


RATES: tuple[Template, ...] = (
    _percent_of,
    _percent_change,
    _before_discount,
    _two_changes,
    _ratio_split,
    _ratio_difference,
    _distance,
    _average_speed,
    _meeting,
    _work_together,
    _workers,
    _simple_interest,
    _compound_interest,
    _mixture,
    _recipe,
    _fuel,
    _map_scale,
    _share_of_share,
    _pumps,
)
