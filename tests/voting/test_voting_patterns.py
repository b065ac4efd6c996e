"""Expressions are compiled when they are first used, so that importing the room costs no command its time."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from avengers_edge.voting.patterns import pattern, wording


def test_a_pattern_is_compiled_by_its_first_search_and_is_then_the_compiled_one():
    broken = pattern("(")
    with pytest.raises(re.error):
        broken.search("(")
    digits = pattern("([0-9])|x")
    assert digits.findall("1x2") == ["1", "", "2"]
    assert digits.sub("-", "a1") == "a-"
    assert digits.match("a1", 1)[1] == "1"


def test_a_wording_is_in_either_case_and_knows_lines():
    assert wording("^ja$", "^no$").findall("Ja\nNO\nnon") == ["Ja", "NO"]


def test_importing_the_room_compiles_none_of_its_expressions():
    program = """
import dataclasses, fractions, json, typing, concurrent.futures, ast, hashlib, unicodedata, avengers_edge.records
import re
compiled = []
compile_pattern = re._compiler.compile
re._compiler.compile = lambda source, *rest: compiled.append(source) or compile_pattern(source, *rest)
import avengers_edge.voting.kinds, avengers_edge.voting.printed, avengers_edge.voting.code_votes
print(compiled)
"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"
