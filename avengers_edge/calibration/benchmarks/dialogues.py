"""EmoryNLP, MELD and DailyDialog: which emotion an utterance expresses, with what was said before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from avengers_edge.calibration.benchmarks.benchmark import (
    Asked,
    Benchmark,
    HubTable,
    LeftOut,
    Row,
    emotion_question,
    shown,
    spoken,
    tables,
)
from avengers_edge.calibration.benchmarks.reading import text_lines
from avengers_edge.errors import BadRequest

LONGEST_HISTORY = 12
"""So many utterances before the last one are shown."""

_EMORY_LABELS = ("Joyful", "Mad", "Neutral", "Peaceful", "Powerful", "Sad", "Scared")
_MELD_LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
_DAILY_CODES = ("no emotion", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
_DAILY_LABELS = tuple(sorted(_DAILY_CODES))
_END_OF_UTTERANCE = "__eou__"


def _meld_dialogues(rows: Iterable[Row]) -> Iterator[Row]:
    """Give each utterance the ones before it; a dialogue's rows stand together and in order."""
    dialogue = ""
    history: list[str] = []
    for row in rows:
        if (number := row.word("Dialogue_ID")) != dialogue:
            dialogue, history = number, []
        line = spoken(row.word("Speaker"), row.word("Utterance"))
        yield row.with_values({"history": history[-LONGEST_HISTORY:], "utterance": line})
        history.append(line)


def _meld(row: Row) -> Asked | LeftOut:
    meta = {"dialogue_id": row.whole("Dialogue_ID"), "utterance_id": row.whole("Utterance_ID")}
    return emotion_question(row, _MELD_LABELS, row.word("Emotion").lower(), meta)


def _emory_scenes(episodes: Iterable[Row]) -> Iterator[Row]:
    """Take episodes apart into utterances with those before them in the scene; what is silent is passed over."""
    for episode in episodes:
        for scene in episode.inners("scenes"):
            history: list[str] = []
            for said in scene.inners("utterances"):
                if not said.has("transcript"):
                    continue
                speakers = " and ".join(said.texts("speakers")) if said.has("speakers") else ""
                line = spoken(speakers or "Unknown", said.text("transcript"))
                place = f"{episode.split}/{said.word('utterance_id')}"
                yield said.with_values({"history": history[-LONGEST_HISTORY:], "utterance": line}, place)
                history.append(line)


def _emory(row: Row) -> Asked | LeftOut:
    if not row.has("emotion"):
        return LeftOut("no emotion is published")
    return emotion_question(row, _EMORY_LABELS, row.word("emotion"), {"utterance_id": row.word("utterance_id")})


def _read_dialogues(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Join a file of dialogues, one a line, with the file of their emotions beside it.

    Raises:
        NotFound: one of them is not there.
        BadRequest: they are not of the same length, or an emotion is no number.

    """
    beside = path.with_name(path.name.replace("dialogues_", "dialogues_emotion_").replace("_emotion_text", "_emotion"))
    emotions = list(text_lines(beside))
    count = 0
    for number, line in enumerate(text_lines(path), 1):
        where = f"{path}, line {number}"
        if number > len(emotions):
            raise BadRequest(f"{where}: {beside} ends before it: get both files anew")
        codes = emotions[number - 1].split()
        if not all(code in "0123456" and len(code) == 1 for code in codes):
            raise BadRequest(f"{beside}, line {number}: {shown(emotions[number - 1])} is no list of emotions 0 to 6")
        said = [part.strip() for part in line.split(_END_OF_UTTERANCE)]
        yield where, {"dialog": said[:-1] if not said[-1] else said, "emotion": [int(code) for code in codes]}
        count = number
    if count < len(emotions):
        raise BadRequest(f"{beside} has {len(emotions)} lines, {path} has {count}: get both files anew")


def _daily_utterances(rows: Iterable[Row]) -> Iterator[Row]:
    """Take dialogues apart into utterances with those before them; two people speak in turn."""
    for row in rows:
        said, codes = row.texts("dialog"), row.items("emotion")
        if len(said) != len(codes):
            row.refuse(f"has {len(said)} utterances and {len(codes)} emotions")
        lines = [spoken(f"Person {'AB'[at % 2]}", text) for at, text in enumerate(said)]
        for at, (text, code) in enumerate(zip(said, codes, strict=True)):
            if text.strip():
                history = [line for line, before in zip(lines[:at], said, strict=False) if before.strip()]
                facts = {"history": history[-LONGEST_HISTORY:], "utterance": lines[at], "code": code, "number": at}
                yield row.with_values(facts, f"{row.place}/{at}")


def _daily(row: Row) -> Asked | LeftOut:
    code = row.whole("code")
    if not 0 <= code < len(_DAILY_CODES):
        row.refuse(f"has the emotion {code}: the benchmark numbers them from 0 to {len(_DAILY_CODES) - 1}")
    return emotion_question(row, _DAILY_LABELS, _DAILY_CODES[code], {"utterance": row.whole("number")})


EMORYNLP = Benchmark(
    name="emorynlp",
    title="EmoryNLP",
    category="affective",
    licence="Apache-2.0 (the lines are from the TV series Friends)",
    published="emorynlp/emotion-detection, json/emotion-detection-tst.json",
    to_question=_emory,
    files=tables(
        {"test": "emotion-detection-tst", "train": "emotion-detection-trn", "validation": "emotion-detection-dev"}
    ),
    unfold=_emory_scenes,
    under="episodes",
)
MELD = Benchmark(
    name="meld",
    title="MELD",
    category="affective",
    licence="GPL-3.0 (the lines are from the TV series Friends)",
    published="declare-lab/MELD, data/MELD/test_sent_emo.csv",
    to_question=_meld,
    files=tables({"test": "test_sent_emo", "train": "train_sent_emo", "validation": "dev_sent_emo"}),
    unfold=_meld_dialogues,
)
DAILYDIALOG = Benchmark(
    name="dailydialog",
    title="DailyDialog",
    category="affective",
    licence="CC-BY-NC-SA-4.0",
    published="yanran.li/dailydialog: test/dialogues_test.txt with dialogues_emotion_test.txt; on the hub: "
    "OpenRL/daily_dialog",
    to_question=_daily,
    files={
        "test": ("**/dialogues_test.txt",),
        "train": ("**/dialogues_train.txt",),
        "validation": ("**/dialogues_validation.txt",),
        "all": ("**/dialogues_text.txt",),
    },
    hub=tuple(HubTable("OpenRL/daily_dialog", None, split, split) for split in ("test", "train", "validation")),
    unfold=_daily_utterances,
    read=_read_dialogues,
)
