"""The alarm of a stop that is not confirmed tells a person the truth about the outlet."""

import msgspec

from edge_agent.ipc import Mode
from shared.alarms import Event, EventKind
from shared.capabilities import Ability
from shared.errors import Unreachable
from support.guardian import PDU, GuardianBench


async def _alarm(bench: GuardianBench) -> Event:
    """Miner 4, which hangs on an outlet, ignores the stop of a trip."""
    bench.miner(4).ignores = True
    bench.wall.broken = True
    await bench.run(10.0)
    assert bench.mode is Mode.TRIPPED
    await bench.run(35.0)
    return next(e for e in bench.events(EventKind.ALARM) if e.key == "stop/m-4")


async def test_an_outlet_that_is_being_cut(bench: GuardianBench) -> None:
    assert "outlet is being cut" in (await _alarm(bench)).advice


async def test_an_outlet_that_may_not_be_cut_sends_a_person_to_the_breaker(bench: GuardianBench) -> None:
    """A PDU without a write community: the escalation is refused, so nothing is being cut."""
    link = bench.guardian.links[PDU]
    assert link.facts is not None
    reads = tuple(c for c in link.facts.capabilities if c.ability is Ability.TELEMETRY)
    link.facts = msgspec.structs.replace(link.facts, capabilities=reads)
    alarm = await _alarm(bench)
    assert "breaker" in alarm.advice
    assert bench.events(EventKind.REFUSED)


async def test_a_miner_whose_outlet_is_seen_off_is_alarmed_and_cut_once(bench: GuardianBench) -> None:
    await _alarm(bench)
    bench.miner(4).fail = bench.miner(4).fail_write = Unreachable("no power")
    await bench.run(120.0)
    assert [e.key for e in bench.events(EventKind.ALARM)].count("stop/m-4") == 1
    assert bench.pdu.writes == [(1, False)]


async def test_a_safe_stop_that_is_not_confirmed_cuts_the_outlet_too(bench: GuardianBench) -> None:
    """A person who stops a zone to walk into it must not find one machine under power (S13)."""
    bench.miner(4).ignores = True
    bench.guardian.persons.safe_stop(None, by="ada", reason="a person in the aisle")
    await bench.run(35.0)
    assert bench.mode is Mode.SAFE
    assert bench.pdu.on[1] is False
    assert "outlet is being cut" in next(
        e.advice for e in bench.events(EventKind.ALARM) if e.key == "stop/m-4"
    )


async def test_an_outlet_that_does_not_open_sends_a_person_after_all(bench: GuardianBench) -> None:
    bench.pdu.ignores = True
    await _alarm(bench)
    await bench.run(45.0)
    told = [e for e in bench.events(EventKind.ALARM) if e.key == "stop/m-4"]
    assert "is not seen off" in told[1].title
    assert "breaker" in told[1].advice
