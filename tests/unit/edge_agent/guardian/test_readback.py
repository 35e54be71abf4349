"""When a write counts as done, word by word (S13): a later read that shows it, and nothing else."""

import pytest

from edge_agent.guardian import readback
from shared.commands import AnyAction, SetPoint, SetPreset, StartMining, StopMining, SwitchOutlet
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Quality, Reading, Sample

M1, FAN, PDU = DeviceId("m-1"), DeviceId("fan-1"), DeviceId("pdu-1")
STOP, START = StopMining(device=M1), StartMining(device=M1)


def entry(nominal_w: float | None = 3000.0) -> DeviceEntry:
    return DeviceEntry(
        id=M1,
        kind=DeviceKind.MINER,
        adapter="vnish",
        host="127.0.0.1",
        port=80,
        zone=ZoneId("hall-1"),
        nominal_w=nominal_w,
    )


def seen(state: MinerState | None = None, *, failure: str | None = None, **readings: float | None) -> Sample:
    """A sample; a reading of None is one that the device could not tell."""
    return Sample(
        device=M1,
        kind=DeviceKind.MINER,
        at_s=1.0,
        at_ms=1,
        boot="b",
        seq=1,
        state=state,
        preset="2300" if state is not None else None,
        failure=failure,
        readings={
            name.replace("__", "."): Reading(value, Quality.GOOD if value is not None else Quality.MISSING)
            for name, value in readings.items()
        },
    )


def point(value: float) -> SetPoint:
    return SetPoint(device=FAN, point="speed_setpoint_pct", value=value)


def outlet(number: int, *, on: bool) -> SwitchOutlet:
    return SwitchOutlet(device=PDU, outlet=number, on=on)


class TestConfirmed:
    @pytest.mark.parametrize("preset", ["2300", "2500"])
    def test_a_preset_by_the_name_of_the_one_that_runs(self, preset: str) -> None:
        done = readback.confirmed(SetPreset(device=M1, preset=preset), seen(MinerState.MINING), entry())
        assert done is (preset == "2300")

    @pytest.mark.parametrize("state", [None, *MinerState])
    def test_a_stop_by_a_state_that_draws_no_power(self, state: MinerState | None) -> None:
        done = readback.confirmed(STOP, seen(state), entry())
        assert done is (state is not None and not state.draws_power)

    @pytest.mark.parametrize(
        ("power_w", "done"), [(None, True), (0.0, True), (900.0, True), (900.1, False), (3000.0, False)]
    )
    def test_a_stop_not_against_the_miners_own_meter(self, power_w: float | None, done: bool) -> None:
        """A miner that says "stopped" above 30 % of its nominal power is not believed."""
        assert readback.confirmed(STOP, seen(MinerState.STOPPED, power_w=power_w), entry()) is done

    def test_a_stop_of_a_miner_without_nominal_power_by_its_word(self) -> None:
        assert readback.confirmed(STOP, seen(MinerState.STOPPED, power_w=3000.0), entry(None))

    @pytest.mark.parametrize("state", [None, *MinerState])
    def test_a_start_by_a_state_on_the_way_up_or_there(self, state: MinerState | None) -> None:
        up = (MinerState.INITIALIZING, MinerState.STARTING, MinerState.MINING, MinerState.AUTO_TUNING)
        assert readback.confirmed(START, seen(state), entry()) is (state in up)

    @pytest.mark.parametrize(
        ("wanted", "now", "done"),
        [
            (60.0, 60.0, True),
            (100.0, 101.0, True),
            (100.0, 99.0, True),
            (100.0, 101.1, False),
            (60.0, None, False),
            (0.0, 0.5, True),
            (0.0, -0.5, True),
            (0.0, 0.51, False),
            (-100.0, -101.0, True),
            (-100.0, -101.1, False),
        ],
    )
    def test_a_point_within_one_percent_or_half_a_unit(
        self, wanted: float, now: float | None, done: bool
    ) -> None:
        assert readback.confirmed(point(wanted), seen(speed_setpoint_pct=now), entry()) is done
        assert readback.at_point(now, wanted) is done

    @pytest.mark.parametrize(("reads", "on"), [(1.0, True), (0.0, False)])
    def test_an_outlet_by_its_own_relay(self, reads: float, on: bool) -> None:
        assert readback.confirmed(outlet(2, on=on), seen(outlet_on__2=reads), entry())
        assert not readback.confirmed(outlet(2, on=not on), seen(outlet_on__2=reads), entry())
        assert not readback.confirmed(outlet(3, on=on), seen(outlet_on__2=reads), entry())

    @pytest.mark.parametrize(
        "action", [SetPreset(device=M1, preset="2300"), STOP, START, point(60.0), outlet(2, on=True)]
    )
    def test_nothing_by_a_failed_read(self, action: AnyAction) -> None:
        good = {"speed_setpoint_pct": 60.0, "outlet_on__2": 1.0}
        state = MinerState.STOPPED if action is STOP else MinerState.MINING
        assert readback.confirmed(action, seen(state, **good), entry())
        assert not readback.confirmed(action, seen(state, failure="timeout", **good), entry())


class TestBelieved:
    @pytest.mark.parametrize(
        ("state", "power_w", "nominal_w", "believed"),
        [
            (MinerState.STOPPED, 901.0, 3000.0, MinerState.UNKNOWN),
            (MinerState.STOPPED, 900.0, 3000.0, MinerState.STOPPED),
            (MinerState.STOPPED, None, 3000.0, MinerState.STOPPED),
            (MinerState.STOPPED, 901.0, None, MinerState.STOPPED),
            (MinerState.MINING, 3000.0, 3000.0, MinerState.MINING),
            (None, 3000.0, 3000.0, None),
        ],
    )
    def test_a_word_is_not_believed_against_a_meter(
        self,
        state: MinerState | None,
        power_w: float | None,
        nominal_w: float | None,
        believed: MinerState | None,
    ) -> None:
        assert readback.believed(seen(state, power_w=power_w), nominal_w) is believed


class TestMayResend:
    def test_where_nothing_is_known_sending_again_can_only_help(self) -> None:
        for action in (STOP, START):
            assert readback.may_resend(action, None)
            assert readback.may_resend(action, seen(None))
            assert readback.may_resend(action, seen(MinerState.SHUTTING_DOWN, failure="timeout"))

    @pytest.mark.parametrize("state", list(MinerState))
    def test_a_stop_not_while_it_shuts_down(self, state: MinerState) -> None:
        assert readback.may_resend(STOP, seen(state)) is (state is not MinerState.SHUTTING_DOWN)

    @pytest.mark.parametrize("state", list(MinerState))
    def test_anything_else_not_while_the_firmware_settles(self, state: MinerState) -> None:
        for action in (START, SetPreset(device=M1, preset="2300")):
            assert readback.may_resend(action, seen(state)) is (not state.settling)


class TestShown:
    """What stands in the journal as before and after."""

    @pytest.mark.parametrize(
        ("action", "sample", "words"),
        [
            (SetPreset(device=M1, preset="2500"), seen(MinerState.MINING), "2300"),
            (SetPreset(device=M1, preset="2500"), seen(None), "unknown"),
            (STOP, seen(MinerState.MINING), "mining"),
            (START, seen(MinerState.STOPPED), "stopped"),
            (STOP, seen(None), "unknown"),
            (point(60.0), seen(speed_setpoint_pct=59.5), "59.5"),
            (point(60.0), seen(speed_setpoint_pct=None), "unknown"),
            (outlet(2, on=True), seen(outlet_on__2=1.0), "on"),
            (outlet(2, on=True), seen(outlet_on__2=0.0), "off"),
            (outlet(2, on=True), seen(outlet_on__3=0.0), "unknown"),
            (STOP, seen(MinerState.MINING, failure="timeout"), "unknown"),
            (STOP, None, "unknown"),
        ],
    )
    def test_in_the_words_of_the_action(self, action: AnyAction, sample: Sample | None, words: str) -> None:
        assert readback.shown(action, sample) == words
