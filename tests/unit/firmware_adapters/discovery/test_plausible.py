"""A probe prints what the guardian would believe, and says of the rest that it cannot be true."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.guardian.interlocks import quality
from firmware_adapters.capabilities import Observation
from firmware_adapters.discovery import examine
from firmware_adapters.discovery.examine import Examiner, entry_for
from firmware_adapters.discovery.plausible import plausible, plausible_board
from firmware_adapters.discovery.report import Probed, as_json, missing
from shared.capabilities import DeviceFacts
from shared.clock import ManualClock
from shared.details import Board
from shared.telemetry import METRICS, MinerState, Quality, Reading

POINTS = st.sampled_from([*sorted(METRICS), "fan_rpm.1", "made_up"])
READINGS = st.builds(
    Reading,
    st.none()
    | st.just(0.0)
    | st.floats()
    | st.floats(min_value=-300, max_value=6000, allow_nan=False, allow_infinity=False),
    st.sampled_from(Quality),
)


@given(st.dictionaries(POINTS, READINGS, max_size=8))
def test_a_single_look_is_judged_as_the_guardian_judges_it(readings: dict[str, Reading]) -> None:
    assert plausible(readings) == quality.judge({}, readings, 0.0)[1]


def test_what_a_board_cannot_be_is_unknown_and_named() -> None:
    kept, gone = plausible_board(
        Board(
            index=1, working=True, hashrate_ths=60.0, chip_temp_max_c=255.0, board_temp_max_c=-64.0, chips=65
        )
    )
    assert kept == Board(index=1, working=True, hashrate_ths=60.0, chips=65)
    assert gone == ("chip_temp_max_c", "board_temp_max_c")
    fine = Board(index=2, chip_temp_max_c=65.0, chip_temp_min_c=0.0, hw_errors=3)
    assert plausible_board(fine) == (fine, ())


class Liar:
    """A machine whose readings cannot be."""

    async def read(self) -> Observation:
        """Impossible in three ways, and one that is possible."""
        return Observation(
            readings={
                "hashrate_ths": Reading(math.nan),
                "chip_temp_max_c": Reading(255.0),
                "board_temp_max_c": Reading(0.0),
                "board_temp_min_c": Reading(0.0),
                "power_w": Reading(3000.0),
                "uptime_s": Reading(60.0),
            },
            state=MinerState.MINING,
        )

    async def facts(self) -> DeviceFacts:
        """A version that is known."""
        return DeviceFacts(model="S21", firmware="Vnish 1.3.4")

    async def boards(self) -> tuple[Board, ...]:
        """One with a sensor that does not exist."""
        return (Board(index=1, chip_temp_max_c=255.0, chip_temp_min_c=60.0),)

    async def close(self) -> None:
        """Nothing is open."""


async def test_readings_that_cannot_be_true_are_unknown_and_stand_among_what_was_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examine, "open_device", lambda *_, **__: Liar())
    looking = Examiner(entry_for("vnish", "10.0.0.9", 80), None, timeout_s=1.0, clock=ManualClock())
    examined = await looking.examine()
    found = Probed(host="10.0.0.9", port=80, identified=(), examined=examined, named="vnish")
    sample = as_json(found)["sample"]
    assert isinstance(sample, dict)
    assert sample["power_w"] == 3000.0
    for name in ("hashrate_ths", "chip_temp_max_c", "board_temp_max_c", "efficiency_j_per_th"):
        assert sample[name] is None, name
    said = {one.part: (one.code, one.why) for one in missing(found)}
    assert said["chip_temp_max_c"] == ("out-of-range", "the value cannot be true")
    assert said["hashrate_ths"] == ("sensor-error", "the sensor is in error")
    assert said["board_temp_max_c"] == ("missing", "the device has no value for it now")
    assert said["board 1 chip_temp_max_c"] == ("out-of-range", "the value cannot be true: 255")
    assert examined.boards == (Board(index=1, chip_temp_min_c=60.0),)
