"""Builders for the cloud's tests: what a site sends, a database, a configured service."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from cloud import app as cloud_app
from cloud.config import CloudConfig, load
from cloud.ingest.committer import Committed, Committer
from cloud.ingest.decoding import Decoded, decode
from cloud.kit.context import Context
from cloud.kit.database import Database
from cloud.migrations import runner
from cloud.tables import RawWindowRow
from cloud.timeseries.choose import store_for
from shared.alarms import Event, EventKind, Severity
from shared.artifacts.signing import SigningKey
from shared.clock import Clock, ManualClock
from shared.ids import DeviceId, SiteId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import COLUMN_INDEX, COLUMN_NAMES, DeviceKind, MinerState, Quality, RollupRow, ScoreRow
from shared.units import Algorithm
from shared.wire import codec, topics
from shared.wire.envelope import Batch, Birth, SiteState, Tombstone

SITE = SiteId("north")
NOW_MS = 1_780_000_020_000
"""The first whole minute at which a fresh `ManualClock` has not yet arrived: rows begin at whole steps."""
STEP_S = 60
TOKEN = "test-token-of-at-least-20-characters"
AUTH = {"Authorization": f"Bearer {TOKEN}"}


# ---------------------------------------------------------------- what a site sends


def row(device: str = "m-01", at_ms: int = NOW_MS - 60_000, **numbers: float | None) -> RollupRow:
    """A miner's roll-up row with these numbers; all others unknown."""
    values: list[float | None] = [None] * len(COLUMN_NAMES)
    for name, value in numbers.items():
        values[COLUMN_INDEX[name]] = value
    return RollupRow(
        device=DeviceId(device),
        at_ms=at_ms,
        step_s=STEP_S,
        samples=6,
        failed=0,
        quality=Quality.GOOD,
        values=tuple(values),
        kind=DeviceKind.METER if device.startswith("meter") else DeviceKind.MINER,
        algorithm=None if device.startswith("meter") else Algorithm.SHA256D,
        state=None if device.startswith("meter") else MinerState.MINING,
        preset="2970",
    )


def event(
    number: int,
    kind: EventKind = EventKind.ALARM,
    *,
    key: str = "hot/m-01",
    at_ms: int | None = None,
    severity: Severity = Severity.HIGH,
    device: str | None = "m-01",
    zone: str | None = "hall-a",
    data: dict[str, str | int | float | bool | None] | None = None,
) -> Event:
    """The event with this number; by default each is a second after the one before."""
    return Event(
        id=f"e-{number}",
        kind=kind,
        severity=severity,
        key=key,
        at_ms=NOW_MS - 600_000 + number * 1000 if at_ms is None else at_ms,
        title=f"{kind} {number}",
        advice="Look at it.",
        device=DeviceId(device) if device else None,
        zone=ZoneId(zone) if zone else None,
        data=data or {},
    )


def score(
    device: str = "m-01", at_ms: int = NOW_MS - 60_000, value: float = 2.0, version: int = 1
) -> ScoreRow:
    return ScoreRow(
        device=DeviceId(device),
        at_ms=at_ms,
        model="miner-anomaly",
        version=version,
        score=value,
        threshold=4.0,
        top_feature="fan_rpm_mean",
    )


def batch(
    rows: Sequence[RollupRow | Event | ScoreRow],
    seq: int = 1,
    *,
    epoch: str = "e1",
    stream: str | None = None,
) -> bytes:
    """A batch as it travels. The stream follows from the rows unless it is named."""
    name = stream or _stream_of(rows)
    body = Batch(
        epoch=epoch,
        stream=name,
        seq=seq,
        from_ms=min((item.at_ms for item in rows), default=NOW_MS),
        to_ms=max((item.at_ms for item in rows), default=NOW_MS),
        count=len(rows),
        rows=msgspec.Raw(msgspec.msgpack.encode(tuple(rows))),
        columns=COLUMN_NAMES if name == topics.TELEMETRY_STREAM else (),
    )
    return codec.encode(body, compress=True)


def _stream_of(rows: Sequence[RollupRow | Event | ScoreRow]) -> str:
    if rows and isinstance(rows[0], Event):
        return topics.EVENT_STREAM
    return topics.SCORE_STREAM if rows and isinstance(rows[0], ScoreRow) else topics.TELEMETRY_STREAM


def tombstone(
    seq: int, first: int, last: int, *, count: int = 10, stream: str = "rollup", epoch: str = "e1"
) -> bytes:
    body = Tombstone(
        epoch=epoch,
        stream=stream,
        seq=seq,
        first_seq=first,
        last_seq=last,
        from_ms=NOW_MS - 1000,
        to_ms=NOW_MS,
        count=count,
        reason="quota",
    )
    return codec.encode(body)


def device(name: str = "m-01", **changes: Any) -> DeviceEntry:
    """A device of the inventory; `meter…` is a meter, everything else a miner."""
    meter = name.startswith("meter")
    facts: dict[str, Any] = {
        "id": DeviceId(name),
        "kind": DeviceKind.METER if meter else DeviceKind.MINER,
        "adapter": "modbus" if meter else "vnish",
        "host": "127.0.1.1",
        "port": 5020 if meter else 8080,
        "zone": ZoneId("hall-a"),
        "profile": "em340" if meter else None,
        "model": None if meter else "s21pro",
        "algorithm": None if meter else Algorithm.SHA256D,
        "nominal_w": None if meter else 3531.0,
        "rack": None if meter else "A",
        "slot": None if meter else 1,
    }
    return DeviceEntry(**{**facts, **changes})


def birth(
    devices: Sequence[DeviceEntry] | None = None,
    *,
    site: SiteId = SITE,
    at_ms: int = NOW_MS - 1000,
    boot: str = "b1",
) -> bytes:
    entries = tuple(devices) if devices is not None else (device("m-01"), device("m-02"), device("meter-1"))
    body = Birth(
        site=site,
        name="North hall",
        boot=boot,
        epoch="e1",
        at_ms=at_ms,
        version="0.1.0",
        protocol=1,
        step_s=STEP_S,
        inventory_sha256="00",
        inventory=msgspec.Raw(msgspec.msgpack.encode(entries)),
        simulated=True,
    )
    return codec.encode(body)


def state(*, online: bool = True, boot: str = "b1") -> bytes:
    return codec.encode(SiteState(online=online, boot=boot, at_ms=NOW_MS))


def told(topic: str, payload: bytes, *, now_ms: int = NOW_MS) -> Decoded:
    """A message as ingest decodes it."""
    return decode(topic, payload, now_ms=now_ms)


def said(payload: bytes, *, site: SiteId = SITE, stream: str = topics.TELEMETRY_STREAM) -> Decoded:
    """A telemetry or event batch as ingest decodes it."""
    topic = topics.events(site) if stream == topics.EVENT_STREAM else topics.telemetry(site, stream)
    return decode(topic, payload, now_ms=NOW_MS)


def born(payload: bytes | None = None, *, site: SiteId = SITE) -> Decoded:
    return decode(topics.birth(site), payload if payload is not None else birth(site=site), now_ms=NOW_MS)


# ---------------------------------------------------------------- database


@contextlib.asynccontextmanager
async def migrated(url: str) -> AsyncIterator[Database]:
    """A database with this version's tables."""
    database = Database(url)
    try:
        await runner.upgrade(database)
        yield database
    finally:
        await database.close()


class Bench:
    """A database with a committer over it."""

    def __init__(self, database: Database, clock: ManualClock | None = None) -> None:
        self.database = database
        self.clock = clock or ManualClock(utc_ms=NOW_MS)
        self.series = store_for(database)
        self.committer = Committer(database, self.series, self.clock)

    async def commit(self, *messages: Decoded) -> Committed:
        return await self.committer.commit(messages)

    async def insert_window(self, session: AsyncSession, number: int, received_ms: int) -> None:
        """A raw window of no contents, received then."""
        session.add(
            RawWindowRow(
                site=SITE,
                sha256=str(number),
                kind="miner",
                boot="b1",
                from_ms=received_ms,
                to_ms=received_ms,
                samples=1,
                devices=[],
                received_ms=received_ms,
                frame=b"",
            )
        )

    async def all(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query, as plain tuples."""
        async with self.database.read() as session:
            return [tuple(found) for found in (await session.execute(text(sql))).all()]

    async def one(self, sql: str) -> Any:
        """The first column of the only row."""
        ((value,),) = await self.all(sql)
        return value


# ---------------------------------------------------------------- the service


def configure(folder: Path, *, broker_port: int = 1, http_port: int = 0, extra: str = "") -> Path:
    """Write keys, token and `cloud.toml`; returns the file."""
    for role in ("command", "assignment", "release"):
        if not (folder / role).exists():
            SigningKey.generate(f"test-{role}").save(folder / role)
    (folder / "token").write_text(TOKEN + "\n")
    path = folder / "cloud.toml"
    path.write_text(
        f'data_dir = "data"\ntoken_file = "token"\nhttp_port = {http_port}\n{extra}\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {broker_port}\n'
        '[keys]\ncommand_key = "command"\nassignment_key = "assignment"\n'
        'release_key = "release"\nonline_blessing = true\n'
    )
    return path


class Service:
    """All parts of a cloud that runs in this process, with a client to its API and no broker."""

    def __init__(self, context: Context, client: httpx.AsyncClient, bench: Bench) -> None:
        self.context = context
        self.client = client
        self.bench = bench

    async def get(self, path: str, status: int = 200) -> Any:
        """GET below `/api/v1`; the JSON."""
        reply = await self.client.get(f"/api/v1{path}")
        assert reply.status_code == status, reply.text
        return reply.json()

    async def post(self, path: str, body: Any, status: int) -> Any:
        """POST below `/api/v1` with the token; the JSON."""
        reply = await self.client.post(f"/api/v1{path}", json=body, headers=AUTH)
        assert reply.status_code == status, reply.text
        return reply.json()


@contextlib.asynccontextmanager
async def service(
    folder: Path, *, url: str | None = None, clock: Clock | None = None, extra: str = ""
) -> AsyncIterator[Service]:
    """A running cloud that leaves the broker alone; requests go in without a socket."""
    if url is not None:
        extra = f'database_url = "{url}"\n{extra}'
    settings: CloudConfig = load(configure(folder, extra=extra))
    manual = clock or ManualClock(utc_ms=NOW_MS)
    async with cloud_app.running(settings, manual, connect=False) as context:
        application = cloud_app.make_app(context, token=TOKEN)
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            bench = Bench(context.database, manual if isinstance(manual, ManualClock) else None)
            yield Service(context, client, bench)
