"""Topics are built and taken apart in one place."""

import pytest

from shared.errors import WireError
from shared.ids import CommandId, SiteId
from shared.wire import topics

SITE = SiteId("north-1")


@pytest.mark.parametrize(
    "topic",
    [
        topics.birth(SITE),
        topics.telemetry(SITE),
        topics.events(SITE),
        topics.result(SITE, CommandId("c1")),
        topics.ack(SITE),
        topics.command(SITE),
        topics.model(SITE),
        topics.chunk(SITE, "ab", 3),
    ],
)
def test_parse_undoes_building(topic: str) -> None:
    parsed = topics.parse(topic)
    assert parsed.site == SITE
    assert topic == "/".join(("mw/1", parsed.site, parsed.direction, *parsed.rest))


@pytest.mark.parametrize("topic", ["", "mw/2/north-1/up/ev", "mw/1/north-1/sideways/ev", "mw/1/north-1/up"])
def test_foreign_topics_are_refused(topic: str) -> None:
    with pytest.raises(WireError):
        topics.parse(topic)
