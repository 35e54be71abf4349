"""Writes what a person would write before a first start: site file, cloud file, keys, token, credential."""

import secrets
import subprocess
import sys

from firmware_adapters.simulator.demo.layout import MINERS_PER_RACK, Layout

MINEWARDEN = (sys.executable, "-P", "-m", "shared.cli")
"""How the demo runs any command: the installed code, whatever the current folder holds."""

SITE = "demo"
ZONE = "hall-a"
MINER_PASSWORD = "demo-miners"

_FLEET = (
    # (how many, model, algorithm, nominal W, safe preset, firmware)
    (24, "s19jpro", "sha256d", 3068, "1850", "1.2.7"),
    (23, "s21pro", "sha256d", 3531, "2550", "1.3.4"),
    (1, "l9", "scrypt", 3260, "2700", "1.2.7"),
)


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
    _run("guardian", "credential", "set", "miners", "--site", site, stdin=MINER_PASSWORD + "\n")


def _run(*words: str, stdin: str = "") -> str:
    done = subprocess.run([*MINEWARDEN, *words], input=stdin, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise RuntimeError(f"'minewarden {' '.join(words)}' failed: {done.stderr.strip()}")
    return done.stdout


def cloud_toml(layout: Layout) -> str:
    """The cloud's configuration."""
    return f"""\
database_url = "sqlite+aiosqlite:///{layout.folder / "cloud" / "cloud.sqlite"}"
data_dir = "{layout.folder / "cloud" / "data"}"
token_file = "{layout.token_file}"

[http]
host = "127.0.0.1"
port = {layout.cloud_port}

[broker]
host = "127.0.0.1"
port = {layout.broker_port}

[keys]
command = "{layout.key_folder / "command"}"
assignment = "{layout.key_folder / "assignment"}"
release = "{layout.key_folder / "release"}"
# A release key belongs offline; the demo blesses online, and says so on screen.
online_blessing = true
"""


def site_toml(layout: Layout) -> str:
    """The site file of a 48-miner container with one exhaust wall, a meter, probes, a PDU and contacts."""
    return _HEAD.format(
        site=SITE,
        zone=ZONE,
        wan_port=layout.wan_port,
        status_port=layout.status_port,
        fault_port=layout.fault_port,
        password=MINER_PASSWORD,
        columns=MINERS_PER_RACK,
    ) + "\n".join([*_site_gear(layout), *_miners(layout), _firmware()])


def _miners(layout: Layout) -> list[str]:
    entries: list[str] = []
    for count, model, algorithm, watts, safe, _ in _FLEET:
        for _ in range(count):
            number = len(entries)
            rack, slot = divmod(number, MINERS_PER_RACK)
            entries.append(
                f"""
[[devices]]
id = "m-{number + 1:02d}"
kind = "miner"
adapter = "vnish"
host = "127.{layout.miner_net}.{rack + 1}.{slot + 1}"
port = {layout.miner_port}
zone = "{ZONE}"
rack = "{"ABCD"[rack]}"
slot = {slot + 1}
model = "{model}"
algorithm = "{algorithm}"
nominal_w = {watts}
safe_preset = "{safe}"
credential = "miners\""""
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
        ("wall-1", "drive", "danfoss-fc102", 1),
        ("meter-1", "meter", "eastron-sdm630", 2),
        ("hvac-1", "hvac", "carel-uc2se", 3),
        ("inlet-1", "probe", "xy-md02", 4),
        ("inlet-2", "probe", "xy-md02", 5),
        ("contacts-1", "contacts", "contacts", 6),
    )
    modbus = [
        f"""
[[devices]]
id = "{name}"
kind = "{kind}"
adapter = "modbus"
profile = "{profile}"
host = "127.{layout.miner_net}.200.{number}"
port = {layout.modbus_port}
zone = "{ZONE}\""""
        for name, kind, profile, number in gear
    ]
    pdu = f"""
[[devices]]
id = "pdu-1"
kind = "pdu"
adapter = "snmp"
profile = "apc-rpdu2"
host = "127.{layout.miner_net}.201.1"
port = {layout.snmp_port}
zone = "{ZONE}\""""
    return [*modbus, pdu]


_HEAD = """\
# Written by `minewarden demo`. It shortens our own waits, not physics.
schema = 1

[site]
id = "{site}"
name = "Demo container"
timezone = "Europe/Stockholm"
ml_may_raise = false
remote_reset = false
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

[zones.cooling_proof]
device = "wall-1"
point = "speed_pct"
lost_below = 20.0
proven_above = 40.0
lost_after_s = 4.0
proven_for_s = 10.0

[[zones.cooling_actuators]]
device = "wall-1"
point = "speed_setpoint_pct"
fail_safe = 100.0

[simulator]
seed = 7
outdoor_temp_c = 18.0
retune_s = 8.0
cold_start_s = 15.0
miner_password = "{password}"
fault_port = {fault_port}
"""
