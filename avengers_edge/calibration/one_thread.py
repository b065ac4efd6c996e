"""scikit-learn on one thread, so that sums are added in one order and results stay the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from avengers_edge.errors import MissingExtra


@contextmanager
def one_thread(purpose: str = "comparing routers") -> Iterator[None]:
    """Hold the numeric libraries to one thread, and keep a bound on their work from being called a fault.

    Raises:
        MissingExtra: scikit-learn, which brings what can do this, is not installed; `purpose` says what needs it.

    """
    try:
        import threadpoolctl
        from sklearn import exceptions
    except ImportError as error:
        raise MissingExtra("scikit-learn", "calibrate", purpose) from error
    with threadpoolctl.threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)  # fewer distinct questions than clusters, say
        yield
