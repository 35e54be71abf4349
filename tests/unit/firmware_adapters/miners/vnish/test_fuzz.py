"""A machine whose pages are bent byte by byte, through the whole adapter: typed failures and no others.

And no number out of nothing: where every page is noise, nothing that the adapter hands out carries a value.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.emulated import PoolView
from firmware_adapters.miners.vnish import fields, parse
from firmware_adapters.miners.vnish.adapter import VnishAdapter
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.clock import ManualClock
from shared.errors import DeviceError, MalformedReply
from support.miners import Machine, s21_pro
from support.vnish import emulator_of

ADMIN = Credential(user=None, secret="admin")

Bend = Callable[[bytes], bytes]


def _opened(version: str, bend: Bend, bent: str) -> tuple[VnishAdapter, Machine]:
    """An adapter, and its machine, whose page `bent` (all: "") goes through `bend` on its way."""
    view = s21_pro(other_pools=(PoolView(url="x"),), last_share_age_s=5.0, chips_per_board=2)
    machine = Machine(view)
    emulator = emulator_of(machine, ManualClock(), version=version)

    async def answer(request: HttpRequest) -> HttpReply:
        said = emulator.answer(request.method, request.path, request.headers, request.body)
        hit = bent in request.path
        return HttpReply(said.status, bend(said.body) if hit else said.body)

    return VnishAdapter(MemoryHttp(answer), ADMIN, timeout_s=5, clock=ManualClock()), machine


def _everything(adapter: VnishAdapter) -> list[Callable[[], Awaitable[object]]]:
    return [
        adapter.read,
        adapter.facts,
        adapter.boards,
        adapter.chips,
        adapter.pools,
        lambda: adapter.log("miner"),
        lambda: adapter.history(3600.0, 900.0),
        lambda: adapter.set_preset("2550"),
        lambda: adapter.set_power_limit(2600.0),
        lambda: adapter.set_throttle(60.0),
        lambda: adapter.set_fan_mode("auto"),
        lambda: adapter.switch_pool(1),
        lambda: adapter.locate(on=True),
        adapter.stop_mining,
        adapter.reboot,
    ]


async def _try_all(adapter: VnishAdapter) -> list[object]:
    told = []
    for ask in _everything(adapter):
        try:
            told.append(await ask())
        except DeviceError:
            continue
    return told


@st.composite
def _bends(draw: st.DrawFn) -> Bend:
    """Change, cut out, double or insert bytes somewhere."""
    edits = draw(
        st.lists(
            st.tuples(st.integers(0, 5000), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=6
        )
    )

    def bend(body: bytes) -> bytes:
        bent = bytearray(body)
        for where, how, stuff in edits:
            at = where % (len(bent) + 1)
            if how == 0:
                bent[at : at + len(stuff)] = stuff
            elif how == 1:
                del bent[at : at + 8]
            elif how == 2:
                bent[at:at] = bent[at : at + 8]
            else:
                bent[at:at] = stuff
        return bytes(bent)

    return bend


PAGES = ("", "/info", "/status", "/summary", "/perf-summary", "/settings", "/model", "/unlock", "/metrics")


@given(_bends(), st.sampled_from(PAGES), st.sampled_from(["1.2.0-beta10", "1.2.7", "1.3.4", "9.9"]))
@settings(max_examples=200, deadline=None)
def test_bent_pages_end_in_typed_failures_only(bend: Bend, bent: str, version: str) -> None:
    adapter, _ = _opened(version, bend, bent)
    asyncio.run(_try_all(adapter))


def test_pages_that_are_not_bent_all_come_through() -> None:
    """So that the tests above bend something that works."""
    adapter, machine = _opened("1.3.4", lambda body: body, "")
    assert len(asyncio.run(_try_all(adapter))) == len(_everything(adapter))
    assert machine.commands[-2:] == ["stop", "reboot 3"]


@given(st.binary(max_size=64))
@settings(max_examples=40, deadline=None)
def test_a_machine_of_pure_noise_is_never_told_anything_and_tells_nothing(noise: bytes) -> None:
    """Only a text log may be noise, because a log is whatever it is."""
    adapter, machine = _opened("1.3.4", lambda _: b"\xff" + noise, "")
    told = asyncio.run(_try_all(adapter))
    assert machine.commands == []
    assert [one for one in told if one is not None and not isinstance(one, str)] == []


@pytest.mark.parametrize(
    "body", [b"[" * 10_000_000, b'{"miner":' * 1_100_000, b"[" + b"1," * 5_000_000 + b"1]"]
)
def test_ten_megabytes_of_nesting_end_soon(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        parse.summary(fields.decode(body, "/summary"), "GH/s")
