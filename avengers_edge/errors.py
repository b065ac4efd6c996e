"""One tree of errors; the type alone decides the exit code and the HTTP status.

    AvengersError               1   500   something failed and no better word exists
    ├── BadRequest              2   400   a value that cannot be used: empty prompt, unknown option
    ├── NotFound                3   404   a model, team or file that is named but not there
    ├── VerificationFailed      4   422   bytes that are not what they claim to be
    ├── OfflineRefused          5   403   the network would be needed and is forbidden
    ├── DoesNotFit              6   413   memory, context or disk: the message has both numbers
    │   └── ContextFull         6   413   the context, so that saying less mends it
    ├── EngineDied              7   503   llama.cpp failed while it answered
    ├── MissingExtra            1   501   an optional dependency is not installed
    ├── NoSandbox               1   501   model-written code cannot be shut in on this machine, so it is not run
    └── Cancelled             130   499   the caller cancelled before there was anything to answer with

A message is one line: what happened, with which value, and what to do next.
"""

import sys
from pathlib import Path
from typing import ClassVar

INTERRUPTED_EXIT_CODE = 130
"""What a process ends with after Ctrl-C."""


class AvengersError(Exception):
    """The base of everything this package raises on purpose."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500


class BadRequest(AvengersError):
    """A value that cannot be used, refused where it is made."""

    exit_code = 2
    http_status = 400


class NotFound(AvengersError):
    """Something named does not exist; the message says which command mends it."""

    exit_code = 3
    http_status = 404


class VerificationFailed(AvengersError):
    """A file failed its checksum or is not what it claims to be."""

    exit_code = 4
    http_status = 422


class OfflineRefused(AvengersError):
    """The step needs the network and the user forbade it."""

    exit_code = 5
    http_status = 403


class DoesNotFit(AvengersError):
    """Memory, context or disk is too small; the message has the need and the limit."""

    exit_code = 6
    http_status = 413


class ContextFull(DoesNotFit):
    """A prompt, with what may be generated, is longer than the model's context: of a shorter one it can answer."""


class EngineDied(AvengersError):
    """llama.cpp could not load, evaluate or sample."""

    exit_code = 7
    http_status = 503


class Cancelled(AvengersError):
    """The caller cancelled before one sample had begun."""

    exit_code = INTERRUPTED_EXIT_CODE
    http_status = 499


class NoSandbox(AvengersError):
    """Code that a model wrote is not run, because nothing here can shut it in; the message says what would."""

    http_status = 501


class MissingExtra(AvengersError):
    """An optional dependency is absent; the message names the extra that brings it."""

    http_status = 501

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        root = Path(__file__).parent.parent
        source = f"-e '{root}[{extra}]'" if (root / "pyproject.toml").is_file() else f"'avengers-edge[{extra}]'"
        super().__init__(f"{purpose} needs {package}: run `{sys.executable} -m pip install {source}`")
