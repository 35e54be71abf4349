"""Proof tests (S24): every interlock that the site file names is shown to act, on a copy and for real."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from edge_agent import config
from edge_agent.config import SiteFile
from edge_agent.guardian.interlocks import trips
from edge_agent.guardian.interlocks import zone as zone_step
from edge_agent.guardian.operators import proof_test
from edge_agent.ipc import Lines, Mode, Refused, ToOperator
from shared.alarms import Event, EventKind, Severity
from shared.telemetry import MinerState
from support.guardian import ZONE, GuardianBench, make_site

DOCS = Path(__file__).resolve().parents[5] / "docs" / "site-file.md"


def whole_site() -> SiteFile:
    """The example of the documentation: probes, contacts, caps, mains."""
    (text,) = re.findall(r"^```toml\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    return config.parse(text, Path("/etc/minewarden/site.toml"))


def with_more_miners(site: SiteFile) -> SiteFile:
    """Four miners: two hot ones are zone evidence, a zone of one cannot show that."""
    more = [msgspec.structs.replace(site.miners[0], id=f"m-10{n}", pdu=None, outlet=None) for n in range(3)]
    return msgspec.structs.replace(site, devices=(*site.devices, *more))


WHOLE = with_more_miners(whole_site())
NAMES = proof_test.interlocks(WHOLE, WHOLE.zones[0])


def test_everything_that_can_trip_is_listed() -> None:
    assert set(NAMES) == {
        "chip-temp",
        "board-temp",
        "several-hot",
        "all-sensors-bad",
        "cooling-lost",
        "inlet_air_c",
        "contact/estop",
        "cap/feeder",
    }


def test_several_hot_needs_more_than_one_miner() -> None:
    alone = whole_site()
    assert "several-hot" not in proof_test.interlocks(alone, alone.zones[0])


@pytest.mark.parametrize("name", NAMES)
def test_each_acts_within_its_time(name: str) -> None:
    row = proof_test.run(WHOLE, WHOLE.zones[0], name)
    assert row.passed, row.detail
    assert row.after_s is not None
    assert row.within_s - proof_test.SLACK_S <= row.after_s + proof_test.STEP_S
    assert row.after_s <= row.within_s


def test_an_interlock_that_does_not_act_fails_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trips, "fired", lambda *_: ())
    row = proof_test.run(WHOLE, WHOLE.zones[0], "chip-temp")
    assert not row.passed
    assert row.detail == "did not latch in time"


def test_a_latch_without_its_stop_fails_its_test(monkeypatch: pytest.MonkeyPatch) -> None:
    step = zone_step.step

    def forgetful(*given: object) -> object:
        state, outputs, found = step(*given)
        return state, msgspec.structs.replace(outputs, demands=()), found

    monkeypatch.setattr(zone_step, "step", forgetful)
    row = proof_test.run(WHOLE, WHOLE.zones[0], "cooling-lost")
    assert not row.passed
    assert "4 of 4 miners are not told to stop" in row.detail


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        proof_test.run(WHOLE, WHOLE.zones[0], "flood")


# ---------------------------------------------------------------- through the guardian


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[GuardianBench]:
    bench = GuardianBench(make_site(tmp_path))
    await bench.start()
    yield bench
    await bench.close()


async def test_on_order_nothing_moves(bench: GuardianBench) -> None:
    answer = await bench.guardian.proving.on_order(ZONE, None, by="ada", reason="monthly")
    assert isinstance(answer, Lines)
    assert answer.good
    assert "6 of 6 interlocks act" in answer.lines[-1]
    assert bench.mode is Mode.LOCAL_AUTO
    assert all(miner.writes == [] for miner in bench.miners)
    [told] = [event for event in bench.events(EventKind.SYSTEM) if event.key.startswith("proof-test/")]
    assert "by ada: monthly" in told.title


async def test_a_failure_is_urgent(bench: GuardianBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trips, "fired", lambda *_: ())
    answer = await bench.guardian.proving.on_order(ZONE, "chip-temp", by="ada", reason="r")
    assert isinstance(answer, Lines)
    assert not answer.good
    [told] = [event for event in bench.events(EventKind.ALARM) if event.key.startswith("proof-test/")]
    assert told.severity is Severity.URGENT
    assert "NOT: chip-temp" in told.title


async def actuate(bench: GuardianBench, interlock: str | None, reason: str = "yearly") -> ToOperator:
    asked = asyncio.ensure_future(bench.guardian.proving.actuate(ZONE, interlock, by="ada", reason=reason))
    for _ in range(200):
        if asked.done():
            break
        await bench.run(0.25)
    return await asked


async def test_a_real_test_trips_stops_and_stays_latched(bench: GuardianBench) -> None:
    answer = await actuate(bench, "cooling-lost")
    assert isinstance(answer, Lines)
    assert answer.good, answer.lines
    assert "cooling-lost latched after" in answer.lines[0]
    assert bench.mode is Mode.TRIPPED
    assert all("stop" in miner.writes for miner in bench.miners)
    assert any("proves cooling-lost" in event.title for event in bench.events(EventKind.ACTION))


async def test_a_real_test_of_one_miner_stops_that_miner(bench: GuardianBench) -> None:
    answer = await actuate(bench, "chip-temp")
    assert isinstance(answer, Lines)
    assert answer.good
    assert [bool(miner.writes) for miner in bench.miners] == [True, False, False, False]
    assert bench.mode is Mode.LOCAL_AUTO


async def test_a_miner_that_does_not_stop_fails_the_real_test(bench: GuardianBench) -> None:
    bench.miner(2).ignores = True
    answer = await actuate(bench, "cooling-lost")
    assert isinstance(answer, Lines)
    assert not answer.good
    assert "1 miners have not confirmed" in answer.lines[1]


@pytest.mark.parametrize(
    ("interlock", "reason", "why"),
    [
        (None, "r", "name it with --interlock"),
        ("flood", "r", "has no interlock 'flood'; it has chip-temp"),
        ("chip-temp", " ", "needs a reason"),
    ],
)
async def test_what_a_real_test_is_refused_for(
    bench: GuardianBench, interlock: str | None, reason: str, why: str
) -> None:
    answer = await actuate(bench, interlock, reason)
    assert isinstance(answer, Refused)
    assert why in answer.why
    assert bench.mode is Mode.LOCAL_AUTO


def ended(bench: GuardianBench, interlock: str) -> Event:
    """The last that the journal tells of the real test of this interlock."""
    return [event for event in bench.events() if event.key == f"proof-test/{ZONE}/{interlock}"][-1]


async def test_two_real_tests_at_once_are_one_and_a_refusal(bench: GuardianBench) -> None:
    """The made-up danger has one slot: the second would take the first one's away and fail it."""
    first = asyncio.ensure_future(bench.guardian.proving.actuate(ZONE, "chip-temp", by="ada", reason="r"))
    await bench.settle()
    second = await actuate(bench, "inlet_air_c")
    assert isinstance(second, Refused)
    assert second.why == "a real proof test of hall-1 is running; wait for it"
    for _ in range(200):
        await bench.run(0.25)
    answer = await first
    assert isinstance(answer, Lines)
    assert answer.good, answer.lines
    third = await actuate(bench, "inlet_air_c")
    assert isinstance(third, Refused)
    assert "latched trips" in third.why, "the first is over and holds nobody up"


async def test_the_result_of_a_real_test_is_journalled(bench: GuardianBench) -> None:
    bench.miner(4).state = MinerState.STOPPED
    await bench.run(5.0)
    answer = await actuate(bench, "cooling-lost")
    assert isinstance(answer, Lines)
    assert "3 ran and stopped, 1 stood already, 0 are not heard" in answer.lines[1]
    told = ended(bench, "cooling-lost")
    assert told.severity is Severity.LOW
    assert "by ada: cooling-lost latched after" in told.title
    assert "3 ran and stopped" in told.title


async def test_a_failed_real_test_is_an_urgent_alarm(bench: GuardianBench) -> None:
    bench.miner(2).ignores = True
    await actuate(bench, "cooling-lost")
    told = ended(bench, "cooling-lost")
    assert (told.kind, told.severity) == (EventKind.ALARM, Severity.URGENT)
    assert "FAILED: 1 miners have not confirmed" in told.title


async def test_one_that_does_not_latch_is_an_urgent_alarm(
    bench: GuardianBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.guardian.cycle, "pretend", lambda _: None)
    answer = await actuate(bench, "cooling-lost")
    assert isinstance(answer, Lines)
    assert not answer.good
    told = ended(bench, "cooling-lost")
    assert (told.kind, told.severity) == (EventKind.ALARM, Severity.URGENT)
    assert "did not latch within" in told.title


async def test_where_nothing_ran_no_stop_was_shown(bench: GuardianBench) -> None:
    """A trip of one miner that stood already proves the latch and not the stop."""
    bench.miner(1).state = MinerState.STOPPED
    await bench.run(5.0)
    answer = await actuate(bench, "chip-temp")
    assert isinstance(answer, Lines)
    assert not answer.good
    assert answer.lines[1].startswith("NO STOP WAS SHOWN: 0 ran and stopped, 1 stood already")
    assert ended(bench, "chip-temp").kind is EventKind.SYSTEM
