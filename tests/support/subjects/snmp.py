"""SNMP equipment in front of the contract suite: PDUs over v2c and v3, a UPS, self-describing sensors."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from firmware_adapters.site.point_source import DictSource
from firmware_adapters.site.profile import load_profile
from firmware_adapters.site.snmp import OUTLET, SnmpDevice
from firmware_adapters.site.snmp_emulator import Misbehaviour, SnmpAgent
from firmware_adapters.transport.snmp import open_link
from firmware_adapters.transport.snmp_message import ErrorStatus
from firmware_adapters.transport.snmp_user import Access, UsmUser, access_of
from shared.capabilities import Ability
from shared.errors import Unsupported
from support.adapter_conditions import (
    Conditions,
    Conflict,
    LostLogin,
    Never,
    Overload,
    Reboot,
    Skew,
    Slow,
)
from support.adapter_contract import Opening, Subject, Write
from support.site_devices import HOST

TIMEOUT_S = 0.5
MOST_REQUESTS = 6
"""A read of an agent that answers each with an error; it asks once more in smaller parts."""
ROOMY, TIGHT = 1400, 260
"""Largest replies in bytes: enough for all, and enough for a few objects."""
OUTLETS = {f"{OUTLET}{n}": float(n % 2) for n in range(1, 9)}
PDU = {"power_w": 12_340.0, "energy_kwh": 77.7, "current_a.1": 17.9, **OUTLETS}
RARITAN = {"power_w": 2310.0, "voltage_v": 231.0, "outlet_power_w.3": 1150.0, **OUTLETS}
UPS = {
    "on_battery": 1.0,
    "battery_low": 0.0,
    "runtime_s": 540.0,
    "battery_charge_pct": 61.0,
    "voltage_v.1": 230.0,
}
SENSORS = {
    "air_temp_c.1001": 23.456,
    "air_temp_c.1002": 31.5,
    "humidity_pct.1004": 44.0,
    "fan_rpm.2000": 5880.0,
}

USER = access_of("switch", "sha256 correct-horse aes battery-staple")


def _writes(device: SnmpDevice, source: DictSource) -> dict[str, Write]:
    def switch(outlet: int, *, on: bool) -> Write:
        return Write(
            ability=Ability.OUTLETS,
            do=lambda: device.switch_outlet(outlet, on=on),
            done=lambda: source.values[f"{OUTLET}{outlet}"] == float(on),
        )

    return {"off": switch(3, on=False), "another on": switch(8, on=True)}


_V2C = "v2c carries its community in each request: there is nothing that could be lost"
_READ_ONLY = "nothing of this device can be written"


def _conditions(
    device: SnmpDevice, agent: SnmpAgent, source: DictSource, *, switched: bool, v3: bool
) -> Conditions:
    def set_to(name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(agent, name, value)

    def back() -> None:
        agent.restart()
        changing = next(name for name in source.values if not name.startswith(OUTLET))
        source.values[changing] = 0.0

    return Conditions(
        slow=Slow(begin=set_to("late_s", 0.01)),
        # A restarted engine takes nothing of before: its count of starts and its clock are agreed anew.
        lost_login=LostLogin(
            begin=agent.restart,
            logins=lambda: agent.reports,
            most=4,
            refuse=Never("an agent counts no wrong secrets; what they look like: test_snmp_v3"),
        )
        if v3
        else Never(_V2C),
        overload=Overload(
            begin=set_to("fault", Misbehaviour.GEN_ERR), requests=lambda: agent.requests, most=MOST_REQUESTS
        ),
        conflict=Conflict(
            begin=set_to("refuses", ErrorStatus.INCONSISTENT_VALUE),
            do=lambda: device.switch_outlet(3, on=False),
            told=lambda: agent.requests,
            changed=lambda: (list(source.writes), dict(source.values)),
        )
        if switched
        else Never(_READ_ONLY),
        reboot=Reboot(
            cut=set_to("fault", Misbehaviour.TRUNCATED),
            away=set_to("dark", True),
            back=back,
            tells_uptime=False,
        ),
        skew=Skew(begin=lambda ahead_s: agent.set_clock(max(0, round(ahead_s))))
        if v3
        else Never("v2c tells and checks no time"),
    )


def _subject(
    device: SnmpDevice, agent: SnmpAgent, source: DictSource, conditions: Conditions, *, switched: bool
) -> Subject:
    def heal() -> None:
        agent.refuses, agent.late_s = None, 0.0
        agent.fault, agent.dark, agent.deaf, agent.largest = None, False, False, ROOMY

    def begin(fault: Misbehaviour) -> Callable[[], None]:
        return lambda: setattr(agent, "fault", fault)

    def hide() -> set[str]:
        hidden = set(list(source.values)[:2])
        for name in hidden:
            del source.values[name]
        return hidden

    return Subject(
        adapter=device,
        timeout_s=TIMEOUT_S,
        heal=heal,
        truth=lambda: dict(source.values),
        hide=hide,
        faults={
            "gone": lambda: setattr(agent, "dark", True),
            "hang": begin(Misbehaviour.SILENT),
            "half a reply": begin(Misbehaviour.TRUNCATED),
            "garbage": begin(Misbehaviour.GARBAGE),
            "an answer to somebody else": begin(Misbehaviour.WRONG_REQUEST_ID),
            "a general error": begin(Misbehaviour.GEN_ERR),
            "an answer without objects": begin(Misbehaviour.EMPTY),
        },
        nuisances={"replies must be small": lambda: setattr(agent, "largest", TIGHT)},
        writes=_writes(device, source) if switched else {},
        refusals={
            "an outlet that is not there": (lambda: device.switch_outlet(40, on=False), Unsupported),
            "an outlet beyond any": (lambda: device.switch_outlet(4000, on=False), Unsupported),
        },
        conditions=conditions,
        commands=lambda: [f"{name}={value:g}" for name, value in source.writes],
        tamper=(lambda: setattr(agent, "deaf", True)) if switched else None,
    )


@asynccontextmanager
async def _open(profile_name: str, values: dict[str, float], access: Access) -> AsyncIterator[Subject]:
    profile, source = load_profile(profile_name), DictSource(dict(values))
    users = (access,) if isinstance(access, UsmUser) else ()
    agent = SnmpAgent(HOST, 0, profile, source, users=users, write_users=("switch",), largest=ROOMY)
    await agent.start()
    link = open_link(HOST, agent.port, access, max_oids=20)
    device = SnmpDevice(profile, link, timeout_s=TIMEOUT_S, may_write=True)
    try:
        # What an agent has is learnt in many requests; the suite is about the reads after that.
        await device.read()
        switched = any(name.startswith(OUTLET) for name in values)
        conditions = _conditions(device, agent, source, switched=switched, v3=bool(users))
        yield _subject(device, agent, source, conditions, switched=switched)
    finally:
        await device.close()
        await agent.stop()


SUBJECTS: dict[str, Opening] = {
    "snmp apc-rpdu2 v2c": partial(_open, "apc-rpdu2", PDU, "private"),
    "snmp raritan-px v3": partial(_open, "raritan-px", RARITAN, USER),
    "snmp ups-mib": partial(_open, "ups-mib", UPS, "private"),
    "snmp entity-sensor": partial(_open, "entity-sensor", SENSORS, "private"),
}
