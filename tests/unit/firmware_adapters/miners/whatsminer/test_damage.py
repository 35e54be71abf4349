"""Reads and writes of a Whatsminer, either API, whose replies arrive damaged, in clear and sealed (F20)."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import Credential
from firmware_adapters.miners.whatsminer.adapter import WhatsminerAdapter
from firmware_adapters.miners.whatsminer.emulator import WhatsminerEmulator
from firmware_adapters.miners.whatsminer_v3.adapter import WhatsminerV3Adapter
from firmware_adapters.miners.whatsminer_v3.emulator import WhatsminerV3Emulator
from shared.clock import ManualClock
from shared.errors import DeviceError
from support.line_fuzz import DAMAGES, Damage, Damaged, read_is_sound
from support.line_memory import MemorySocket
from support.miners import Machine
from support.subjects.whatsminer import m50s

LISTS = st.lists(DAMAGES, min_size=1, max_size=4)


Adapter = WhatsminerAdapter | WhatsminerV3Adapter
Make = Callable[[list[Damage]], Adapter]


def v2(damages: list[Damage]) -> Adapter:
    clock = ManualClock()
    socket = MemorySocket(Damaged(WhatsminerEmulator(Machine(m50s()), clock=clock, password="p"), damages))
    return WhatsminerAdapter(socket, socket, Credential(user=None, secret="p"), timeout_s=5, clock=clock)


def v3(damages: list[Damage]) -> Adapter:
    clock = ManualClock()
    socket = MemorySocket(Damaged(WhatsminerV3Emulator(Machine(m50s()), clock=clock, password="p"), damages))
    return WhatsminerV3Adapter(socket, Credential(user=None, secret="p"), timeout_s=5, clock=clock)


both = pytest.mark.parametrize("make", [v2, v3])


@both
@settings(max_examples=60, deadline=None)
@given(damages=LISTS)
def test_no_damaged_reply_becomes_a_number_that_cannot_be(make: Make, damages: list[Damage]) -> None:
    device = make(damages)
    asyncio.run(read_is_sound(device, device.boards, device.pools))


@both
@settings(max_examples=40, deadline=None)
@given(damages=LISTS)
def test_a_damaged_reply_to_a_write_is_typed(make: Make, damages: list[Damage]) -> None:
    async def write() -> None:
        device = make(damages)
        for _ in range(2):
            with contextlib.suppress(DeviceError):
                assert await device.stop_mining() is None

    asyncio.run(write())


@both
def test_without_damage_all_of_it_works(make: Make) -> None:
    whole = [Damage(cut=1000, at=0, put=b"")]

    async def run() -> None:
        device = make(whole)
        assert (await device.read()).readings["power_w"].value == 3310
        await device.stop_mining()

    asyncio.run(run())
