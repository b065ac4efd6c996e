"""Which of many members make a team: those that come first in the most clusters."""

from __future__ import annotations

import numpy as np

from avengers_edge.errors import BadRequest
from avengers_edge.routing.table import CentroidTable


def select_members(table: CentroidTable, size: int) -> list[str]:
    """Choose `size` members, best first, as the Avengers do (arXiv 2505.19797).

    Counted are the clusters in which a member is first; who was first somewhere goes before who never was, and the
    rest is filled up by first places plus half a point for each second place. Equals go by overall accuracy, then by
    column.

    Raises:
        BadRequest: a size below 1 or above the number of members.

    """
    members = table.header.members
    if not 1 <= size <= len(members):
        raise BadRequest(f"a team of {size} was asked of {len(members)} members: use 1 to {len(members)}")
    order = np.argsort(-table.accuracy, axis=1, kind="stable")
    first = np.bincount(order[:, 0], minlength=len(members))
    second = np.bincount(order[:, 1], minlength=len(members)) if len(members) > 1 else np.zeros_like(first)
    points = first + 0.5 * second
    overall = table.header.macro
    ranked = sorted(
        range(len(members)), key=lambda column: (first[column] == 0, -points[column], -overall[column], column)
    )
    return [members[column] for column in ranked[:size]]
