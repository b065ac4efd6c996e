"""Stories with whole numbers that take two to five steps."""

from __future__ import annotations

from builtin_questions.drafts import Draft, Template, number
from builtin_questions.draw import Draw
from builtin_questions.texts import people


def _bakery(draw: Draw) -> Draft:
    sold, rolls, extra = draw.whole(3, 9), draw.whole(10, 24), draw.whole(7, 35)
    trays = sold + draw.whole(4, 8)
    return number(
        f"A baker fills {trays} trays with {rolls} rolls each. In the morning {sold} full trays are sold, and at noon "
        f"an inn takes {extra} single rolls. How many rolls are left?",
        (trays - sold) * rolls - extra,
    )


def _reading(draw: Draw) -> Draft:
    name, pages, days, faster, rest = (
        draw.pick(people()),
        draw.whole(12, 30),
        draw.whole(4, 9),
        draw.whole(5, 18),
        draw.whole(2, 7),
    )
    total = pages * days + (pages + faster) * rest
    return number(
        f"{name} reads {pages} pages of a novel on each of the first {days} days. After that, {name} reads {faster} "
        f"more pages a day than before and finishes the novel in another {rest} days. How many pages does the novel "
        "have?",
        total,
    )


def _savings(draw: Draw) -> Draft:
    name, weekly, spent, weeks = draw.pick(people()), draw.whole(12, 40), draw.whole(3, 9), draw.whole(5, 12)
    goal = (weekly - spent) * weeks
    return number(
        f"{name} gets {weekly} dollars of pocket money a week, spends {spent} dollars of it every week and saves the "
        f"rest. A pair of skates costs {goal} dollars. For how many weeks must {name} save to buy the skates?",
        weeks,
    )


def _orchard(draw: Draw) -> Draft:
    rows, trees, fruit, crate = draw.whole(4, 12), draw.whole(5, 14), draw.whole(3, 9), draw.pick((4, 5, 6, 8))
    return number(
        f"An orchard has {rows} rows of {trees} trees. Every tree gives {fruit * crate} kg of apples, and the apples "
        f"are packed into crates of {crate} kg. How many crates are filled?",
        rows * trees * fruit,
    )


def _bus(draw: Draw) -> Draft:
    start, off, on = draw.whole(20, 45), draw.whole(5, 15), draw.whole(6, 20)
    start += (start - off + on) % 2
    more = draw.whole(3, 12)
    return number(
        f"A bus leaves the depot with {start} passengers. At the first stop {off} get off and {on} get on. At the "
        f"second stop half of the passengers get off and {more} get on. How many passengers are on the bus now?",
        (start - off + on) // 2 + more,
    )


def _tickets(draw: Draw) -> Draft:
    adult, child = draw.whole(9, 18), draw.whole(4, 8)
    adults, children, discount = draw.whole(2, 6), draw.whole(3, 12), draw.whole(5, 20)
    return number(
        f"A zoo ticket costs {adult} dollars for an adult and {child} dollars for a child. A group of {adults} adults "
        f"and {children} children has a voucher that takes {discount} dollars off the total. How much does the group "
        "pay, in dollars?",
        adult * adults + child * children - discount,
    )


def _change(draw: Draw) -> Draft:
    name, pens, pads = draw.pick(people()), draw.whole(3, 9), draw.whole(2, 6)
    pen, pad = draw.whole(2, 4), draw.whole(5, 9)
    return number(
        f"{name} buys {pens} pens at {pen} dollars each and {pads} notepads at {pad} dollars each and pays with a "
        f"100-dollar note. How many dollars of change does {name} get?",
        100 - pens * pen - pads * pad,
    )


def _ages(draw: Draw) -> Draft:
    (older, younger), now, years = draw.some(people(), 2), draw.whole(5, 14), draw.whole(3, 12)
    factor = draw.whole(2, 4)
    return number(
        f"{older} is {factor} times as old as {younger}, who is {now} years old. How old will {older} be when "
        f"{younger} is {now + years}?",
        factor * now + years,
    )


def _ages_sum(draw: Draw) -> Draft:
    (a, b), young, gap, back = draw.some(people(), 2), draw.whole(12, 35), draw.whole(3, 15), draw.whole(2, 9)
    return number(
        f"{a} is {gap} years older than {b}. Together they are {2 * young + gap} years old. How old was {a} {back} "
        "years ago?",
        young + gap - back,
    )


def _fence(draw: Draw) -> Draft:
    length, width, gap = draw.whole(8, 30), draw.whole(5, 20), draw.pick((2, 3, 4))
    length, width = length * gap, width * gap
    return number(
        f"A rectangular garden is {length} m long and {width} m wide. Posts are set all the way around it, one in each "
        f"corner and one every {gap} m along the sides. How many posts are there?",
        2 * (length + width) // gap,
    )


def _tiles(draw: Draw) -> Draft:
    length, width, side = draw.whole(3, 9), draw.whole(2, 7), draw.pick((20, 25, 50))
    return number(
        f"A floor of {length} m by {width} m is covered with square tiles whose sides are {side} cm long. How many "
        "tiles are needed?",
        length * width * (100 // side) ** 2,
    )


def _stairs(draw: Draw) -> Draft:
    floors, steps, trips = draw.whole(3, 9), draw.whole(14, 26), draw.whole(2, 6)
    name = draw.pick(people())
    return number(
        f"{name} lives {floors} floors above the ground floor, with {steps} steps between one floor and the next. "
        f"Yesterday {name} went out {trips} times and came home every time, always by the stairs. How many steps did "
        f"{name} climb or descend?",
        2 * floors * steps * trips,
    )


def _snail(draw: Draw) -> Draft:
    slip = draw.whole(1, 3)
    climb, days = slip + draw.whole(1, 4), draw.whole(4, 15)
    depth = (climb - slip) * (days - 1) + climb
    return number(
        f"A snail sits at the bottom of a well that is {depth} m deep. Every day it climbs {climb} m, and every night "
        f"it slips back {slip} m. On which day does it reach the top?",
        days,
    )


def _heads_and_legs(draw: Draw) -> Draft:
    hens, cows = draw.whole(7, 40), draw.whole(5, 30)
    return number(
        f"A farmer counts {hens + cows} heads and {2 * hens + 4 * cows} legs among the hens and cows of the farm. How "
        "many cows are there?",
        cows,
    )


def _coins(draw: Draw) -> Draft:
    fives, tens = draw.whole(5, 30), draw.whole(5, 30)
    return number(
        f"A box holds {fives + tens} coins, some worth 5 cents and the rest 10 cents. Together they are worth "
        f"{5 * fives + 10 * tens} cents. How many 10-cent coins are in the box?",
        tens,
    )


def _sharing(draw: Draw) -> Draft:
    children, each, rest, eaten = draw.whole(4, 9), draw.whole(5, 14), draw.whole(1, 3), draw.whole(2, 4)
    return number(
        f"A bag of {children * each + rest} sweets is shared evenly among {children} children, as far as that is "
        f"possible. Every child eats {eaten} sweets at once and keeps the others. How many sweets are still uneaten, "
        "including those that could not be shared?",
        children * (each - eaten) + rest,
    )


def _wages(draw: Draw) -> Draft:
    name, wage, hours, extra = draw.pick(people()), 2 * draw.whole(6, 15), draw.whole(30, 40), draw.whole(3, 10)
    return number(
        f"{name} earns {wage} dollars an hour. Overtime is paid one and a half times as well. Last week {name} worked "
        f"{hours} normal hours and {extra} hours of overtime. How many dollars did {name} earn last week?",
        wage * hours + wage * 3 // 2 * extra,
    )


def _library(draw: Draw) -> Draft:
    shelves, books, lent = draw.whole(5, 12), 3 * draw.whole(8, 20), draw.whole(4, 30)
    return number(
        f"A library has {shelves} shelves with {books} books each. A third of all the books are novels. Of the novels, "
        f"{lent} are lent out. How many novels are in the library right now?",
        shelves * books // 3 - lent,
    )


def _candles(draw: Draw) -> Draft:
    burn, hours = draw.whole(1, 3), draw.whole(3, 5)
    height = 2 * burn * hours + draw.whole(2, 15)
    return number(
        f"A candle is {height} cm tall and gets {burn * 10} mm shorter every hour. It burns for {hours} hours on each "
        "of two evenings. How many centimetres tall is it then?",
        height - 2 * burn * hours,
    )


def _printing(draw: Draw) -> Draft:
    a, b, minutes, jam = draw.whole(12, 30), draw.whole(12, 30), draw.whole(6, 20), draw.whole(2, 5)
    return number(
        f"Two printers start at the same time. The first prints {a} pages a minute and the second {b} pages a minute. "
        f"The second one jams after {jam} minutes and stays out of order, while the first goes on. How many pages have "
        f"the two printed {minutes} minutes after the start?",
        a * minutes + b * jam,
    )


def _chairs(draw: Draw) -> Draft:
    rows, chairs, fewer, guests = draw.whole(6, 14), draw.whole(12, 22), draw.whole(2, 4), draw.whole(20, 60)
    return number(
        f"A hall has {rows} rows of {chairs} chairs and, at the back, {fewer} rows of {chairs - 4} chairs. If {guests} "
        f"chairs are taken, how many chairs are free?",
        rows * chairs + fewer * (chairs - 4) - guests,
    )


def _marbles(draw: Draw) -> Draft:
    (a, b, c), less, times = draw.some(people(), 3), draw.whole(4, 12), draw.whole(2, 4)
    own = draw.whole(14, 40)
    return number(
        f"{a} has {own} marbles. {b} has {less} fewer marbles than {a}, and {c} has {times} times as many as {b}. How "
        "many marbles do the three have together?",
        own + (own - less) * (1 + times),
    )


def _gift(draw: Draw) -> Draft:
    friends, each, short = draw.whole(4, 9), draw.whole(6, 15), draw.whole(2, 3)
    price = friends * each * (friends - short)
    return number(
        f"{friends} friends want to buy a gift for {price} dollars and share the cost evenly. Then {short} of them "
        "drop out. How many dollars more does each of the others have to pay?",
        friends * each - (friends - short) * each,
    )


def _walk(draw: Draw) -> Draft:
    name, metres, laps, rest = draw.pick(people()), 50 * draw.whole(4, 12), draw.whole(3, 9), 100 * draw.whole(5, 25)
    return number(
        f"{name} runs {laps} laps of {metres} m around a lake and then walks {rest} m home. {name} does this 3 times a "
        f"week. How many metres is that in 2 weeks?",
        6 * (laps * metres + rest),
    )


def _eggs(draw: Draw) -> Draft:
    hens, days, used = draw.whole(8, 20), draw.pick((6, 12, 18)), draw.whole(1, 3)
    return number(
        f"Each of {hens} hens lays one egg a day. The farmer's family eats {used} eggs a day and sells the others in "
        f"boxes of 6. How many boxes can it sell after {days} days?",
        (hens - used) * days // 6,
    )


WORD_PROBLEMS: tuple[Template, ...] = (
    _bakery,
    _reading,
    _savings,
    _orchard,
    _bus,
    _tickets,
    _change,
    _ages,
    _ages_sum,
    _fence,
    _tiles,
    _stairs,
    _snail,
    _heads_and_legs,
    _coins,
    _sharing,
    _wages,
    _library,
    _candles,
    _printing,
    _chairs,
    _marbles,
    _gift,
    _walk,
    _eggs,
)
