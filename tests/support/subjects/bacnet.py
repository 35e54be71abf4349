"""A BACnet air handler in front of the contract suite; the child's work is done in this process.

The child itself, its pipe and its end are tested in `tests/integration/simulator/test_bacnet_child.py`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from firmware_adapters.site.bacnet import BacnetDevice
from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.transport.bacnet import Order, Outcome
from firmware_adapters.transport.bacnet_process import ProcessBacnet
from shared.capabilities import Ability
from shared.errors import DeviceError, Unsupported
from support.adapter_conditions import Conditions, Conflict, Never, Overload, Reboot, Slow
from support.adapter_contract import Opening, Subject, Write
from support.site_devices import HOST

TIMEOUT_S = 0.6
MOST = 1000
"""Properties of one answer."""
MOST_REQUESTS = 24
"""A read of a device that never has room for an answer: parts, down to one property each."""
HVAC = {
    "setpoint_c": 24.0,
    "running": 1.0,
    "speed_setpoint_pct": 60.0,
    "air_temp_c.1": 21.5,
    "air_temp_c.2": 33.25,
    "speed_pct": 58.0,
    "fault": 0.0,
}
POINTS = {"setpoint_c": "analog-value,1", "running": "binary-output,1"}
SUPPLY, RETURN = "analog-input,1", "analog-input,2"


class DirectBacnet(ProcessBacnet):
    """A link whose orders are carried out here instead of in a child."""

    def __init__(self, host: str, port: int, speaker: Any) -> None:
        super().__init__(host, port, max_objects=20)
        self._speaker = speaker

    async def _carried_out(self, order: Order) -> Outcome:
        outcome: Outcome = await self._speaker.carry_out(order)
        return outcome

    async def close(self) -> None:
        self._speaker.close()


def _conditions(device: BacnetDevice, emulator: Any, faults: Any, source: DictSource) -> Conditions:
    def set_to(name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(emulator, name, value)

    def back() -> None:
        # Not by `refresh`, which would also command what the machine's own programme sets.
        source.values["air_temp_c.1"] = 25.0
        emulator._objects[SUPPLY].presentValue = 77.0

    return Conditions(
        slow=Slow(begin=set_to("late_s", 0.02)),
        lost_login=Never("BACnet/IP knows no login: whoever reaches the device may do all"),
        # Each request is aborted for want of buffers, so a read asks for less and less.
        overload=Overload(
            begin=set_to("most", 0), requests=lambda: emulator.requests, most=MOST_REQUESTS, reads_only=True
        ),
        conflict=Conflict(
            begin=set_to("refuses", True),
            do=lambda: device.write_point("setpoint_c", 30.0),
            told=lambda: emulator.requests,
            changed=lambda: (
                list(source.writes),
                dict(source.values),
                emulator.commands(POINTS["setpoint_c"]),
            ),
            # "write access denied" is a matter of the device's configuration, not of a moment.
            error=Unsupported,
        ),
        reboot=Reboot(
            cut=set_to("fault", faults.TRUNCATED),
            away=set_to("dark", True),
            back=back,
            tells_uptime=False,
        ),
        skew=Never("present values are read without any time"),
    )


def _subject(device: BacnetDevice, emulator: Any, faults: Any, source: DictSource) -> Subject:
    def heal() -> None:
        emulator.fault, emulator.deaf = None, False
        emulator.dark, emulator.refuses, emulator.late_s, emulator.most = False, False, 0.0, MOST

    def begin(fault: Any) -> Callable[[], None]:
        return lambda: setattr(emulator, "fault", fault)

    def hide() -> set[str]:
        emulator.flag(SUPPLY, fault=True)
        emulator.flag(RETURN, service=False)
        return {"air_temp_c.1", "air_temp_c.2"}

    def write(point: str, value: float) -> Write:
        return Write(
            ability=Ability.SETPOINT,
            do=lambda: device.write_point(point, value),
            done=lambda: (
                set(emulator.commands(POINTS[point])) == {9}
                and source.values[point] == pytest.approx(value, rel=1e-5)
            ),
        )

    def release(point: str) -> Write:
        return Write(
            ability=Ability.RELEASE,
            do=lambda: device.release_point(point),
            done=lambda: (
                not emulator.commands(POINTS[point])
                and source.values[point] == pytest.approx(HVAC[point], rel=1e-5)
            ),
        )

    refusals: dict[str, tuple[Callable[[], Awaitable[object]], type[DeviceError]]] = {
        "too cold": (lambda: device.write_point("setpoint_c", -20.0), Unsupported),
        "an input": (lambda: device.write_point("air_temp_c.1", 20.0), Unsupported),
        "a release of an input": (lambda: device.release_point("air_temp_c.1"), Unsupported),
    }
    return Subject(
        adapter=device,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=lambda: dict(source.values),
        hide=hide,
        faults={
            "gone": begin(faults.SILENT),
            "hang": begin(faults.SILENT),
            "half a reply": begin(faults.TRUNCATED),
            "garbage": begin(faults.GARBAGE),
        },
        nuisances={"each answer comes twice": begin(faults.TWICE)},
        writes={
            "warmer": write("setpoint_c", 30.0),
            "off": write("running", 0.0),
            **{f"release {point}": release(point) for point in POINTS},
        },
        refusals=refusals,
        conditions=_conditions(device, emulator, faults, source),
        commands=lambda: [f"{name}={value:g}" for name, value in source.writes],
        tamper=lambda: setattr(emulator, "deaf", True),
    )


@asynccontextmanager
async def _open(*, fahrenheit: bool) -> AsyncIterator[Subject]:
    pytest.importorskip("bacpypes3", reason="bacpypes3 is not installed (pip install minewarden[bacnet])")
    from firmware_adapters.site.bacnet_emulator import (  # noqa: PLC0415 - optional
        BacnetEmulator,
        Misbehaviour,
    )
    from firmware_adapters.transport.bacnet_child import Speaker  # noqa: PLC0415 - optional

    profile, source = load_profile("bacnet-hvac"), DictSource(dict(HVAC))
    emulator = BacnetEmulator(HOST, 0, profile, source, fahrenheit=fahrenheit)
    await emulator.start()
    device = BacnetDevice(profile, DirectBacnet(HOST, emulator.port, Speaker()), timeout_s=TIMEOUT_S)
    try:
        yield _subject(device, emulator, Misbehaviour, source)
    finally:
        await device.close()
        await emulator.stop()


SUBJECTS: dict[str, Opening] = {"bacnet hvac in fahrenheit": partial(_open, fahrenheit=True)}
