"""Avengers Edge: a team of small local models that routes, samples and votes.

Importing this package loads nothing heavy; see `avengers_edge.runtime` for the main path.
"""

__version__ = "0.1.0"
