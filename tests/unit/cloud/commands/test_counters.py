"""Counters of commands where clocks were wrong, against the real guardian's book."""

from pathlib import Path

import pytest

from cloud.commands.ordering import COUNTER_AHEAD_MS
from edge_agent.guardian.actions import orders as guardian
from edge_agent.guardian.actions.orders import Orders
from shared.artifacts.signing import Keyring
from shared.clock import ManualClock
from shared.commands import CommandBody, CommandState
from shared.errors import SecurityError
from support.cloud import NOW_MS, SITE, Service
from support.commands import Outbound, hear, word

SAFE_STOP = {"site": SITE, "order": {"order": "safe-stop"}, "actor": "ann", "expires_s": 30}
MONTH_MS = 30 * 86_400_000


def test_cloud_and_guardian_mean_the_same_day() -> None:
    assert COUNTER_AHEAD_MS == guardian.COUNTER_AHEAD_MS


class Gateway:
    """A site that answers as its guardian's book does; its clock is its own."""

    def __init__(self, cloud: Service, outbound: Outbound, keyring: Keyring, folder: Path) -> None:
        self.cloud, self.outbound, self.keyring = cloud, outbound, keyring
        self.book = folder / "book"
        self.clock = ManualClock(utc_ms=NOW_MS)
        self.orders = self.started()

    def started(self) -> Orders:
        return Orders(self.book, self.keyring, SITE, self.clock, lambda: True)

    async def stop(self, *, heard: bool = True) -> str:
        """A safe-stop from the cloud; the guardian's word on it, which the cloud may have `heard`."""
        view = await self.cloud.post("/commands", SAFE_STOP, 202)
        try:
            assert isinstance(self.orders.accept(self.outbound.signed), CommandBody)
            state, detail = CommandState.ACCEPTED, "accepted"
        except SecurityError as error:
            state, detail = CommandState.REFUSED, str(error)
        if heard:
            said = word(view["id"], state, self.clock.utc_ms())
            await hear(self.cloud, type(said)(id=said.id, state=state, detail=detail, at_ms=said.at_ms))
        return detail


@pytest.fixture
def gateway(cloud: Service, outbound: Outbound, keyring: Keyring, tmp_path: Path) -> Gateway:
    return Gateway(cloud, outbound, keyring, tmp_path)


async def test_after_the_book_was_removed_the_cloud_comes_down_too(gateway: Gateway) -> None:
    """Both clocks were ahead, and somebody did what a refusal asks for: what was taken counts no more."""
    clocks = (gateway.cloud.bench.clock, gateway.clock)
    for clock in clocks:
        clock.step_wall(MONTH_MS)
    assert await gateway.stop() == "accepted"
    for clock in clocks:
        clock.step_wall(-MONTH_MS)
    assert await gateway.stop() == "accepted", "it goes on above what the site took"
    gateway.book.unlink()
    gateway.orders = gateway.started()
    assert "too far ahead" in await gateway.stop()
    assert [await gateway.stop() for _ in range(3)] == ["accepted"] * 3


async def test_where_the_clouds_clock_alone_was_ahead_the_next_order_is_taken(gateway: Gateway) -> None:
    assert await gateway.stop() == "accepted"
    for _ in range(2):
        gateway.cloud.bench.clock.step_wall(MONTH_MS)
        assert "in the future" in await gateway.stop(heard=False)
        gateway.cloud.bench.clock.step_wall(-MONTH_MS)
        gateway.cloud.bench.clock.step_wall(1_000)
        gateway.clock.step_wall(1_000)
        assert [await gateway.stop() for _ in range(2)] == ["accepted"] * 2


async def test_where_nobody_heard_that_the_high_counter_was_taken_the_refusal_says_what_to_do(
    gateway: Gateway,
) -> None:
    clocks = (gateway.cloud.bench.clock, gateway.clock)
    for clock in clocks:
        clock.step_wall(MONTH_MS)
    assert await gateway.stop(heard=False) == "accepted"
    for clock in clocks:
        clock.step_wall(-MONTH_MS)
    said = await gateway.stop()
    assert "more than a day ahead of this gateway's clock" in said
    assert str(gateway.book) in said
    gateway.book.unlink()
    gateway.orders = gateway.started()
    assert await gateway.stop() == "accepted"
