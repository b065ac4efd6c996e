"""A ballot hears samples as they finish and says when that is enough."""

from __future__ import annotations

import pytest

from avengers_edge.errors import BadRequest
from avengers_edge.records import Completion, FinishReason, Vote
from avengers_edge.voting.ballot import Ballot


def completion(index: int, text: str, finish_reason: FinishReason = "stop") -> Completion:
    return Completion(index=index, seed=index, text=text, tokens=1, finish_reason=finish_reason)


def test_a_ballot_is_decided_when_no_straggler_can_change_it() -> None:
    ballot = Ballot("number", 4)
    assert not ballot.add(completion(0, "Answer: 5"))
    assert ballot.add(completion(2, "5.0"))
    assert ballot.leader == Vote("5", 2)
    assert ballot.finished == 2
    assert ballot.keys == {0: "5", 2: "5"}
    assert ballot.votes == (Vote("5", 2),)


def test_a_truncated_sample_votes_only_by_a_marker_and_a_cancelled_one_not_at_all() -> None:
    ballot = Ballot("number", 5)
    ballot.add(completion(0, "so 5", "length"))
    ballot.add(completion(1, "\\boxed{6}", "length"))
    ballot.add(completion(2, "\\boxed{7}", "cancelled"))
    assert ballot.keys == {0: None, 1: "6"}


def test_ties_go_to_the_lower_index_whatever_finished_first() -> None:
    ballot = Ballot("choice", 2, "off", ("x", "y"))
    ballot.add(completion(1, "B"))
    assert ballot.add(completion(0, "A"))
    assert ballot.leader == Vote("A", 1)


def test_free_text_is_never_decided_early() -> None:
    ballot = Ballot("text", 2, "adaptive")
    assert not ballot.add(completion(0, "Hello"))
    assert ballot.leader is None
    assert ballot.add(completion(1, "Hello"))


def test_labels_are_read_with_the_choices() -> None:
    ballot = Ballot("label", 1, "exact", ["yes", "no"])
    ballot.add(completion(0, "No, it is not."))
    assert ballot.leader == Vote("no", 1)


def test_what_is_no_sample_of_the_request_is_refused() -> None:
    ballot = Ballot("number", 2)
    ballot.add(completion(0, "5"))
    with pytest.raises(BadRequest, match="finished twice"):
        ballot.add(completion(0, "5"))
    with pytest.raises(BadRequest, match="not one of 2"):
        ballot.add(completion(2, "5"))
    with pytest.raises(BadRequest, match="use 1 or more"):
        Ballot("number", 0)
