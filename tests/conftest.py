"""What holds for every test, and which tier it is of.

Invariant: a test sees nothing of the developer's own configuration, and with `CI=true` no test is skipped: what a machine
lacks is then a failure, with the same sentence that says what is missing and how to get it. A test is of the first tier
(`make test`) unless it asks, itself or through other fixtures, for `outside` or `commands`, or is marked `kill` or `slow`; each
test is of exactly one tier.
"""

import logging
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import structlog

if TYPE_CHECKING:
    from tests.services.kafka import Cluster
    from tests.services.nginx import BehindNginx

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

FIRST_TIER = "not rest"
"""What `make test` gives to pytest's -m."""

# Examples are the same in every CI run, so that a red run can be repeated; at home they vary and find more. `make test`
# at home takes few of each property; CI takes all of them in its first tier, too, because there no test runs twice.
hypothesis.settings.register_profile("first", deadline=None, max_examples=25)
hypothesis.settings.register_profile("home", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)

# A fixture with parameters asks for what one of them needs by `request.getfixturevalue`, which no list of fixtures shows;
# so it names that parameter as the fixture.
BY_PARAMETER = {"kafka", "postgres"}


def pytest_configure(config: pytest.Config) -> None:
    """Chooses how many examples the properties take, before the first of them is read.

    The processes that tests start may keep what they compile: hundreds of commands would compile the whole house again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    first = config.option.markexpr == FIRST_TIER
    hypothesis.settings.load_profile("ci" if IN_CI else "first" if first else "home")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is not of the first tier with `rest`, before pytest chooses by marks."""
    for item in items:
        if _asks_for(item) & {"outside", "commands", *BY_PARAMETER} or any(
            map(item.get_closest_marker, ("kill", "slow"))
        ):
            item.add_marker("rest")


def _asks_for(item: pytest.Item) -> set[str]:
    """The names of the fixtures that a test uses, itself or through others."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    by_name = {each for each in parameters if isinstance(each, str)} if "request" in fixtures else set()
    return {*fixtures, *(by_name & BY_PARAMETER)}


@pytest.fixture(scope="session")
def outside(request: pytest.FixtureRequest) -> None:
    """Asked for by each fixture that brings a program which is not ours: a broker, a database server, a browser."""
    if request.config.option.markexpr == FIRST_TIER:
        pytest.fail("A test of the first tier asks for a program from outside, and conftest's `rest` did not see it.")


@pytest.fixture(scope="session")
def commands() -> None:
    """Asked for by each fixture for tests that run `anlass` as a process, again and again."""


@pytest.fixture(autouse=True)
def _no_log_of_another_test() -> Iterator[None]:
    """A command that ran in this process may have sent the log elsewhere for good: the next test has it as it was."""
    kept = logging.root.level, threading.excepthook, sys.unraisablehook
    yield
    structlog.reset_defaults()
    for handler in [each for each in logging.root.handlers if type(each).__module__ == "engine.capture"]:
        logging.root.removeHandler(handler)
        logging.captureWarnings(capture=False)
    logging.root.level, threading.excepthook, sys.unraisablehook = kept


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ANLASS_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def kafka_jars(outside: None) -> None:
    """Skips when this machine cannot run Kafka."""
    from engine.errors import ServiceUnreachable
    from tests.services.kafka_jars import jars, java

    try:
        java()
        jars()
    except ServiceUnreachable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def kafka(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of one real broker that all workers of this run share: never stop it, see `kafka_cluster`."""
    from tests.services.kafka_holder import shared

    mine = tmp_path_factory.getbasetemp()
    run = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    with shared(run / "shared-kafka") as bootstrap:
        yield bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test has, such as `t3f2a9c1d.`."""
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture
def kafka_cluster(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., "Cluster"]]:
    """Starts clusters of the test's own, to kill brokers in: `kafka_cluster(3, properties={…})`; ends them afterwards."""
    from tests.services.kafka import Cluster

    with ExitStack() as stack:

        def start(brokers: int = 1, **options: Any) -> Cluster:
            cluster = Cluster(brokers, folder=tmp_path_factory.mktemp("kafka"), **options)
            stack.callback(cluster.stop, graceful=False)  # nobody will read these records
            cluster.start()
            return cluster

        yield start


@pytest.fixture(scope="session")
def postgres_server(outside: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one real PostgreSQL server that all workers of this run share; skips when there is none."""
    from engine.errors import ServiceUnreachable
    from tests.services.postgres import binaries, shared

    try:
        binaries()
    except ServiceUnreachable as error:
        pytest.skip(str(error))
    mine = tmp_path_factory.getbasetemp()
    run = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    with shared(run / "shared-postgres") as address:
        yield address


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    from tests.services.postgres import create_database, drop_database

    url = create_database(postgres_server)
    yield url
    drop_database(postgres_server, url)


@pytest.fixture(scope="session")
def npm(outside: None) -> None:
    """Skips when this machine has no Node.js with npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js is missing; install it (Debian and Ubuntu: apt install nodejs npm) to run this test")


@pytest.fixture(scope="session")
def behind_nginx(outside: None) -> "BehindNginx":
    """Puts a real nginx before a collector: `async with` it, with url and folder, is its address; skips when there is none."""
    from engine.errors import ServiceUnreachable
    from tests.services import nginx

    try:
        nginx.program()
    except ServiceUnreachable as error:
        pytest.skip(str(error))
    return nginx.behind_nginx


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skipped test into a failed one when CI=true; expected failures stay what they are."""
    report = yield
    return _refuse_skip(report) if report.skipped and not hasattr(report, "wasxfail") else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that is skipped while it is imported."""
    report = yield
    return _refuse_skip(report) if report.skipped else report


def _refuse_skip(report: Any) -> Any:
    if IN_CI:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\nWith CI=true nothing may be missing, so this skip is a failure."
    return report
