"""Avengers Edge: a team of small local models that routes, samples and votes.

Importing this package loads nothing heavy; see `avengers_edge.runtime` for the main path.
"""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library is silent until it is listened to

__version__ = "0.1.0"
