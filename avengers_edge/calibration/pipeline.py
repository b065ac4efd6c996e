"""The steps of calibration from end to end: files and settings in, files and figures out."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avengers_edge._util.text import counted
from avengers_edge.calibration.evaluate import choose_clusters, evaluate_table
from avengers_edge.calibration.fit import FitOptions, add_outcomes, fit_table
from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.measure import CELLS, OnMeasured, Plan, measure
from avengers_edge.calibration.outcomes import OutcomeRow, Vectors, read_outcomes
from avengers_edge.calibration.questions import Question, builtin_questions, read_questions
from avengers_edge.calibration.sample_budgets import with_sample_budgets
from avengers_edge.config import Settings
from avengers_edge.errors import BadRequest, NoSandbox, NotFound
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.opening import open_model_pool, open_shipped_embedder
from avengers_edge.records import Embedder, Member, Team
from avengers_edge.routing.table import CentroidTable
from avengers_edge.sandbox.programs import ProgramRunner, SandboxJudge


def select_members(table: CentroidTable, size: int) -> list[str]:
    """Choose `size` members, best first, as the Avengers do (arXiv 2505.19797).

    Counted are the clusters in which a member is first; who was first somewhere goes before who never was, and the
    rest is filled up by first places plus half a point for each second place. Equals go by overall accuracy, then by
    column.

    Raises:
        BadRequest: a size below 1 or above the number of members.

    """
    members = table.header.members
    if not 1 <= size <= len(members):
        raise BadRequest(f"a team of {size} was asked of {len(members)} members: use 1 to {len(members)}")
    order = np.argsort(-table.accuracy, axis=1, kind="stable")
    first = np.bincount(order[:, 0], minlength=len(members))
    second = np.bincount(order[:, 1], minlength=len(members)) if len(members) > 1 else np.zeros_like(first)
    points = first + 0.5 * second
    overall = table.header.macro
    ranked = sorted(
        range(len(members)), key=lambda column: (first[column] == 0, -points[column], -overall[column], column)
    )
    return [members[column] for column in ranked[:size]]


OnEmbedded = Callable[[int, int], None]
"""Hears how many of how many questions are embedded."""


_EMBEDDED_AT_ONCE = 64


def load_questions(
    sources: Sequence[str], *, datasets: Sequence[str] | None = None, limit: int | None = None, seed: int = 42
) -> tuple[Question, ...]:
    """Read question files, folders of them, or `builtin`, the questions that ship with the package.

    Each data set is shuffled and they take turns, so that the first N are spread over all of them, and are the same
    N every time.

    Args:
        sources: paths or names.
        datasets: only these; None takes all.
        limit: at most so many questions.
        seed: of the shuffling.

    Raises:
        NotFound: no such file, or a data set that none of them has.
        BadRequest: a seed of built-in questions that do not ship, or a limit below 1.
        VerificationFailed: a line that is not a question.

    """
    if limit is not None and limit < 1:
        raise BadRequest(f"limit is {limit}: use 1 or more")
    by_dataset: dict[str, list[Question]] = {}
    for question in itertools.chain.from_iterable(map(_questions_of, sources)):
        by_dataset.setdefault(question.dataset, []).append(question)
    for name in datasets or ():
        if name not in by_dataset:
            raise NotFound(
                f"no question is of data set {name!r}: use {', '.join(by_dataset) or 'other question files'}"
            )
    drawn = []
    for name in sorted(datasets or by_dataset):
        pool = by_dataset[name]
        random.Random(f"{seed}/{name}").shuffle(pool)
        drawn.append(pool)
    turns = itertools.zip_longest(*drawn)
    return tuple(question for turn in turns for question in turn if question is not None)[:limit]


def _questions_of(source: str) -> Iterable[Question]:
    name, colon, seed = source.partition(":")
    if name == "builtin":
        if colon and seed != "0":
            raise BadRequest(f"{source!r}: the built-in questions have seed 0 only: write builtin, or a question file")
        return builtin_questions()
    path = Path(source)
    if path.is_dir():
        files = sorted([*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")])
        if not files:
            raise NotFound(f"folder {path} has no question files: name one that holds *.jsonl or *.jsonl.gz")
        return itertools.chain.from_iterable(map(read_questions, files))
    return read_questions(path)


def without_code(questions: Sequence[Question]) -> tuple[tuple[Question, ...], str | None]:
    """Leave out what asks for code where code cannot be run, and say so, before anything is paid for.

    Raises:
        NoSandbox: nothing else would be left.

    """
    rest = tuple(question for question in questions if question.answer_type != "code")
    if len(rest) == len(questions):
        return rest, None
    try:
        SandboxJudge().prepare()
    except NoSandbox as error:
        if not rest:
            raise
        return rest, f"{counted(len(questions) - len(rest), 'question')} of code left out: {error}"
    return tuple(questions), None


def measure_team(
    settings: Settings,
    team: str | None,
    questions: tuple[Question, ...],
    out: Path,
    *,
    members: Sequence[str] | None = None,
    samples: int = 1,
    seed: int = 0,
    keep_texts: bool = False,
    on_measured: OnMeasured | None = None,
) -> tuple[OutcomeRow, ...]:
    """Measure the members of an installed team; see `measure.measure`.

    Raises:
        NotFound: no such team or member, or a model that is not installed.

    """
    catalog = Catalog.of(settings)
    chosen = catalog.load_team(team or settings.team)
    wanted = _members(chosen, members)
    plan = Plan(questions, wanted, samples, seed, max(settings.context, CELLS), keep_texts=keep_texts)
    for model in dict.fromkeys(member.model for member in wanted):
        Store(settings.home).find(catalog.load_model(model))  # what is missing is said before anything is measured
    with open_model_pool(dataclasses.replace(settings, context=plan.cells)) as model_pool, Grader() as grader:
        programs = ProgramRunner()
        return measure(plan, chosen, out, model_pool.lease, grader.grade, programs=programs, on_measured=on_measured)


def _members(team: Team, names: Sequence[str] | None) -> tuple[Member, ...]:
    if names is None:
        return team.members
    found = []
    for name in names:
        member = team.member(name)
        if member is None:
            known = ", ".join(each.name for each in team.members)
            raise NotFound(f"team {team.name} has no member {name!r}: use one of {known}")
        found.append(member)
    return tuple(found)


def load_outcomes(
    paths: Sequence[Path], members: Sequence[str] | None, questions: Sequence[str] = (), *, partly: bool = False
) -> tuple[OutcomeRow, ...]:
    """Read outcome files, and the prompts of rows without one from question files.

    See `outcome_files.read_outcomes`.
    """
    prompts: dict[str, str] = {}
    for source in questions:
        for question in _questions_of(source):
            if prompts.setdefault(question.id, question.question) != question.question:
                raise BadRequest(f"{source}: {question.id!r} is another question than before: give it its own id")
    return read_outcomes(paths, members, prompts, partly=partly)


def embed_rows(embedder: Embedder, rows: Sequence[OutcomeRow], on_embedded: OnEmbedded | None = None) -> Vectors:
    """Embed the rows' prompts, (N, D)."""
    import numpy as np

    parts = []
    for start in range(0, len(rows), _EMBEDDED_AT_ONCE):
        parts.append(embedder.embed([row.prompt or "" for row in rows[start : start + _EMBEDDED_AT_ONCE]]))
        if on_embedded:
            on_embedded(min(start + _EMBEDDED_AT_ONCE, len(rows)), len(rows))
    return np.concatenate(parts)


def fit_outcomes(
    settings: Settings,
    rows: Sequence[OutcomeRow],
    out: Path,
    options: FitOptions,
    *,
    votes: Sequence[OutcomeRow] = (),
    choose_k: bool = False,
    team_size: int | None = None,
    provenance: str = "",
    on_embedded: OnEmbedded | None = None,
) -> CentroidTable:
    """Fit a table to outcomes and write it; choose K by cross-validation, and so many members, where asked to.

    With `votes`, outcomes of several samples, each cluster learns how many a vote is worth beside the single
    answers of `rows`; see `sample_budgets`.

    Raises:
        BadRequest: what `fit_table` refuses.
        AvengersError: the table cannot be written.

    """
    with open_shipped_embedder(settings) as embedder:
        vectors = embed_rows(embedder, rows, on_embedded)
    fit = functools.partial(
        fit_table, vectors, rows, embedder=embedder.fingerprint, fitted_at=_now(), provenance=provenance
    )
    if team_size is not None:
        options = dataclasses.replace(options, members=select_members(fit(options), team_size))
    if choose_k:
        options = dataclasses.replace(options, clusters=choose_clusters(vectors, rows, options))
    table = fit(options)
    if votes:
        table = with_sample_budgets(table, vectors, rows, votes)
    table.save(out)
    return table


def add_to_table(
    settings: Settings,
    base: Path,
    rows: Sequence[OutcomeRow],
    out: Path,
    on_embedded: OnEmbedded | None = None,
    *,
    provenance: str = "",
) -> CentroidTable:
    """Add outcomes, of its members or of new ones, to a table whose centroids stay where they are."""
    with open_shipped_embedder(settings) as embedder:
        table = CentroidTable.load(base, fingerprint=embedder.fingerprint, dimension=embedder.dimension)
        vectors = embed_rows(embedder, rows, on_embedded)
    table = add_outcomes(table, vectors, rows, fitted_at=_now(), provenance=provenance)
    table.save(out)
    return table


def evaluate_outcomes(
    settings: Settings,
    path: Path,
    files: Sequence[Path],
    questions: Sequence[str],
    on_embedded: OnEmbedded | None = None,
) -> dict[str, Any]:
    """Judge a table on outcome files; see `evaluate.evaluate_table`."""
    with open_shipped_embedder(settings) as embedder:
        table = CentroidTable.load(path, fingerprint=embedder.fingerprint, dimension=embedder.dimension)
        rows = load_outcomes(files, table.header.members, questions)
        vectors = embed_rows(embedder, rows, on_embedded)
    return evaluate_table(table, vectors, rows)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
