"""Which of six emotions somebody shows or must feel, by what happens and by what they say."""

from __future__ import annotations

from builtin_questions.drafts import Draft, Template, choice
from builtin_questions.draw import Draw
from builtin_questions.texts import people, rows

_EMOTIONS = ("joy", "sadness", "anger", "fear", "surprise", "disgust")
_ASKED = (
    "Which emotion does {} most likely feel?",
    "What does {} feel above all?",
    "Which of these emotions fits what {} feels best?",
)
_SPEAKING = ("{} says", "{} tells a friend", "{} cries out", "{} writes in a message")


def _ask(draw: Draw, file: str, frame: str = "{}") -> Draft:
    """Draw a line of a file, "emotion | text", and a name for the NAME in it."""
    (emotion, line), name = draw.pick(rows(file)), draw.pick(people())
    said = frame.format(line).replace("NAME", name)
    return choice(f"{said}\n{draw.pick(_ASKED).format(name)}", draw.shuffled(_EMOTIONS), emotion)


def _event(draw: Draw) -> Draft:
    return _ask(draw, "emotion_events")


def _quote(draw: Draw) -> Draft:
    speaking = draw.pick(_SPEAKING).format("NAME")
    return _ask(draw, "emotion_quotes", f'{speaking}: "{{}}"')


def _scene(draw: Draw) -> Draft:
    """Let what is said or seen at first not be what is felt."""
    return _ask(draw, "emotion_scenes")


EMOTION: tuple[Template, ...] = (_event, _quote, _event, _quote, _scene)
