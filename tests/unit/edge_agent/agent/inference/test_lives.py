"""A model that ends the agent only after many good cycles: found by the hours in which it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.agent.inference import lives
from edge_agent.agent.inference.lives import APART_S, MAX_HOURS, WINDOW_S, Death, Life
from edge_agent.agent.inference.memory import FILE, Memory, MemoryFile
from edge_agent.agent.inference.slots import SlotMap
from shared.artifacts.manifest import Stage
from shared.clock import ManualClock
from support.agent import make_assignment
from support.agent_bench import AgentBench
from support.model_bench import (
    DATA,
    DATA2,
    V1,
    V2,
    give,
    killed_life,
    life,
    place,
    running,
    two_versions,
    why_back,
)

HOUR_S = 3_600.0


def later(b: AgentBench, hours: float) -> None:
    """Time passes for the site and its clocks; nothing is polled meanwhile."""
    b.ring, b.next_seq = [], b.next_seq + 1_000
    b.next_ms += round(hours * 3_600_000)
    b.clock.advance(hours * HOUR_S)


@asynccontextmanager
async def good_life(folder: Path, b: AgentBench, *, hours: float) -> AsyncIterator[AgentBench]:
    """It scores well for more cycles than are asked of it, goes on for hours, and ends without a word."""
    async with killed_life(folder, before=b) as b:
        await b.steps(4)
        assert b.keeper.memory.starts == 0, "it looks healthy"
        yield b
        later(b, hours)


async def killed(folder: Path, b: AgentBench, times: int, *, hours: float) -> tuple[AgentBench, list[object]]:
    """So many good lives, each ended by force; and what ran in each."""
    found: list[object] = []
    for _ in range(times):
        async with good_life(folder, b, hours=hours) as b:
            found.append(running(b))
    return b, found


async def v1_acts(b: AgentBench) -> None:
    await b.steps(4)
    await place(b, make_assignment(V1, counter=1), DATA)
    await b.steps(8)
    assert running(b) == (1, None)


class TestTheModelThatKillsAfterHours:
    async def test_it_goes_back_after_the_fifth_time_and_the_event_says_why(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await two_versions(b)
            await b.steps(4)
        b, found = await killed(tmp_path, b, MAX_HOURS, hours=3)
        assert found == [(2, None)] * MAX_HOURS
        async with killed_life(tmp_path, before=b) as b:
            assert running(b) == (1, None)
            assert b.slots.current() == SlotMap(active=V1.sha256)
            why = why_back(b)
            assert (why["version"], why["state"], why["reason"]) == (2, "rolled-back", "crash")
            assert str(why["why"]).startswith(
                "with this model the agent ended 5 times in 5 different hours since 2026-"
            )
            assert str(why["why"]).endswith("neither a stop nor a restart of the gateway explains it")
            assert b.keeper.memory.deaths == (), "what is gone is not counted for any more"
        b, found = await killed(tmp_path, b, 2, hours=3)
        assert found == [(1, None)] * 2, "and the one before is not blamed for it"

    async def test_it_goes_to_none_where_nothing_was_before_it(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await v1_acts(b)
        b, _ = await killed(tmp_path, b, MAX_HOURS, hours=24)
        async with killed_life(tmp_path, before=b) as b:
            assert running(b) == (None, None)
            assert b.slots.current() == SlotMap()
            assert why_back(b)["reason"] == "crash"
            await b.keeper.offer(make_assignment(V1, counter=1))
            assert b.keeper._offer is None, "what the broker retains does not bring it back"

    async def test_a_candidate_goes_first_and_takes_its_ends_with_it(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await v1_acts(b)
        b, _ = await killed(tmp_path, b, MAX_HOURS - 1, hours=3)
        retained = make_assignment(V2, counter=2, stage=Stage.SHADOW)
        async with life(tmp_path, before=b) as b:
            await place(b, retained, DATA2)
        b, found = await killed(tmp_path, b, MAX_HOURS, hours=3)
        assert found == [(1, 2)] * MAX_HOURS, "four ends of the active one alone are not the candidate's"
        async with life(tmp_path, before=b) as b:
            assert running(b) == (1, None), "five ends of the candidate are not the active one's"
            refused = next(e for e in reversed(b.events()) if e.data.get("state") == "refused")
            assert (refused.data["version"], refused.data["reason"]) == (2, "crash")
            assert [d.sha256 for d in b.keeper.memory.deaths] == [V1.sha256] * (MAX_HOURS - 1)
            await give(b, make_assignment(V2, counter=3, stage=Stage.SHADOW), DATA2)
            assert running(b) == (1, 2), "a new assignment is a person's word, and begins anew"

    async def test_the_active_one_goes_where_it_goes_on_without_the_candidate(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await v1_acts(b)
            await place(b, make_assignment(V2, counter=2, stage=Stage.SHADOW), DATA2)
        b, found = await killed(tmp_path, b, 2 * MAX_HOURS + 1, hours=3)
        assert found == [(1, 2)] * MAX_HOURS + [(1, None)] * MAX_HOURS + [(None, None)]

    async def test_a_wall_clock_that_jumps_neither_hides_nor_adds_an_end(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await v1_acts(b)
        for days in (-20, 20, 8, -8):
            b, found = await killed(tmp_path, b, 1, hours=3)
            assert found == [(1, None)]
            b.clock.step_wall(days * 86_400_000)
        assert len(MemoryFile(b.slots.folder).now.deaths) == 3, "the fourth is found by the life after it"
        b, found = await killed(tmp_path, b, 2, hours=3)
        assert found == [(1, None), (None, None)]


class TestWhatIsNotHeldAgainstAModel:
    async def test_clean_stops(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await v1_acts(b)
        for _ in range(2 * MAX_HOURS):
            async with life(tmp_path, before=b) as b:
                await b.steps(1)
                later(b, 3)
        async with life(tmp_path, before=b) as b:
            assert running(b) == (1, None)
            assert b.keeper.memory.deaths == ()

    async def test_power_cuts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with life(tmp_path) as b:
            await v1_acts(b)
        for boot in range(2 * MAX_HOURS):
            monkeypatch.setattr(lives, "boot_id", lambda boot=boot: f"boot{boot}")
            b, found = await killed(tmp_path, b, 1, hours=3)
            assert found == [(1, None)]
        assert MemoryFile(b.slots.folder).now.deaths == ()

    async def test_many_kills_within_an_hour(self, tmp_path: Path) -> None:
        """As a test, a script or a full machine does it: 20 in the bench, a hundred below."""
        async with life(tmp_path) as b:
            await v1_acts(b)
        b, found = await killed(tmp_path, b, 20, hours=0.04)
        assert found == [(1, None)] * 20
        (death,) = MemoryFile(b.slots.folder).now.deaths
        assert death.times == 19, "not forgotten: counted as one hour"

    def test_a_chaos_run_of_an_hour_with_a_hundred_kills(self) -> None:
        deaths: tuple[Death, ...] = ()
        for n in range(100):
            deaths = lives.with_death(deaths, "a", at(ran_s=36.0 * n))
        assert [death.times for death in deaths] == [100]
        assert lives.verdict(deaths, "a") == ""

    async def test_ends_without_any_model(self, tmp_path: Path) -> None:
        async with life(tmp_path) as b:
            await b.steps(2)
        for _ in range(2 * MAX_HOURS):
            async with killed_life(tmp_path, before=b) as b:
                await b.steps(1)
            later(b, 3)
        assert not (b.slots.folder / FILE).exists(), "nothing is written for it either"
        async with life(tmp_path, before=b) as b:
            await v1_acts(b)
            assert b.keeper.memory.deaths == ()


def at(*, ran_s: float) -> Life:
    return Life(boot="b", at_ms=1_780_000_000_000 + round(ran_s * 1000), monotonic_s=ran_s, ran_s=ran_s)


class TestCounting:
    def test_five_ends_within_seven_days_of_site_time(self) -> None:
        def after(apart_s: float) -> str:
            deaths: tuple[Death, ...] = ()
            for n in range(MAX_HOURS):
                deaths = lives.with_death(deaths, "a", at(ran_s=n * apart_s))
            return lives.verdict(deaths, "a")

        assert after(APART_S)
        assert after(WINDOW_S / (MAX_HOURS - 1))
        assert not after(WINDOW_S / (MAX_HOURS - 1) + 1)
        assert not after(APART_S - 1), "so many within one hour and the next are two"

    def test_each_version_has_its_own_and_the_list_is_bounded(self) -> None:
        deaths: tuple[Death, ...] = ()
        for n in range(200):
            deaths = lives.with_death(deaths, f"v{n}", at(ran_s=n * 10.0))
        assert len(deaths) <= 32
        assert deaths[-1].sha256 == "v199"
        assert not lives.without(deaths[-1:], "v199")


class TestBoots:
    """Which end came with the gateway's own."""

    def test_the_units_word_comes_first_and_the_kernels_where_it_is_silent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kernel = tmp_path / "boot_id"
        monkeypatch.setattr(lives, "_KERNEL", kernel)
        monkeypatch.delenv("MINEWARDEN_BOOT_ID", raising=False)
        assert lives.boot_id() == "", "the sandbox hides it"
        kernel.write_text("0a1b-2c\n")
        assert lives.boot_id() == "0a1b2c"
        monkeypatch.setenv("MINEWARDEN_BOOT_ID", "ff00")
        assert lives.boot_id() == "ff00"

    @pytest.mark.parametrize("named", ["b1", ""])
    def test_the_same_boot_counts(self, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
        before, now = self._two_lives(monkeypatch, (named, named), uptimes_s=(100, 10_900), passed_s=10_800)
        assert lives.ended_uncleanly(before, now)
        assert now.ran_s == before.ran_s + 10_800

    @pytest.mark.parametrize(
        ("boots", "uptimes_s"),
        [
            (("b1", "b2"), (100, 10_900)),
            (("", ""), (100, 200)),
            (("", ""), (100, 40)),
            (("b1", "b1"), (100, 40)),
        ],
    )
    def test_another_boot_does_not(
        self, boots: tuple[str, str], uptimes_s: tuple[float, float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, now = self._two_lives(monkeypatch, boots, uptimes_s=uptimes_s, passed_s=10_800)
        assert not lives.ended_uncleanly(before, now)
        assert now.ran_s == before.ran_s, "how long it was off is unknown"

    def test_where_nobody_names_the_boot_a_stepped_clock_is_taken_for_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In favour of the model: one end is not counted."""
        before, now = self._two_lives(monkeypatch, ("", ""), uptimes_s=(100, 10_900), passed_s=86_400)
        assert not lives.ended_uncleanly(before, now)

    @staticmethod
    def _two_lives(
        monkeypatch: pytest.MonkeyPatch,
        boots: tuple[str, str],
        *,
        uptimes_s: tuple[float, float],
        passed_s: float,
    ) -> tuple[Life, Life]:
        """One life and the next, by the uptime at each beginning and the wall time between them."""
        monkeypatch.setattr(lives, "boot_id", lambda: boots[0])
        first = lives.begin(None, ManualClock(monotonic_s=uptimes_s[0], utc_ms=1_780_000_000_000))
        monkeypatch.setattr(lives, "boot_id", lambda: boots[1])
        utc_ms = 1_780_000_000_000 + round(passed_s * 1000)
        return first, lives.begin(first, ManualClock(monotonic_s=uptimes_s[1], utc_ms=utc_ms))


class TestTheFile:
    @pytest.mark.parametrize("damage", ["garbage", "half", "empty"])
    async def test_a_damaged_one_means_no_ends_are_known_and_that_is_said(
        self, damage: str, tmp_path: Path
    ) -> None:
        async with life(tmp_path) as b:
            await v1_acts(b)
        b, _ = await killed(tmp_path, b, MAX_HOURS, hours=3)
        file = b.slots.folder / FILE
        whole = file.read_bytes()
        file.write_bytes({"garbage": b"\xff" * 200, "half": whole[: len(whole) // 2], "empty": b""}[damage])
        async with life(tmp_path, before=b) as b:
            assert running(b) == (1, None)
            assert b.keeper.memory.deaths == ()
            (told,) = [e for e in b.events() if e.key == "model:memory"]
            assert "unclean ends begin anew" in told.title
            assert told.data["why"]
        async with life(tmp_path, before=b) as b:
            assert len([e for e in b.events() if e.key == "model:memory"]) == 1, "once"

    def test_what_a_cut_write_left_beside_it_is_not_looked_at(self, tmp_path: Path) -> None:
        file = MemoryFile(tmp_path)
        file.change(deaths=(Death(sha256="a", at_ms=1, ran_s=2.0),))
        (tmp_path / f"{FILE}.part").write_bytes(b"half")
        again = MemoryFile(tmp_path)
        assert again.now.deaths == file.now.deaths
        assert again.damage == ""

    def test_one_of_an_older_agent_knows_of_no_ends(self) -> None:
        assert Memory().deaths == ()
        assert not lives.ended_uncleanly(Memory().life, at(ran_s=1.0))
