"""`ask` and `route`."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING, get_args

import click

from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.terminal import StatusLine, dim
from avengers_edge.errors import BadRequest
from avengers_edge.records import KINDS, Answer, Ask, EarlyStop, Kind, Route

if TYPE_CHECKING:
    from avengers_edge.runtime import Progress

_LONGEST_INPUT = 16 * 2**20
_PATIENCE_SECONDS = 3.0


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
@click.option("--top-p", type=float, help="Nucleus sampling.")
@click.option("--seed", type=int, help="The same seed gives the same answer on the same machine.")
@click.option("--early-stop", type=click.Choice(get_args(EarlyStop)), default="exact", show_default=True)
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
    seed: int | None,
    early_stop: EarlyStop,
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
    options = Ask(samples, wanted, member, system, max_tokens, temperature, top_p, seed, early_stop, prefer)
    question = read_question(prompt)
    from avengers_edge.runtime import Avengers

    with StatusLine() as status, Avengers.open(session.settings(), team) as avengers:
        display = SamplingDisplay(status)
        status.show("loading …", now=True)
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


class SamplingDisplay:
    """Turns the engine's events into the status line."""

    def __init__(self, status: StatusLine) -> None:
        self._status = status
        self._pieces = 0
        self._vote = "sampling"

    def token(self, _index: int, _piece: str) -> None:
        """Count a piece of text."""
        self._pieces += 1
        self._draw()

    def progress(self, progress: Progress) -> None:
        """Hear of a finished sample."""
        self._vote = f"sampling: {progress.finished} of {progress.samples} samples done"
        if progress.leader:
            self._vote += f", leading: {progress.leader.key} ({progress.leader.count})"
        self._draw(now=True)

    def _draw(self, *, now: bool = False) -> None:
        self._status.show(f"{self._vote} · {self._pieces} tokens", now=now)


def read_question(prompt: str | None) -> str:
    """Join the argument and what is piped in.

    Raises:
        BadRequest: there is neither, or one of them is not UTF-8, or the pipe is absurdly long.

    """
    prompt = None if prompt is None else _as_text(prompt)
    if prompt is not None and prompt != "-" and not _piped():
        return prompt
    if prompt is None and (sys.stdin is None or sys.stdin.isatty()):
        raise BadRequest('there is no question: avengers ask "…", or pipe it in')
    piped = _read_standard_input()
    given = "" if prompt in (None, "-") else f"{prompt}\n\n"
    return (given + piped).rstrip()


def _as_text(word: str) -> str:
    """Decode an argument again where the locale is not UTF-8 and Python kept its bytes as surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(word).decode()
        except UnicodeError as error:
            raise BadRequest("the question is not UTF-8: convert it first, or pipe it in") from error
    return word


def _piped() -> bool:
    """Tell whether standard input is a pipe or a file; a terminal or the null device has nothing to add."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read_standard_input() -> str:
    if sys.stdin is None:
        raise BadRequest("standard input is closed: write the question as an argument")
    waiting = threading.Timer(
        _PATIENCE_SECONDS, click.echo, ["reading standard input too; end it with Ctrl-D"], {"err": True}
    )
    waiting.daemon = True
    waiting.start()
    try:
        raw = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    finally:
        waiting.cancel()
    if len(raw) > _LONGEST_INPUT:
        raise BadRequest(f"standard input is longer than {_LONGEST_INPUT} bytes: pipe in a smaller file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"standard input is not UTF-8 at byte {error.start}: convert it first") from error


def shown(answer: Answer) -> str:
    """Write the chosen sample and, where there was a vote, the answer on a line of its own."""
    text = answer.text.strip()
    return text if answer.confidence is None or text == answer.answer else f"{text}\n\n=> {answer.answer}"


def summary(answer: Answer) -> str:
    """Write the quiet line under an answer: who, votes, samples, seconds."""
    parts = [", ".join(answer.models)]
    if answer.votes:
        parts.append(f"{answer.votes[0].count} of {sum(vote.count for vote in answer.votes)} votes")
    parts.append(f"{answer.samples_used} of {answer.samples_requested} samples")
    parts += [f"{answer.usage.completion_tokens} tokens", f"{answer.timings_ms.total / 1000:.1f} s"]
    return " · ".join(parts)


def ranking_lines(decision: Route) -> str:
    """Write a routing decision for people, best member first."""
    if decision.cluster is None or decision.similarity is None:
        head = decision.fallback or "not routed: the model was named"
    else:
        head = f"cluster {decision.cluster}, similarity {decision.similarity:.2f}, margin {decision.margin:.3f}"
        head += f"\n{decision.fallback}" if decision.fallback else ""
    width = max(len(each.model) for each in decision.ranking)
    return "\n".join([head, *(f"  {each.model:<{width}}  {each.score:.3f}" for each in decision.ranking)])


def explanation(answer: Answer) -> str:
    """Write the route and the votes for people."""
    width = 30
    total = max(answer.samples_requested, 1)
    bars = [
        f"  {vote.key[:width]:<{width}} {'#' * round(20 * vote.count / total)} {vote.count}" for vote in answer.votes
    ]
    votes = ["votes:", *bars] if bars else ["no vote was held"]
    return "\n".join([ranking_lines(answer.route), *votes])
