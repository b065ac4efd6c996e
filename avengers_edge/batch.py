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
from typing import Any, get_type_hints

import msgspec

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

_ANSWER_TYPE = "answer_type"
_OF_QUESTION_FILES = frozenset({"dataset", "category", "choices", "answer", _ANSWER_TYPE, "tests", "split", "meta"})
"""The fields of the question files of `calibrate`; their answer type is the kind, the others are ignored."""
_NOT_IN_LINES = ("history", "tools", "results")
_OPTION_TYPES = {name: kind for name, kind in get_type_hints(Ask).items() if name not in _NOT_IN_LINES}


@dataclass(frozen=True, slots=True)
class Item:
    """A question, hashes of its text and of how it is asked, and whether its line named a member."""

    id: str
    where: str
    prompt: str
    ask: Ask
    digest: str
    ask_digest: str
    own_member: bool = False


def read_items(lines: Iterable[tuple[str, str]], defaults: Ask, team: str) -> tuple[Item, ...]:
    """Read all questions, so that a bad line is known before the first one is asked.

    A line is a JSON object: {"prompt" or "question", "id"?, and fields of `Ask`: "samples"?, "kind"?, "member"?, ...};
    without an id it is known by its number.

    Args:
        lines: the place of each line ("FILE, line N"), and the line.
        defaults: how to answer where a line does not say it.
        team: the name of the team that answers.

    Raises:
        VerificationFailed: a line is no question, or has the id of another one; the message names the line.
        BadRequest: there is no line.

    """
    items: dict[str, Item] = {}
    for where, line in lines:
        try:
            item = _item(where, json.loads(line), defaults, team)
        except BadRequest as error:
            raise VerificationFailed(f"{where}: {error}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise VerificationFailed(f"{where}: it is not JSON ({error})") from error
        if item.id in items:
            raise VerificationFailed(f"{where}: id {item.id!r} is that of {items[item.id].where} too: choose another")
        items[item.id] = item
    if not items:
        raise BadRequest('there are no questions: write one a line, as {"prompt": "..."}')
    return tuple(items.values())


def _item(where: str, row: object, defaults: Ask, team: str) -> Item:
    if not isinstance(row, dict):
        raise BadRequest('it is not an object: write {"prompt": "..."}')
    texts = [row[name] for name in ("prompt", "question") if name in row]
    if len(texts) != 1 or not isinstance(texts[0], str) or not texts[0].strip():
        raise BadRequest("it needs one text, as prompt or as question")
    given = row.get("id")
    if not (given is None or (isinstance(given, str | int) and not isinstance(given, bool) and given != "")):
        raise BadRequest(f"its id is {given!r:.40}: use a text or a number")
    options = _options(row)
    ask = dataclasses.replace(defaults, **options)
    try:
        digest = _digest(texts[0])
    except UnicodeEncodeError as error:
        raise BadRequest("its text has half a character: write the whole one") from error
    name = f"line {where.rpartition(' ')[2]}" if given is None else str(given)
    return Item(name, where, texts[0], ask, digest, _ask_digest(ask, team), "member" in options)


def _options(row: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of a line that say how to answer, by the types of `Ask`."""
    options: dict[str, Any] = {}
    ignored = {"id", "prompt", "question"}
    if _ANSWER_TYPE in row:
        options["kind"] = row[_ANSWER_TYPE]
        ignored |= _OF_QUESTION_FILES
    for name, value in row.items():
        if name in ignored or value is None:
            continue
        if name not in _OPTION_TYPES:
            raise BadRequest(f"unknown field {name!r:.40}: use {', '.join(_OPTION_TYPES)}")
        if name == "stop":
            options[name] = (value,) if isinstance(value, str) else value
        else:
            options[name] = json.dumps(value) if name == "schema" and isinstance(value, dict) else value
        try:
            msgspec.convert(options[name], _OPTION_TYPES[name])
        except msgspec.ValidationError as error:
            raise BadRequest(f"{name} is {value!r:.40}: {error}") from error
        if isinstance(options[name], list):
            options[name] = tuple(options[name])
    return options


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ask_digest(ask: Ask, team: str) -> str:
    """Hash the team and the options without those at their defaults, so that new options change no hash."""
    values = {each.name: getattr(ask, each.name) for each in dataclasses.fields(ask)}
    changed = {each.name: values[each.name] for each in dataclasses.fields(ask) if values[each.name] != each.default}
    return _digest(json.dumps({"team": team} | changed))


AnswerOne = Callable[[str, Ask, threading.Event], Answer]
"""Answers a question; once the event is set, with the samples so far."""

_INSTALLATION_ERRORS = (NotFound, VerificationFailed, OfflineRefused, MissingExtra)
"""Errors that every question would meet, unless its line named a member."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The progress of a batch: questions answered and failed by this run, answered before, and the seconds left."""

    total: int
    before: int
    answered: int = 0
    failed: int = 0
    seconds_left: float = 0.0
    failure: str | None = None

    @property
    def done(self) -> int:
        """Questions that are done."""
        return self.before + self.answered + self.failed


def run(
    items: Sequence[Item],
    out: Path,
    answer: AnswerOne,
    *,
    jobs: int = 1,
    on_done: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Answer the questions that `out` has no answer to. The first one runs alone, and loads what all of them need.

    A line of `out` is {"id", "prompt_sha256", "ask_sha256", and the fields of `ask --json`} or, for a question that
    failed, the same with {"error", "exit_code"}; it is written as soon as the answer is there.

    A question that fails is recorded and asked again by the next run, unless all of them would fail alike.

    Args:
        items: the questions.
        out: the file of answers; a last line that a kill cut off and those of failed questions are dropped from it.
        answer: answers one question; called from several threads where `jobs` is above 1.
        jobs: number of questions answered at once.
        on_done: callback for the progress after each question.

    Raises:
        BadRequest: `out` has answers to other questions under these ids, or to these with other options, or is not
            a plain file.
        VerificationFailed: `out` holds something else.
        DoesNotFit: the disk is full; what was answered is kept.
        AvengersError: `out` cannot be written, another run is writing it, or a model or file is missing that every
            question needs.

    """
    if (out.exists() and not out.is_file()) or out.suffix == ".gz":
        raise BadRequest(f"{out} cannot be continued: name a plain file that does not end in .gz")
    try:
        with sole_writer(out), _whole_lines(out):
            return _continue(items, out, answer, jobs, on_done)
    except OSError as error:
        if error.errno in NO_ROOM:
            free = f"{shutil.disk_usage(out.parent).free / 1e6:.1f} MB"
            raise DoesNotFit(
                f"{out} needs room for another answer and {free} are free there: free some and run this again"
            ) from error
        raise AvengersError(f"{out} cannot be written ({error.strerror}): make room, then run this again") from error


@contextlib.contextmanager
def _whole_lines(out: Path) -> Iterator[None]:
    """Where writing fails, leave only whole lines, and no empty file where there was none."""
    new = not out.exists()
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError):
            drop_partial_line(out)
            if new and out.stat().st_size == 0:
                out.unlink()
        raise


def _continue(
    items: Sequence[Item], out: Path, answer: AnswerOne, jobs: int, on_done: Callable[[Tally], None]
) -> Tally:
    have = _answered(items, out)
    waiting = [item for item in items if item.id not in have]
    tally, pace, stop = Tally(len(items), len(have)), Eta(0, len(waiting)), threading.Event()
    with (
        out.open("a", encoding="utf-8") as file,
        ThreadPoolExecutor(jobs, "batch") as pool,
        contextlib.closing(_outcomes(waiting, pool, answer, stop, jobs)) as outcomes,
    ):
        for item, outcome in outcomes:
            row: dict[str, Any] = {"id": item.id, "prompt_sha256": item.digest, "ask_sha256": item.ask_digest}
            if isinstance(outcome, Answer):
                row |= outcome.as_dict()
                tally = dataclasses.replace(tally, answered=tally.answered + 1)
            else:
                row |= {"error": str(outcome), "exit_code": outcome.exit_code}
                failure = tally.failure or f"{item.where}: {outcome}"
                tally = dataclasses.replace(tally, failed=tally.failed + 1, failure=failure)
            file.write(as_line(row))
            file.flush()
            tally = dataclasses.replace(tally, seconds_left=pace.tick())
            on_done(tally)
    return tally


def _outcomes(
    items: Sequence[Item], pool: ThreadPoolExecutor, answer: AnswerOne, stop: threading.Event, jobs: int
) -> Generator[tuple[Item, Answer | AvengersError]]:
    """Answer questions, `jobs` at once; yield each outcome as it ends. Closing this cancels those that run."""
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
            yield running[future], future.result()  # its time was spent
        raise
    finally:
        stop.set()


def _result(future: Future[Answer], item: Item) -> Answer | AvengersError:
    try:
        return future.result()
    except _INSTALLATION_ERRORS as error:
        if not item.own_member:
            raise
        return error
    except AvengersError as error:
        return error


def _answered(items: Sequence[Item], out: Path) -> set[str]:
    """Read the ids of the questions that have an answer; drop the lines of those that failed."""
    if not out.exists():
        return set()
    drop_partial_line(out)
    asked = {item.id: item for item in items}
    answered: set[str] = set()
    kept: list[str] = []
    for where, line in numbered_lines(out, "file of answers", "name another one with --out"):
        row = _row(where, line)
        item = asked.get(row["id"])
        if item is not None:
            if item.digest != row["prompt_sha256"]:
                raise BadRequest(f"{where}: {item.id!r} is another question there: name another file with --out")
            if "error" in row:
                continue  # it is asked again
            if row.get("ask_sha256", item.ask_digest) != item.ask_digest:  # older files have no hash of the options
                raise BadRequest(
                    f"{where}: {item.id!r} was answered by another team or with other options there: name another file "
                    "with --out, or the options of then"
                )
            answered.add(item.id)
        kept.append(line)
    content = "".join(kept).encode()
    if len(content) < out.stat().st_size:
        write_whole(out, content)
    return answered


def _row(where: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if isinstance(row["id"], str) and isinstance(row["prompt_sha256"], str):
            return dict(row)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise VerificationFailed(f"{where}: it is not an answer of a batch: name another file with --out")
