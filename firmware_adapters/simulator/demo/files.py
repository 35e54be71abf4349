"""Writes what a person would write before a first start: site file, cloud file, keys, token, credential."""

import secrets
import subprocess
import sys

from firmware_adapters.simulator.demo.layout import MINERS_PER_RACK, Layout
from firmware_adapters.simulator.demo.site_template import CAP, HEAD, ZONE

MINEWARDEN = (sys.executable, "-P", "-m", "shared.cli")
"""How the demo runs any command: the installed code, whatever the current folder holds."""

SITE = "demo"
HOT_ZONE = "hall-a"
"""The container whose exhaust wall will stop; the other one keeps running."""
ZONES = {"hall-a": "ABC", "hall-b": "D"}
"""Container → its racks."""
MINER_PASSWORD = "demo-miners"
PDU_COMMUNITY = "demo-pdus"

_FLEET = (
    # (how many, model, algorithm, nominal W, safe preset, firmware)
    (24, "s19jpro", "sha256d", 2700, "1850", "1.2.7"),
    (23, "s21pro", "sha256d", 2980, "2550", "1.3.4"),
    (1, "l9", "scrypt", 3000, "2650", "1.2.7"),
)


def miner_ids(zone: str) -> list[str]:
    """The miners that stand in a container."""
    racks = "".join(ZONES.values())
    first = racks.index(ZONES[zone][0]) * MINERS_PER_RACK
    return [f"m-{first + offset + 1:02d}" for offset in range(len(ZONES[zone]) * MINERS_PER_RACK)]


def write_all(layout: Layout) -> None:
    """Everything that the processes need before they start."""
    for folder in (layout.folder, layout.log_folder, layout.key_folder, layout.token_file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    layout.folder.chmod(0o700)
    layout.token_file.write_text(secrets.token_urlsafe(24) + "\n")
    layout.token_file.chmod(0o600)
    _keys(layout)
    layout.site_file.write_text(site_toml(layout))
    layout.cloud_file.write_text(cloud_toml(layout))
    _credential(layout)


def _keys(layout: Layout) -> None:
    roles = ("command", "assignment", "release")
    for role in roles:
        _run("keys", "new", str(layout.key_folder / role), "--id", f"demo-{role}")
    pairs = [f"{role}={layout.key_folder / role}" for role in roles]
    (layout.folder / "keyring.toml").write_text(_run("keys", "keyring", *pairs))
    master = layout.key_folder / "credentials"
    master.write_bytes(secrets.token_bytes(32))
    master.chmod(0o600)


def _credential(layout: Layout) -> None:
    site = str(layout.site_file)
    for name, secret in (("miners", MINER_PASSWORD), ("pdu", PDU_COMMUNITY)):
        _run("guardian", "credential", "set", name, "--site", site, stdin=secret + "\n")


def _run(*words: str, stdin: str = "") -> str:
    done = subprocess.run([*MINEWARDEN, *words], input=stdin, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise RuntimeError(f"'minewarden {' '.join(words)}' failed: {done.stderr.strip()}")
    return done.stdout


def cloud_toml(layout: Layout) -> str:
    """The cloud's configuration."""
    return f"""\
data_dir = "{layout.folder / "cloud"}"
token_file = "{layout.token_file}"
http_host = "127.0.0.1"
http_port = {layout.cloud_port}

[broker]
host = "127.0.0.1"
port = {layout.broker_port}

[keys]
command_key = "{layout.key_folder / "command"}"
assignment_key = "{layout.key_folder / "assignment"}"
release_key = "{layout.key_folder / "release"}"
# A release key belongs offline; the demo blesses online, and says so on screen.
online_blessing = true
"""


def site_toml(layout: Layout) -> str:
    """The site file: 48 miners in two containers, each with its own wall, meter, probes and contacts."""
    head = HEAD.format(
        site=SITE,
        wan_port=layout.wan_port,
        status_port=layout.status_port,
        fault_port=layout.fault_port,
        password=MINER_PASSWORD,
        community=PDU_COMMUNITY,
    )
    zones = [ZONE.format(zone=zone, letter=zone[-1], columns=MINERS_PER_RACK) for zone in ZONES]
    return head + "\n".join([*zones, *_caps(), *_site_gear(layout), *_miners(layout), _firmware()])


def _caps() -> list[str]:
    """What the feeders and the PDU's phase may carry, above what the site draws at its rated presets."""
    meters = {zone: f'{{ device = "meter-{zone[-1]}", point = "power_w" }}' for zone in ZONES}
    feeders = {"hall-a": (112e3, 118e3, 125e3, 140e3), "hall-b": (42e3, 44e3, 47e3, 52e3)}
    zones = ", ".join(f'"{zone}"' for zone in ZONES)
    caps = [_cap(f"feeder-{z[-1]}", meters[z], feeders[z], 1.0, f'zones = ["{z}"]') for z in ZONES]
    site = ", ".join(meters.values())
    caps.append(_cap("site", site, (150e3, 158e3, 165e3, 185e3), 1.0, f"zones = [{zones}]"))
    phase = '{ device = "pdu-1", point = "current_a.1" }'
    caps.append(_cap("pdu-1-l1", phase, (18.0, 20.0, 24.0, 30.0), 230.0, 'pdu = "pdu-1"'))
    return caps


def _cap(name: str, points: str, limits: tuple[float, ...], w_per_unit: float, whose: str) -> str:
    release, warn, shed, trip = limits
    return CAP.format(
        name=name,
        points=points,
        w_per_unit=w_per_unit,
        whose=whose,
        release=release,
        warn=warn,
        shed=shed,
        trip=trip,
    )


def _miners(layout: Layout) -> list[str]:
    zone_of = {rack: zone for zone, racks in ZONES.items() for rack in racks}
    racks = sorted(zone_of)
    entries: list[str] = []
    for count, model, algorithm, watts, safe, _ in _FLEET:
        for _ in range(count):
            number = len(entries)
            rack, slot = divmod(number, MINERS_PER_RACK)
            power = 'pdu = "pdu-1"\noutlet = 1\n' if model == "l9" else ""
            entries.append(
                f"""
[[devices]]
id = "m-{number + 1:02d}"
kind = "miner"
adapter = "vnish"
host = "127.{layout.miner_net}.{rack + 1}.{slot + 1}"
port = {layout.miner_port}
zone = "{zone_of[racks[rack]]}"
rack = "{racks[rack]}"
slot = {slot + 1}
model = "{model}"
algorithm = "{algorithm}"
nominal_w = {watts}
safe_preset = "{safe}"
{power}credential = "miners\""""
            )
    return entries


def _firmware() -> str:
    numbers: list[str] = []
    first = 1
    for count, *_, firmware in _FLEET:
        numbers += [f'"m-{first + offset:02d}" = "{firmware}"' for offset in range(count)]
        first += count
    return "\n[simulator.firmware]\n" + "\n".join(numbers) + "\n"


def _site_gear(layout: Layout) -> list[str]:
    gear = (
        ("wall", "drive", "danfoss-fc102"),
        ("meter", "meter", "eastron-sdm630"),
        ("hvac", "hvac", "carel-ir33"),
        ("inlet-1", "probe", "xy-md02"),
        ("inlet-2", "probe", "xy-md02"),
        ("inlet-3", "probe", "xy-md02"),
        ("contacts", "contacts", "contacts"),
    )
    modbus = [
        f"""
[[devices]]
id = "{name}-{zone[-1]}"
kind = "{kind}"
adapter = "modbus"
profile = "{profile}"
host = "127.{layout.miner_net}.{200 + row}.{number + 1}"
port = {layout.modbus_port}
zone = "{zone}\""""
        for row, zone in enumerate(ZONES)
        for number, (name, kind, profile) in enumerate(gear)
    ]
    pdu = f"""
[[devices]]
id = "pdu-1"
kind = "pdu"
adapter = "snmp"
profile = "apc-rpdu2"
host = "127.{layout.miner_net}.210.1"
port = {layout.snmp_port}
credential = "pdu"
zone = "hall-b\""""
    ups = f"""
[[devices]]
id = "ups-1"
kind = "ups"
adapter = "snmp"
profile = "ups-mib"
host = "127.{layout.miner_net}.211.1"
port = {layout.snmp_port}
zone = "hall-b\""""
    return [*modbus, pdu, ups]
