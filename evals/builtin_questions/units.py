"""Conversions between units of measure, and sums of mixed ones."""

from __future__ import annotations

from fractions import Fraction

from builtin_questions.drafts import Draft, Template, number, shown
from builtin_questions.draw import Draw

# Each row is of one kind of measure: names with their size in the row's first unit.
_SCALES: tuple[tuple[tuple[str, Fraction], ...], ...] = tuple(
    tuple((name, Fraction(size)) for name, size in scale)
    for scale in (
        (("millimetres", "1"), ("centimetres", "10"), ("metres", "1000"), ("kilometres", "1000000")),
        (("milligrams", "1"), ("grams", "1000"), ("kilograms", "1000000"), ("tonnes", "1000000000")),
        (("millilitres", "1"), ("centilitres", "10"), ("litres", "1000")),
        (("seconds", "1"), ("minutes", "60"), ("hours", "3600"), ("days", "86400")),
        (("square centimetres", "1"), ("square metres", "10000"), ("hectares", "100000000")),
        (("cubic centimetres", "1"), ("litres", "1000"), ("cubic metres", "1000000")),
        (("watts", "1"), ("kilowatts", "1000"), ("megawatts", "1000000")),
    )
)
_ASKED = ("Convert {} {} to {}.", "How much is {} {} in {}?", "Express {} {} in {}.")


def _metric(draw: Draw) -> Draft:
    scale = draw.pick(_SCALES)
    place = draw.whole(0, len(scale) - 2)
    (small, less), (large, more) = scale[place], scale[place + 1]
    if draw.chance(0.5):
        amount = Fraction(draw.whole(12, 480), draw.pick((1, 4, 10)))
        return number(draw.pick(_ASKED).format(shown(amount), large, small), amount * more / less)
    result = Fraction(draw.whole(3, 260), draw.pick((1, 4, 10)))
    return number(draw.pick(_ASKED).format(shown(result * more / less), small, large), result)


def _two_steps(draw: Draw) -> Draft:
    scale = draw.pick([each for each in _SCALES if len(each) > 2])
    place = draw.whole(0, len(scale) - 3)
    (small, less), (large, more) = scale[place], scale[place + 2]
    amount = Fraction(draw.whole(2, 90), draw.pick((1, 4, 10)))
    return number(draw.pick(_ASKED).format(shown(amount), large, small), amount * more / less)


def _inches(draw: Draw) -> Draft:
    if draw.chance(0.5):
        inches = draw.whole(4, 95)
        return number(f"One inch is 2.54 cm. How many centimetres are {inches} inches?", inches * Fraction("2.54"))
    feet, inches = draw.whole(3, 12), draw.whole(1, 11)
    return number(f"One foot is 12 inches. How many inches are {feet} feet {inches} inches?", 12 * feet + inches)


def _ounces(draw: Draw) -> Draft:
    pounds, ounces = draw.whole(3, 25), draw.whole(1, 15)
    return number(
        f"One pound is 16 ounces. A parcel weighs {pounds} pounds and {ounces} ounces. How many ounces is that?",
        16 * pounds + ounces,
    )


def _celsius(draw: Draw) -> Draft:
    celsius = 5 * draw.whole(-8, 40)
    if draw.chance(0.5):
        return number(f"What is {celsius} degrees Celsius in degrees Fahrenheit?", celsius * 9 // 5 + 32)
    return number(f"What is {celsius * 9 // 5 + 32} degrees Fahrenheit in degrees Celsius?", celsius)


def _speed(draw: Draw) -> Draft:
    metres = draw.whole(3, 60)
    if draw.chance(0.5):
        return number(f"A bird flies at {metres} metres per second. What is that in km/h?", metres * Fraction("3.6"))
    metres *= 5
    return number(f"A plane moves at {metres * 18 // 5} km/h. What is that in metres per second?", metres)


def _duration(draw: Draw) -> Draft:
    hours, minutes, seconds = draw.whole(1, 6), draw.whole(2, 58), draw.whole(2, 58)
    return number(
        f"How many seconds are {hours} hour{'s' if hours > 1 else ''}, {minutes} minutes and {seconds} seconds?",
        3600 * hours + 60 * minutes + seconds,
    )


def _ribbon(draw: Draw) -> Draft:
    piece, count = draw.whole(12, 45), draw.whole(9, 28)
    rest = draw.whole(1, piece - 1)
    metres, centimetres = divmod(piece * count + rest, 100)
    return number(
        f"A ribbon is {metres} m {centimetres} cm long. How many pieces of {10 * piece} mm can be cut from it?", count
    )


def _bottles(draw: Draw) -> Draft:
    size, count = draw.pick((150, 200, 250, 300, 400, 750)), draw.whole(6, 40)
    litres = Fraction(size * count, 1000)
    return number(f"How many bottles of {size} ml can be filled from {shown(litres)} litres of juice?", count)


def _memory(draw: Draw) -> Draft:
    if draw.chance(0.5):
        amount = draw.whole(3, 48)
        return number(f"One kibibyte is 1024 bytes. How many bytes are {amount} kibibytes?", 1024 * amount)
    size, count = draw.pick((4, 8, 16, 20, 40)), draw.whole(30, 240)
    return number(
        f"A gigabyte is 1000 megabytes. A disk has {shown(Fraction(size * count, 1000))} gigabytes free. How many "
        f"photos of {size} megabytes each fit on it?",
        count,
    )


def _downloads(draw: Draw) -> Draft:
    megabits, seconds = 8 * draw.whole(2, 25), draw.whole(12, 90)
    return number(
        f"A line carries {megabits} megabits per second, and a byte is 8 bits. How many megabytes does it carry in "
        f"{seconds} seconds?",
        megabits // 8 * seconds,
    )


UNITS: tuple[Template, ...] = (
    _metric,
    _two_steps,
    _inches,
    _ounces,
    _celsius,
    _speed,
    _duration,
    _ribbon,
    _bottles,
    _memory,
    _downloads,
)
