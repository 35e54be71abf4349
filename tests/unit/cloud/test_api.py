"""The REST face: shapes, totals, errors, the token, and nothing that leaks."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud.app import make_app
from cloud.kit.broker import Link
from cloud.kit.guard import MAX_BODY_BYTES, OPEN_WRITES
from shared.alarms import Event, EventKind, Severity
from shared.telemetry import COLUMN_NAMES
from shared.wire import topics
from support.cloud import (
    AUTH,
    NOW_MS,
    SITE,
    Service,
    batch,
    birth,
    born,
    device,
    event,
    row,
    said,
    score,
    service,
    state,
    told,
    tombstone,
)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Service]:
    async with service(tmp_path) as running:
        yield running


async def commit_events(cloud: Service, *events: Event, seq: int = 1) -> None:
    await cloud.bench.commit(said(batch(events, seq), stream="ev"))


async def a_site(cloud: Service) -> None:
    """Two miners and a meter, with a minute of data."""
    await cloud.bench.commit(
        born(),
        told(topics.state(SITE), state()),
        said(
            batch(
                [
                    row("m-01", hashrate_ths_mean=200.0, power_w_mean=3000.0),
                    row("m-02", hashrate_ths_mean=0.0, power_w_mean=50.0),
                    row("meter-1", power_w_mean=3300.0),
                ]
            )
        ),
    )


class TestSites:
    async def test_an_empty_cloud(self, cloud: Service) -> None:
        assert await cloud.get("/sites") == {"items": []}

    async def test_a_site_at_a_glance(self, cloud: Service) -> None:
        await a_site(cloud)
        (site,) = (await cloud.get("/sites"))["items"]
        assert (site["id"], site["name"], site["online"], site["simulated"]) == (
            SITE,
            "North hall",
            True,
            True,
        )
        assert (site["power_w"], site["miners_power_w"]) == (3300.0, 3050.0)
        assert (site["miners_total"], site["miners_hashing"], site["miners_fresh"]) == (2, 1, 2)
        assert site["algorithms"] == {
            "sha256d": {
                "hashrate_ths": 200.0,
                "power_w": 3050.0,
                "j_per_th": 15.25,
                "miners": 2,
                "hashing": 1,
            }
        }
        assert site["data_age_s"] == 0.0
        assert site["model"] is None
        assert await cloud.get(f"/sites/{SITE}") == site

    async def test_stale_data_is_unknown_and_not_zero(self, cloud: Service) -> None:
        await a_site(cloud)
        cloud.bench.clock.step_wall(3_600_000)
        site = await cloud.get(f"/sites/{SITE}")
        assert (site["power_w"], site["miners_power_w"]) == (None, None)
        assert site["algorithms"]["sha256d"]["hashrate_ths"] is None
        assert site["algorithms"]["sha256d"]["j_per_th"] is None
        assert (site["data_age_s"], site["miners_fresh"]) == (3600.0, 0)

    async def test_a_dead_site_whose_clock_ran_ahead_is_not_fresh(self, cloud: Service) -> None:
        """Its last rows lie in our future for hours; what we heard last tells how old they are at least."""
        ahead = NOW_MS + 6 * 3_600_000
        await cloud.bench.commit(born(), said(batch([row("m-01", ahead, power_w_mean=3_000.0)])))
        assert (await cloud.get(f"/sites/{SITE}"))["miners_fresh"] == 1
        cloud.bench.clock.step_wall(3_600_000)
        site = await cloud.get(f"/sites/{SITE}")
        assert (site["data_age_s"], site["miners_fresh"], site["miners_power_w"]) == (3600.0, 0, None)
        device = await cloud.get(f"/sites/{SITE}/devices/m-01")
        assert (device["data_age_s"], device["fresh"]) == (3600.0, False)

    async def test_a_meter_that_is_silent_makes_the_sum_unknown(self, cloud: Service) -> None:
        await cloud.bench.commit(
            born(birth([device("meter-1"), device("meter-2")])),
            said(batch([row("meter-1", power_w_mean=5.0)])),
        )
        assert (await cloud.get(f"/sites/{SITE}"))["power_w"] is None

    async def test_algorithms_are_never_added_up(self, cloud: Service) -> None:
        scrypt = {"id": "m-02", "kind": "miner", "algorithm": "scrypt"}
        await cloud.bench.commit(
            born(birth([device("m-01"), device("m-02", algorithm=scrypt["algorithm"])])),
            said(batch([row("m-01", hashrate_ths_mean=200.0), row("m-02", hashrate_ths_mean=0.016)])),
        )
        algorithms = (await cloud.get(f"/sites/{SITE}"))["algorithms"]
        assert {name: totals["hashrate_ths"] for name, totals in algorithms.items()} == {
            "sha256d": 200.0,
            "scrypt": 0.016,
        }

    async def test_zones_are_unknown_until_the_guardian_speaks(self, cloud: Service) -> None:
        await cloud.bench.commit(born())
        (zone,) = (await cloud.get(f"/sites/{SITE}"))["zones"]
        assert zone["id"] == "hall-a"
        assert zone["mode"] is None
        assert zone["tripped"] is None
        data: dict[str, Any] = {"mode": "tripped", "tripped": True, "first_out": "cooling", "inhibited": 3}
        await commit_events(cloud, event(1, EventKind.SYSTEM, key="zone-status/hall-a", data=data))
        (zone,) = (await cloud.get(f"/sites/{SITE}"))["zones"]
        assert (zone["mode"], zone["tripped"], zone["first_out"]) == ("tripped", True, "cooling")
        assert (zone["inhibited"], zone["restarting"]) == (3, None)

    async def test_the_running_model(self, cloud: Service) -> None:
        def report(number: int, version: int, name: str) -> Event:
            data: dict[str, Any] = {"name": "miner-anomaly", "version": version, "state": name}
            return event(number, EventKind.MODEL, data=data)

        await commit_events(cloud, report(1, 1, "active"), report(2, 2, "shadow"))
        assert (await cloud.get(f"/sites/{SITE}"))["model"]["version"] == 1
        await commit_events(cloud, report(3, 2, "active"), report(4, 1, "replaced"), seq=2)
        model = (await cloud.get(f"/sites/{SITE}"))["model"]
        assert model == {"name": "miner-anomaly", "version": 2, "stage": "active", "algorithm": None}

    async def test_the_ledger(self, cloud: Service) -> None:
        await cloud.bench.commit(
            said(batch([row()], 1)),
            said(batch([row()], 1)),
            said(batch([row("m-02")], 5)),
            said(tombstone(3, 2, 2)),
        )
        ledger = await cloud.get(f"/sites/{SITE}/ledger")
        (stream,) = ledger["streams"]
        assert (stream["batches"], stream["upto"], stream["ranges"]) == (2, 3, [[5, 5]])
        assert (stream["rows"], stream["duplicate_batches"], stream["tombstoned_rows"]) == (2, 1, 10)
        assert stream["gaps"] == [[4, 4]]
        assert (ledger["rows_in_store"], ledger["rows_apart"]) == (2, 0)

    async def test_the_ledger_tells_of_rows_of_a_time_that_was_lived_twice(self, cloud: Service) -> None:
        await cloud.bench.commit(said(batch([row(power_w_mean=1.0)], 1)))
        await cloud.bench.commit(said(batch([row(power_w_mean=2.0)], 2)))
        ledger = await cloud.get(f"/sites/{SITE}/ledger")
        assert (ledger["rows_in_store"], ledger["rows_apart"]) == (1, 1)


async def lived_twice(cloud: Service) -> None:
    """Three minutes of two miners, of which the site sends a second life, and of one minute a third."""
    for life in range(3):
        minutes = 3 if life < 2 else 1
        rows = [
            row(name, NOW_MS - 60_000 * minute, power_w_mean=1_000.0 * life + minute)
            for name in ("m-01", "m-02")
            for minute in range(1, minutes + 1)
        ]
        await cloud.bench.commit(said(batch(rows, life + 1)))


class TestRowsApart:
    async def test_a_row_says_all_that_is_known_of_it(self, cloud: Service) -> None:
        await cloud.bench.commit(said(batch([row(power_w_mean=1.0)], 1)))
        cloud.bench.clock.advance(5)
        await cloud.bench.commit(said(batch([row(power_w_mean=2.0)], 2)))
        found = await cloud.get(f"/sites/{SITE}/rows-apart")
        (item,) = found["items"]
        assert found["next_cursor"] is None
        values = item.pop("values")
        assert item == {
            "device": "m-01",
            "at_ms": NOW_MS - 60_000,
            "received_ms": NOW_MS + 5_000,
            "step_s": 60,
            "samples": 6,
            "failed": 0,
            "quality": 0,
            "state": "mining",
            "preset": "2970",
        }
        assert values["power_w_mean"] == 2.0
        assert values["fan_rpm_min"] is None, "unknown, not zero"
        assert list(values) == list(COLUMN_NAMES)

    async def test_pages_have_each_row_once_in_one_order(self, database_url: str, tmp_path: Path) -> None:
        """Of one device and time there may be several: a page may end between them."""
        async with service(tmp_path, url=database_url) as cloud:
            await lived_twice(cloud)
            path = f"/sites/{SITE}/rows-apart"
            whole = (await cloud.get(path))["items"]
            assert len(whole) == 2 * (3 + 1)
            assert [(one["device"], one["at_ms"]) for one in whole] == sorted(
                (one["device"], one["at_ms"]) for one in whole
            )
            for limit in (1, 3, 8):
                pages, cursor = [], ""
                while True:
                    page = await cloud.get(f"{path}?limit={limit}{cursor}")
                    pages += page["items"]
                    if page["next_cursor"] is None:
                        break
                    cursor = f"&cursor={page['next_cursor']}"
                assert pages == whole

    async def test_one_device_and_a_span(self, cloud: Service) -> None:
        await lived_twice(cloud)
        first, last = NOW_MS - 180_000, NOW_MS - 60_000
        found = await cloud.get(f"/sites/{SITE}/rows-apart?device=m-02&from_ms={first}&to_ms={last}")
        assert [(one["device"], one["at_ms"]) for one in found["items"]] == [
            ("m-02", first),
            ("m-02", NOW_MS - 120_000),
        ]
        assert (await cloud.get(f"/sites/{SITE}/rows-apart?device=m-99"))["items"] == []

    async def test_an_unknown_site_is_not_an_empty_one(self, cloud: Service) -> None:
        await cloud.get("/sites/nowhere/rows-apart", 404)

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=501",
            "from_ms=-1",
            "to_ms=soon",
            "cursor=",
            "cursor=abc",
            "cursor=%00",
            "cursor=" + "MTc4MDAwMDAwMDAwMC41",  # a cursor of the automation log
        ],
    )
    async def test_what_means_nothing_is_refused(self, cloud: Service, query: str) -> None:
        await lived_twice(cloud)
        reply = await cloud.client.get(f"/api/v1/sites/{SITE}/rows-apart?{query}")
        assert reply.status_code == 422
        assert reply.headers["content-type"] == "application/problem+json"


class TestDevices:
    async def test_a_device_with_its_newest_row(self, cloud: Service) -> None:
        await a_site(cloud)
        await cloud.bench.commit(said(batch([score("m-01", value=6.5)]), stream="score"))
        found = await cloud.get(f"/sites/{SITE}/devices/m-01")
        assert (found["id"], found["kind"], found["rack"], found["slot"]) == ("m-01", "miner", "A", 1)
        assert (found["state"], found["preset"], found["samples"]) == ("mining", "2970", 6)
        assert found["latest"]["power_w_mean"] == 3000.0
        assert found["latest"]["fan_rpm_min"] is None
        assert list(found["latest"]) == list(COLUMN_NAMES)
        assert (found["anomaly"]["score"], found["anomaly"]["threshold"]) == (6.5, 4.0)
        assert found["fresh"] is True

    async def test_a_device_that_was_never_heard(self, cloud: Service) -> None:
        await cloud.bench.commit(born())
        found = await cloud.get(f"/sites/{SITE}/devices/m-02")
        assert (found["data_age_s"], found["at_ms"], found["state"], found["anomaly"]) == (None,) * 4
        assert set(found["latest"].values()) == {None}
        assert found["fresh"] is False

    async def test_why_a_device_is_inhibited(self, cloud: Service) -> None:
        await cloud.bench.commit(born())
        await commit_events(cloud, event(1, EventKind.INHIBITED, key="inhibit/m-01"))
        assert (await cloud.get(f"/sites/{SITE}/devices/m-01"))["inhibited"] == "inhibited 1"
        assert (await cloud.get("/alarms"))["items"] == []
        await commit_events(cloud, event(2, EventKind.RELEASED, key="inhibit/m-01"), seq=2)
        assert (await cloud.get(f"/sites/{SITE}/devices/m-01"))["inhibited"] is None

    async def test_history(self, cloud: Service) -> None:
        rows = [row(at_ms=NOW_MS - 60_000 * n, power_w_mean=float(n)) for n in range(1, 6)]
        await cloud.bench.commit(born(), said(batch(rows)))
        path = f"/sites/{SITE}/telemetry?device=m-01&columns=power_w_mean,fan_rpm_min&limit=2"
        found = await cloud.get(path)
        assert found["at_ms"] == [NOW_MS - 300_000, NOW_MS - 240_000]
        assert found["values"] == [[5.0, 4.0], [None, None]]
        assert found["step_s"] == 60
        rest = await cloud.get(f"{path}&from_ms={found['next_from_ms']}&limit=10")
        assert rest["values"][0] == [3.0, 2.0, 1.0]
        assert len((await cloud.get(f"/sites/{SITE}/telemetry?device=m-01"))["columns"]) == 36

    @pytest.mark.parametrize(
        "query", ["columns=nonsense", "columns=power_w_mean,power_w_mean", "limit=0", "from_ms=x"]
    )
    async def test_history_refuses_what_it_cannot_mean(self, cloud: Service, query: str) -> None:
        await cloud.bench.commit(born())
        found = await cloud.get(f"/sites/{SITE}/telemetry?device=m-01&{query}", 422)
        assert found["code"] == "bad-input"


class TestAlarmsAndEvents:
    async def test_the_inbox_by_pages(self, cloud: Service) -> None:
        await commit_events(cloud, *(event(n, key=f"hot/m-{n}") for n in range(1, 8)))
        first = await cloud.get("/alarms?limit=3")
        rest = await cloud.get(f"/alarms?limit=5&cursor={first['next_cursor']}")
        seen = [alarm["key"] for alarm in first["items"] + rest["items"]]
        assert seen == [f"hot/m-{n}" for n in range(7, 0, -1)]
        assert rest["next_cursor"] is None

    async def test_open_and_all(self, cloud: Service) -> None:
        await commit_events(
            cloud, event(1), event(2, EventKind.ALARM_CLEARED), event(3, EventKind.TRIPPED, key="trip")
        )
        assert [alarm["key"] for alarm in (await cloud.get("/alarms"))["items"]] == ["trip"]
        assert len((await cloud.get("/alarms?state=all"))["items"]) == 2
        assert (await cloud.get("/alarms?site=nowhere"))["items"] == []

    async def test_counts_on_the_site(self, cloud: Service) -> None:
        await commit_events(cloud, event(1), event(2, key="x", severity=Severity.URGENT))
        site = await cloud.get(f"/sites/{SITE}")
        assert (site["open_alarms"], site["urgent_alarms"]) == (2, 1)

    async def test_acknowledging_once(self, cloud: Service) -> None:
        await commit_events(cloud, event(1))
        (alarm,) = (await cloud.get("/alarms"))["items"]
        path = f"/alarms/{alarm['id']}/acknowledge"
        seen = await cloud.post(path, {"by": "ann", "note": "on my way"}, 200)
        assert (seen["acknowledged_by"], seen["acknowledged_ms"], seen["note"]) == (
            "ann",
            NOW_MS,
            "on my way",
        )
        again = await cloud.post(path, {"by": "bob"}, 200)
        assert again["acknowledged_by"] == "ann", "the first stays"
        assert seen["cleared_ms"] is None, "acknowledging clears nothing"

    async def test_an_acknowledgement_survives_the_next_event(self, cloud: Service) -> None:
        await commit_events(cloud, event(1))
        (alarm,) = (await cloud.get("/alarms"))["items"]
        await cloud.post(f"/alarms/{alarm['id']}/acknowledge", {"by": "ann"}, 200)
        await commit_events(cloud, event(2), seq=2)
        (alarm,) = (await cloud.get("/alarms"))["items"]
        assert (alarm["count"], alarm["acknowledged_by"]) == (2, "ann")

    async def test_the_log(self, cloud: Service) -> None:
        status = event(3, EventKind.SYSTEM, key="zone-status/hall-a", data={"mode": "safe"})
        action = event(4, EventKind.ACTION, data={"asked": "2700", "ok": True, "was": None})
        await commit_events(cloud, event(1), event(2, EventKind.MODE), status, action)
        kinds = [found["kind"] for found in (await cloud.get("/events"))["items"]]
        assert kinds == ["action", "mode", "alarm"], "a zone's status is state, not news"
        (found,) = (await cloud.get("/events?kind=action&kind=refused"))["items"]
        assert found["data"] == {"asked": "2700", "ok": True, "was": None}
        first = await cloud.get("/events?limit=1")
        rest = await cloud.get(f"/events?cursor={first['next_cursor']}")
        assert len(rest["items"]) == 2
        assert (await cloud.get("/events?kind=nonsense", 422))["code"] == "bad-input"

    async def test_quarantine(self, cloud: Service) -> None:
        await cloud.bench.commit(told("mw/1/north/up/t/rollup", b"\x07"))
        (found,) = (await cloud.get("/quarantine"))["items"]
        assert (found["topic"], found["size"], found["count"]) == ("mw/1/north/up/t/rollup", 1, 1)


def document() -> dict[str, Any]:
    found: dict[str, Any] = make_app().openapi()
    return found


WRITES = [
    (path, method)
    for path, operations in document()["paths"].items()
    for method in operations
    if method not in ("get", "head", "options") and path not in OPEN_WRITES
]
READS_OF_ONE = [
    path
    for path, operations in document()["paths"].items()
    if "{" in path and "get" in operations and path != "/api/v1/blobs/{sha256}"
]
"""But for model files: a site that may not have one is not told whether it is there."""


class TestErrors:
    def assert_problem(self, reply: Any, status: int) -> dict[str, Any]:
        assert reply.status_code == status, reply.text
        assert reply.headers["content-type"] == "application/problem+json"
        body: dict[str, Any] = reply.json()
        assert body["status"] == status
        assert body["type"] == f"/problems/{body['code']}"
        assert {"title", "detail", "instance"} <= body.keys()
        return body

    def test_there_are_writes_to_guard(self) -> None:
        assert len(WRITES) >= 4
        assert list(OPEN_WRITES) == ["/api/v1/enrolments"]

    @pytest.mark.parametrize(("path", "method"), WRITES)
    @pytest.mark.parametrize(
        "headers",
        [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}],
    )
    async def test_no_write_without_the_token(
        self, cloud: Service, path: str, method: str, headers: dict[str, str]
    ) -> None:
        reply = await cloud.client.request(method, path.replace("{alarm}", "x"), json={}, headers=headers)
        body = self.assert_problem(reply, 401)
        assert body["code"] == "unauthorized"
        assert reply.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("path", READS_OF_ONE)
    async def test_what_is_not_there(self, cloud: Service, path: str) -> None:
        filled = path.replace("{version}", "1").replace("{number}", "1")
        for name in ("site", "device", "name", "job", "command", "code"):
            filled = filled.replace("{" + name + "}", "none")
        self.assert_problem(await cloud.client.get(filled, params={"device": "none"}), 404)

    @pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/sites", "/nothing.txt", "/api/v1/sites/"])
    async def test_unknown_paths(self, cloud: Service, path: str) -> None:
        reply = await cloud.client.get(path, follow_redirects=True)
        self.assert_problem(reply, 404)

    async def test_a_wrong_method(self, cloud: Service) -> None:
        reply = await cloud.client.delete("/api/v1/sites", headers=AUTH)
        assert self.assert_problem(reply, 405)["code"] == "method-not-allowed"

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"site": 5}', b"\xff\xfe"])
    async def test_unusable_bodies(self, cloud: Service, body: bytes) -> None:
        headers = {**AUTH, "Content-Type": "application/json"}
        reply = await cloud.client.post("/api/v1/training", content=body, headers=headers)
        found = self.assert_problem(reply, 422)
        assert found["detail"]

    async def test_a_body_that_is_too_large(self, cloud: Service) -> None:
        big = b"x" * (MAX_BODY_BYTES + 1)
        self.assert_problem(await cloud.client.post("/api/v1/training", content=big, headers=AUTH), 413)

        async def chunked() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"x" * 32_768

        reply = await cloud.client.post("/api/v1/training", content=chunked(), headers=AUTH)
        self.assert_problem(reply, 413)

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
    async def test_a_foreign_host_name_is_not_served(self, cloud: Service, host: str) -> None:
        """A page that points its own name at 127.0.0.1 must not read the API through a browser."""
        self.assert_problem(await cloud.client.get("/api/v1/sites", headers={"Host": host}), 422)

    @pytest.mark.parametrize("host", ["127.0.0.1:8480", "localhost", "[::1]:80", "[::1]"])
    async def test_loopback_names_are_served(self, cloud: Service, host: str) -> None:
        assert (await cloud.client.get("/api/v1/sites", headers={"Host": host})).status_code == 200

    async def test_a_fault_of_ours_tells_nothing_inside(
        self, cloud: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: object) -> None:
            raise RuntimeError("secret path /etc/shadow")

        monkeypatch.setattr("cloud.sites.service.summaries", fail)
        body = self.assert_problem(await cloud.client.get("/api/v1/sites"), 500)
        assert "shadow" not in json.dumps(body)

    async def test_a_database_that_is_gone(self, cloud: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(*_: object) -> None:
            raise ConnectionRefusedError("no")

        monkeypatch.setattr("cloud.sites.service.summaries", fail)
        self.assert_problem(await cloud.client.get("/api/v1/sites"), 503)

    async def test_problem_types_can_be_read(self, cloud: Service) -> None:
        reply = await cloud.client.get("/problems/unauthorized")
        assert "token" in reply.json()["about"]

    async def test_the_token_is_in_no_reply(self, cloud: Service) -> None:
        for path in ("/api/v1/sites", "/health/ready", "/api/v1/openapi.json"):
            assert "test-token" not in (await cloud.client.get(path)).text

    async def test_what_a_database_cannot_hold_is_the_askers_fault(
        self, database_url: str, tmp_path: Path
    ) -> None:
        """PostgreSQL refuses a NUL; that is no outage, and on SQLite the same request finds nothing."""
        async with service(tmp_path, url=database_url) as cloud:
            reply = await cloud.client.get("/api/v1/sites/north%00")
            assert reply.status_code in (404, 422)
            assert reply.headers["content-type"] == "application/problem+json"


class TestHealth:
    async def test_alive_without_a_broker_but_not_ready(self, cloud: Service) -> None:
        assert (await cloud.client.get("/health/live")).json() == {"status": "ok"}
        reply = await cloud.client.get("/health/ready")
        assert reply.status_code == 503
        assert "broker" in reply.json()["detail"]

    async def test_ready_tells_how_many_rows_were_kept_apart(
        self, cloud: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Link, "is_up", True)
        monkeypatch.setattr(cloud.context.ingest.counters, "apart", 4)
        reply = await cloud.client.get("/health/ready")
        assert (reply.status_code, reply.json()["ingest"]["rows_apart"]) == (200, 4)


class TestDescription:
    def test_the_committed_description_is_current(self) -> None:
        path = Path(__file__).parents[3] / "docs" / "openapi.json"
        assert json.loads(path.read_text()) == json.loads(json.dumps(document())), (
            "run: minewarden cloud openapi --out docs/openapi.json"
        )

    def test_it_is_good_enough_to_make_clients_from(self) -> None:
        found = document()
        assert found["openapi"].startswith("3.1")
        operations = [op for item in found["paths"].values() for op in item.values()]
        names = [operation["operationId"] for operation in operations]
        assert len(set(names)) == len(names)
        assert all(name.isidentifier() for name in names), names
        for operation in operations:
            for status, reply in operation["responses"].items():
                if status == "default" or int(status) >= 400:
                    assert list(reply["content"]) == ["application/problem+json"]
        for path, method in WRITES:
            assert found["paths"][path][method]["security"] == [{"token": []}]

    def test_everything_has_a_summary_or_description(self) -> None:
        for path, item in document()["paths"].items():
            for method, operation in item.items():
                assert operation.get("description"), f"{method} {path}"
