"""Many questions from a file, answered one by one into another; run again, a batch goes on where it stopped."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avengers_edge._util.files import NO_ROOM, write_whole
from avengers_edge._util.jsonl import as_line, drop_partial_line, numbered_lines, sole_writer
from avengers_edge._util.timing import Eta
from avengers_edge.errors import (
    AvengersError,
    BadRequest,
    DoesNotFit,
    MissingExtra,
    NotFound,
    OfflineRefused,
    VerificationFailed,
)
from avengers_edge.records import Answer, Ask

_NUMBER = (int, float)
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "samples": (int,),
    "kind": (str,),
    "member": (str,),
    "system": (str,),
    "max_tokens": (int,),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "seed": (int,),
    "early_stop": (str,),
    "prefer": _NUMBER,
    "switch_below": _NUMBER,
    "top_k": (int,),
    "min_p": _NUMBER,
    "repeat_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "stop": (str, list),
    "grammar": (str,),
    "schema": (str, dict),
    "tests": (str,),
}
_OF_QUESTION_FILES = frozenset({"dataset", "category", "choices", "answer", "answer_type", "tests", "split", "meta"})


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `own_member` says that its line named one.

    `digest` tells its text from another one under the same id, `ask_digest` how it is asked from other ways.
    """

    id: str
    where: str
    prompt: str
    ask: Ask
    digest: str
    ask_digest: str
    own_member: bool = False


def read_items(lines: Iterable[tuple[str, str]], usual: Ask, team: str) -> tuple[Item, ...]:
    """Read all questions, so that a bad line is known before the first one is asked.

    Args:
        lines: where each line is ("FILE, line N"), and the line.
        usual: how to answer where a line does not say it.
        team: the name of the team that answers.

    Raises:
        VerificationFailed: a line is no question, or has an id that was there before; the message names the line.
        BadRequest: there is no line.

    """
    items: dict[str, Item] = {}
    for where, line in lines:
        try:
            item = _item(where, json.loads(line), usual, team)
        except (ValueError, TypeError, RecursionError, BadRequest) as error:
            reason = str(error) if isinstance(error, BadRequest | _Wrong) else f"it is not JSON ({error})"
            raise VerificationFailed(f"{where}: {reason}") from error
        if item.id in items:
            raise VerificationFailed(f"{where}: id {item.id!r} is that of {items[item.id].where} too: choose another")
        items[item.id] = item
    if not items:
        raise BadRequest('there are no questions: write one a line, as {"prompt": "..."}')
    return tuple(items.values())


class _Wrong(ValueError):
    """A line that is JSON and no question."""


def _item(where: str, row: object, usual: Ask, team: str) -> Item:
    if not isinstance(row, dict):
        raise _Wrong('it is not an object: write {"prompt": "..."}')
    texts = [row[name] for name in ("prompt", "question") if name in row]
    if len(texts) != 1 or not isinstance(texts[0], str) or not texts[0].strip():
        raise _Wrong("it needs one text, as prompt or as question")
    given = row.get("id")
    if not (given is None or (isinstance(given, str | int) and not isinstance(given, bool) and given != "")):
        raise _Wrong(f"its id is {given!r:.40}: use a text or a number")
    said = _said(row)
    number = where.rpartition(" ")[2]
    try:
        digest = _digest(texts[0])
    except UnicodeEncodeError as error:
        raise _Wrong("its text has half a character: write the whole one") from error
    ask = dataclasses.replace(usual, **said)
    return Item(
        id=f"line {number}" if given is None else str(given),
        where=where,
        prompt=texts[0],
        ask=ask,
        digest=digest,
        ask_digest=_digest(_told(ask, team)),
        own_member="member" in said,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told(ask: Ask, team: str) -> str:
    """Spell who is asked and how; what has its usual value is left out, so that options to come change nothing."""
    told = {each.name: getattr(ask, each.name) for each in dataclasses.fields(ask)}
    usual = {each.name: each.default for each in dataclasses.fields(ask)}
    return json.dumps({"team": team} | {name: said for name, said in told.items() if said != usual[name]})


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    from_question_file = "answer_type" in row
    passed_over = {"id", "prompt", "question", *(_OF_QUESTION_FILES if from_question_file else ())}
    said: dict[str, Any] = {"kind": row["answer_type"]} if from_question_file else {}
    for name, value in row.items():
        if name in passed_over or value is None:
            continue
        if name not in _FIELDS:
            raise _Wrong(f"unknown field {name!r:.40}: use {', '.join(_FIELDS)}")
        # bool is an int to Python, not to a user.
        if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
            raise _Wrong(f"{name} is {value!r:.40}, which is of the wrong type")
        said[name] = value
    if isinstance(said.get("stop"), str):
        said["stop"] = [said["stop"]]
    if "stop" in said:
        said["stop"] = tuple(said["stop"])
    if isinstance(said.get("schema"), dict):
        said["schema"] = json.dumps(said["schema"])
    return said


AnswerOne = Callable[[str, Ask, threading.Event], Answer]
"""Answers a question as told; once the event is set it ends with what there is."""

_OF_THE_INSTALLATION = (NotFound, VerificationFailed, OfflineRefused, MissingExtra)
"""What fails every question alike, unless one named a member of its own."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How a batch stands: questions answered and failed by this run, answered before, and the seconds left."""

    total: int
    before: int
    answered: int = 0
    failed: int = 0
    seconds_left: float = 0.0
    failure: str | None = None

    @property
    def done(self) -> int:
        """Questions that need no more of this run."""
        return self.before + self.answered + self.failed


def run(
    items: Sequence[Item],
    out: Path,
    answer: AnswerOne,
    *,
    jobs: int = 1,
    on_done: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Answer what `out` has no answer to yet. The first question goes ahead alone, and loads what all of them need.

    A question that fails is recorded, and the run goes on, unless something is missing that all of them need.

    Args:
        items: the questions.
        out: the file of answers; a last line that a kill cut off and those of failed questions are dropped from it.
        answer: answers one question; called from several threads where `jobs` is above 1.
        jobs: questions under way at once.
        on_done: hears of each question that is done.

    Raises:
        BadRequest: `out` has answers to other questions under these ids, or to these with other options, or is no
            plain file.
        VerificationFailed: `out` holds something else.
        DoesNotFit: the disk is full; what was answered is kept.
        AvengersError: `out` cannot be written, another run is writing it, or a model or file is missing that every
            question needs.

    """
    if (out.exists() and not out.is_file()) or out.suffix == ".gz":
        raise BadRequest(f"{out} cannot be gone on with: name a plain file that does not end in .gz")
    try:
        with sole_writer(out), _no_stump(out):
            return _go_on(items, out, answer, jobs, on_done)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DoesNotFit(_full(out)) from error
        raise AvengersError(f"{out} cannot be written ({error.strerror}): make room, then run this again") from error


@contextlib.contextmanager
def _no_stump(out: Path) -> Iterator[None]:
    """Where writing fails, leave whole lines only, and no empty file where there was none."""
    new = not out.exists()
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError):
            drop_partial_line(out)
            if new and out.stat().st_size == 0:
                out.unlink()
        raise


def _full(out: Path) -> str:
    """Return the message of a disk or a quota that is full."""
    try:
        free = f"{shutil.disk_usage(out.parent).free / 1e6:.1f} MB"
    except OSError:
        free = "no bytes"
    return f"{out} needs room for another answer and {free} are free there: free some and run this again, it goes on"


def _go_on(items: Sequence[Item], out: Path, answer: AnswerOne, jobs: int, on_done: Callable[[Tally], None]) -> Tally:
    have = _known(items, out)
    waiting = [item for item in items if item.id not in have]
    tally, pace, stop = Tally(len(items), len(have)), Eta(0, len(waiting)), threading.Event()
    with (
        out.open("a", encoding="utf-8") as file,
        ThreadPoolExecutor(jobs, "batch") as pool,
        contextlib.closing(_outcomes(waiting, pool, answer, stop, jobs)) as outcomes,
    ):
        for item, outcome in outcomes:
            row = {"id": item.id, "prompt_sha256": item.digest, "ask_sha256": item.ask_digest, **_as_values(outcome)}
            file.write(as_line(row))
            file.flush()
            tally = _counted(tally, item, outcome, pace.tick())
            on_done(tally)
    return tally


def _outcomes(
    items: Sequence[Item], pool: ThreadPoolExecutor, answer: AnswerOne, stop: threading.Event, jobs: int
) -> Generator[tuple[Item, Answer | AvengersError]]:
    """Ask, some at once; yield what came of each as it ends. Whatever ends this stops those that are under way."""
    running: dict[Future[Answer], Item] = {}
    rest, width = iter(items), 1
    try:
        while True:
            for item in itertools.islice(rest, width - len(running)):
                running[pool.submit(answer, item.prompt, item.ask, stop)] = item
            if not running:
                return
            ended, _ = concurrent.futures.wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                item = running.pop(future)
                yield item, _result(future, item)
            width = jobs
    except (AvengersError, KeyboardInterrupt):
        for future in [future for future in running if future.done() and not future.exception()]:
            yield running[future], future.result()  # it was paid for
        raise
    finally:
        stop.set()


def _result(future: Future[Answer], item: Item) -> Answer | AvengersError:
    try:
        return future.result()
    except _OF_THE_INSTALLATION as error:
        if not item.own_member:
            raise
        return error
    except AvengersError as error:
        return error


def _as_values(outcome: Answer | AvengersError) -> dict[str, Any]:
    if isinstance(outcome, Answer):
        return outcome.as_dict()
    return {"error": str(outcome), "exit_code": outcome.exit_code}


def _counted(tally: Tally, item: Item, outcome: Answer | AvengersError, seconds_left: float) -> Tally:
    failed = isinstance(outcome, AvengersError)
    return Tally(
        tally.total,
        tally.before,
        tally.answered + (not failed),
        tally.failed + failed,
        seconds_left,
        f"{item.where}: {outcome}" if failed and tally.failure is None else tally.failure,
    )


def _known(items: Sequence[Item], out: Path) -> set[str]:
    """Read which questions have an answer; drop the lines of those that failed."""
    if not out.exists():
        return set()
    drop_partial_line(out)
    asked = {item.id: item for item in items}
    known: set[str] = set()
    kept: list[str] = []
    for where, line in numbered_lines(out, "file of answers", "name another one with --out"):
        row = _row(where, line)
        item = asked.get(row["id"])
        if item is not None and item.digest != row["prompt_sha256"]:
            raise BadRequest(f"{where}: {item.id!r} is another question there: name another file with --out")
        if item is not None and "error" in row:
            continue  # it is asked again
        # Files of before had no digest of the options.
        if item is not None and row.get("ask_sha256", item.ask_digest) != item.ask_digest:
            raise BadRequest(
                f"{where}: {item.id!r} was answered by another team or with other options there: name another file "
                "with --out, or the options of then"
            )
        if item is not None:
            known.add(item.id)
        kept.append(line)
    content = "".join(kept).encode()
    if len(content) < out.stat().st_size:
        write_whole(out, content)
    return known


def _row(where: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if isinstance(row["id"], str) and isinstance(row["prompt_sha256"], str):
            return dict(row)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise VerificationFailed(f"{where}: it is not an answer of a batch: name another file with --out")
