"""Keys rotate on the whole way: broker → agent → guardian; a removed one is gone at once, on both sides."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edge_agent import ipc
from edge_agent.agent.app import Agent
from edge_agent.agent.inference.keys import ALARM_KEY, LOOK_S, KeyDesk
from edge_agent.guardian.agents.peers import Peer
from edge_agent.guardian.interlocks.inputs import ModelClaim
from edge_agent.ipc import Mode
from shared.alarms import Event, EventKind, Severity
from shared.artifacts.keyring_update import KeyringUpdate, TrustedKeys, sign_update
from shared.artifacts.manifest import Assignment, Stage, assign, bless
from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, Signed, SigningKey
from shared.commands import CommandState, SafeStopOrder
from shared.wire import codec, topics
from support.agent import KEYS, SITE, T0, make_assignment
from support.agent_bench import AgentBench
from support.agent_world import world
from support.guardian import KEYS as GUARDIAN_KEYS
from support.guardian import SITE as GUARDIAN_SITE
from support.guardian import GuardianBench, signed_order
from support.guardian import make_site as make_guardian_site
from support.model_bench import DATA, V1, life, place, running
from support.ports import free_port

ROOT = SigningKey.generate("root-1")
NEW_RELEASE = SigningKey.generate("release-2")
REPO = Path(__file__).resolve().parents[3]


def entry(key: SigningKey, role: Role) -> PublicKeyEntry:
    return PublicKeyEntry(id=key.key_id, role=role, public=key.public_text)


BASE = (
    entry(ROOT, Role.ROOT),
    entry(KEYS.release, Role.RELEASE),
    entry(KEYS.assignment, Role.ASSIGNMENT),
    entry(KEYS.command, Role.COMMAND),
)
WITHOUT_RELEASE = (*(key for key in BASE if key.role is not Role.RELEASE), entry(NEW_RELEASE, Role.RELEASE))


def update(version: int, keys: tuple[PublicKeyEntry, ...], *roots: SigningKey) -> Signed:
    issued = KeyringUpdate(version=version, issued_ms=0, expires_ms=2**53, keys=keys)
    return sign_update(issued, *(roots or (ROOT,)))


def trusted(folder: Path) -> TrustedKeys:
    folder.mkdir(exist_ok=True)
    (folder / "keyring.toml").write_text(Keyring.dump(BASE))
    return TrustedKeys(folder / "keyring.toml", folder / "keyring.bin", SITE)


def with_keys(b: AgentBench, keys: TrustedKeys) -> KeyDesk:
    """Give a bench keys that can change."""
    for holder in (b.keeper, b.keeper._moves, b.keeper._intake):
        holder._keyring = keys
    return KeyDesk(b.clock, keys, b.records, tell_guardian=b.send, on_change=b.keeper.recheck)


class TestAgent:
    async def test_a_removed_release_key_takes_its_model_along(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            desk = with_keys(b, trusted(tmp_path / "keys"))
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1), DATA)
            await b.steps(6)
            assert running(b) == (1, None)
            await desk.take(update(1, WITHOUT_RELEASE))
            assert running(b) == (None, None)
            assert b.said(ipc.Keys) == [ipc.Keys(signed=update(1, WITHOUT_RELEASE))], (
                "the guardian has it too"
            )
            told = next(e for e in reversed(b.events()) if e.data.get("state") == "rolled-back")
            assert told.data["reason"] == "keys"
            await b.keeper.offer(make_assignment(V1, counter=2))
            await b.steps(1)
            assert running(b) == (None, None)

    async def test_a_candidate_goes_too_and_a_key_that_stays_takes_nothing(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            desk = with_keys(b, trusted(tmp_path / "keys"))
            await b.steps(4)
            await place(b, make_assignment(V1, counter=1, stage=Stage.SHADOW), DATA)
            await desk.take(update(1, (*BASE, entry(NEW_RELEASE, Role.RELEASE))))
            assert running(b) == (None, 1)
            await desk.take(update(2, WITHOUT_RELEASE))
            assert running(b) == (None, None)

    async def test_what_is_refused_is_counted_told_and_not_passed_on(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            desk = with_keys(b, trusted(tmp_path / "keys"))
            await desk.take(update(2, BASE))
            passed = len(b.said(ipc.Keys))
            for bad in (update(1, WITHOUT_RELEASE), update(3, WITHOUT_RELEASE, KEYS.command)):
                await desk.take(bad)
            assert desk.refused == 2
            assert len(b.said(ipc.Keys)) == passed
            told = [e for e in b.events() if e.key == "keyring"]
            assert [e.data["accepted"] for e in told] == [True, False, False]
            assert "replayed" in told[1].title
            await desk.take(update(2, BASE))  # the retained one, at the next connect
            assert len([e for e in b.events() if e.key == "keyring"]) == 3
            await desk.greet_guardian()
            assert len(b.said(ipc.Keys)) == passed + 1

    async def test_a_disk_that_refuses_it_is_tried_again_and_the_guardian_has_it_meanwhile(
        self, tmp_path: Path
    ) -> None:
        async with life(tmp_path) as b:
            keys = trusted(tmp_path / "keys")
            desk = with_keys(b, keys)
            (blocked := tmp_path / "keys" / "keyring.bin.new").mkdir()
            signed = update(1, WITHOUT_RELEASE)
            await desk.take(signed)
            assert b.said(ipc.Keys) == [ipc.Keys(signed=signed)], "its disk may have room"
            assert (keys.version, keys.entry(KEYS.release.key_id)) == (0, None), "the old key is gone at once"
            await look(b, desk, seconds=60)
            assert alarms(b)[-1].kind is EventKind.ALARM
            blocked.rmdir()
            desk._guardian_has = lambda: 1
            await look(b, desk, seconds=120)
            assert keys.version == 1
            await look(b, desk, seconds=60)
            assert [told.kind for told in alarms(b)] == [EventKind.ALARM, EventKind.ALARM_CLEARED]

    async def test_a_guardian_that_lags_gets_it_again_with_growing_waits_and_an_alarm_stands(
        self, tmp_path: Path
    ) -> None:
        async with life(tmp_path) as b:
            desk = with_keys(b, trusted(tmp_path / "keys"))
            desk._guardian_has = lambda: 0
            await look(b, desk, seconds=60)
            assert (b.said(ipc.Keys), alarms(b)) == ([], []), "both have the file"
            signed = update(4, BASE)
            await desk.take(signed)
            await look(b, desk, seconds=25)
            assert len(b.said(ipc.Keys)) == 2
            assert alarms(b) == [], "the guardian may just be about to say so"
            await look(b, desk, seconds=10 * 3600)
            times = len(b.said(ipc.Keys))
            assert 10 < times < 25, "hours later once an hour"
            (alarm,) = alarms(b)
            assert (alarm.severity, alarm.data) == (Severity.HIGH, {"version": 4, "guardian": 0})
            desk._guardian_has = lambda: 4
            await look(b, desk, seconds=60)
            assert len(b.said(ipc.Keys)) == times
            assert [told.kind for told in alarms(b)] == [EventKind.ALARM, EventKind.ALARM_CLEARED]

    async def test_the_alarm_ends_in_the_next_life_of_the_agent_too(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            keys = trusted(tmp_path / "keys")
            first = with_keys(b, keys)
            await first.take(update(4, BASE))
            first._guardian_has = lambda: 0
            await look(b, first, seconds=60)
            again = with_keys(b, keys)
            again._guardian_has = lambda: 4
            await look(b, again, seconds=60)
            assert [told.kind for told in alarms(b)] == [EventKind.ALARM, EventKind.ALARM_CLEARED]

    async def test_what_a_guardian_has_that_is_away_is_unknown_and_not_behind(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            desk = with_keys(b, trusted(tmp_path / "keys"))
            await desk.take(update(4, BASE))
            await look(b, desk, seconds=3600)
            assert len(b.said(ipc.Keys)) == 1
            assert alarms(b) == []


async def look(b: AgentBench, desk: KeyDesk, *, seconds: float) -> None:
    """What the desk's loop does in this time."""
    for _ in range(round(seconds / LOOK_S)):
        b.clock.advance(LOOK_S)
        await desk.look()


def alarms(b: AgentBench) -> list[Event]:
    return [event for event in b.events() if event.key == ALARM_KEY]


NEW_ASSIGNMENT = SigningKey.generate("assignment-2")


class TestPapersThatComeBeforeTheirKeys:
    """The broker hands out what it retains in any order, and a clock may be wrong when a gateway starts."""

    def signed(self, key: SigningKey = NEW_ASSIGNMENT, *, counter: int = 5) -> Signed:
        given = Assignment(
            site=SITE,
            counter=counter,
            issued_ms=T0,
            expires_ms=T0 + 365 * 86_400_000,
            stage=Stage.ACTIVE,
            manifest=bless(V1, KEYS.release),
        )
        return assign(given, key)

    async def refused(self, b: AgentBench, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while b.keeper.refused.get("papers", 0) < times:
                await asyncio.sleep(0.01)

    async def asked(self, b: AgentBench) -> None:
        """The offer is worked on: its file is asked for."""
        async with asyncio.timeout(30):
            while not b.asked:
                await asyncio.sleep(0.01)

    async def test_an_assignment_is_taken_up_when_its_keyring_comes(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            desk = with_keys(b, trusted(tmp_path / "keys"))
            await b.keeper.offer(self.signed())
            await self.refused(b)
            await b.keeper.offer(self.signed())
            assert b.keeper._offer is None, "the same papers again say nothing new"
            await desk.take(update(1, (*BASE, entry(NEW_ASSIGNMENT, Role.ASSIGNMENT))))
            await self.asked(b)
            assert b.keeper.refused == {"papers": 1}

    async def test_also_after_a_restart_in_between(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            with_keys(b, trusted(tmp_path / "keys"))
            await b.keeper.offer(self.signed())
            await self.refused(b)
        async with life(tmp_path, before=b) as again:
            desk = with_keys(again, trusted(tmp_path / "keys"))
            await again.keeper.offer(self.signed())  # retained
            await self.refused(again)
            told = [e.id for e in again.events() if e.data.get("state") == "refused"]
            assert len(set(told)) == 1, "told again as the same event"
            await desk.take(update(1, (*BASE, entry(NEW_ASSIGNMENT, Role.ASSIGNMENT))))
            await self.asked(again)

    async def test_papers_that_a_wrong_clock_called_expired_count_when_it_is_right(
        self, tmp_path: Path
    ) -> None:
        async with life(tmp_path) as b:
            with_keys(b, trusted(tmp_path / "keys"))
            years = 10 * 365 * 86_400_000
            b.clock.step_wall(years)
            await b.keeper.offer(self.signed(KEYS.assignment))
            await self.refused(b)
            b.clock.step_wall(-years)
            await b.keeper.recheck()  # or the keeper's next look, seconds later
            await self.asked(b)

    async def test_a_forged_copy_does_not_stand_for_the_true_one(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            with_keys(b, trusted(tmp_path / "keys"))
            true = self.signed(KEYS.assignment)
            forged = msgspec.structs.replace(
                true,
                signatures=tuple(
                    msgspec.structs.replace(signature, value=bytes(64)) for signature in true.signatures
                ),
            )
            await b.keeper.offer(forged)
            await self.refused(b)
            await b.keeper.offer(true)
            await self.asked(b)

    async def test_what_waits_does_not_take_the_place_of_a_newer_offer(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            desk = with_keys(b, trusted(tmp_path / "keys"))
            await b.steps(4)
            await b.keeper.offer(self.signed(counter=1))
            await self.refused(b)
            await place(b, make_assignment(V1, counter=2), DATA)
            await desk.take(update(1, (*BASE, entry(NEW_ASSIGNMENT, Role.ASSIGNMENT))))
            await b.steps(1)
            assert b.keeper._intake.ripe() is None, "its counter is a replay by now"
            assert running(b) == (None, 1)


@pytest.mark.slow
async def test_from_the_broker_to_the_guardian_and_again_to_one_that_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, status_port=free_port()) as w:
        keys = trusted(tmp_path)
        agent = Agent(w.site, clock=w.clock, transport=w.broker, keyring=keys)
        await agent.open()
        stop = asyncio.Event()
        task = asyncio.create_task(agent.run(stop))
        try:
            await w.guardian.hear(ipc.SamplesSince)
            signed = update(1, WITHOUT_RELEASE)
            w.broker.deliver(topics.keyring(SITE), codec.encode(signed), retain=True)
            assert await w.guardian.hear(ipc.Keys) == [ipc.Keys(signed=signed)]
            assert keys.version == 1
            w.guardian.drop_links()
            assert await w.guardian.hear(ipc.Keys, count=2) == [ipc.Keys(signed=signed)] * 2
            await w.until(lambda: any(event.key == "keyring" for event in w.cloud.events))
            said = msgspec.structs.replace(w.guardian.status(), keyring=0)
            monkeypatch.setattr(w.guardian, "status", lambda: said)
            await w.guardian.say(said)
            desk = agent.keys
            assert desk in agent.services
            await w.until(lambda: desk is not None and desk._guardian_has() == 0)
        finally:
            stop.set()
            await task


PEER = Peer(pid=1, uid=os.getuid(), gid=os.getgid())
GUARDIANS = tuple(entry(key, role) for role, key in GUARDIAN_KEYS.items())
ALL = (entry(ROOT, Role.ROOT), *GUARDIANS)


def without(role: Role) -> tuple[PublicKeyEntry, ...]:
    """The guardian's keys but those of one role."""
    return tuple(key for key in ALL if key.role is not role)


class TestGuardian:
    def bench(self, folder: Path) -> GuardianBench:
        site = make_guardian_site(folder)
        (folder / "keyring.toml").write_text(Keyring.dump(ALL))
        return GuardianBench(site)

    async def hand(self, bench: GuardianBench, signed: Signed) -> None:
        bench.guardian.handle(ipc.Keys(signed=signed), PEER)
        await bench.drain()

    async def order(self, bench: GuardianBench, number: int) -> ipc.Result:
        signed = signed_order(SafeStopOrder(), bench.clock, counter=number, command=f"c-{number}")
        bench.guardian.handle(ipc.Order(signed=signed), PEER)
        await bench.drain()
        await bench.run(2.0)
        await bench.drain()
        return next(m for m in reversed(bench.sent) if isinstance(m, ipc.Result) and m.id == f"c-{number}")

    async def test_an_order_of_a_removed_key_is_refused_at_once_and_after_a_restart(
        self, tmp_path: Path
    ) -> None:
        bench = await self.bench(tmp_path).start()
        await self.hand(bench, update(1, without(Role.COMMAND)))
        refused = await self.order(bench, 1)
        assert refused.command_state is CommandState.REFUSED
        assert bench.mode is Mode.LOCAL_AUTO, "nothing was done"
        await bench.close()
        again = await self.bench(tmp_path).start()
        assert (await self.order(again, 2)).command_state is CommandState.REFUSED
        await self.hand(again, update(2, ALL))
        await self.order(again, 3)
        assert again.mode is Mode.SAFE, "with the key back the same order counts"
        await again.close()

    async def test_an_agent_cannot_make_the_guardian_trust_other_keys(self, tmp_path: Path) -> None:
        """The agent may be taken over whole: it still has no root key."""
        bench = await self.bench(tmp_path).start()
        stranger = SigningKey.generate("root-1")
        for bad in (
            update(1, without(Role.COMMAND), stranger),
            update(1, without(Role.COMMAND), GUARDIAN_KEYS[Role.COMMAND]),
            update(1, (entry(stranger, Role.ROOT), *GUARDIANS), stranger),
        ):
            await self.hand(bench, bad)
        assert bench.guardian.keys.version == 0
        await self.hand(bench, update(5, ALL))
        await self.hand(bench, update(4, without(Role.COMMAND)))
        assert bench.guardian.keys.version == 5, "and an older keyring never comes back"
        await self.order(bench, 1)
        assert bench.mode is Mode.SAFE
        await bench.close()

    async def test_a_disk_that_refuses_leaves_no_stolen_key_alive_and_takes_the_new_ones_later(
        self, tmp_path: Path
    ) -> None:
        bench = await self.bench(tmp_path).start()
        keys = bench.guardian.keys
        blocked = keys._path.with_name("keyring.bin.new")
        blocked.mkdir()
        late = KeyringUpdate(
            version=1,
            issued_ms=0,
            expires_ms=bench.clock.utc_ms() + 1000,
            keys=(*without(Role.COMMAND), entry(NEW_RELEASE, Role.RELEASE)),
        )
        signed = sign_update(late, ROOT)
        await self.hand(bench, signed)
        assert bench.guardian.status().keyring == 0, "so the agent knows that it must come again"
        assert (await self.order(bench, 1)).command_state is CommandState.REFUSED
        blocked.rmdir()
        await bench.run(5.0)
        await self.hand(bench, signed)
        told = [message.keyring for message in bench.sent if isinstance(message, ipc.Status)]
        assert told[-1] == 1, "said at once, not at the next tick"
        assert keys.entry(NEW_RELEASE.key_id) is not None
        await bench.close()

    async def test_a_model_loses_its_say_with_the_key_that_blessed_it(self, tmp_path: Path) -> None:
        bench = await self.bench(tmp_path).start()
        assignment = Assignment(
            site=GUARDIAN_SITE,
            counter=1,
            issued_ms=0,
            expires_ms=2**53,
            stage=Stage.ACTIVE,
            manifest=bless(msgspec.structs.replace(V1, expires_ms=2**53), GUARDIAN_KEYS[Role.RELEASE]),
        )
        signed = assign(assignment, GUARDIAN_KEYS[Role.ASSIGNMENT])
        bench.guardian.handle(ipc.Assign(signed=signed, swapped=True), PEER)
        await bench.drain()
        assert bench.guardian.assignments.claim is ModelClaim.ACTIVE
        await self.hand(bench, update(1, without(Role.COMMAND)))
        assert bench.guardian.assignments.claim is ModelClaim.ACTIVE, "its own keys still count"
        await self.hand(bench, update(2, without(Role.RELEASE)))
        assert bench.guardian.assignments.claim is ModelClaim.NONE
        bench.guardian.handle(ipc.Assign(signed=signed, swapped=True), PEER)
        await bench.drain()
        assert bench.guardian.assignments.claim is ModelClaim.NONE
        await bench.close()


KILLED = """
import os, signal, sys
from pathlib import Path
folder, at = Path(sys.argv[1]), int(sys.argv[2])
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.signing import Signed
import msgspec
keys = TrustedKeys(folder / "keyring.toml", folder / "keyring.bin", "testsite")
signed = msgspec.msgpack.decode((folder / "update.bin").read_bytes(), type=Signed)
left = at
def before(function):
    def stepped(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return stepped
for owner, name in ((os, "open"), (os, "fsync"), (Path, "replace"), (os, "close")):
    setattr(owner, name, before(getattr(owner, name)))
keys.take(signed, now_ms=0)
"""


@pytest.mark.slow
def test_f24_killed_at_every_step_of_a_rotation_one_whole_keyring_counts(tmp_path: Path) -> None:
    first, second = update(1, BASE), update(2, WITHOUT_RELEASE)
    for step in range(1, 20):
        keys = trusted(tmp_path / str(step))
        keys.take(first, now_ms=0)
        (tmp_path / str(step) / "update.bin").write_bytes(msgspec.msgpack.encode(second))
        command = [sys.executable, "-c", KILLED, str(tmp_path / str(step)), str(step)]
        ended = subprocess.run(command, cwd=REPO, env=os.environ | {"PYTHONPATH": str(REPO)}, check=False)
        found = trusted(tmp_path / str(step))
        assert found.version in (1, 2)
        assert not found.damaged
        assert found.newest == (first if found.version == 1 else second)
        found.take(second, now_ms=0)  # delivered again
        assert trusted(tmp_path / str(step)).version == 2
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
    assert ended.returncode == 0
    assert step > 5
