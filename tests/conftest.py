"""Fixtures that every part shares: real servers, started once a session and only where a test asks for them."""

import signal
from collections.abc import Iterator

import pytest

from tests.support import proofs
from tests.support.postgres import Postgres, postgres_server
from tests.support.proofs import Proof
from tests.support.servers import redis_server, temporal_server
from tests.support.stack import Stack, running_stack


def pytest_addoption(parser: pytest.Parser) -> None:
    proofs.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    proofs.configure(config)
    # A shell ignores Ctrl-C for what it runs in the background, and processes inherit that: those that tests start
    # must not, as tests interrupt them.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(config: pytest.Config) -> None:
    proofs.summary(config)


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """How hard a proof of isolation tries in this run, and where it says what it did."""
    return proofs.proof_of(request.config)


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address (host:port) of a tuned Temporal dev server with Cohort's search attributes."""
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis server on a unix socket with a password. Tests share it: use keys of your own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; `fresh_database()` makes another empty database in it."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The SQLAlchemy URL (asyncpg) of an empty PostgreSQL database for this test alone."""
    return postgres.fresh_database()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack with its demo world. Tests share it: leave it as you found it, or start one of your own."""
    with running_stack(tmp_path_factory.mktemp("cohort")) as stack:
        yield stack
