"""Running a program in this process: what it prints is its own, what became of it goes into the report."""

from __future__ import annotations

import builtins
import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any, NoReturn

READY, OUT_OF_MEMORY = b"R\n", b"M\n"
"""What the report begins with when the door is locked, and what it says where memory ran out."""
_LONGEST_RESULT = 2000


class _Packages:
    """Finds installed packages, each by its own folder, so that nothing that lies beside them can be imported."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        folder = self._folders.get(name)
        first = f"{folder}/__init__.py"
        if folder is None or not os.access(first, os.R_OK):
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, first, submodule_search_locations=[folder])


class _OutOfTime(BaseException):
    """A call took longer than it may."""


def run(job: dict[str, Any], token: int, report: int) -> NoReturn:
    """Run the parts of a program one after the other in one module, then make its calls, and end as Python would.

    A job is `parts` (texts), `name` (of the module), `packages` (folders of packages that may be imported, by name),
    `calls` (expressions, each of which is reported) and `call_seconds` (for each of them). The token is read and handed
    back only after the last part ran to its end, with Python's builtins as they were: to leave early, however quietly,
    is not to pass.
    """
    read, write, leave, execute, build = os.read, os.write, os._exit, exec, compile
    calls = job["calls"]
    if calls is not None:
        from avengers_edge.sandbox.inside.canonical import canonical
    module = type(sys)(job["name"])
    for name in [name for name in sys.modules if name.startswith("avengers_edge")]:
        del sys.modules[name]
    sys.modules[job["name"]] = module
    if job["packages"]:
        sys.meta_path.append(_Packages(job["packages"]))
    names = vars(module)
    present, before = vars(builtins), dict(vars(builtins))
    try:
        for number, part in enumerate(job["parts"]):
            execute(build(part, f"<part {number}>" if number else "<program>", "exec", dont_inherit=True), names)
        if calls is not None:
            _make(calls, job["call_seconds"], names, canonical, report)
        elif job["tested"]:
            for name in before:  # not by all(), which may be the program's own by now
                if present.get(name) is not before[name]:
                    leave(1)
            write(report, read(token, 64))
            leave(0)
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, MemoryError):
            error.__traceback__ = None  # its frames hold what filled the memory
            write(report, OUT_OF_MEMORY)
        with contextlib.suppress(BaseException):
            import traceback

            shown = error.__traceback__
            traceback.print_exception(error.with_traceback(shown.tb_next if shown else None))
        sys.exit(1)
    sys.exit(0)


def _make(
    calls: list[str], seconds: float, names: dict[str, Any], canonical: Callable[[object], str], report: int
) -> None:
    """Report each call's result as a line of JSON: [place, what it gave or raised]; null where time ran out."""
    import json

    write, dumps = os.write, json.dumps

    def out_of_time(_signal: int, _frame: object) -> None:
        raise _OutOfTime

    signal.signal(signal.SIGALRM, out_of_time)
    for place, expression in enumerate(calls):
        result: str | None
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            result = canonical(eval(compile(expression, "<call>", "eval"), names))[:_LONGEST_RESULT]
        except _OutOfTime:
            result = None
        except BaseException as error:
            result = f"raises {type(error).__name__}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        write(report, dumps([place, result]).encode() + b"\n")
