"""What tests of other people's clients share: a server that really listens, and imports that may be missing or warn."""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
import warnings

import pytest
from server_fakes import Served

from avengers_edge.server.launcher import make_server
from avengers_edge.server.options import Limits, ServeOptions

KEY = "a-key-of-more-than-16-letters"
WRONG_KEY = "another-key-of-16-letters"
QUESTION = "Who is Ann?"
PERSON = '{"name": "Ann", "age": 5}'
WEATHER_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
BRIEF = Limits(drain=1)
LONG = 60  # seconds a test waits for what must come


def imported(name):
    """Import a library, whatever it warns of in doing so; without it the module's tests are skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            pytest.skip(f"needs {error.name}: pip install 'avengers-edge[clients]'", allow_module_level=True)


# Libraries that do not let their users close connections leave them to the garbage collector, which warns.
LEFT_OPEN = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def collected():
    """Collect what a test's client left, within that test's filter."""
    yield
    gc.collect()


@contextlib.contextmanager
def listening(*texts, key=KEY, limits=BRIEF, **options):
    """Serve these texts on loopback until the block ends; `url` is what clients are given."""
    served = Served(*texts, api_key=key, limits=limits, **options)
    started, addresses = threading.Event(), []

    def start(address):
        addresses.append(address)
        started.set()

    server = make_server(served.app, ServeOptions(port=0, limits=limits), start)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(LONG)
        served.url, served.server = f"{addresses[0]}/v1", server
        yield served
    finally:
        server.should_exit = True
        thread.join(LONG)
