"""Puts the agent together, opens what must be open, and runs its parts until told to stop."""

import asyncio
import hashlib
import logging
import secrets
import signal
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from edge_agent import ipc
from edge_agent.agent.commands.desk import CommandDesk
from edge_agent.agent.cycle import Cycle
from edge_agent.agent.events import event
from edge_agent.agent.guardian_link import GuardianLink
from edge_agent.agent.housekeeping import Housekeeping
from edge_agent.agent.identity.files import IdentityFiles
from edge_agent.agent.identity.rotation import Rotation
from edge_agent.agent.identity.trial import try_pair
from edge_agent.agent.inference.engine import Engine
from edge_agent.agent.inference.https import BlobHttp
from edge_agent.agent.inference.keeper import Keeper
from edge_agent.agent.inference.keys import KeyDesk
from edge_agent.agent.inference.slots import Slots
from edge_agent.agent.local_api.server import LocalApi
from edge_agent.agent.local_api.status import StatusSource
from edge_agent.agent.notify import Watchdog, notify
from edge_agent.agent.pipeline import Pipeline
from edge_agent.agent.policies.anomaly import AnomalyPolicy, Rule
from edge_agent.agent.records import Records
from edge_agent.agent.restarts import Restarts
from edge_agent.agent.service import Service, log, run_all
from edge_agent.agent.store.frames import Damage, RawStore
from edge_agent.agent.store.opening import Opened, open_store
from edge_agent.agent.store.room import Room
from edge_agent.agent.store.writer import Writer
from edge_agent.agent.uplink.downlink import Downlink
from edge_agent.agent.uplink.mqtt import MqttTransport
from edge_agent.agent.uplink.transport import Transport
from edge_agent.agent.uplink.uplink import Uplink
from edge_agent.agent.view import SiteView
from edge_agent.agent.windows import Windows
from edge_agent.config import SiteFile
from shared.alarms import EventKind, Severity
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.signing import Keyring
from shared.clock import Clock, SystemClock
from shared.errors import StoreError
from shared.wire.envelope import PROTOCOL, Birth

_MB: Final = 1024 * 1024
_LEAST_DEADLINE_S: Final = 2.0
"""A busy gateway may pause this long without its model being at fault."""


class Agent:
    """All parts, wired. `open` before `run`."""

    def __init__(self, site: SiteFile, *, clock: Clock, transport: Transport, keyring: Keyring) -> None:
        state = Path(site.paths.agent_state)
        state.mkdir(parents=True, exist_ok=True)
        self.site = site
        self.clock = clock
        self.boot = secrets.token_hex(8)
        self.view = SiteView(site)
        self.writer = Writer()
        self.opened: Opened = open_store(state, clock, outbox_bytes=site.agent.outbox_keep_mb * _MB)
        raw = RawStore(state / "raw", keep_bytes=site.agent.raw_keep_mb * _MB)
        room = Room(state, self.opened.store, raw, outbox_bytes=site.agent.outbox_keep_mb * _MB)
        self.records = Records(self.opened.store, raw, self.writer, self.view, room=room)
        self.restarts = Restarts(clock, self.records, self.boot)
        self.windows = Windows(clock, self.records)
        self.keeper = Keeper(
            clock,
            site,
            slots=Slots(state / "models"),
            keyring=keyring,
            records=self.records,
            engine=Engine(clock, deadline_s=max(_LEAST_DEADLINE_S, site.agent.score_every_s / 2)),
            tell_guardian=self._send,
            ask_cloud=lambda request: self.uplink.request_chunks(request),
            http=BlobHttp(site.uplink, clock) if site.uplink.model_url is not None else None,
        )
        self.keys = self._make_keys(keyring)
        self.commands = CommandDesk(
            clock,
            self.records,
            send=self._send,
            publish=lambda status: self.uplink.tell(status),
            connection=lambda: self.uplink.since_ms if self.uplink.connected else None,
        )
        self.pipeline = Pipeline(clock, self.view, self.records, self.keeper, tell=self.commands.tell)
        self.link = GuardianLink(
            clock,
            Path(site.paths.guardian_socket),
            site.site.id,
            handler=self.pipeline.handle,
            on_open=self._guardian_is_here,
            on_close=self.pipeline.on_close,
        )
        self.pipeline.link = self.link
        self.rotation = self._make_rotation(state)
        self.uplink = self._make_uplink(transport)
        policy = AnomalyPolicy(Rule(dwell_s=site.timing.preset_dwell_s, ttl_s=site.timing.lease_max_s))
        self.cycle = Cycle(clock, self.view, self.records, self.keeper, [policy], send=self._send)
        self.services: list[Service] = [
            self.link,
            self.pipeline,
            self.keeper,
            self.cycle,
            self.commands,
            self.uplink,
            self.windows,
            self.restarts,
            *([self.rotation] if self.rotation is not None else []),
            *([self.keys] if self.keys is not None else []),
        ]
        self.source = StatusSource(
            clock,
            self.boot,
            view=self.view,
            records=self.records,
            keeper=self.keeper,
            cycle=self.cycle,
            uplink=self.uplink,
            services=self.services,
        )
        self.local_api = LocalApi(
            clock,
            site.agent.status_port,
            self.source,
            state=state,
            safe_stop=self._send,
            rollback=self.keeper.rollback,
            pin=self.keeper.pin,
            unpin=self.keeper.unpin,
            site=str(site.site.id),
            zones=frozenset(zone.id for zone in site.zones),
        )

    def _make_keys(self, keyring: Keyring) -> KeyDesk | None:
        """Keys change only where this process keeps them; a fixed keyring has nobody to take an update."""
        if not isinstance(keyring, TrustedKeys):
            return None
        return KeyDesk(
            self.clock,
            keyring,
            self.records,
            tell_guardian=self._send,
            on_change=self.keeper.recheck,
            guardian_has=lambda: None if (told := self.view.status) is None else told.keyring,
        )

    def _make_rotation(self, state: Path) -> Rotation | None:
        """Only where the site file names the pair of `minewarden enroll`; others are not ours to renew."""
        files = IdentityFiles(state)
        named = self.site.uplink.cert_file
        if named is None or Path(named).resolve() != files.pair_file.resolve():
            return None
        return Rotation(
            self.clock,
            self.site.site.id,
            files,
            ask=lambda request: self.uplink.request_certificate(request),
            try_pair=partial(try_pair, self.site.uplink),
            tell=self.records.emit,
        )

    def _make_uplink(self, transport: Transport) -> Uplink:
        site = self.site.site.id
        downlink = Downlink(
            site,
            self.clock,
            self.view,
            order=self.commands.order,
            tell=self.commands.tell,
            bad_command=self.commands.unusable,
            model=self.keeper.offer,
            chunk=self.keeper.chunk,
            want=self.windows.want,
            certificate=self.rotation.take if self.rotation is not None else None,
            keyring=self.keys.take if self.keys is not None else None,
        )
        return Uplink(
            self.clock,
            site=site,
            boot=self.boot,
            transport=transport,
            records=self.records,
            view=self.view,
            downlink=downlink,
            birth=self._birth,
        )

    async def _guardian_is_here(self, hello: ipc.Hello) -> None:
        if self.keys is not None:
            await self.keys.greet_guardian()  # before the model: it may have been signed by a new key
        await self.pipeline.on_open(hello)
        await self.restarts.guardian_is_here(hello.boot)
        await self.commands.guardian_is_back()

    async def _send(self, message: ipc.FromAgent) -> bool:
        return await self.link.send(message)

    def _birth(self) -> Birth:
        inventory = msgspec.msgpack.encode(self.site.devices)
        return Birth(
            site=self.site.site.id,
            name=self.site.site.name,
            boot=self.boot,
            epoch=self.records.store.epoch,
            at_ms=self.clock.utc_ms(),
            version=version("minewarden"),
            protocol=PROTOCOL,
            step_s=self.site.timing.step_s,
            inventory_sha256=hashlib.sha256(inventory).hexdigest(),
            inventory=msgspec.Raw(inventory),
            simulated=self.site.site.simulated,
        )

    async def open(self) -> None:
        """Take up where the last life ended: cursors, alarms, models with their windows."""
        if self.opened.quarantined is not None:
            await self._tell_of_quarantine(self.opened, self.opened.quarantined)
        for damage in self.records.raw.damage:
            await self._tell_of_damage(damage)
        await self.restarts.open()
        if self.keys is not None:
            await self.keys.tell_damage()
        await self.windows.open()
        await self.pipeline.open()
        await self.cycle.open()
        await self.keeper.open()
        await self.commands.open()

    async def _tell_of_quarantine(self, opened: Opened, aside: Path) -> None:
        salvaged = msgspec.structs.asdict(opened.salvaged) if opened.salvaged is not None else {}
        await self.records.emit(
            event(
                EventKind.ALARM,
                "store-corrupt",
                f"The agent's store was damaged: what still opened of it was saved, {aside.name} is the rest",
                at_ms=self.clock.utc_ms(),
                severity=Severity.HIGH,
                advice="Copy the file off the gateway, then check the disk: it may be failing.",
                data={"why": opened.why, "file": aside.name, **salvaged},
            )
        )

    async def _tell_of_damage(self, damage: Damage) -> None:
        await self.records.emit(
            event(
                EventKind.ALARM,
                "raw-corrupt",
                f"A file of raw samples is damaged in {damage.places} places: its {damage.saved} sound "
                f"frames can be read, {damage.aside or damage.file} is what was found",
                at_ms=self.clock.utc_ms(),
                severity=Severity.HIGH,
                advice="Roll-ups and what the cloud has got are not concerned. Copy the file off the "
                "gateway, then check the disk: it may be failing.",
                data=msgspec.structs.asdict(damage),
            )
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run every part until `stop`; then flush and close."""
        watched = [*self.services, self.local_api]
        parts: list[Service] = [
            *self.services,
            self.local_api,
            Housekeeping(self.clock, self.records, self.view),
            Watchdog(self.clock, watched),
        ]
        damaged = asyncio.ensure_future(self._until_damaged(stop))
        try:
            await run_all(parts, stop, on_ready=_ready)
        finally:
            damaged.cancel()
            notify("STOPPING=1")
            await self.close()

    async def _until_damaged(self, stop: asyncio.Event) -> None:
        """A file that turned out to be damaged is salvaged at the next start, so end this life."""
        await self.records.damaged.wait()
        log.error("the store is damaged: ending, to be started on a fresh one")
        stop.set()

    async def close(self) -> None:
        """What is recorded goes to disk; then threads and files end."""
        await self.pipeline.flush()
        self.keeper.close()
        self.writer.close()
        self.records.store.close()


def _ready() -> None:
    notify("READY=1\nSTATUS=running")


async def serve(site: SiteFile) -> None:
    """The agent's process: real clock, real broker, until SIGTERM or SIGINT."""
    clock = SystemClock()
    state = Path(site.paths.agent_state)
    keyring = TrustedKeys(Path(site.paths.keyring), state / "keyring.bin", site.site.id)
    agent = Agent(site, clock=clock, transport=MqttTransport(site.uplink, site.site.id), keyring=keyring)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await agent.open()
    log.info("agent of %s is up, epoch %s", site.site.id, agent.records.store.epoch)
    await agent.run(stop)
    if agent.records.damaged.is_set():
        raise StoreError("the store is damaged; it is set aside and salvaged when the agent starts again")


def configure_logging(*, verbose: bool = False) -> None:
    """To stderr with systemd's priority prefixes; journald adds time and unit. `verbose`: every detail."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Prefixed("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("mqtt").setLevel(logging.DEBUG if verbose else logging.ERROR)


class _Prefixed(logging.Formatter):
    _LEVELS: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}

    def format(self, record: logging.LogRecord) -> str:
        return f"<{self._LEVELS.get(record.levelno, 2)}>{super().format(record)}"
