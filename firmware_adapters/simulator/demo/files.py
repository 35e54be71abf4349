"""Writes what a person would write before a first start: site file, cloud file, keys, token, credential."""

import secrets
import subprocess
import sys

from firmware_adapters.simulator.demo.layout import MINERS_PER_RACK, Layout

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
    head = _HEAD.format(
        site=SITE,
        wan_port=layout.wan_port,
        status_port=layout.status_port,
        fault_port=layout.fault_port,
        password=MINER_PASSWORD,
        community=PDU_COMMUNITY,
    )
    zones = [_ZONE.format(zone=zone, letter=zone[-1], columns=MINERS_PER_RACK) for zone in ZONES]
    return head + "\n".join([*zones, *_site_gear(layout), *_miners(layout), _firmware()])


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
    return [*modbus, pdu]


_HEAD = """\
# Written by `minewarden demo`. It shortens our own waits, not physics.
schema = 1

[site]
id = "{site}"
name = "Demo site"
timezone = "Europe/Stockholm"
ml_may_raise = false
ml_may_stop = false
remote_reset = false
action_limits = "seeds"
simulated = true

[paths]
guardian_state = "guardian"
agent_state = "agent"
guardian_socket = "guardian.sock"
operator_socket = "operator.sock"
keyring = "keyring.toml"
credentials_key = "keys/credentials"

[timing]
poll_s = 2.0
safety_poll_s = 1.0
request_timeout_s = 3.0
stale_after_s = 15.0
lost_after_s = 30.0
step_s = 5
lease_max_s = 60.0
lease_hold_s = 30.0
lease_safe_s = 120.0
settle_s = 20.0
stop_confirm_s = 30.0
write_confirm_s = 40.0
restart_after_stop_s = 15.0
restart_window_s = 30.0
restart_power_pct = 5.0
preset_dwell_s = 60.0
starts_per_hour = 20
bypass_max_s = 3600.0
proof_test_every_s = 3600.0

[uplink]
broker_host = "127.0.0.1"
broker_port = {wan_port}
keep_alive_s = 5

[agent]
status_port = {status_port}
shadow_cycles = 5
score_every_s = 5.0
raw_keep_mb = 256
outbox_keep_mb = 128
flush_every_s = 1.0

[simulator]
seed = 7
outdoor_temp_c = 18.0
retune_s = 8.0
cold_start_s = 15.0
miner_password = "{password}"
pdu_community = "{community}"
fault_port = {fault_port}
"""

_ZONE = """\
[[zones]]
id = "{zone}"
cooling = "air"
columns = {columns}

# Estimated chip temperatures; the firmware's own limit is 90 °C, ours act before it.
[zones.limits.chip_temp_c]
release = 74.0
warn = 78.0
shed = 83.0
trip = 88.0
on_delay_s = 4.0
off_delay_s = 10.0

[zones.limits.board_temp_c]
release = 60.0
warn = 65.0
shed = 70.0
trip = 75.0
on_delay_s = 4.0
off_delay_s = 10.0

[zones.limits.inlet_air_c]
release = 33.0
warn = 35.0
shed = 40.0
trip = 45.0
on_delay_s = 4.0
off_delay_s = 10.0
tighten = 3.0

[zones.cooling_proof]
device = "wall-{letter}"
point = "speed_pct"
lost_below = 20.0
proven_above = 40.0
lost_after_s = 4.0
proven_for_s = 10.0

[[zones.cooling_actuators]]
device = "wall-{letter}"
point = "speed_setpoint_pct"
fail_safe = 100.0
low = 0.0
high = 100.0

[[zones.sensors]]
role = "inlet_air_c"
device = "inlet-1-{letter}"
point = "air_temp_c"

[[zones.sensors]]
role = "inlet_air_c"
device = "inlet-2-{letter}"
point = "air_temp_c"
"""
