"""Any bytes instead of a BACnet answer: a typed failure, or what the device really says; and in time."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_adapters.site.bacnet import BacnetDevice
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from shared.errors import DeviceError
from support.subjects.bacnet import HOST, HVAC, DirectBacnet

pytest.importorskip("bacpypes3", reason="bacpypes3 is not installed (pip install minewarden[bacnet])")

TIMEOUT_S = 0.05
DATAGRAM = 60_000
"""BACnet/IP is UDP: more than this cannot arrive at once, whatever a device would like to send."""


@pytest.fixture
async def rig() -> AsyncIterator[tuple[BacnetDevice, Any]]:
    from firmware_adapters.site.bacnet_emulator import BacnetEmulator  # noqa: PLC0415 - optional
    from firmware_adapters.transport.bacnet_child import Speaker  # noqa: PLC0415 - optional

    profile = load_profile("bacnet-hvac")
    emulator = BacnetEmulator(HOST, 0, profile, DictSource(dict(HVAC)))
    await emulator.start()
    device = BacnetDevice(profile, DirectBacnet(HOST, emulator.port, Speaker()), timeout_s=TIMEOUT_S)
    yield device, emulator
    await device.close()
    await emulator.stop()


async def honest(device: BacnetDevice) -> None:
    """Every number of a read is the device's own; a failure is typed."""
    try:
        seen = await device.read()
    except DeviceError:
        return
    for name, reading in seen.readings.items():
        assert reading.value is None or reading.value == pytest.approx(HVAC[name], rel=1e-5), name


def nested(data: bytes, tag: bytes, end: bytes = b"") -> bytes:
    """The head of an answer, and then one list in another until the datagram is full."""
    return data[:12] + tag * (DATAGRAM - 12 - len(end)) + end


@pytest.mark.parametrize(
    "tag", [b"\x0e", b"\x1e", b"\x3e", b"\xfe\xff", b"\x4e\x0e", b"\x75\xfe\xff\xff", b"\x00"]
)
async def test_f20_an_answer_that_is_nothing_but_nesting_ends_soon(
    rig: tuple[BacnetDevice, Any], tag: bytes
) -> None:
    device, emulator = rig
    emulator.distort = lambda data: (nested(data, tag)[:DATAGRAM],)
    began_s = time.process_time()
    for _ in range(3):
        with pytest.raises(DeviceError):
            await device.read()
    assert time.process_time() - began_s < 3.0
    del emulator.distort
    await honest(device)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(place=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 60))
async def test_f20_a_changed_byte_is_a_failure_or_an_honest_answer(
    rig: tuple[BacnetDevice, Any], place: int, byte: int, cut: int
) -> None:
    """A changed byte of a value itself is beyond what any reader can know: BACnet/IP has no check sum."""
    device, emulator = rig

    def spoilt(data: bytes) -> tuple[bytes, ...]:
        changed = bytearray(data[: len(data) - cut])
        if place < min(len(changed), 12):
            changed[place] = byte
        return (bytes(changed),)

    emulator.distort = spoilt
    try:
        await honest(device)
    finally:
        del emulator.distort


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.binary(max_size=400))
async def test_f20_any_bytes_are_a_typed_failure(rig: tuple[BacnetDevice, Any], data: bytes) -> None:
    device, emulator = rig
    emulator.distort = lambda _: (data,)
    try:
        await honest(device)
    finally:
        del emulator.distort
