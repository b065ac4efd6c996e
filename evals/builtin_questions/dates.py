"""Calendar and clock: weekdays, days between dates, leap years, times of day."""

from __future__ import annotations

from datetime import date, timedelta

from builtin_questions.drafts import Draft, Template, choice, label, number
from builtin_questions.draw import Draw
from builtin_questions.texts import people

# Spelled out, because strftime speaks the language of the machine.
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _shown(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _day(draw: Draw, first: int = 1950, last: int = 2049) -> date:
    start = date(first, 1, 1)
    return start + timedelta(draw.whole(0, (date(last, 12, 31) - start).days))


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def _weekday_later(draw: Draw) -> Draft:
    today, days = draw.whole(0, 6), draw.whole(18, 400)
    if draw.chance(0.5):
        question = f"Today is {_WEEKDAYS[today]}. Which day of the week will it be in {days} days?"
        return choice(question, _WEEKDAYS, _WEEKDAYS[(today + days) % 7])
    question = f"Today is {_WEEKDAYS[today]}. Which day of the week was it {days} days ago?"
    return choice(question, _WEEKDAYS, _WEEKDAYS[(today - days) % 7])


def _weekday_from_weekday(draw: Draw) -> Draft:
    first = _day(draw)
    second = first + timedelta(draw.whole(20, 500))
    return choice(
        f"If {_shown(first)} is a {_WEEKDAYS[first.weekday()]}, which day of the week is {_shown(second)}?",
        _WEEKDAYS,
        _WEEKDAYS[second.weekday()],
    )


def _days_between(draw: Draw) -> Draft:
    first = _day(draw)
    second = first + timedelta(draw.whole(25, 330))
    return number(
        f"How many days after {_shown(first)} is {_shown(second)}? (The day after a date counts as 1 day after it.)",
        (second - first).days,
    )


def _days_later(draw: Draw) -> Draft:
    first, days = _day(draw), draw.whole(30, 150)
    right = first + timedelta(days)
    wrong = [right + timedelta(shift) for shift in draw.some((-31, -30, -2, -1, 1, 2, 30), 3)]
    options = [_shown(day) for day in draw.shuffled([right, *wrong])]
    return choice(f"Which date is {days} days after {_shown(first)}?", options, _shown(right))


def _leap_year(draw: Draw) -> Draft:
    year = draw.pick((draw.whole(1801, 2199), 4 * draw.whole(451, 549), 100 * draw.whole(16, 28)))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return label(f"Is {year} a leap year in the Gregorian calendar?", ("yes", "no"), "yes" if leap else "no")


def _days_in(draw: Draw) -> Draft:
    year, month = draw.whole(1990, 2060), draw.whole(1, 9)
    count = draw.whole(2, 3)
    months = [(month + step) for step in range(count)]
    after = date(year, months[-1] + 1, 1)
    return number(
        f"How many days do {', '.join(_MONTHS[each - 1] for each in months[:-1])} and {_MONTHS[months[-1] - 1]} of the "
        f"year {year} have together?",
        (after - date(year, month, 1)).days,
    )


def _day_of_year(draw: Draw) -> Draft:
    day = _day(draw)
    return number(
        f"1 January is the first day of a year. Which day of the year is {_shown(day)}? Give its number.",
        day.timetuple().tm_yday,
    )


def _age(draw: Draw) -> Draft:
    name, born, day = draw.pick(people()), _day(draw, 1950, 1999), _day(draw, 2005, 2040)
    if (born.month, born.day) == (2, 29):
        born += timedelta(1)
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return number(f"{name} was born on {_shown(born)}. How many full years old is {name} on {_shown(day)}?", years)


def _arrival(draw: Draw) -> Draft:
    start, minutes = 5 * draw.whole(0, 287), 5 * draw.whole(15, 140) + draw.whole(0, 4)
    hours, rest = divmod(minutes, 60)
    lasts = f"{hours} hour{'s' if hours > 1 else ''} and {rest} minute{'' if rest == 1 else 's'}"
    right = start + minutes
    wrong = [right + shift for shift in draw.some((-60, -40, -10, 10, 40, 60), 3)]
    return choice(
        f"A coach leaves at {_clock(start)} (24-hour clock), and the journey takes {lasts}. What time is it on "
        "arrival?",
        [_clock(each) for each in draw.shuffled([right, *wrong])],
        _clock(right),
    )


def _minutes_between(draw: Draw) -> Draft:
    start, minutes = draw.whole(300, 1200), draw.whole(35, 700)
    return number(
        f"A shift begins at {_clock(start)} and ends at {_clock(start + minutes)} (24-hour clock), less than a day "
        "later. How many minutes does it last?",
        minutes,
    )


def _slow_clock(draw: Draw) -> Draft:
    per_hour, hours = draw.whole(2, 6), draw.whole(4, 20)
    return number(
        f"A clock is set right and then loses {per_hour} minutes in every hour of true time. How many minutes behind "
        f"is it {hours} hours later?",
        per_hour * hours,
    )


DATES: tuple[Template, ...] = (
    _weekday_later,
    _weekday_from_weekday,
    _days_between,
    _days_later,
    _leap_year,
    _days_in,
    _day_of_year,
    _age,
    _arrival,
    _minutes_between,
    _slow_clock,
)
