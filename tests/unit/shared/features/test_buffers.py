"""Which windows exist, and what is in them."""

import numpy as np
import pytest

from shared.features.buffers import StepKind, WindowBuffers, step_kind, usable
from shared.features.spec import miner_spec
from shared.telemetry import DeviceKind, MinerState, RollupRow
from support.training import row

SPEC = miner_spec(5)


def filled(*rows: RollupRow) -> WindowBuffers:
    buffers = WindowBuffers(SPEC)
    buffers.push(rows)
    return buffers


@pytest.mark.parametrize("state", [s for s in MinerState if s not in (MinerState.MINING, MinerState.UNKNOWN)])
def test_only_mining_steps_are_usable(state: MinerState) -> None:
    assert step_kind(row("a", 0, state=state)) is StepKind.SETTLING


def test_unknown_is_a_gap_not_a_state() -> None:
    rows = [
        row("a", 0),
        row("a", 1, samples=0),
        row("a", 2, state=None),
        row("a", 3, state=MinerState.UNKNOWN),
    ]
    assert [step_kind(r) for r in rows] == [StepKind.USABLE, StepKind.GAP, StepKind.GAP, StepKind.GAP]
    assert usable(rows).tolist() == [True, False, False, False]


def test_a_window_needs_all_its_steps() -> None:
    buffers = WindowBuffers(SPEC)
    for step in range(SPEC.window - 2):
        buffers.push([row("a", step)])
        assert buffers.ready() == []
    buffers.push([row("a", SPEC.window - 2)])
    assert buffers.ready() == ["a"]  # one gap is allowed
    assert np.isnan(buffers.matrix(["a"])[0, 0]).all()
    buffers.push([row("a", SPEC.window - 1)])
    assert np.isnan(buffers.matrix(["a"])).sum() == 0


def test_matrix_holds_the_columns_oldest_first() -> None:
    buffers = filled(*(row("a", i, power_w_mean=100.0 + i) for i in range(6)))
    power = buffers.matrix(["a"])[0, :, SPEC.columns.index("power_w_mean")]
    assert power.tolist() == [102.0, 103.0, 104.0, 105.0]
    assert buffers.matrix(["a"]).dtype == np.float64


def test_a_missing_step_is_a_nan_step() -> None:
    buffers = filled(*(row("a", i) for i in (0, 1, 2, 4)))
    assert buffers.ready() == ["a"]
    assert np.isnan(buffers.matrix(["a"])[0]).all(axis=1).tolist() == [False, False, True, False]


def test_too_many_gaps_or_a_long_silence_is_not_ready() -> None:
    assert filled(*(row("a", i) for i in (0, 1, 4, 5))).ready() == []
    assert filled(*(row("a", i) for i in (0, 1, 2, 3, 1000))).ready() == []


def test_a_device_that_fell_silent_is_not_ready_with_old_numbers() -> None:
    buffers = filled(*(row(d, i) for i in range(4) for d in ("a", "b")))
    assert buffers.ready() == ["a", "b"]
    buffers.push([row("b", 4)])
    assert buffers.ready() == ["b"]


def test_a_newest_step_without_readings_is_not_ready() -> None:
    assert filled(*(row("a", i) for i in range(4)), row("a", 4, samples=0)).ready() == []


@pytest.mark.parametrize("column", SPEC.required)
def test_a_machine_of_which_the_required_is_unknown_is_not_ready(column: str) -> None:
    assert filled(*(row("a", i, **{column: None}) for i in range(8))).ready() == []


def test_a_restart_opens_a_settling_time() -> None:
    buffers = filled(*(row("a", i) for i in range(4)), row("a", 4, state=MinerState.RESTARTING))
    ready = []
    for step in range(5, 16):
        buffers.push([row("a", step)])
        ready += [step] if buffers.ready() else []
    # settle_steps are lost after the restart, then a whole window is needed
    assert ready[0] == 4 + SPEC.settle_steps + SPEC.window
    assert ready == list(range(ready[0], 16))


def test_a_start_from_cold_settles_longer_and_its_own_states_do_not_shorten_that() -> None:
    states = [MinerState.MINING] * 4 + [MinerState.STOPPED, MinerState.INITIALIZING, MinerState.MINING]
    buffers = filled(*(row("a", i, state=state) for i, state in enumerate(states)))
    ready = []
    for step in range(7, 7 + SPEC.warm_steps + SPEC.window):
        buffers.push([row("a", step)])
        ready += [step] if buffers.ready() else []
    assert SPEC.warm_steps > SPEC.settle_steps
    assert ready[0] == 5 + SPEC.warm_steps + SPEC.window


def test_another_preset_opens_a_settling_time_without_any_state_seen() -> None:
    buffers = filled(*(row("a", i) for i in range(4)), row("a", 4, preset="2000"))
    assert buffers.ready() == []
    buffers.push(row("a", step, preset="2000") for step in range(5, 5 + SPEC.settle_steps + SPEC.window))
    assert buffers.ready() == ["a"]


def test_old_repeated_and_foreign_rows_are_ignored() -> None:
    buffers = filled(*(row("a", i) for i in range(4)))
    before = buffers.matrix(["a"]).copy()
    buffers.push([row("a", 3, power_w_mean=1.0), row("a", 1), row("a", 9, step_s=60)])
    assert buffers.ignored == 3
    np.testing.assert_array_equal(buffers.matrix(["a"]), before)
    buffers.push([row("m", 4, kind=DeviceKind.METER)])
    assert buffers.ready() == ["a"]


def test_rebuilt_from_stored_rows_it_is_the_same() -> None:
    rows = [row(d, i, power_w_mean=float(i)) for i in range(30) for d in ("b", "a")]
    rows[20] = row("b", 10, state=MinerState.STARTING)
    live = WindowBuffers(SPEC)
    for i in range(0, 60, 2):
        live.push(rows[i : i + 2])
    again = filled(*rows[-2 * (SPEC.window + SPEC.warm_steps) :])
    assert live.ready() == again.ready() == ["a", "b"]
    np.testing.assert_array_equal(live.matrix(["a", "b"]), again.matrix(["a", "b"]))


def test_many_devices_grow_the_buffers() -> None:
    names = [f"m{i:04d}" for i in range(300)]
    buffers = filled(*(row(name, i, power_w_mean=float(n)) for n, name in enumerate(names) for i in range(4)))
    assert buffers.ready() == names
    power = buffers.matrix(names)[:, -1, SPEC.columns.index("power_w_mean")]
    assert power.tolist() == [float(n) for n in range(300)]


def test_an_unknown_device_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        filled().matrix(["nobody"])


def test_a_wall_clock_set_back_starts_the_windows_anew() -> None:
    """Times ahead of the present must not hold everything back until they are reached."""
    buffers = filled(*(row("a", step) for step in range(1_000, 1_000 + SPEC.window)))
    for step in range(SPEC.window):
        buffers.push([row("a", step)])
    assert buffers.newest_ms == row("a", SPEC.window - 1).at_ms
    assert buffers.ready() == ["a"]
    assert np.isnan(buffers.matrix(["a"])).sum() == 0
