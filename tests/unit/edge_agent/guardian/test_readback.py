"""What counts as done is what a later read shows; and what firmware says is weighed against its own meter."""

import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian import readback
from shared.commands import AnyAction, SetPoint, SetPreset, StartMining, StopMining, SwitchOutlet
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, MinerState, Quality, Reading, Sample
from support.arbiter import World

M1 = DeviceId("m-1")
STOP, START, PRESET = StopMining(device=M1), StartMining(device=M1), SetPreset(device=M1, preset="2300")
POINT = SetPoint(device=M1, point="speed_setpoint_pct", value=80.0)
OUTLET = SwitchOutlet(device=M1, outlet=3, on=False)


def sample(
    state: MinerState | None = None,
    preset: str | None = None,
    failure: str | None = None,
    **readings: float | None,
) -> Sample:
    told = {
        name.replace("__", "."): MISSING if value is None else Reading(value)
        for name, value in readings.items()
    }
    return Sample(
        device=M1,
        kind=DeviceKind.MINER,
        at_s=1.0,
        at_ms=1,
        boot="b",
        seq=1,
        state=state,
        preset=preset,
        failure=failure,
        readings=told,
    )


@pytest.fixture
def entry(site: SiteFile) -> DeviceEntry:
    return World(site).devices[M1].entry


@pytest.mark.parametrize(
    ("action", "seen", "done"),
    [
        (PRESET, sample(preset="2300"), True),
        (PRESET, sample(preset="2500"), False),
        (PRESET, sample(), False),
        (PRESET, sample(preset="2300", failure="timeout"), False),
        (STOP, sample(MinerState.STOPPED), True),
        (STOP, sample(MinerState.FAILURE, power_w=20.0), True),
        (STOP, sample(MinerState.STOPPED, power_w=900.0), True),
        (STOP, sample(MinerState.STOPPED, power_w=901.0), False),
        (STOP, sample(MinerState.SHUTTING_DOWN), False),
        (STOP, sample(), False),
        (START, sample(MinerState.INITIALIZING), True),
        (START, sample(MinerState.STARTING), True),
        (START, sample(MinerState.MINING), True),
        (START, sample(MinerState.AUTO_TUNING), True),
        (START, sample(MinerState.RESTARTING), False),
        (START, sample(MinerState.STOPPED), False),
        (START, sample(), False),
        (POINT, sample(speed_setpoint_pct=80.8), True),
        (POINT, sample(speed_setpoint_pct=79.2), True),
        (POINT, sample(speed_setpoint_pct=80.81), False),
        (POINT, sample(speed_setpoint_pct=None), False),
        (POINT, sample(), False),
        (OUTLET, sample(outlet_on__3=0.0), True),
        (OUTLET, sample(outlet_on__3=1.0), False),
        (OUTLET, sample(outlet_on__2=0.0), False),
    ],
)
def test_what_confirms(entry: DeviceEntry, action: AnyAction, seen: Sample, done: bool) -> None:
    assert readback.confirmed(action, seen, entry) is done


@pytest.mark.parametrize(
    ("now", "value", "there"), [(0.5, 0.0, True), (0.51, 0.0, False), (None, 0.0, False)]
)
def test_small_values_have_half_a_unit_of_room(now: float | None, value: float, there: bool) -> None:
    assert readback.at_point(now, value) is there


@pytest.mark.parametrize(
    ("seen", "nominal_w", "state"),
    [
        (sample(MinerState.STOPPED, power_w=901.0), 3000.0, MinerState.UNKNOWN),
        (sample(MinerState.STOPPED, power_w=900.0), 3000.0, MinerState.STOPPED),
        (sample(MinerState.STOPPED, power_w=2000.0), None, MinerState.STOPPED),
        (sample(MinerState.STOPPED, power_w=None), 3000.0, MinerState.STOPPED),
        (sample(MinerState.MINING, power_w=2000.0), 3000.0, MinerState.MINING),
        (sample(), 3000.0, None),
    ],
)
def test_a_miner_that_says_stopped_is_weighed(
    seen: Sample, nominal_w: float | None, state: MinerState | None
) -> None:
    assert readback.believed(seen, nominal_w) is state


@pytest.mark.parametrize(
    ("action", "seen", "again"),
    [
        (STOP, None, True),
        (STOP, sample(failure="timeout"), True),
        (STOP, sample(), True),
        (STOP, sample(MinerState.MINING), True),
        (STOP, sample(MinerState.STARTING), True),
        (STOP, sample(MinerState.SHUTTING_DOWN), False),
        (STOP, sample(MinerState.SHUTTING_DOWN, failure="timeout"), True),
        (PRESET, sample(), True),
        (PRESET, sample(MinerState.MINING), True),
        (PRESET, sample(MinerState.RESTARTING), False),
        (START, sample(MinerState.STARTING), False),
    ],
)
def test_when_sending_again_helps(action: AnyAction, seen: Sample | None, again: bool) -> None:
    assert readback.may_resend(action, seen) is again


@pytest.mark.parametrize(
    ("action", "seen", "words"),
    [
        (PRESET, sample(preset="2500"), "2500"),
        (PRESET, sample(), "unknown"),
        (PRESET, None, "unknown"),
        (PRESET, sample(preset="2500", failure="timeout"), "unknown"),
        (STOP, sample(MinerState.MINING), "mining"),
        (START, sample(), "unknown"),
        (POINT, sample(speed_setpoint_pct=80.0), "80"),
        (POINT, sample(), "unknown"),
        (OUTLET, sample(outlet_on__3=1.0), "on"),
        (OUTLET, sample(outlet_on__3=0.0), "off"),
        (OUTLET, sample(), "unknown"),
    ],
)
def test_what_the_audit_shows(action: AnyAction, seen: Sample | None, words: str) -> None:
    assert readback.shown(action, seen) == words


def test_bad_quality_confirms_nothing(entry: DeviceEntry) -> None:
    stuck = sample()
    stuck.readings["speed_setpoint_pct"] = Reading(80.0, Quality.STUCK)
    assert not readback.confirmed(POINT, stuck, entry)
