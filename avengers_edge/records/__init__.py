"""The frozen values that flow between the steps, and the shapes the steps depend on.

Each value refuses what it cannot mean when it is made, so no step checks its input again.
"""

from avengers_edge.records.basics import KINDS, MOST_SAMPLES, SEED_LIMIT, EarlyStop, FinishReason, Kind, Role, Speaker
from avengers_edge.records.events import Event, Finished, Loading, Progress, Routed, Token
from avengers_edge.records.members import AnswerForm, Member, Mode, Team
from avengers_edge.records.protocols import CancelToken, Closing, Embedder, Engine, Lazy, OnFinish, OnToken, Vectors
from avengers_edge.records.requests import AS_LONG_AS_FITS, Ask, Message, Request, SamplingParams, Tool, ToolCall, Tools
from avengers_edge.records.results import (
    Answer,
    Calibration,
    Completion,
    Generation,
    Ranked,
    Route,
    Sample,
    Timings,
    TokenLogprob,
    Usage,
    Vote,
    VoteForm,
)

__all__ = [
    "AS_LONG_AS_FITS",
    "KINDS",
    "MOST_SAMPLES",
    "SEED_LIMIT",
    "Answer",
    "AnswerForm",
    "Ask",
    "Calibration",
    "CancelToken",
    "Closing",
    "Completion",
    "EarlyStop",
    "Embedder",
    "Engine",
    "Event",
    "FinishReason",
    "Finished",
    "Generation",
    "Kind",
    "Lazy",
    "Loading",
    "Member",
    "Message",
    "Mode",
    "OnFinish",
    "OnToken",
    "Progress",
    "Ranked",
    "Request",
    "Role",
    "Route",
    "Routed",
    "Sample",
    "SamplingParams",
    "Speaker",
    "Team",
    "Timings",
    "Token",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "Tools",
    "Usage",
    "Vectors",
    "Vote",
    "VoteForm",
]
