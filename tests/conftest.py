"""What every test gets: a home folder of its own and no way out to the network; which skips the gate accepts."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from avengers_edge.engine.protocol import LoadOptions

# A deadline would make the machine's speed a law of the product.
# The gate draws the same examples each time, lest chance blame a change for what another one broke.
hypothesis.settings.register_profile("gate", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("gate")  # --hypothesis-profile chooses another one

# A shell starts what runs in its background with Ctrl-C ignored, and whoever is started from there would never hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL_MODEL = "smollm2-135m-instruct"
_LOOPBACK = ("127.", "::1", "localhost")
_ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.toml")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help=f"fail where a skip is not in {_ALLOWED_SKIPS.name}")
    parser.addoption("--core-each", action="store_true", help="give each worker of -n a core of its own (Linux)")


def pytest_configure(config: pytest.Config) -> None:
    """Keep engines that run side by side from one another's cores, where threads wait by spinning."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and config.getoption("core_each") and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})


def pytest_collection_finish() -> None:
    """Leave what was imported out of all later collections of garbage: it is a lot, and stays to the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    strict = session.config.getoption("strict_skips")
    if strict and session.exitstatus == pytest.ExitCode.OK and any(not why for _, _, why in _skips(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skips = _skips(config)
    if skips:
        terminalreporter.section("skipped, and therefore not tested")
    for reason, count, why in skips:
        terminalreporter.line(f"{count} x {reason}: {why or 'NOT ALLOWED by tests/' + _ALLOWED_SKIPS.name}")


def _skips(config: pytest.Config) -> list[tuple[str, int, str]]:
    """Each reason of a skip in this run, how many gave it, and why it is allowed: "" where it is not."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # in a worker of xdist
        return []
    reports = reporter.stats.get("skipped", ())
    counted = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    user = "root" if hasattr(os, "geteuid") and os.geteuid() == 0 else "other"
    allowed = tomllib.loads(_ALLOWED_SKIPS.read_text(encoding="utf-8"))["skip"]
    entries = [(each["reason"], each["why"]) for each in allowed if each.get("user", user) == user]
    return [
        (reason, count, next((why for pattern, why in entries if re.match(pattern, reason)), ""))
        for reason, count in counted.most_common()
    ]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty AVENGERS_HOME; nothing of the machine's own settings is seen."""
    for name in [name for name in os.environ if name.startswith("AVENGERS_") and name != "AVENGERS_TEST_CACHE"]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("AVENGERS_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse every connection but those to this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(host).startswith(_LOOPBACK):
            pytest.fail(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield


@pytest.fixture(scope="session")
def model_home() -> Path:
    """The home folder, outside the checkout, with the real 135M model; pulled once, by the product itself."""
    import platformdirs

    from avengers_edge.config import Settings
    from avengers_edge.errors import AvengersError, OfflineRefused
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.pull import pull
    from avengers_edge.library.store import Store

    folder = Path(os.environ.get("AVENGERS_TEST_CACHE") or platformdirs.user_cache_dir("avengers-edge-tests", False))
    settings = Settings(home=folder, offline=os.environ.get("AVENGERS_OFFLINE") == "1")
    manifest = Catalog.of(settings).load_model(SMALL_MODEL)
    while True:
        try:
            pull(manifest, Store(folder), offline=settings.offline)
            return folder
        except OfflineRefused as error:
            pytest.skip(str(error))
        except AvengersError as error:
            if "another pull" not in str(error):
                raise
            time.sleep(0.2)  # another worker of this run brings it


@pytest.fixture(scope="session")
def small_engine(model_home: Path) -> Iterator[Any]:
    """Real llama.cpp with the real 135M model."""
    with _small_engine(model_home, LoadOptions(cells=4096)) as engine:
        yield engine


@pytest.fixture(scope="session")
def split_engine(model_home: Path) -> Iterator[Any]:
    """The same with cells of its own for each of 17 sequences."""
    with _small_engine(model_home, LoadOptions(cells=512, sequences=17, split=True)) as engine:
        yield engine


def _small_engine(model_home: Path, options: LoadOptions) -> Any:
    from avengers_edge.config import Settings
    from avengers_edge.engine.llama import LlamaEngine
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.store import Store

    path = Store(model_home).find(Catalog.of(Settings(home=model_home)).load_model(SMALL_MODEL))
    return LlamaEngine(path, options)
