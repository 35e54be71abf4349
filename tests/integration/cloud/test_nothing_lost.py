"""Whatever is killed, every row that a site made is stored once: real processes, real broker."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cloud.kit.database import Database
from shared.artifacts.signing import Signed
from shared.wire import codec, topics
from support import postgres
from support.cloud import AUTH, NOW_MS, SITE, batch, event, row
from support.cloud_broker import Broker
from support.cloud_process import CloudProcess
from support.cloud_site import FakeSite
from support.rollout_cloud import until

pytestmark = pytest.mark.slow

BATCHES = 120
ROWS = 8


def payload(seq: int) -> bytes:
    """Batch `seq`: eight devices at a minute of its own."""
    return batch(
        [row(f"m-{n:02d}", NOW_MS - 60_000 * seq, power_w_mean=float(seq)) for n in range(ROWS)], seq
    )


def fill(site: FakeSite, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        site.add(seq, payload(seq))


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1{path}", timeout=10) as reply:
        return json.load(reply)


def post(port: int, path: str, body: object) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1{path}",
        json.dumps(body).encode(),
        {**AUTH, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def assert_all_once(port: int, batches: int) -> None:
    ledger = get(port, f"/sites/{SITE}/ledger")
    (stream,) = [found for found in ledger["streams"] if found["stream"] == "rollup"]
    assert (stream["batches"], stream["upto"], stream["gaps"]) == (batches, batches, [])
    assert stream["rows"] == batches * ROWS == ledger["rows_in_store"]


def test_the_cloud_is_killed_again_and_again(broker: Broker, cloud: CloudProcess, tmp_path: Path) -> None:
    """Kill -9 at moments that only chance chooses, among them between commit and ack."""
    chance = random.Random(7)
    cloud.start()
    with FakeSite(broker.port) as site:
        per_round = BATCHES // 4
        for number in range(4):
            before = site.acks
            fill(site, number * per_round + 1, (number + 1) * per_round)
            site.send_pending()
            wanted = chance.randint(1, 3)
            site.wait(lambda wanted=wanted, before=before: site.acks >= before + wanted, 1.0)  # type: ignore[misc]  # defaults bind the round
            cloud.kill()
            cloud.start()
        site.deliver_all()
        assert_all_once(cloud.port, BATCHES)
    found = sqlite3.connect(tmp_path / "data" / "cloud.db").execute("PRAGMA integrity_check").fetchone()
    assert found == ("ok",)


def test_the_broker_is_killed_and_forgets_everything(broker: Broker, cloud: CloudProcess) -> None:
    cloud.start()
    with FakeSite(broker.port) as site:
        fill(site, 1, 40)
        site.send_pending()
        site.wait(lambda: site.acks >= 1, 10.0)
        broker.kill()
        fill(site, 41, 60)
        broker.start()
        site.deliver_all()
        assert_all_once(cloud.port, 60)


def test_what_came_while_the_cloud_was_down(broker: Broker, cloud: CloudProcess) -> None:
    """The broker keeps the cloud's session: nothing has to be sent a second time."""
    cloud.start()
    assert cloud.stop() == 0
    with FakeSite(broker.port) as site:
        assert site.wait(site.is_connected, 20.0)
        fill(site, 1, 30)
        site.send_pending()
        cloud.start()
        assert site.wait(lambda: not site.pending, 60.0)
        assert_all_once(cloud.port, 30)
        assert get(cloud.port, f"/sites/{SITE}/ledger")["streams"][0]["duplicate_batches"] == 0


def test_a_database_that_goes_away_loses_nothing(
    broker: Broker, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    """PostgreSQL is killed under load: no message is acknowledged until it is back, and then all are."""
    url = postgres_server.create()
    cloud = CloudProcess(tmp_path, broker.port, extra=f'database_url = "{url}"')
    try:
        cloud.start()
        with FakeSite(broker.port) as site:
            fill(site, 1, 20)
            site.deliver_all()
            postgres_server.stop()
            fill(site, 21, 60)
            site.send_pending()
            assert not site.wait(lambda: len(site.pending) < 40, 3.0), "acknowledged without a database"
            assert not cloud.answers("/health/ready")
            assert cloud.answers("/health/live")
            postgres_server.start()
            assert site.wait(lambda: not site.pending, 60.0), (
                "the waiting messages are committed by themselves"
            )
            assert_all_once(cloud.port, 60)

            async def count() -> int:
                database = Database(url)
                async with database.read() as session:
                    found = (await session.execute(text("SELECT count(*) FROM rollup"))).scalar_one()
                await database.close()
                return int(found)

            assert asyncio.run(count()) == 60 * ROWS
    finally:
        cloud.close()


def test_bad_messages_do_not_stop_good_ones(broker: Broker, cloud: CloudProcess) -> None:
    cloud.start()
    with FakeSite(broker.port) as site:
        site.deliver_all()
        for bad in (b"", b"\x07", b"\x00\xc1", b"\x01notzlib", payload(1)[:40]):
            site.publish(topics.telemetry(SITE), bad)
        site.publish("mw/1/No Such/up/t/rollup", payload(1))
        fill(site, 1, 5)
        site.deliver_all()
        assert_all_once(cloud.port, 5)
        reasons = [found["reason"] for found in get(cloud.port, "/quarantine")["items"]]
        assert len(reasons) == 6
        assert all(reasons)


def test_a_site_end_to_end(broker: Broker, cloud: CloudProcess) -> None:
    """Birth, presence, rows, an alarm, a command that arrives signed and not retained, a clean end."""
    cloud.start()
    with FakeSite(broker.port) as site:
        fill(site, 1, 2)
        site.deliver_all()
        site.publish(topics.events(SITE), batch([event(1)], 1))

        def seen() -> tuple[str, bool, int]:
            summary = get(cloud.port, f"/sites/{SITE}")
            return summary["name"], summary["online"], summary["open_alarms"]

        until(cloud, lambda: seen() == ("North hall", True, 1), 60)
        view = post(cloud.port, "/commands", {"site": SITE, "order": {"order": "safe-stop"}, "actor": "ann"})
        assert view["detail"] == "the broker has it"
        assert site.wait(lambda: any(topic == topics.command(SITE) for topic, _, _ in site.heard), 10.0)
        ((_, sent, retain),) = [found for found in site.heard if found[0] == topics.command(SITE)]
        assert not retain
        assert view["id"].encode() in codec.decode(sent, Signed).payload
    assert cloud.stop() == 0
    assert "Traceback" not in cloud.log()


def test_two_starts_need_the_port(broker: Broker, cloud: CloudProcess, tmp_path: Path) -> None:
    cloud.start()
    command = [sys.executable, "-P", "-m", "cloud", "run", "--config", str(tmp_path / "cloud.toml")]
    second = subprocess.run(command, capture_output=True, timeout=30, check=False, text=True)
    assert second.returncode != 0
    assert "address already in use" in second.stderr.lower()
