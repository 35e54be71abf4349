"""A wrong password is not carried through a whole site."""

import asyncio

import pytest

from firmware_adapters.capabilities import Credential
from firmware_adapters.discovery.examine import Examined
from firmware_adapters.discovery.logins import Logins, refusals
from shared.capabilities import DeviceFacts

WORD = Credential(user=None, secret="a word")


class Site:
    """Machines that are looked at all at once, and what they make of the password."""

    def __init__(self, *, lets_in: bool, logins: Logins | None = None) -> None:
        self.lets_in = lets_in
        self.logins = logins or Logins(WORD)
        self.tried = 0
        self.now = 0
        self.most = 0

    async def scan(self, machines: int, adapter: str = "vnish") -> list[Examined]:
        """All of them side by side, as a scan does."""
        return await asyncio.gather(*(self.logins.look(adapter, self._look) for _ in range(machines)))

    async def _look(self, credential: Credential | None) -> Examined:
        if credential is not None:
            self.tried += 1
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await asyncio.sleep(0)
        self.now -= 1
        refused = credential is not None and not self.lets_in
        facts = None if refused or credential is None else DeviceFacts(model="S21")
        return Examined(
            adapter="vnish", host="10.0.0.1", port=80, at_ms=0, facts=facts, password_refused=refused
        )


async def test_a_wrong_password_reaches_three_machines_of_a_firmware_and_no_more() -> None:
    site = Site(lets_in=False)
    assert len(await site.scan(200)) == 200, "each is looked at"
    assert site.tried == 3
    assert (site.logins.refused, site.logins.left_out) == ({"vnish": 3}, {"vnish": 197})


async def test_another_firmware_has_three_of_its_own() -> None:
    site = Site(lets_in=False)
    await asyncio.gather(site.scan(20), site.scan(20, "braiins"))
    assert site.tried == 6
    assert refusals(dict(site.logins.refused), dict(site.logins.left_out)) == [
        "braiins: 3 machines refused the password, so 17 more were not logged in to",
        "vnish: 3 machines refused the password, so 17 more were not logged in to",
    ]


async def test_a_password_that_is_right_reaches_all_and_soon_many_at_a_time() -> None:
    site = Site(lets_in=True)
    assert all(found.facts is not None for found in await site.scan(200))
    assert site.tried == 200
    assert site.most > 50
    assert refusals(dict(site.logins.refused), dict(site.logins.left_out)) == []


async def test_without_a_password_nothing_waits_and_nothing_is_left_out() -> None:
    site = Site(lets_in=False, logins=Logins(None))
    await site.scan(50)
    assert (site.tried, site.most, site.logins.left_out) == (0, 50, {})


async def test_a_look_that_fails_gives_its_turn_back() -> None:
    logins = Logins(WORD)

    async def broken(_: Credential | None) -> Examined:
        raise RuntimeError("an adapter's bug")

    for _ in range(10):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(logins.look("vnish", broken), 1.0)
    assert logins.refused == {}


def test_one_machine_is_told_in_the_singular() -> None:
    assert refusals({"vnish": 1}, {}) == ["vnish: 1 machine refused the password"]
