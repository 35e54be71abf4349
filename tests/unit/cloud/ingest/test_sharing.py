"""Who listens to what, and who may not exist at all."""

from pathlib import Path

import pytest

from cloud import cli
from cloud.ingest.sharing import ALONE, FIRST_ONLY, SHARED, subscriptions
from shared.errors import ConfigError
from shared.ids import CommandId
from shared.wire import topics
from support.cloud import SITE, configure


def matches(pattern: str, topic: str) -> bool:
    levels = topic.split("/")
    wanted = pattern.removeprefix("$share/minewarden-ingest/").split("/")
    if wanted[-1] == "#":
        wanted, levels = wanted[:-1], levels[: len(wanted) - 1]
    return len(wanted) == len(levels) and all(
        pattern in ("+", level) for pattern, level in zip(wanted, levels, strict=True)
    )


EVERYTHING = [
    topics.birth(SITE),
    topics.state(SITE),
    topics.events(SITE),
    topics.result(SITE, CommandId("c-1")),
    topics.chunk_request(SITE),
    topics.certificate_request(SITE),
    *(topics.telemetry(SITE, stream) for stream in ("rollup", "score", "hist", "raw")),
]


@pytest.mark.parametrize("topic", EVERYTHING)
def test_every_topic_reaches_exactly_one(topic: str) -> None:
    """A new topic of a site needs its place here, and this test says so."""
    first = subscriptions(1, 3, sqlite=False).topics
    others = subscriptions(2, 3, sqlite=False).topics
    assert sum(matches(pattern, topic) for pattern in first) == 1
    assert sum(matches(pattern, topic) for pattern in others) == topic.startswith("mw/1/north/up/t/")
    assert sum(matches(pattern, topic) for pattern in ALONE.topics) == 1


def test_what_a_kept_session_must_let_go() -> None:
    assert subscriptions(1, 1, sqlite=True) is ALONE
    assert set(ALONE.dropped) == {SHARED, *FIRST_ONLY}
    assert subscriptions(1, 2, sqlite=False).dropped == (topics.ALL_UP,)


@pytest.mark.parametrize(
    ("worker", "workers", "sqlite", "says"),
    [
        (1, 2, True, "needs PostgreSQL: SQLite has one writer"),
        (3, 2, False, "worker 3 is not in 1..2"),
        (2, 1, False, "set ingest_workers to 2 or more first"),
        (0, 2, False, "worker 0 is not in"),
    ],
)
def test_workers_that_cannot_be(worker: int, workers: int, sqlite: bool, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        subscriptions(worker, workers, sqlite=sqlite)


@pytest.mark.parametrize("command", ["run", "ingest"])
def test_sqlite_refuses_a_second_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = configure(tmp_path, extra="ingest_workers = 2")
    assert cli.main([command, "--config", str(path)]) == 2
    assert "SQLite has one writer" in capsys.readouterr().err
