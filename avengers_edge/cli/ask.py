"""`ask` and `route`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import click

from avengers_edge.cli.answers import SamplingDisplay, explanation, passing, ranking_lines, shown, summary
from avengers_edge.cli.reading import as_text, read_question, read_text_file
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.terminal import StatusLine, dim
from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.records import KINDS, Ask, EarlyStop, Kind


def parse_samples(_context: click.Context, parameter: click.Parameter, word: str) -> int | None:
    """Turn the word into a number; `auto` into None."""
    try:
        return None if word == "auto" else int(word)
    except ValueError:
        raise click.BadParameter(f"{word!r} is neither a number nor auto", param=parameter) from None


@click.command()
@click.argument("prompt", required=False)
@click.option(
    "-n",
    "--samples",
    metavar="N|auto",
    default="auto",
    show_default=True,
    callback=parse_samples,
    help="How many samples.",
)
@click.option("--team", help="The team that answers.")
@click.option("--model", "member", help="Ask this model or member only: no routing.")
@click.option("--system", help="System prompt.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest sample.")
@click.option("--temperature", type=float, help="0 is greedy, the team's default is 0.7.")
@click.option("--top-p", type=float, help="Draw from the likeliest tokens of this total probability.")
@click.option("--top-k", type=int, help="Draw from this many likeliest tokens, 0 from all.")
@click.option("--min-p", type=float, help="Leave out tokens less likely than this share of the likeliest, 0 none.")
@click.option("--repeat-penalty", type=float, help="Divides the logits of repeated tokens, 1 is off.")
@click.option("--frequency-penalty", type=float, help="Taken off a token's logit for each time it was used, 0 is off.")
@click.option("--presence-penalty", type=float, help="Taken off the logits of tokens that were used, 0 is off.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End a sample before this text; can be given again.")
@click.option("--grammar", type=Path, metavar="FILE", help="A GBNF grammar that every sample has to follow.")
@click.option("--schema", type=Path, metavar="FILE", help="A JSON schema: every sample is JSON that follows it.")
@click.option("--tests", type=Path, metavar="FILE", help="Python asserts: the answer is code that passes them.")
@click.option("--seed", type=int, help="The same seed gives the same answer on the same machine.")
@click.option("--early-stop", type=click.Choice(get_args(EarlyStop)), default="exact", show_default=True)
@click.option(
    "--switch-below",
    type=float,
    metavar="SHARE",
    help="Ask the second-ranked member too if fewer of the first one's samples agree; 0 is never, teams say 0.8.",
)
@click.option(
    "--kind", type=click.Choice(["auto", *KINDS]), default="auto", show_default=True, help="What is asked for."
)
@click.option("--prefer", type=float, default=1.0, show_default=True, help="1 is accuracy, 0 is speed.")
@click.option("--explain", is_flag=True, help="Show the ranking and the votes on standard error.")
@click.option("--raw", is_flag=True, help="Print the answer and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def ask(
    session: Session,
    prompt: str | None,
    samples: int | None,
    team: str | None,
    member: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    top_k: int | None,
    min_p: float | None,
    repeat_penalty: float | None,
    frequency_penalty: float | None,
    presence_penalty: float | None,
    stop: tuple[str, ...],
    grammar: Path | None,
    schema: Path | None,
    tests: Path | None,
    seed: int | None,
    early_stop: EarlyStop,
    switch_below: float | None,
    kind: str,
    prefer: float,
    explain: bool,
    raw: bool,
    as_json: bool,
) -> None:
    """Route PROMPT, sample, vote, print the answer.

    \b
    Without PROMPT, or with -, the question is read from standard input; with both, the two are joined:
      avengers ask "What does this function return?" < code.py
    """
    wanted: Kind | None = next((known for known in KINDS if known == kind), None)
    if raw and as_json:
        raise BadRequest("--raw and --json are two ways to print one answer: choose one")
    options = Ask(
        samples=samples,
        kind=wanted,
        member=member,
        system=None if system is None else as_text(system, "the system prompt"),
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repeat_penalty=repeat_penalty,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
        stop=tuple(as_text(text, "a stop string") for text in stop) or None,
        grammar=None if grammar is None else read_text_file(grammar, "a grammar"),
        schema=None if schema is None else read_text_file(schema, "a JSON schema"),
        tests=None if tests is None else read_text_file(tests, "tests"),
        seed=seed,
        early_stop=early_stop,
        switch_below=switch_below,
        prefer=prefer,
    )
    question = read_question(prompt)
    from avengers_edge.runtime import Avengers

    with StatusLine() as status, Avengers.open(session.settings(), team) as avengers:
        display = SamplingDisplay(status)
        status.show("loading …  (the first use of a model measures it as well, once)", now=True)
        answer = avengers.answer(question, options, on_progress=display.progress, on_token=display.token)
    if explain:
        click.echo(explanation(answer), err=True)
    if as_json:
        click.echo(json.dumps(answer.as_dict()))
    elif raw:
        click.echo(answer.answer)
    else:
        click.echo(shown(answer))
        click.echo(dim(summary(answer)), err=True)
        if answer.route.fallback and not explain:
            click.echo(dim(answer.route.fallback), err=True)
    if options.tests is not None and not passing(answer):
        ended = answer.samples_used
        raise AvengersError(
            f"0 of {ended} samples passed the tests of {tests}: ask for more samples (-n), or mend them"
        )


@click.command()
@click.argument("prompt", required=False)
@click.option("--team", help="The team to route for.")
@click.option("--prefer", type=float, default=1.0, show_default=True, help="1 is accuracy, 0 is speed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def route(session: Session, prompt: str | None, team: str | None, prefer: float, as_json: bool) -> None:
    """Show which member would answer PROMPT, and why; no language model is loaded."""
    Ask(prefer=prefer)
    question = read_question(prompt)
    from avengers_edge.runtime import Avengers

    with Avengers.open(session.settings(), team) as avengers:
        decision = avengers.route(question, prefer=prefer)
    click.echo(json.dumps(dataclasses.asdict(decision)) if as_json else ranking_lines(decision))
