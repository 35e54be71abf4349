"""The local page: what it shows, and who may ask the agent for something."""

import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from edge_agent import ipc
from edge_agent.agent.local_api.server import TOKEN_HEADER, LocalApi
from edge_agent.agent.local_api.status import StatusSource
from edge_agent.agent.uplink.downlink import Downlink
from edge_agent.agent.uplink.memory import MemoryBroker
from edge_agent.agent.uplink.uplink import Uplink
from shared.alarms import Event, EventKind, Severity
from shared.ids import CommandId
from shared.wire.envelope import Birth
from support.agent import SITE, T0, ZONE, make_assignment, make_manifest, small_spec, tiny_onnx
from support.agent_bench import AgentBench, agent_bench


class Page:
    """The server over a bench, with a client on loopback."""

    def __init__(self, b: AgentBench, folder: Path) -> None:
        self.bench = b
        self.stops: list[ipc.SafeStop] = []
        self.guardian_there = True
        downlink = Downlink(
            SITE,
            b.clock,
            b.view,
            order=b.send,
            tell=b.told.append,
            model=b.keeper.offer,
            chunk=b.keeper.chunk,
        )
        uplink = Uplink(
            b.clock,
            site=SITE,
            boot="boot-a",
            transport=MemoryBroker(),
            records=b.records,
            view=b.view,
            downlink=downlink,
            birth=self._birth,
        )
        self.uplink = uplink
        self.source = StatusSource(
            b.clock,
            "boot-a",
            view=b.view,
            records=b.records,
            keeper=b.keeper,
            cycle=b.cycle,
            uplink=uplink,
            services=[b.pipeline, b.cycle],
        )
        self.folder = folder
        self.api = LocalApi(
            b.clock,
            0,
            self.source,
            state=folder,
            safe_stop=self._stop,
            rollback=b.keeper.rollback,
            pin=b.keeper.pin,
            unpin=b.keeper.unpin,
            site=str(SITE),
            zones=frozenset({ZONE}),
        )

    def _birth(self) -> Birth:
        raise AssertionError("the uplink does not run here")

    async def _stop(self, message: ipc.SafeStop) -> bool:
        if self.guardian_there:
            self.stops.append(message)
        return self.guardian_there


@asynccontextmanager
async def page(folder: Path) -> AsyncIterator[tuple[Page, TestClient]]:
    async with agent_bench(folder) as b:
        found = Page(b, folder)
        async with TestClient(TestServer(found.api.application())) as client:
            yield found, client


async def test_status_tells_rows_model_and_zones(tmp_path: Path) -> None:
    async with page(tmp_path) as (p, client):
        await p.bench.steps(4)
        status = await (await client.get("/status.json")).json()
        assert status["boot"] == "boot-a"
        assert status["epoch"] == p.bench.store.epoch
        assert status["outbox"]["streams"]["rollup"]["recorded_rows"] == 12
        assert status["outbox"]["streams"]["rollup"]["pending"] == 3
        assert status["all_epochs"] == {"rollup": 12}
        assert status["uplink"]["connected"] is False
        assert status["model"] == {
            "active": None,
            "candidate": None,
            "shadow": {"cycles": 0, "agreement": None, "alarms": 0, "scored": 0},
            "pinned": None,
            "confirmed": None,
            "refused": {},
            "figures": {},
        }
        assert status["zones"][ZONE]["mode"] == "ml-shadow"
        assert status["data_age"]["miner"]["silent"] == 0
        assert status["data_age"]["drive"] == {"devices": 1, "silent": 1, "oldest_s": None, "newest_s": None}
        assert status["journal"] == {"cursor": 0}
        assert status["inference"]["policy_cycles"] == 4


async def test_why_the_cloud_is_not_reached_is_in_the_status_and_on_the_page(tmp_path: Path) -> None:
    async with page(tmp_path) as (p, client):
        assert (await (await client.get("/status.json")).json())["uplink"]["why"] == ""
        p.uplink.why = "the broker refused a message: <Not authorized>"
        assert (await (await client.get("/status.json")).json())["uplink"]["why"] == p.uplink.why
        assert "refused a message: &lt;Not authorized&gt;" in await (await client.get("/")).text()


async def test_the_page_shows_the_same_to_people(tmp_path: Path) -> None:
    async with page(tmp_path) as (p, client):
        await p.bench.steps(2)
        trip = ipc.TripInfo(
            id="t",
            zone=ZONE,
            interlock="cooling-lost",
            at_ms=T0,
            first_out="fan speed_pct is 0, must be above 20",
            cause_present=True,
        )
        zone = ipc.ZoneStatus(mode=ipc.Mode.TRIPPED, cooling_proven=False, trips=(trip,))
        p.bench.view.status = ipc.Status(zones={ZONE: zone}, lease_left_s=1, journal_head=0)
        text = await (await client.get("/")).text()
        for words in (
            "tripped",
            "cooling-lost",
            "must be above 20",
            "4 × miner",
            "runs on rules",
            "Safe stop",
        ):
            assert words in text
        p.bench.pipeline.on_close()
        assert "state of the site is unknown" in await (await client.get("/")).text()


NASTY = "<script>alert(1)</script>"


def busy_site() -> ipc.Status:
    """A zone that was stopped by hand, on battery, at its cap, under a curtailment and with a bypass."""
    zone = ipc.ZoneStatus(
        mode=ipc.Mode.SAFE,
        cooling_proven=True,
        why="stopped by a safe-stop; stands until a person hands it back",
        bypassed={"inlet_air_c": 599},
        bypass_asked={"water_c": f"asked by {NASTY}: turn the key switch"},
    )
    order = ipc.StandingOrder(
        id=CommandId("c-1"),
        state=ipc.StandingState.HOLDING,
        words=f"down to 100 kW {NASTY}",
        actor="desk",
        end_ms=T0,
        target_w=100_000.0,
    )
    return ipc.Status(
        zones={ZONE: zone},
        lease_left_s=1,
        journal_head=0,
        on_battery=True,
        battery_left_s=610.0,
        caps={
            "feeder": ipc.CapStatus(value=960.0, level="warn", limit=950.0, unit="kW"),
            "blind": ipc.CapStatus(value=None, level="unknown", limit=1.0, unit="A"),
        },
        orders=(
            order,
            msgspec.structs.replace(order, id=CommandId("c-0"), state=ipc.StandingState.ENDED),
        ),
    )


async def test_the_page_shows_orders_battery_bypass_and_caps(tmp_path: Path) -> None:
    async with page(tmp_path) as (p, client):
        await p.bench.steps(2)
        assert "<h2>Power</h2>" not in await (await client.get("/")).text(), "nothing to show"
        p.bench.view.status = busy_site()
        text = await (await client.get("/")).text()
        for words in (
            "stands until a person hands it back",
            "BYPASSED</span> inlet_air_c, 10 min left at most",
            "Bypass of water_c: asked by",
            "ON BATTERY</span> 10 min left",
            'warn">warn</span> 960 kW, nothing is raised beyond 950 kW',
            'warn">unknown</span> unknown, nothing is raised beyond 1 A',
            "holding</span> down to 100 kW",
            "target 100.0 kW, meter unknown",
        ):
            assert words in text, words
        assert "c-0" not in text, "an order that ended stands no more"
        assert NASTY not in text
        told = await (await client.get("/status.json")).json()
        assert told["power"]["on_battery"] is True
        p.bench.pipeline.on_close()
        text = await (await client.get("/")).text()
        assert "ON BATTERY" not in text, "the guardian's last word is no present state"


async def test_text_from_outside_is_never_markup(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    async with page(tmp_path) as (p, client):
        event = Event(
            id="x", kind=EventKind.SYSTEM, severity=Severity.LOW, key="k", at_ms=T0, title=nasty, advice=nasty
        )
        p.bench.view.events.append(event)
        answer = await client.get("/")
        text = await answer.text()
        assert nasty not in text
        assert text.count("&lt;script&gt;") == 2
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_liveness_follows_the_loops(tmp_path: Path) -> None:
    async with page(tmp_path) as (p, client):
        assert (await client.get("/health/live")).status == 200
        p.bench.clock.advance(p.bench.cycle.stall_s + 1)
        assert (await client.get("/health/live")).status == 503


class TestSafeStop:
    async def token(self, client: TestClient) -> str:
        text = await (await client.get("/safe-stop")).text()
        return re.findall(r'name=token value="([^"]+)"', text)[0]

    async def test_a_confirmed_form_reaches_the_guardian(self, tmp_path: Path) -> None:
        async with page(tmp_path) as (p, client):
            form = {"token": await self.token(client), "confirm": "stop"}
            assert (await client.post("/safe-stop", data=form | {"zone": ZONE})).status == 200
            assert (await client.post("/safe-stop", data=form | {"zone": ""})).status == 200
            assert [stop.zone for stop in p.stops] == [ZONE, None]

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"token": "guessed"}, 403),
            ({"token": ""}, 403),
            ({"confirm": ""}, 400),
            ({"zone": "no-such-zone"}, 400),
        ],
    )
    async def test_anything_less_stops_nothing(
        self, tmp_path: Path, change: dict[str, str], status: int
    ) -> None:
        async with page(tmp_path) as (p, client):
            form = {"token": await self.token(client), "confirm": "stop"} | change
            assert (await client.post("/safe-stop", data=form)).status == status
            assert not p.stops

    async def test_without_a_guardian_it_says_what_else_to_do(self, tmp_path: Path) -> None:
        async with page(tmp_path) as (p, client):
            p.guardian_there = False
            form = {"token": await self.token(client), "confirm": "stop"}
            answer = await client.post("/safe-stop", data=form)
            assert answer.status == 503
            assert "breaker" in await answer.text()


async def test_a_foreign_host_name_is_refused(tmp_path: Path) -> None:
    """A page elsewhere whose name was pointed at 127.0.0.1 must not read or post here."""
    async with page(tmp_path) as (_, client):
        for path in ("/", "/status.json", "/safe-stop"):
            assert (await client.get(path, headers={"Host": "evil.example:80"})).status == 403
        assert (await client.get("/status.json", headers={"Host": "localhost:9999"})).status == 200


async def test_rollback_needs_the_file_that_only_the_operator_can_read(tmp_path: Path) -> None:
    spec = small_spec()
    data = tiny_onnx(spec)
    manifest = make_manifest(data, spec)
    async with page(tmp_path) as (p, client):
        p.api._write_token()
        file = tmp_path / "local-token"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        token = {TOKEN_HEADER: file.read_text()}
        assert (await client.post("/model/rollback")).status == 403
        assert (await client.post("/model/rollback", headers={TOKEN_HEADER: "guess"})).status == 403
        assert (await client.post("/model/rollback", headers=token)).status == 409
        p.bench.slots.arriving = manifest.sha256
        p.bench.slots.put(data, manifest.sha256, make_assignment(manifest))
        p.bench.keeper.engine.active = await p.bench.keeper._moves.load(manifest.sha256)
        assert (await client.post("/model/rollback", headers=token)).status == 200
        assert p.bench.keeper.engine.active is None
