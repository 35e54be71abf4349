"""The parts of the demo's site file, with `{name}` where a value of this run belongs."""

HEAD = """\
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
ups_runtime_s = 900.0
fault_port = {fault_port}

# The UPS feeds gateway and network. Once it promises too little, the site is left so that it can go dark.
[mains]
device = "ups-1"
on_battery_point = "on_battery"
runtime_point = "runtime_s"
on_delay_s = 5.0
restore_after_s = 30.0
stages = [{{ runtime_below_s = 600.0, stop = false }}, {{ runtime_below_s = 300.0, stop = true }}]

[curtailment]
meter = [{{ device = "meter-a", point = "power_w" }}, {{ device = "meter-b", point = "power_w" }}]
within_pct = 2.0
within_w = 1000.0
confirm_for_s = 5.0
restore_jitter_s = 10.0
"""

CAP = """\
[[power_caps]]
id = "{name}"
points = [{points}]
w_per_unit = {w_per_unit}
ramp_w_per_min = 60000.0
{whose}

[power_caps.limits]
release = {release}
warn = {warn}
shed = {shed}
trip = {trip}
on_delay_s = 4.0
off_delay_s = 10.0
"""

ZONE = """\
[[zones]]
id = "{zone}"
cooling = "air"
columns = {columns}
bypass_key = {{ device = "contacts-{letter}", point = "bypass_key" }}

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
off = 0.0 # smoke stops the fans

[[zones.sensors]]
role = "inlet_air_c"
device = "inlet-1-{letter}"
point = "air_temp_c"

[[zones.sensors]]
role = "inlet_air_c"
device = "inlet-2-{letter}"
point = "air_temp_c"

[[zones.sensors]]
role = "inlet_air_c"
device = "inlet-3-{letter}"
point = "air_temp_c"

[[zones.contacts]]
name = "estop"
device = "contacts-{letter}"
point = "estop_pressed"
effect = "trip"
on_unknown = "inhibit"
on_delay_s = 0.0
fans = "on"

[[zones.contacts]]
name = "smoke"
device = "contacts-{letter}"
point = "smoke"
effect = "trip"
on_unknown = "inhibit"
on_delay_s = 1.0
fans = "off"

[[zones.contacts]]
name = "water-leak"
device = "contacts-{letter}"
point = "water_leak"
effect = "inhibit"
on_unknown = "alarm"
on_delay_s = 2.0

[[zones.contacts]]
name = "door"
device = "contacts-{letter}"
point = "door_open"
effect = "alarm"
on_unknown = "alarm"
on_delay_s = 5.0
"""
