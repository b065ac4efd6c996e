"""EmoryNLP, MELD and DailyDialog: which emotion an utterance expresses, with what was said before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from avengers_edge.calibration.benchmarks.published import Located, text_lines
from avengers_edge.calibration.benchmarks.rows import Asked, LeftOut, Row, multiple_choice, shown
from avengers_edge.errors import BadRequest

_LONGEST_HISTORY = 12  # utterances before the last one
_EMORY_LABELS = ("Joyful", "Mad", "Neutral", "Peaceful", "Powerful", "Sad", "Scared")
_MELD_LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
_DAILY_CODES = ("no emotion", "anger", "disgust", "fear", "happiness", "sadness", "surprise")


def _spoken(speaker: str, text: str) -> str:
    return f"{' '.join(speaker.split())}: {' '.join(text.split())}"


def _heard(row: Row, history: Sequence[str], line: str, place: str | None = None) -> Row:
    return row.with_values({"history": history[-_LONGEST_HISTORY:], "utterance": line}, place)


def _emotion(row: Row, labels: Sequence[str], label: str, meta: Mapping[str, object]) -> Asked:
    """Ask which emotion the utterance of a row from `_heard` expresses."""
    if label not in labels:
        row.refuse(f"has the emotion {shown(label)}: the benchmark knows {', '.join(labels)}")
    history = "\n".join(f"- {line}" for line in row.texts("history")) or "(start of the conversation)"
    stem = (
        "Read the conversation and decide which emotion the speaker expresses in the last utterance, "
        "taking the conversation into account.\n\n"
        f"Conversation so far:\n{history}\n\nLast utterance:\n{row.text('utterance')}"
    )
    ask = "Answer with the letter of the emotion."
    return multiple_choice(row, stem, labels, labels.index(label), ask=ask, meta={**meta, "label": label})


def meld_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Give each utterance the ones before it; a dialogue's rows stand together and in order."""
    dialogue = ""
    history: list[str] = []
    for row in rows:
        if (number := row.word("Dialogue_ID")) != dialogue:
            dialogue, history = number, []
        line = _spoken(row.word("Speaker"), row.word("Utterance"))
        yield _heard(row, history, line)
        history.append(line)


def meld(row: Row) -> Asked:
    """MELD: an utterance of a scene of Friends."""
    meta = {"dialogue_id": row.value(int, "Dialogue_ID"), "utterance_id": row.value(int, "Utterance_ID")}
    return _emotion(row, _MELD_LABELS, row.word("Emotion").lower(), meta)


def emory_rows(episodes: Iterable[Row]) -> Iterator[Row]:
    """Take episodes apart into utterances with those before them in the scene; what is silent is passed over."""
    for episode in episodes:
        for scene in episode.inners("scenes"):
            history: list[str] = []
            for said in scene.inners("utterances"):
                if said.has("transcript"):
                    speakers = " and ".join(said.texts("speakers")) if said.has("speakers") else ""
                    line = _spoken(speakers or "Unknown", said.text("transcript"))
                    yield _heard(said, history, line, f"{episode.split}/{said.word('utterance_id')}")
                    history.append(line)


def emory(row: Row) -> Asked | LeftOut:
    """EmoryNLP: an utterance of a scene of Friends."""
    if not row.has("emotion"):
        return LeftOut("no emotion is published")
    return _emotion(row, _EMORY_LABELS, row.word("emotion"), {"utterance_id": row.word("utterance_id")})


def read_dialogues(path: Path) -> Iterator[Located]:
    """Join DailyDialog's file of dialogues, one a line, with the file of their emotions beside it.

    Raises:
        NotFound: one of them is not there.
        BadRequest: they are not of the same length, or an emotion is no number.

    """
    beside = path.with_name(path.name.replace("dialogues_", "dialogues_emotion_").replace("_emotion_text", "_emotion"))
    lines, emotions = list(text_lines(path)), list(text_lines(beside))
    if len(lines) != len(emotions):
        raise BadRequest(f"{beside} has {len(emotions)} lines, {path} has {len(lines)}: get both files anew")
    for number, (line, emotion) in enumerate(zip(lines, emotions, strict=True), 1):
        codes = emotion.split()
        if not all(code in "0123456" and len(code) == 1 for code in codes):
            raise BadRequest(f"{beside}, line {number}: {shown(emotion)} is no list of emotions 0 to 6")
        said = [part.strip() for part in line.split("__eou__")]
        yield f"{path}, line {number}", {"dialog": said if said[-1] else said[:-1], "emotion": list(map(int, codes))}


def daily_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Take dialogues apart into utterances with those before them; two people speak in turn."""
    for row in rows:
        said, codes = row.texts("dialog"), row.value(tuple[object, ...], "emotion")
        if len(said) != len(codes):
            row.refuse(f"has {len(said)} utterances and {len(codes)} emotions")
        history: list[str] = []
        for at, (text, code) in enumerate(zip(said, codes, strict=True)):
            if text.strip():
                line = _spoken(f"Person {'AB'[at % 2]}", text)
                yield _heard(row, history, line, f"{row.place}/{at}").with_values({"code": code, "number": at})
                history.append(line)


def daily(row: Row) -> Asked:
    """DailyDialog: an utterance of one of two people."""
    code = row.value(int, "code")
    if not 0 <= code < len(_DAILY_CODES):
        row.refuse(f"has the emotion {code}: the benchmark numbers them from 0 to {len(_DAILY_CODES) - 1}")
    return _emotion(row, sorted(_DAILY_CODES), _DAILY_CODES[code], {"utterance": row.value(int, "number")})
