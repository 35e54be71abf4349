"""A real PostgreSQL."""

from collections.abc import Iterator

import pytest

from support import postgres


@pytest.fixture
def postgres_server() -> Iterator[postgres.Server]:
    reason = postgres.why_not()
    if reason is not None:
        pytest.skip(reason)
    with postgres.server() as server:
        yield server
