#!/usr/bin/env python3
"""What routing and voting over ways of one model are worth, replayed and cross-fitted from recorded answers.

    python evals/ballot_evidence.py --outcomes models/tables/starter.outcomes.jsonl.gz \
        --votes models/tables/starter.votes.jsonl.gz --questions DIR

Five folds by prompt and rule: the table, its sample budgets and its confidence are fitted on four, and every question
of the fifth is answered as `ask` would by default. Accuracy is the mean over data sets, its gain over the best single
way with a 95 % paired bootstrap over questions. DIR holds the question files, which have the texts that outcomes lack.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avengers_edge.calibration.evaluate import deal
from avengers_edge.calibration.fit import FitOptions, fit_table
from avengers_edge.calibration.outcomes import OutcomeRow, Vectors, by_dataset, read_lines, with_prompts
from avengers_edge.calibration.pipeline import embed_rows, load_questions
from avengers_edge.calibration.sample_budgets import Vote, Voter, letters_vote, replay_vote, with_sample_budgets
from avengers_edge.config import Settings
from avengers_edge.errors import BadRequest
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.records import Route
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable
from avengers_edge.voting.kinds import SINGLE_SAMPLE_KINDS

FOLDS, DRAWS, SEED = 5, 2000, 42
PROGRAM_SETS = ("gsm8k", "math500", "finqa", "kandk", "bbh", "korbench")
CHOICE_SETS = ("arc_challenge", "commonsenseqa", "mmlu", "medqa", "winogrande")


class Replayed(NamedTuple):
    """One question answered in every way that is compared; seconds are shares of a batch."""

    row: OutcomeRow
    single: float
    routed: float
    vote: Vote
    confidence: float | None
    seconds: tuple[float, float]


def main() -> None:
    """Parse the command line, cross-fit, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outcomes", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--questions", required=True)
    parser.add_argument("--smoothing", type=float, help="pseudo-counts instead of the estimate")
    args = parser.parse_args()
    prompts = {question.id: question.question for question in load_questions([args.questions])}
    rows = with_prompts([row for _, row in read_lines(args.outcomes)], prompts)
    votes = {row.id: row for row in with_prompts([row for _, row in read_lines(args.votes)], prompts)}
    with open_shipped_embedder(Settings(home=Path())) as embedder:
        vectors = embed_rows(embedder, rows)
    print_members(rows)
    found = cross_fit(rows, vectors, votes, args.smoothing)
    print_accuracy("all", found)
    print_accuracy("where a program can help", [each for each in found if each.row.dataset in PROGRAM_SETS])
    print_accuracy("choices", [each for each in found if each.row.dataset in CHOICE_SETS])
    print_sets(found)
    print_agreement(found)
    print_confidence(found)


def cross_fit(
    rows: Sequence[OutcomeRow], vectors: Vectors, votes: dict[str, OutcomeRow], smoothing: float | None
) -> list[Replayed]:
    """Answer each question by what was fitted on the other folds."""
    fold_of = deal(rows, FOLDS, SEED)
    found = []
    members = list(dict.fromkeys(name for row in rows for name in row.scores))
    for fold in range(FOLDS):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        known = [rows[place] for place in train]
        table = fit_table(vectors[train], known, FitOptions(members, pseudo_counts=smoothing, partly=True))
        voted = [place for place in train if rows[place].id in votes]
        try:
            table = with_sample_budgets(table, vectors[train], known, [votes[rows[place].id] for place in voted])
        except BadRequest as error:
            print(f"fold {fold}: {error}")
        router = Router(table)
        expected = router.expected(vectors[test])
        for place, accuracy in zip(test, expected, strict=True):
            route = router.route(vectors[place])
            found.append(replay(rows[place], votes.get(rows[place].id), route, accuracy, table))
    return found


def replay(
    row: OutcomeRow, votes: OutcomeRow | None, route: Route, accuracy: np.ndarray, table: CentroidTable
) -> Replayed:
    """Answer one question as `ask` would."""
    members = table.header.members
    order = sorted(range(len(members)), key=lambda place: -accuracy[place])
    ranked = [(members[place], float(accuracy[place])) for place in order if suits(members[place], row)]
    voters = [
        Voter(
            name,
            share,
            greedy_of(row, name),
            ((votes.answers or {}) if votes else {}).get(name, ()),
            (row.agreement or {}).get(name),
        )
        for name, share in ranked
        if name in row.scores
    ]
    best = table.header.best_single
    budget = 1 if route.samples is None or row.kind in SINGLE_SAMPLE_KINDS else route.samples
    pair = [voters[0], *(each for each in voters[1:2] if not each.name.endswith(":letters"))]
    if voters[0].name.endswith(":letters"):
        vote = letters_vote(voters[0])
    else:
        vote = replay_vote(voters if budget == 1 else pair, row.kind or "text", budget) or replay_vote(
            voters, row.kind or "text", 1
        )
    assert vote is not None
    fitted = table.header.confidence.get(vote.form)
    sure = None if fitted is None or vote.agreement is None else fitted.chance(vote.agreement, vote.expected)
    routed = replay_vote(voters, row.kind or "text", 1)
    assert routed is not None
    seconds = row.seconds or {}
    used = [voters[0].name] if vote.samples == 1 or len(pair) == 1 else [each.name for each in pair]
    spent = sum(seconds.get(name, 0.0) for name in used) * max(1.0, vote.samples / len(used) if len(used) > 1 else 1.0)
    return Replayed(row, row.scores[best], routed.score, vote, sure, (seconds.get(best, 0.0), spent))


def suits(member: str, row: OutcomeRow) -> bool:
    """Tell whether a question can be put to a member in its way."""
    way = member.partition(":")[2]
    return (way != "letters" or row.kind == "choice") and (way != "program" or row.kind != "code")


def greedy_of(row: OutcomeRow, name: str) -> tuple[str | None, float]:
    """Give a greedy answer; where its key is not known it is one of its own."""
    answers = (row.answers or {}).get(name)
    return (f"of {name}", row.scores[name]) if not answers else answers[0]


def print_members(rows: Sequence[OutcomeRow]) -> None:
    """Print how often each way is right, data set by data set, with the number of questions that it was asked."""
    members = list(dict.fromkeys(name for row in rows for name in row.scores))
    print(f"{'percent right':<16}" + "".join(f"{name.partition(':')[2]:>16}" for name in members))
    for dataset, places in by_dataset(rows).items():
        cells = []
        for name in members:
            scores = [rows[place].scores[name] for place in places if name in rows[place].scores]
            cells.append(f"{100 * np.mean(scores):.1f} ({len(scores)})" if scores else "-")
        print(f"  {dataset:<14}" + "".join(f"{cell:>16}" for cell in cells))


def print_accuracy(title: str, found: Sequence[Replayed]) -> None:
    """Print the mean over data sets of the best single way, routed and voted, and what each has over the first."""
    if not found:
        return
    scores = np.array([[each.single, each.routed, each.vote.score] for each in found])
    places = list(by_dataset([each.row for each in found]).values())
    draw = np.random.default_rng(SEED)
    gains = []
    for _ in range(DRAWS):
        drawn = [own[draw.integers(0, len(own), len(own))] for own in map(np.asarray, places)]
        means = np.mean([scores[own].mean(axis=0) for own in drawn], axis=0)
        gains.append(means - means[0])
    single, routed, voted = 100 * np.mean([scores[own].mean(axis=0) for own in places], axis=0)
    low, high = 100 * np.percentile(gains, [2.5, 97.5], axis=0)
    seconds = np.mean([each.seconds for each in found], axis=0)
    print(f"{title}: {len(found)} questions of {len(places)} sets; best single way {single:.1f} %")
    print(f"  routed greedy {routed:.1f} ({routed - single:+.1f}, {low[1]:+.1f} to {high[1]:+.1f})")
    print(f"  by default    {voted:.1f} ({voted - single:+.1f}, {low[2]:+.1f} to {high[2]:+.1f})")
    print(f"  seconds, as shares of a batch: {seconds[0]:.1f} and {seconds[1]:.1f}")


def print_sets(found: Sequence[Replayed]) -> None:
    """Print each data set's figures."""
    for name, places in by_dataset([each.row for each in found]).items():
        own = [found[place] for place in places]
        single, routed, voted = (
            100 * np.mean(list(each)) for each in zip(*((e.single, e.routed, e.vote.score) for e in own), strict=True)
        )
        print(f"  {name:<16}{len(own):>4}{single:>8.1f}{routed:>8.1f}{voted:>8.1f}")


def print_agreement(found: Sequence[Replayed]) -> None:
    """Print how right two ways are that agree, and what the vote finds where they differ."""
    ways = [each for each in found if each.vote.form == "ways"]
    agreed = [each.vote.score for each in ways if each.vote.samples == 2 and each.vote.agreement == 1.0]
    print(f"two ways agree or one is silent: {len(agreed)}, right {100 * np.mean(agreed or [0]):.1f} %")
    split = [each.vote.score for each in ways if each.vote.samples > 2]
    print(f"two ways differ: {len(split)}, the vote is right in {100 * np.mean(split or [0]):.1f} %")


def print_confidence(found: Sequence[Replayed]) -> None:
    """Print the reliability diagram of `confidence` as a table of ten bins, and its expected calibration error."""
    pairs = np.array([(each.confidence, each.vote.score) for each in found if each.confidence is not None])
    if not len(pairs):
        print("no confidence was calibrated")
        return
    bins = np.minimum((pairs[:, 0] * 10).astype(int), 9)
    error = 0.0
    for at in np.unique(bins):
        said, right = pairs[bins == at].mean(axis=0)
        error += (bins == at).mean() * abs(said - right)
        print(f"  confidence {said:.2f}: right {right:.2f} of {(bins == at).sum()}")
    print(f"confidence: {len(pairs)} votes, expected calibration error {error:.3f}")


if __name__ == "__main__":
    main()
