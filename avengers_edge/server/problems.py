"""What goes wrong, in the shape that clients of OpenAI expect: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from avengers_edge.errors import AvengersError, BadRequest, Cancelled, DoesNotFit, EngineDied, NotFound
from avengers_edge.server.schemas import ChatCompletionRequest, Extension

_CODES: tuple[tuple[type[AvengersError], str], ...] = (
    (NotFound, "not_found"),
    (DoesNotFit, "does_not_fit"),
    (EngineDied, "engine_died"),
    (Cancelled, "cancelled"),
)
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    504: "timeout_error",
}
_LONGEST = 600
_FIELDS = frozenset({*ChatCompletionRequest.__struct_fields__, *Extension.__struct_fields__})


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong, for people and for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(msgspec.Struct, frozen=True):
    """The body of every refusal."""

    error: ErrorBody


class Problem(Exception):
    """A refusal or failure, as the client gets it; `param` is the request's field that is to blame."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.headers = status, message, param, code, headers

    def rename(self, names: Mapping[str, str]) -> None:
        """Name the field as another API does."""
        ours = re.split(r"[.\[]", self.param or "")[0]
        if theirs := names.get(ours):
            self.param = (self.param or "").replace(ours, theirs, 1)
            self.message = self.message.replace(ours, theirs, 1)

    def reply(self) -> ErrorReply:
        """Return the error object: one line, without what cannot be printed; a name of a client's may hold anything."""
        line = _printable(" ".join(self.message.split()))
        param = None if self.param is None else _printable(self.param)
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return ErrorReply(ErrorBody(line, kind, param, self.code))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def refuse(param: str, message: str, code: str = "unsupported_value") -> Problem:
    """Blame a field of the request."""
    return Problem(400, message, param, code)


def problem_of(error: BaseException) -> Problem:
    """Turn any error into a refusal: ours by their own message, others without a word of their inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, BadRequest):
        first = str(error).split(" ", 1)[0]  # our records say `temperature is 3: use ...`
        return Problem(error.http_status, str(error), first if first in _FIELDS else None, "invalid_value")
    if isinstance(error, AvengersError):
        code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
        headers = {"Retry-After": "1"} if error.http_status == 503 else {}
        return Problem(error.http_status, str(error), None, code, headers)
    return Problem(500, "the server failed at this request: its log says why", code="internal_error")
