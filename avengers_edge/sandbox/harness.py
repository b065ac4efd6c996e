"""Tests of code: a candidate passes if all that its tests say holds."""

from __future__ import annotations

import ast
import warnings

from avengers_edge.sandbox.box import Sandbox
from avengers_edge.sandbox.limits import Execution, Limits


def passes(
    sandbox: Sandbox, candidate: str, *, setup: str = "", test: str, entry_point: str = "", limits: Limits | None = None
) -> Execution:
    """Run a candidate between its setup and its test; the outcome `passed` says that the test ran to its end.

    A test that only defines `check(candidate)`, as HumanEval's do, is called with the entry point. The three run in one
    module that is not `__main__`: what a candidate does only when it is the main program is no part of the test.

    Raises:
        NoSandbox: the process could not be started or shut in.

    """
    parts = [setup, candidate, test]
    if entry_point and _only_defines_check(test):
        parts.append(f"check({entry_point})")
    return sandbox.run_tested(parts, limits=limits)


def _only_defines_check(test: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is the data set's business how it escapes
            body = ast.parse(test).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    defined = any(isinstance(statement, ast.FunctionDef) and statement.name == "check" for statement in body)
    outside = [statement for statement in body if not isinstance(statement, ast.FunctionDef | ast.ClassDef)]
    called = any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check"
        for statement in outside
        for node in ast.walk(statement)
    )
    return defined and not called
