"""Before and after in numbers: means, ratios and counters; unknown is None and never 0."""

import pytest

from edge_agent.guardian.actions import effects
from edge_agent.ipc import Effect
from shared.commands import ActionOutcome, outcome_of_parts
from shared.ids import DeviceId
from shared.telemetry import MISSING, DeviceKind, Reading, Sample

M1, M2 = DeviceId("m-1"), DeviceId("m-2")


def sample(device: DeviceId = M1, *, failure: str | None = None, **readings: float | None) -> Sample:
    return Sample(
        device=device,
        kind=DeviceKind.MINER,
        at_s=0.0,
        at_ms=0,
        boot="b",
        seq=1,
        failure=failure,
        readings={k: MISSING if v is None else Reading(v) for k, v in readings.items()},
    )


def effect(*samples: Sample, devices: tuple[DeviceId, ...] = (M1,)) -> Effect:
    return effects.effect(effects.by_device(samples), devices)


def test_means_over_time_then_over_devices() -> None:
    told = effect(
        sample(power_w=3000.0, hashrate_ths=100.0, chip_temp_max_c=60.0),
        sample(power_w=3200.0, hashrate_ths=100.0, chip_temp_max_c=70.0),
        sample(M2, power_w=1000.0, hashrate_ths=50.0, chip_temp_max_c=75.0),
        devices=(M1, M2),
    )
    assert told == Effect(
        power_w=2050.0, hashrate_ths=75.0, chip_temp_c=70.0, j_per_th=pytest.approx(4100 / 150)
    )


def test_nothing_told_is_nothing_known() -> None:
    assert effect() == Effect()
    assert effect(sample(failure="timeout", power_w=1.0), sample(power_w=None)) == Effect()


def test_energy_per_hash_needs_both_of_one_device() -> None:
    told = effect(sample(power_w=3000.0), sample(M2, power_w=2000.0, hashrate_ths=100.0), devices=(M1, M2))
    assert told.j_per_th == 20.0
    assert effect(sample(power_w=15.0, hashrate_ths=0.0)).j_per_th is None


@pytest.mark.parametrize(
    ("accepted", "rejected", "pct"),
    [
        ((100.0, 190.0), (0.0, 10.0), 10.0),
        ((100.0, 100.0), (0.0, 0.0), None),
        ((100.0, 5.0, 10.0), (0.0, 1.0, 2.0), None),
        ((100.0,), (0.0,), None),
    ],
)
def test_rejects_are_of_the_shares_inside_the_window(
    accepted: tuple[float, ...], rejected: tuple[float, ...], pct: float | None
) -> None:
    rows = [
        sample(shares_accepted=good, shares_rejected=bad)
        for good, bad in zip(accepted, rejected, strict=True)
    ]
    assert effect(*rows).rejects_pct == pct


A, P, R, F, U = (
    ActionOutcome.APPLIED,
    ActionOutcome.PARTIAL,
    ActionOutcome.REJECTED,
    ActionOutcome.FAILED,
    ActionOutcome.UNCONFIRMED,
)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], R),
        ([R, R], R),
        ([A, A], A),
        ([A, F], P),
        ([P, R], P),
        ([U, F], U),
        ([R, F], F),
        ([F], F),
    ],
)
def test_several_parts_have_one_outcome(parts: list[ActionOutcome], whole: ActionOutcome) -> None:
    assert outcome_of_parts(parts) is whole
