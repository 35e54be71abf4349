"""One trail per command, whichever way its words come; strangers' words beside it; deeds on site."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.commands import intake, local, repository
from cloud.commands.local import Deed
from cloud.kit.changes import Changes
from edge_agent.guardian.interlocks import asks, findings, zone_findings
from edge_agent.guardian.interlocks.bypass import Asked, Bypass
from edge_agent.guardian.interlocks.inputs import Finding
from edge_agent.guardian.interlocks.modes import Cause
from edge_agent.guardian.interlocks.state import Trip, ZoneState
from edge_agent.ipc import Mode
from shared.alarms import Event, EventKind, Severity
from shared.commands import (
    ActionOutcome,
    CommandState,
    CommandStatus,
    Curtail,
    SignedBy,
    StopMining,
    WriteRecord,
    WriteResult,
)
from shared.ids import CommandId, DeviceId, SiteId, ZoneId
from support.cloud import NOW_MS, SITE, Bench, Service, batch, born, said
from support.commands import Outbound, hear, word

CURTAIL = Curtail(target_w=1e6, deadline_s=600.0, duration_s=3600.0)
BY = SignedBy(
    key="acme-1",
    role="control",
    actor="Acme",
    order=CURTAIL,
    counter=7,
    issued_ms=NOW_MS,
    expires_ms=NOW_MS + 30_000,
)
RECORD = WriteRecord(action=StopMining(device=DeviceId("m-01")), result=WriteResult.APPLIED, detail="stopped")
_seq = iter(range(1, 10_000))


def event(about: str, number: int = 1, /, *, at_ms: int = NOW_MS, title: str = "t", **data: Any) -> Event:
    return Event(
        id=f"j-{number}",
        kind=EventKind.ACTION,
        severity=Severity.LOW,
        key=about,
        at_ms=at_ms,
        title=title,
        data=data,
    )


async def happen(cloud: Service, *events: Event, site: SiteId = SITE) -> None:
    """The site's journal brings these."""
    await cloud.bench.commit(said(batch(list(events), next(_seq)), stream="ev", site=site))


def by_data(by: SignedBy = BY) -> dict[str, Any]:
    """How the guardian's journal tells whose order it was."""
    return {**msgspec.structs.asdict(by), "order": msgspec.json.encode(by.order).decode()}


async def safe_stop(cloud: Service) -> str:
    body = {"site": SITE, "order": {"order": "safe-stop"}, "actor": "ann"}
    return str((await cloud.post("/commands", body, 202))["id"])


def hops(view: Any) -> list[str]:
    return [hop["hop"] for hop in view["trail"]]


class TestTheClouds:
    async def test_the_click_is_noted_with_who_and_from_where(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        body = {"site": SITE, "order": {"order": "safe-stop"}, "actor": "ann"}
        headers = {
            "Authorization": "Bearer test-token-of-at-least-20-characters",
            "X-Forwarded-For": "10.0.0.5",
        }
        reply = await cloud.client.post("/api/v1/commands", json=body, headers=headers)
        view = await cloud.get(f"/commands/{reply.json()['id']}")
        asked = view["trail"][0]
        assert (asked["hop"], asked["actor"], asked["source"]) == ("asked", "ann", "cloud")
        assert asked["address"] == "127.0.0.1, forwarded for 10.0.0.5"

    async def test_the_durable_way_alone_ends_a_command_with_its_writes_in_the_trail(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        command, digest = await safe_stop(cloud), outbound.signed.digest
        await happen(
            cloud,
            event(f"order/{command}", 1, id=command, state="accepted", digest=digest),
            event(f"action/{command}", 2, id=command, result="applied", title="m-01: stop is applied"),
            event(f"order/{command}", 3, id=command, state="done", outcome="applied", digest=digest),
        )
        view = await cloud.get(f"/commands/{command}")
        assert (view["state"], view["outcome"]) == ("done", "applied")
        assert hops(view)[-3:] == ["accepted", "write", "done"]

    async def test_a_word_of_days_ago_is_still_joined(self, cloud: Service, outbound: Outbound) -> None:
        command = await safe_stop(cloud)
        cloud.bench.clock.advance(5 * 86_400)
        done = word(command, CommandState.DONE, NOW_MS + 9, outcome=ActionOutcome.APPLIED, writes=(RECORD,))
        await hear(cloud, done)
        view = await cloud.get(f"/commands/{command}")
        assert (view["state"], len(view["writes"])) == ("done", 1)
        assert view["trail"][-1]["received_ms"] - view["trail"][-1]["at_ms"] > 4 * 86_400_000

    async def test_another_message_under_its_id_changes_nothing_of_it(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        command = await safe_stop(cloud)
        await hear(cloud, word(command, CommandState.REFUSED, NOW_MS, digest="f" * 64))
        await happen(
            cloud, event(f"order/{command}", 1, id=command, state="refused", why="forged", digest="e" * 64)
        )
        view = await cloud.get(f"/commands/{command}")
        assert view["state"] == "sent"
        strange = [hop for hop in view["trail"] if hop["source"] == "unknown"]
        assert len(strange) == 2
        assert all("another message with this id" in hop["detail"] for hop in strange)

    async def test_another_site_cannot_write_into_its_trail(self, cloud: Service, outbound: Outbound) -> None:
        command, south = await safe_stop(cloud), SiteId("south")
        await cloud.bench.commit(born(site=south))
        await happen(cloud, event(f"order/{command}", 1, id=command, state="done", **by_data()), site=south)
        await happen(cloud, event(f"action/{command}", 2, id=command, result="applied"), site=south)
        view = await cloud.get(f"/commands/{command}")
        assert (view["state"], view["site"]) == ("sent", SITE)
        assert {hop["site"] for hop in view["trail"]} == {SITE}

    async def test_the_whole_trail_is_the_same_in_whatever_order_it_comes(self, bench: Bench) -> None:
        """On each engine: status and events shuffled and doubled leave the same rows."""
        await bench.commit(born())
        status = CommandStatus(
            id=CommandId("c-1"),
            state=CommandState.DONE,
            detail="d",
            at_ms=NOW_MS + 3,
            digest="a" * 64,
            outcome=ActionOutcome.APPLIED,
            writes=(RECORD,),
            by=BY,
        )
        told = [
            event("order/c-1", 1, id="c-1", state="accepted", digest="a" * 64, **by_data()),
            event("action/c-1", 2, id="c-1", result="applied"),
            event("order/c-1", 3, id="c-1", state="done", outcome="applied", digest="a" * 64),
        ]
        seen = set()
        for order in ((0, 1, 2, 3), (3, 2, 1, 0), (3, 0, 3, 2, 1, 1)):
            async with bench.database.write() as session:
                for number in order:
                    if number == 3:
                        assert await intake.take(session, SITE, status, Changes(), now_ms=NOW_MS)
                    else:
                        await intake.events(session, SITE, [told[number]], Changes(), now_ms=NOW_MS)
                row = await repository.by_id(session, "c-1")
                assert row is not None
                trail = (await repository.trails(session, ["c-1"]))["c-1"]
                kinds = sorted(hop.hop for hop in trail if hop.hop != "write")
                seen.add((row.state, row.outcome, len(row.writes), row.source, row.actor, tuple(kinds)))
                await session.rollback()
        assert seen == {("done", "applied", 1, "third-party", "Acme", ("accepted", "done", "signed"))}


class TestThirdParties:
    @pytest.mark.parametrize("way", ["up/res", "journal"])
    async def test_a_command_that_this_cloud_never_sent_is_followed(self, cloud: Service, way: str) -> None:
        if way == "up/res":
            await hear(cloud, word("t-1", CommandState.RECEIVED, NOW_MS, digest="a" * 64))
            await hear(cloud, word("t-1", CommandState.ACCEPTED, NOW_MS, digest="a" * 64, by=BY))
        else:
            await happen(
                cloud, event("order/t-1", 1, id="t-1", state="accepted", digest="a" * 64, **by_data())
            )
        view = await cloud.get("/commands/t-1")
        assert (view["source"], view["key"], view["actor"]) == ("third-party", "acme-1", "Acme")
        assert view["order"] == msgspec.to_builtins(CURTAIL)
        assert view["state"] == "accepted"
        assert hops(view) == ["signed", "accepted"]
        assert (await cloud.get("/quarantine"))["items"] == []
        assert [row["id"] for row in (await cloud.get("/commands"))["items"]] == ["t-1"]

    async def test_a_refused_one_is_shown_as_refused(self, cloud: Service) -> None:
        await hear(cloud, word("t-2", CommandState.REFUSED, NOW_MS, digest="a" * 64, by=BY))
        assert (await cloud.get("/commands/t-2"))["state"] == "refused"

    async def test_what_no_key_vouches_for_goes_to_quarantine_and_the_journals_word_to_the_audit(
        self, cloud: Service
    ) -> None:
        await hear(cloud, word("x-1", CommandState.REFUSED, NOW_MS, digest="a" * 64))
        assert len((await cloud.get("/quarantine"))["items"]) == 1
        await happen(
            cloud, event("order/x-1", 1, id="x-1", state="refused", why="signed by nobody", digest="a" * 64)
        )
        [item] = (await cloud.get("/audit?source=unknown"))["items"]
        assert (item["command"], item["hop"], item["detail"]) == ("x-1", "refused", "signed by nobody")
        await cloud.get("/commands/x-1", 404)

    async def test_a_site_cannot_take_the_id_of_anothers_command(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        command, south = await safe_stop(cloud), SiteId("south")
        await cloud.bench.commit(born(site=south))
        await hear(cloud, word(command, CommandState.DONE, NOW_MS, digest="a" * 64, by=BY), south)
        view = await cloud.get(f"/commands/{command}")
        assert (view["site"], view["source"], view["state"]) == (SITE, "cloud", "sent")

    @pytest.mark.parametrize(
        "data",
        [
            {"id": "t-9", "state": "sideways", **by_data()},
            {"id": "t-9", "state": "accepted", **by_data(), "order": "not json"},
            {"id": "t-9", "state": "accepted", **by_data(), "order": '{"order":"format-disk"}'},
            {"id": "t-9", "state": "accepted", **by_data(), "counter": "seven"},
            {"id": "x" * 100, "state": "accepted", **by_data()},
            {"id": 7, "state": "accepted"},
        ],
        ids=repr,
    )
    async def test_a_site_that_tells_nonsense_stops_nothing(
        self, cloud: Service, data: dict[str, Any]
    ) -> None:
        await happen(cloud, event("order/t-9", 1, **data))
        await cloud.get("/commands/t-9", 404)


TRIP = Trip(interlock="cooling-lost", id="t1", at_ms=1, first_out="speed 0", cause_present=False)
ZONE = ZoneId("hall-1")


def _told(finding: Finding) -> Event:
    return Event(
        id="e", kind=finding.kind, severity=finding.severity, key=finding.key, at_ms=1, title=finding.title,
        zone=finding.zone, device=finding.device, data=finding.data,
    )  # fmt: skip


def _bypass(second: str | None) -> Bypass:
    return Bypass(interlock="inlet-air", by="eve", second=second, reason="sensor swap", left_s=600.0)


DEEDS: dict[str, tuple[Finding, Deed | None]] = {
    "stop": (
        asks.safe_stop(ZoneState(), ZONE, by="eve", reason="smoke").found[0],
        Deed(by="eve", reason="smoke"),
    ),
    "stop by a signed order": (
        asks.safe_stop(ZoneState(), ZONE, by="ada (order c-7)", reason="signed order").found[0],
        Deed(by="ada", reason="signed order", command="c-7"),
    ),
    "mode": (
        findings.mode(ZONE, Mode.LOCAL_AUTO, Mode.MANUAL, Cause.OPERATOR_MANUAL, "eve: filters: both sides"),
        Deed(by="eve", reason="filters: both sides"),
    ),
    "mode by itself": (findings.mode(ZONE, Mode.SAFE, Mode.LOCAL_AUTO, Cause.STABLE), None),
    "reset": (findings.cleared(ZONE, TRIP, "eve", "fan mended"), Deed(by="eve", reason="fan mended")),
    "bypass asked": (
        zone_findings.bypass_asked(
            ZONE, Asked(interlock="inlet-air", by="eve", reason="swap", seconds=600.0), has_key=False
        ),
        Deed(by="eve", reason="swap"),
    ),
    "bypass open": (zone_findings.bypass_open(ZONE, _bypass("bob")), Deed(by="eve", reason="sensor swap")),
    "bypass closed": (
        zone_findings.bypass_ended(ZONE, _bypass(None), "closed by eve"),
        Deed(by="eve"),
    ),
    "bypass over": (zone_findings.bypass_ended(ZONE, _bypass(None), "its time is over"), None),
}


class TestLocalDeeds:
    @pytest.mark.parametrize("name", DEEDS)
    def test_the_guardians_own_words_tell_who_did_it(self, name: str) -> None:
        finding, deed = DEEDS[name]
        assert local.deed(_told(finding)) == deed

    @given(title=st.text(max_size=200), key=st.sampled_from(["bypass/x", "mode/x", "power-order/x", "other"]))
    @settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
    def test_any_title_is_read_without_harm(self, title: str, key: str) -> None:
        found = local.deed(event(key, title=title))
        assert found is None or found.by

    async def test_a_local_stop_stands_in_the_audit_under_its_time(self, cloud: Service) -> None:
        finding, _ = DEEDS["stop"]
        await happen(cloud, msgspec.structs.replace(_told(finding), id="d-1", at_ms=NOW_MS - 7_200_000))
        [item] = (await cloud.get("/audit?source=local"))["items"]
        assert (item["actor"], item["hop"], item["command"]) == ("eve", "acted", None)
        assert item["at_ms"] == NOW_MS - 7_200_000
        assert item["data"]["reason"] == "smoke"

    async def test_what_a_signed_order_does_in_a_name_belongs_to_the_order(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        command = await safe_stop(cloud)
        finding = asks.safe_stop(ZoneState(), ZONE, by=f"ann (order {command})", reason="signed order").found[
            0
        ]
        await happen(cloud, msgspec.structs.replace(_told(finding), id="d-1", at_ms=NOW_MS))
        view = await cloud.get(f"/commands/{command}")
        assert ("acted", "ann", "cloud") in [
            (hop["hop"], hop["actor"], hop["source"]) for hop in view["trail"]
        ]
        assert (await cloud.get("/audit?source=local"))["items"] == []

    async def test_a_person_who_names_an_order_that_is_none_stays_local(self, cloud: Service) -> None:
        await happen(cloud, event("safe-stop/hall-1", 1, by="eve (order c-404)", reason="x"))
        [item] = (await cloud.get("/audit?source=local"))["items"]
        assert item["actor"] == "eve (order c-404)"

    async def test_a_power_order_cancelled_on_site_is_in_that_orders_trail(
        self, cloud: Service, outbound: Outbound
    ) -> None:
        command = await safe_stop(cloud)
        title = f"Power order {command} cancelled by eve: the grid is fine"
        await happen(cloud, event(f"power-order/{command}", 1, id=command, title=title))
        view = await cloud.get(f"/commands/{command}")
        assert ("local", "eve") in [(hop["source"], hop["actor"]) for hop in view["trail"]]


class TestAudit:
    @pytest.fixture
    async def filled(self, cloud: Service, outbound: Outbound) -> list[str]:
        made = []
        for number, actor in enumerate(("ann", "bob", "ann")):
            body = {"site": SITE, "order": {"order": "safe-stop"}, "actor": actor}
            made.append(str((await cloud.post("/commands", body, 202))["id"]))
            cloud.bench.clock.advance(10.0 + number)  # none expires meanwhile
        return made

    async def test_it_is_filtered_by_site_time_actor_and_command(
        self, cloud: Service, filled: list[str]
    ) -> None:
        async def found(query: str) -> set[str]:
            return {item["command"] for item in (await cloud.get(f"/audit?{query}"))["items"]}

        assert await found("actor=ann") == {filled[0], filled[2]}
        assert await found(f"command={filled[1]}") == {filled[1]}
        assert await found("site=nowhere") == set()
        assert await found(f"from_ms={NOW_MS + 5_000}&to_ms={NOW_MS + 15_000}") == {filled[1]}
        assert await found("source=third-party") == set()

    async def test_pages_follow_on_without_gap_or_repeat(self, cloud: Service, filled: list[str]) -> None:
        whole = (await cloud.get("/audit?limit=500"))["items"]
        pages: list[Any] = []
        cursor = ""
        while True:
            page = await cloud.get(f"/audit?limit=2{cursor}")
            pages += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert pages == whole
        assert [item["at_ms"] for item in whole] == sorted((item["at_ms"] for item in whole), reverse=True)

    @pytest.mark.parametrize(
        "query", ["cursor=nonsense", "limit=0", "limit=501", "source=king", "from_ms=-1"]
    )
    async def test_bad_queries(self, cloud: Service, query: str) -> None:
        await cloud.get(f"/audit?{query}", 422)
