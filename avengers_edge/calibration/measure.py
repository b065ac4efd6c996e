"""Questions in, outcomes out: every member answers every question, many in one batch, and each answer is graded.

Each result is a line of its own, on disk before the next is looked at; run again, it goes on where it stopped. At the
end the lines of a question are joined.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avengers_edge._util.jsonl import as_line, drop_partial_line, sole_writer
from avengers_edge._util.timing import Eta
from avengers_edge.calibration.outcomes import OutcomeRow, add, as_values, read_lines, restricted, write_outcomes
from avengers_edge.calibration.questions import Question, group_of
from avengers_edge.engine.protocol import ManagedEngine, generate_many
from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.inquiry import Inquiry
from avengers_edge.records import MOST_SAMPLES, Ask, Generation, Member, Request, Sample, Team
from avengers_edge.voting.ballot import agreement
from avengers_edge.voting.choices import letters_tally
from avengers_edge.ways import Programs, option_text, read, requests_for, stated

CELLS = 16_384
"""The least context that the requests under way share."""

ROUND = 260
"""Questions that all members answer before any of them goes on, so that a run that was stopped has whole rows."""

_TEMPLATE_TOKENS = 64  # what a chat template adds at the most, generously

Grade = Callable[..., bool]
"""Judges a text: question, text, and `truncated` by name; see `graders.grade`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: questions by members, so many samples each (1 is greedy).

    `cells` is the context that the requests of one model share, `in_flight` how many of them are handed in at once.
    """

    questions: tuple[Question, ...]
    members: tuple[Member, ...]
    samples: int = 1
    seed: int = 0
    cells: int = CELLS
    in_flight: int = 16  # more of them make each step pass over more cells than they spare
    keep_texts: bool = False

    def __post_init__(self) -> None:
        if not self.questions:
            raise BadRequest("there are no questions to measure: name question files, or builtin, with --questions")
        if not self.members:
            raise BadRequest("there is no member to measure: name one with --members")
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise BadRequest(f"samples is {self.samples}: use 1 (greedy) to {MOST_SAMPLES}")
        seen: set[str] = set()
        for question in self.questions:
            if question.id in seen:
                raise BadRequest(
                    f"question {question.id!r} occurs twice: name each file once, and give each its own id"
                )
            seen.add(question.id)


@dataclass(frozen=True, slots=True)
class Measured:
    """How far a run is: answers there are and will be, the one just graded, and the seconds it may still take."""

    done: int
    total: int
    member: str
    score: float
    seconds_left: float


OnMeasured = Callable[[Measured], None]


def measure(
    plan: Plan,
    team: Team,
    out: Path,
    lend: Callable[[str], contextlib.AbstractContextManager[ManagedEngine]],
    grade: Grade,
    *,
    programs: Programs | None = None,
    on_measured: OnMeasured | None = None,
) -> tuple[OutcomeRow, ...]:
    """Measure what `out` does not have yet, and return all outcomes of the plan, whole rows first to last.

    A question that does not fit into the context, or cannot be put to a member in its way, scores 0: that member cannot
    answer it. Members that put a question to one model in the same words share its answer. A member that answers by
    letters is asked for all orders of the options, and its one answer is their vote.

    Args:
        plan: what to measure.
        team: whose sampling settings hold.
        out: the outcome file; its lines are kept, a last one that a kill cut off is dropped.
        lend: lends the engine of a model.
        grade: judges a text.
        programs: runs the programs of members that answer by one.
        on_measured: is called for each graded answer.

    Raises:
        BadRequest: `out` was measured with another number of samples or holds other questions under these ids.
        AvengersError: `out` cannot be written, another run is writing it, or whatever ends an engine or a grader.

    """
    if out.suffix == ".gz":
        raise BadRequest(f"{out} would be packed, which cannot be gone on with: name a file without .gz")
    with contextlib.ExitStack() as held:
        with _writing(out):
            held.enter_context(sole_writer(out))
            known = _known(plan, out)
            file = held.enter_context(out.open("a", encoding="utf-8"))
        pace = Eta(sum(len(row.scores) for row in known.values()), len(plan.questions) * len(plan.members))
        judge = Judge(plan, grade, programs)
        for row in _measured(plan, team, known, lend, judge):
            with _writing(out):
                file.write(as_line(as_values(row)))
                file.flush()
            add(known, row)
            for member, score in row.scores.items():
                left = pace.tick()
                if on_measured:
                    on_measured(Measured(pace.done, pace.total, member, score, left))
        with _writing(out):
            _tidy(out)
    return tuple(known[question.id] for question in plan.questions)


@dataclass(frozen=True, slots=True)
class Judge:
    """Makes an outcome of what a model wrote."""

    plan: Plan
    grade: Grade
    programs: Programs | None

    def outcome(self, task: Task, generations: Sequence[Generation]) -> OutcomeRow:
        """Read and grade the samples of a task; none at all score 0."""
        reading = task.members[0]
        samples: list[Sample] = []
        for place, generation in enumerate(generations):
            samples += [
                read(task.inquiry, reading, done, self.programs, shift=place) for done in generation.completions
            ]
        share = None
        if reading.form == "letters" and (votes := letters_tally(samples)):
            share = agreement(votes)
            text = option_text(votes[0].key, task.inquiry.choices or ())
            samples = [replace(samples[0], key=votes[0].key, text=text)]
        answers, texts = [], []
        for sample in samples:
            cut = sample.finish_reason == "length"
            text = stated(sample, task.inquiry)
            answers.append((sample.key, float(bool(text) and self.grade(task.question, text, truncated=cut))))
            texts.append(sample.text)
        question, names = task.question, [member.name for member in task.members]
        count = max(1, len(samples))
        seconds = sum(each.prefill_ms + each.decode_ms for each in generations) / 1000 / count
        tokens = sum(done.tokens for each in generations for done in each.completions) / count
        return OutcomeRow(
            id=question.id,
            dataset=question.dataset,
            category=question.category,
            kind=question.answer_type,
            prompt=question.question,
            group=group_of(question),
            scores=dict.fromkeys(names, sum(right for _, right in answers) / count),
            tokens=dict.fromkeys(names, round(tokens, 1)),
            seconds=dict.fromkeys(names, round(seconds, 4)),
            answers=dict.fromkeys(names, tuple(answers)),
            agreement=None if share is None else dict.fromkeys(names, round(share, 4)),
            texts=dict.fromkeys(names, tuple(texts)) if self.plan.keep_texts else None,
        )


def _measured(
    plan: Plan,
    team: Team,
    known: Mapping[str, OutcomeRow],
    lend: Callable[[str], contextlib.AbstractContextManager[ManagedEngine]],
    judge: Judge,
) -> Iterator[OutcomeRow]:
    """Measure round by round, and in each model by model."""
    for start in range(0, len(plan.questions), ROUND):
        for model in dict.fromkeys(member.model for member in plan.members):
            tasks = _tasks(plan, team, plan.questions[start : start + ROUND], model, known)
            if tasks:
                with lend(model) as engine:
                    yield from _answers(engine, tasks, plan, judge)


@dataclass(frozen=True, slots=True)
class Task:
    """A question put to a model in certain words, and the members that would put it so; no request where none can."""

    question: Question
    inquiry: Inquiry
    members: tuple[Member, ...]
    requests: tuple[Request, ...]


def _tasks(
    plan: Plan, team: Team, questions: Sequence[Question], model: str, known: Mapping[str, OutcomeRow]
) -> list[Task]:
    """List what is still to be asked of a model.

    One question's tasks stand together: they share the prompt's beginning.
    """
    tasks = []
    for question in questions:
        have = known[question.id].scores if question.id in known else {}
        inquiry = inquiry_of(question)
        alike: dict[tuple[str, tuple[Request, ...]], list[Member]] = {}
        for member in plan.members:
            if member.model == model and member.name not in have:
                requests = requests_of(inquiry, member, team, plan)
                alike.setdefault((member.form, requests), []).append(member)
        tasks += [Task(question, inquiry, tuple(members), requests) for (_, requests), members in alike.items()]
    return tasks


def inquiry_of(question: Question) -> Inquiry:
    """Ask a question as `Avengers.answer` would, its kind and choices being known."""
    kind = question.answer_type
    return Inquiry(question.question, Ask(kind=kind), kind, question.choices)


def requests_of(inquiry: Inquiry, member: Member, team: Team, plan: Plan) -> tuple[Request, ...]:
    """Ask as `Avengers.answer` would, greedily where one sample is taken; nothing where a member has no way."""
    if not inquiry.suits(member):
        return ()
    count = inquiry.orders(member) if member.form == "letters" else plan.samples
    return requests_for(inquiry, member, team.sampling, count, seed=plan.seed, greedy=plan.samples == 1)


def _answers(engine: ManagedEngine, tasks: Sequence[Task], plan: Plan, judge: Judge) -> Iterator[OutcomeRow]:
    """Ask, and grade beside the asking; yield each task's outcome as it is graded."""
    cells = min(plan.cells, engine.facts.n_ctx_train)
    asked = []
    for task in tasks:
        if task.requests and all(_fits(engine, request, cells) for request in task.requests):
            asked.append(task)
        else:
            yield judge.outcome(task, ())
    places = [(at, place) for at, task in enumerate(asked) for place in range(len(task.requests))]
    found: dict[int, dict[int, Generation]] = {}
    with concurrent.futures.ThreadPoolExecutor(2, "grading") as pool:
        graded: set[concurrent.futures.Future[OutcomeRow]] = set()
        requests = (asked[number].requests[place] for number, place in places)
        try:
            for at, generation in generate_many(engine, requests, in_flight=plan.in_flight):
                number, place = places[at]
                parts = found.setdefault(number, {})
                parts[place] = generation
                if len(parts) == len(asked[number].requests):
                    whole = [parts[each] for each in sorted(found.pop(number))]
                    graded.add(pool.submit(judge.outcome, asked[number], whole))
                ended = {future for future in graded if future.done()}
                graded -= ended
                for future in ended:
                    yield future.result()
        except (AvengersError, KeyboardInterrupt):
            for future in graded:  # they were paid for
                yield future.result()
            raise
        for future in concurrent.futures.as_completed(graded):
            yield future.result()


def _fits(engine: ManagedEngine, request: Request, cells: int) -> bool:
    room = cells - request.sampling.max_tokens
    longest = sum(len(message.content.encode()) for message in request.messages) + _TEMPLATE_TOKENS
    # A token is a byte or more, and counting waits for a step.
    return longest <= room or engine.count_tokens(request) <= room


# --- the file ---


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AvengersError(f"{out} cannot be written ({error.strerror}): make room, then run this again") from error


def _known(plan: Plan, out: Path) -> dict[str, OutcomeRow]:
    """Read what an earlier run measured of the plan."""
    if not out.exists():
        return {}
    drop_partial_line(out)
    wanted = {question.id: question for question in plan.questions}
    names = [member.name for member in plan.members]
    known: dict[str, OutcomeRow] = {}
    for where, row in read_lines(out):
        question = wanted.get(row.id)
        if question is None:
            continue
        if row.prompt is None:  # a file that ships holds no texts
            row = replace(row, prompt=question.question, group=group_of(question))
        if row.prompt != question.question:
            raise BadRequest(f"{where}: {row.id!r} is another question there: name another file with --out")
        for member, answers in (row.answers or {}).items():
            if member in names and answers and len(answers) != plan.samples:
                raise BadRequest(
                    f"{where}: {member} was measured with {len(answers)} samples, not {plan.samples}: name another "
                    "file with --out"
                )
        add(known, restricted(row, names))
    return known


def _tidy(out: Path) -> None:
    """Join the lines of each question, whoever measured them."""
    rows: dict[str, OutcomeRow] = {}
    for _, row in read_lines(out):
        add(rows, row)
    write_outcomes(out, rows.values())
