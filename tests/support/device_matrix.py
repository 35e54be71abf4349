"""`docs/devices.md` and the device rows of the README, made from the adapters' own data files.

`PYTHONPATH=.:tests python -m support.device_matrix` writes both; `tests/unit/docs/test_devices.py` fails
while they say something else than the data.
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edge_agent.guardian.arbiter import possible
from firmware_adapters.capabilities import WRITES
from firmware_adapters.discovery.examine import declared
from firmware_adapters.identify import RECOGNISERS, recogniser
from firmware_adapters.site.profile import Profile, WriteRule, load_profile, profile_names
from shared.capabilities import Ability, Capability

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "devices.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- devices: generated, see docs/devices.md -->", "<!-- /devices -->"
COMMAND = "PYTHONPATH=.:tests python -m support.device_matrix"
TITLES = {
    "vnish": "VNish 1.2 and 1.3",
    "antminer": "Stock Antminer",
    "luxos": "LuxOS",
    "braiins": "Braiins OS",
    "whatsminer": "Whatsminer, API v2",
    "whatsminer-v3": "Whatsminer, API v3",
    "avalon": "Avalon",
    "axeos": "AxeOS (Bitaxe)",
}
PLANNED = ("ePIC", "Auradine", "SealMiner", "Elphapex", "Proto rig", "MARA")
"""Firmwares that are known of (miners.md §2) and not spoken to."""
SITE_TESTS = {
    "Modbus": "tests/unit/firmware_adapters/site/test_modbus_device.py",
    "SNMP": "tests/unit/firmware_adapters/site/test_snmp_device.py",
    "BACnet": "tests/unit/firmware_adapters/site/test_bacnet_device.py",
}
CONTRACT = "tests/contract/adapters/test_contract.py"
SHORT = {"preset-list": "preset list", "power-limit": "power limit", "fan-mode": "fan mode"}


def folder_of(adapter: str) -> Path:
    """The firmware's folder."""
    return ROOT / "firmware_adapters" / "miners" / adapter.replace("-", "_")


def quality(adapter: str) -> dict[str, Any]:
    """The firmware's graded rules; empty where it has none yet."""
    path = folder_of(adapter) / "quality.toml"
    return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def done(adapter: str, rule: str) -> str:
    """The test that shows a rule, or nothing."""
    found = quality(adapter).get(rule, {})
    return str(found["test"]).partition("::")[0] if found.get("status") == "done" else ""


def shown_on(adapter: str) -> str:
    """How far a firmware is tested: hardware, recordings, or the emulator only."""
    if done(adapter, "real-machine"):
        return "hardware"
    return "recordings, emulator" if done(adapter, "recorded-replies") else "emulator only"


def words(abilities: Iterable[Ability]) -> str:
    """Abilities as people say them."""
    return ", ".join(SHORT.get(one, one.replace("-", " ")) for one in abilities)


# ---------------------------------------------------------------- docs/devices.md


def page() -> str:
    """The whole of docs/devices.md."""
    return "\n".join(
        [
            "# Devices",
            "",
            f"Generated from the adapters' data files by `{COMMAND}`; a test fails while it is stale.",
            "What `minewarden probe` and `minewarden scan` make of a machine: [discovery.md](discovery.md).",
            "",
            "*recordings*: every number with a meaning in replies recorded from real machines is asserted;",
            "*emulator only*: tested against our own emulator, never against a real device. A firmware",
            "version that was never seen is read, and every control is refused unless the",
            "[site accepts it](site-file.md#accepted-firmware).",
            "",
            "## Miners",
            "",
            *miner_rows(),
            "",
            "Not spoken to yet: " + ", ".join(PLANNED) + ".",
            "",
            "## What each firmware can do",
            "",
            "For the newest version that is known; older ones may declare less.",
            "",
            *ability_rows(),
            "",
            "## What a change costs",
            "",
            "*shows after*: for so long readings are odd and the change may not be seen. What is *not known*",
            "to survive a reboot is treated as if it did not.",
            "",
            *change_rows(),
            "",
            "## Site equipment",
            "",
            "One data file per model ([device-profiles.md](device-profiles.md)); emulator only.",
            "",
            *profile_rows(),
            "",
            "## What can be written to site equipment",
            "",
            "Whether a written value survives a restart of the device is not known for any of them, and it",
            "is treated as if it did not.",
            "",
            *write_rows(),
            "",
        ]
    )


def miner_rows() -> list[str]:
    """One row per firmware."""
    rows = [
        "| firmware | `adapter` | port | reads | controls | tested on |",
        "|---|---|---|---|---|---|",
    ]
    for adapter in RECOGNISERS:
        able = declared(adapter)
        reads = [one.ability for one in able if one.ability not in WRITES]
        writes = [one.ability for one in able if one.ability in WRITES]
        rows.append(
            f"| {TITLES[adapter]} | `{adapter}` | {recogniser(adapter).PORT} | {words(reads)} "
            f"| {words(writes) or 'nothing'} | {shown_on(adapter)} |"
        )
    return rows


def ability_rows() -> list[str]:
    """Abilities against firmwares."""
    able = {adapter: {one.ability: one for one in declared(adapter)} for adapter in RECOGNISERS}
    used = [ability for ability in Ability if any(ability in has for has in able.values())]
    rows = [
        "| ability | " + " | ".join(f"`{adapter}`" for adapter in able) + " |",
        "|---" * (len(able) + 1) + "|",
    ]
    for ability in used:
        cells = [cell(has[ability]) if ability in has else "" for has in able.values()]
        rows.append(f"| {words([ability])}{' *' if ability in WRITES else ''} | {' | '.join(cells)} |")
    idle = words(one for one in used if one in WRITES and one not in CALLED)
    return [
        *rows,
        "",
        "\\* changes something on the machine. The guardian calls "
        + words(one for one in used if one in CALLED).replace(", ", " and ")
        + ". No action of its arbiter",
        f"is about the others yet ({idle}):",
        "they are there for what comes next, and tested in the adapters only.",
    ]


CALLED = frozenset(possible._ABILITY.values())
"""What the arbiter's actions need."""


def change_rows() -> list[str]:
    """One row per firmware and ability that changes something."""
    rows = [
        "| firmware | ability | takes | shows after | restarts mining | survives a reboot |",
        "|---|---|---|---|---|---|",
    ]
    for adapter in RECOGNISERS:
        for one in declared(adapter):
            if one.ability in WRITES:
                cells = (
                    f"`{adapter}`",
                    words([one.ability]),
                    takes(one),
                    f"{one.settle_s:g} s",
                    "yes" if one.restarts_mining else "no",
                    survives(one),
                )
                rows.append(f"| {' | '.join(cells)} |")
    return rows


UNITS = {
    Ability.POWER_LIMIT: " W",
    Ability.THROTTLE: " %",
    Ability.FAN_MODE: " % of duty",
    Ability.COOLING_TARGET: " °C",
}


def takes(one: Capability) -> str:
    """The range with its unit, and the words."""
    parts = [", ".join(one.choices)] if one.choices else []
    if one.low is not None and one.high is not None:
        parts.append(f"{one.low:g}–{one.high:g}{UNITS.get(one.ability, '')}")
    elif one.ability in UNITS:
        parts.append("what the machine tells")
    elif one.ability is Ability.PRESET and not one.choices:
        parts.append("the machine's ladder")
    return "; ".join(parts)


def survives(one: Capability) -> str:
    """Whether what was set is still so after a reboot; an act leaves nothing to survive."""
    if one.ability in (Ability.REBOOT, Ability.RESTART):
        return ""
    return {True: "yes", False: "no", None: "not known"}[one.survives_reboot]


def cell(one: Capability) -> str:
    """What is worth knowing of one ability."""
    parts = ["yes"]
    if one.low is not None and one.high is not None:
        parts = [f"{one.low:g}–{one.high:g}"]
    if one.choices:
        parts.append(", ".join(one.choices) if len(one.choices) <= 4 else f"{len(one.choices)} kinds")
    if one.closed_loop is not None:
        parts.append("closed loop" if one.closed_loop else "nearest preset")
    if one.restarts_mining:
        parts.append("restarts mining")
    return "; ".join(parts)


def protocol_of(profile: Profile) -> str:
    """What the device speaks."""
    if profile.modbus is not None:
        return "Modbus"
    return "SNMP" if profile.snmp is not None else "BACnet"


def profile_rows() -> list[str]:
    """One row per data file."""
    rows = [
        "| profile | model | kind | protocol | points | read every | kept | writes | source |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in profile_names():
        profile = load_profile(name)
        points = sorted({point.name.partition(".")[0] for point in profile.points})
        writes = sorted({point.name.partition(".")[0] for point in profile.writable})
        shown = ", ".join(points[:6]) + (f" and {len(points) - 6} more" if len(points) > 6 else "")
        cells = (
            f"`{name}`",
            plain(profile.model),
            profile.kind,
            protocol_of(profile),
            shown or "as the agent describes them",
            f"{profile.interval_s:g} s" if profile.interval_s is not None else "`timing.poll_s`",
            f"{profile.retention_days:g} d" if profile.retention_days is not None else "`raw_keep_days`",
            ", ".join(writes) or "nothing",
            plain(profile.source),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def write_rows() -> list[str]:
    """One row per kind of point that can be written; outlets of a PDU are one kind."""
    rows = [
        "| profile | point | takes | shows after | safe side | time-out of its own |",
        "|---|---|---|---|---|---|",
    ]
    for name in profile_names():
        told: dict[str, WriteRule] = {}
        units: dict[str, str] = {}
        profile = load_profile(name)
        for point in profile.writable:
            if point.write is not None:
                kind = point.name.partition(".")[0]
                told.setdefault(kind, point.write)
                units.setdefault(kind, "" if point.is_flag else f" {point.unit}")
        for kind, rule in told.items():
            side = "left as it is" if rule.falls_to is None else f"{rule.falls_to:g}{units[kind]}"
            taken = f"{rule.low:g}–{rule.high:g}{units[kind]}"
            own = own_time_out(profile, kind)
            rows.append(f"| `{name}` | {kind} | {taken} | {rule.settle_s:g} s | {side} | {own} |")
    return rows


def own_time_out(profile: Profile, point: str) -> str:
    """What the device does by itself when nobody speaks to it, or why nothing is known."""
    dog = profile.watchdog
    if dog is not None and dog.point == point:
        return f"{dog.low:g}–{dog.high:g} s"
    return plain(f"none: {profile.no_watchdog_because}") if profile.no_watchdog_because else ""


def plain(text: str) -> str:
    """Text that stays inside a cell."""
    return " ".join(text.replace("|", "/").split())


# ---------------------------------------------------------------- README.md


def readme_rows() -> list[str]:
    """The README's rows on devices: feature, state, test."""
    rows: list[str] = []
    for adapter in RECOGNISERS:
        able = declared(adapter)
        reads = words(one.ability for one in able if one.ability not in WRITES)
        writes = words(one.ability for one in able if one.ability in WRITES)
        recorded = done(adapter, "recorded-replies")
        rows.append(
            f"| {TITLES[adapter]} (`{adapter}`), reads: {reads} | {'tested' if recorded else 'emulated'} "
            f"| `{recorded or CONTRACT}` |"
        )
        if writes:
            rows.append(f"| {TITLES[adapter]}, controls: {writes} | emulated | `{CONTRACT}` |")
    rows.append(f"| {', '.join(PLANNED)} | planned | |")
    by_protocol: dict[str, list[str]] = {}
    for name in profile_names():
        by_protocol.setdefault(protocol_of(load_profile(name)), []).append(name)
    for protocol, names in by_protocol.items():
        listed = ", ".join(f"`{name}`" for name in names)
        rows.append(f"| {protocol}: {listed} | emulated | `{SITE_TESTS[protocol]}` |")
    return rows


def in_readme(text: str) -> str:
    """The README with its rows on devices as they should be; ValueError where it has no place for them."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"README.md has no {BEGIN}")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + "\n".join([BEGIN, "", *table(readme_rows()), "", END]) + tail


def table(rows: Sequence[str]) -> list[str]:
    """A table of features."""
    return ["| feature | state | shown by |", "|---|---|---|", *rows]


def main() -> None:
    """Write both."""
    PAGE.write_text(page(), "utf-8")
    README.write_text(in_readme(README.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
