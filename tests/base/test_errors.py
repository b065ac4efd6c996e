"""The error tree is the only source of exit codes and HTTP statuses."""

from __future__ import annotations

import sys

import pytest

from avengers_edge import errors

CODES = {
    "AvengersError": (1, 500),
    "BadRequest": (2, 400),
    "NotFound": (3, 404),
    "VerificationFailed": (4, 422),
    "OfflineRefused": (5, 403),
    "DoesNotFit": (6, 413),
    "ContextFull": (6, 413),
    "EngineDied": (7, 503),
    "MissingExtra": (1, 501),
    "NoSandbox": (1, 501),
    "Cancelled": (130, 499),
}


def test_every_error_has_the_code_of_the_contract_and_is_in_the_picture():
    tree = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert {name: (kind.exit_code, kind.http_status) for name, kind in tree.items()} == CODES
    for name in CODES:
        assert name in errors.__doc__


@pytest.mark.parametrize("name", CODES)
def test_every_error_is_one_of_ours(name):
    assert issubclass(getattr(errors, name), errors.AvengersError)


def test_a_missing_extra_names_its_cure():
    said = str(errors.MissingExtra("numpy", "fast", "adding"))
    assert said.startswith(f"adding needs numpy: run `{sys.executable} -m pip install ")
    assert said.endswith("[fast]'`")
