"""What mosquitto really does with live sessions when its rules are read again; the keeper rests on it.

Found with 2.0.11: a reloaded ACL counts for sessions that are up, for what they publish and for what is
delivered on subscriptions made before; a reloaded revocation list counts for new connections; nobody is
disconnected. So the keeper ends the session itself.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.config import BrokerSettings, IdentitySettings
from cloud.identity import repository
from cloud.identity.broker import BrokerKeeper, TakeOver
from cloud.kit.problems import Unavailable
from cloud.tables import CertificateRow
from shared.clock import SystemClock
from support.cloud import migrated
from support.identity import DAY_MS, MOSQUITTO, TlsBroker, tls_broker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[TlsBroker]:
    with tls_broker(tmp_path / "broker") as running:
        yield running


def test_a_reload_cuts_publish_and_delivery_of_a_live_session_and_lets_no_new_one_in(
    broker: TlsBroker,
) -> None:
    north, south = broker.client("north"), broker.client("south")
    ingest, command = broker.client("minewarden-ingest"), broker.client("minewarden-command")
    people = (north, south, ingest, command)
    try:
        assert all(person.connect() for person in people)
        north.subscribe("mw/1/north/dn/#")
        ingest.subscribe("mw/1/+/up/#")
        assert north.publish("mw/1/north/up/ev", b"before")
        assert command.publish("mw/1/north/dn/cmd", b"before")
        assert ingest.has(b"before")
        assert north.has(b"before")

        broker.revoke("north")
        broker.rule(["south"])
        broker.reload()

        assert not north.publish("mw/1/north/up/ev", b"after")
        command.publish("mw/1/north/dn/cmd", b"after")
        assert south.publish("mw/1/south/up/ev", b"marker")
        assert ingest.has(b"marker"), "others go on"
        assert not ingest.has(b"after", within_s=0.0)
        north.subscribe("mw/1/north/dn/#")
        command.publish("mw/1/north/dn/cmd", b"after a new subscription")
        assert not north.has(b"after a new subscription", within_s=1.0)
        assert not north.has(b"after", within_s=0.0)
        assert north.client.is_connected(), "mosquitto itself ends no session"
        again = broker.client("north")
        assert not again.connect(), "the revocation list counts without a restart"
        again.close()
    finally:
        for person in people:
            person.close()


def test_what_was_queued_for_a_revoked_site_is_gone_with_its_session(broker: TlsBroker) -> None:
    """A persistent session keeps messages for weeks; ending it must not leave them for whoever comes next."""
    north, command = broker.client("north"), broker.client("minewarden-command")
    assert north.connect(clean=False)
    north.subscribe("mw/1/north/dn/#")
    north.client.loop_stop()
    north.client._sock_close()
    assert command.connect()
    assert command.publish("mw/1/north/dn/cmd", b"queued")
    TakeOver(_settings(broker)).end("north")
    back = broker.client("north")
    try:
        assert back.connect(clean=False)
        assert command.publish("mw/1/north/dn/cmd", b"fresh")
        assert not back.has(b"queued", within_s=1.0)
    finally:
        for person in (back, command):
            person.close()


def _settings(broker: TlsBroker) -> BrokerSettings:
    folder = broker.folder
    return BrokerSettings(
        host="localhost",
        port=broker.cloud_port,
        ca_file=str(folder / "ca.crt"),
        cert_file=str(folder / "minewarden-ingest.crt"),
        key_file=str(folder / "minewarden-ingest.key"),
        command_cert_file=str(folder / "minewarden-command.crt"),
        command_key_file=str(folder / "minewarden-command.key"),
    )


def _row(broker: TlsBroker, name: str) -> CertificateRow:
    return CertificateRow(
        serial=broker.serials[name],
        name=name,
        role="site",
        sites=[],
        fingerprint="x",
        pem=(broker.folder / f"{name}.crt").read_text(),
        how="enrolment",
        actor="test",
        not_before_ms=broker.now_ms - 1000,
        not_after_ms=broker.now_ms + DAY_MS,
        issued_ms=broker.now_ms,
        reason="",
    )


@pytest.mark.parametrize("way", ["pid-file", "command", "watched"])
async def test_the_keeper_cuts_a_live_session_however_the_broker_is_reloaded(
    broker: TlsBroker, tmp_path: Path, way: str
) -> None:
    identity = IdentitySettings(
        ca_cert="-",
        ca_key="-",
        broker_dir=str(broker.rules),
        broker_pid_file=str(broker.pid_file) if way == "pid-file" else None,
        broker_reload=("sh", "-c", f"kill -HUP $(cat {broker.pid_file})") if way == "command" else (),
    )
    clock = SystemClock()
    async with migrated(f"sqlite+aiosqlite:///{tmp_path / 'cloud.db'}") as database:
        keeper = BrokerKeeper(identity, broker.authority, database, clock, TakeOver(_settings(broker)))
        async with database.write() as session:
            session.add_all([_row(broker, "north"), _row(broker, "south")])
        await keeper.apply()
        north = broker.client("north")
        try:
            assert await asyncio.to_thread(north.connect)
            assert await asyncio.to_thread(north.publish, "mw/1/north/up/ev", b"before")
            async with database.write() as session:
                row = await repository.certificate(session, broker.serials["north"])
                assert row is not None
                row.revoked_ms = clock.utc_ms()
            start_s = clock.monotonic()
            cutting = asyncio.create_task(keeper.apply())
            if way == "watched":  # what the path unit does
                while "user north" in (broker.rules / "acl").read_text():
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(broker.reload)
            await cutting
            assert await asyncio.to_thread(north.gone.wait, 10)
            print(f"\n{way}: cut in {clock.monotonic() - start_s:.2f} s")
            assert clock.monotonic() - start_s < 60.0
            again = broker.client("north")
            assert not await asyncio.to_thread(again.connect)
            again.close()
            async with database.read() as session:
                row = await repository.certificate(session, broker.serials["north"])
                assert row is not None
                assert row.cut_ms is not None
        finally:
            north.close()


async def test_a_broker_that_cannot_be_told_leaves_the_revocation_open(
    broker: TlsBroker, tmp_path: Path
) -> None:
    """Nothing is called cut that was not; the next try finishes it."""
    stale = tmp_path / "stale.pid"
    stale.write_text("1\n")  # some other program
    identity = IdentitySettings(
        ca_cert="-", ca_key="-", broker_dir=str(broker.rules), broker_pid_file=str(stale)
    )
    clock = SystemClock()
    async with migrated(f"sqlite+aiosqlite:///{tmp_path / 'cloud.db'}") as database:
        keeper = BrokerKeeper(identity, broker.authority, database, clock, TakeOver(_settings(broker)))
        async with database.write() as session:
            row = _row(broker, "north")
            row.revoked_ms = clock.utc_ms()
            session.add(row)
        with pytest.raises(Unavailable, match="not mosquitto"):
            await keeper.apply()
        async with database.read() as session:
            open_ = await repository.certificate(session, broker.serials["north"])
            assert open_ is not None
            assert open_.cut_ms is None
        stale.write_text(broker.pid_file.read_text())
        await keeper.apply()
        async with database.read() as session:
            cut = await repository.certificate(session, broker.serials["north"])
            assert cut is not None
            assert cut.cut_ms is not None
