"""The VNish adapter: one object per machine, over its HTTP API with the 4028 socket as a read-only fallback.

Cadence: `/status` and `/summary` on every read (neither needs a login); `/perf-summary` every
`PRESET_EVERY_S`, while the machine changes its state, and on each read within `AFTER_WRITE_S` of a write;
`/info` every `INFO_EVERY_S`, when the machine may have rebooted, and `INFO_AGAIN_S` after it did not say;
`/settings`, which needs a login, every `SETTINGS_EVERY_S` and after a write. A read in between tells the
running preset only where the machine proves that it is still the one (`freshness`), and marks its watts as
estimated; else it is unknown. Boards, chips, pools, logs and history are read when somebody asks. Writes
are in `control`.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, cast

import msgspec

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.identify import Trust
from firmware_adapters.miners.vnish import abilities, fields, parse, settings
from firmware_adapters.miners.vnish import boards as parts
from firmware_adapters.miners.vnish.abilities import capabilities
from firmware_adapters.miners.vnish.control import Control
from firmware_adapters.miners.vnish.freshness import Freshness
from firmware_adapters.miners.vnish.history import LONGEST_S, SHORTEST_STEP_S, history
from firmware_adapters.miners.vnish.ladder import Running
from firmware_adapters.miners.vnish.parse import Status
from firmware_adapters.miners.vnish.pools import pools
from firmware_adapters.miners.vnish.recall import Recall
from firmware_adapters.miners.vnish.session import Session
from firmware_adapters.miners.vnish.stats import stats, stats_boards, stats_faults
from firmware_adapters.miners.vnish.versions import Firmware
from firmware_adapters.transport.http import HttpTransport, TailTransport
from firmware_adapters.transport.http_client import HttpClient
from firmware_adapters.transport.line_json import CGMINER_PORT, LineClient, LineTransport
from shared.capabilities import Ability, DeviceFacts, Preset, one_ladder
from shared.clock import Clock, SystemClock
from shared.details import Board, Chip, History, Pool
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, Quality
from shared.units import Algorithm

__all__ = ["VnishAdapter", "capabilities", "open_device"]

AFTER_WRITE_S = 120.0
MOST_POINTS = 1000
"""So many records of a history fit into one reply."""
DEFAULT_PASSWORD = "admin"
"""The vendor's published default, looked for to raise an alarm."""
PROBE_EVERY_S = 86_400.0
"""How often a machine that we enter without its password is asked whether the default still opens it."""
_WEB_SHARE = 2 / 3
"""Part of a read's time that the web server gets before the 4028 socket is asked."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "VnishAdapter":
    """The adapter for one site entry; connects lazily.

    A real machine has its socket on 4028 beside HTTP on 80. Emulated machines cannot bind such ports: there
    the socket is on `entry.port + 1`.
    """
    socket_port = CGMINER_PORT if entry.port == 80 else entry.port + 1
    return VnishAdapter(
        HttpClient(entry.host, entry.port, timeout_s=timeout_s),
        credential,
        timeout_s=timeout_s,
        bulk=HttpClient(entry.host, entry.port, timeout_s=timeout_s),
        socket=LineClient(entry.host, socket_port, timeout_s=timeout_s * (1 - _WEB_SHARE)),
        name=entry.id,
        trust=Trust.of(entry),
    )


class VnishAdapter(Control):
    """Telemetry and control of one VNish machine.

    `timeout_s` bounds each request, and one whole `read()`. `socket` None means that there is no fallback.
    """

    kind = DeviceKind.MINER

    def __init__(
        self,
        http: HttpTransport,
        credential: Credential | None,
        *,
        timeout_s: float,
        socket: LineTransport | None = None,
        bulk: TailTransport | None = None,
        clock: Clock | None = None,
        name: str = "vnish",
        trust: Trust | None = None,
    ) -> None:
        clock = clock or SystemClock()
        trust = trust or Trust(adapter="vnish")
        super().__init__(Session(http, credential, clock, bulk=bulk), clock, name, trust)
        self._transports = (http,) if bulk is None else (http, bulk)
        self._socket = socket
        self._web_s = timeout_s * _WEB_SHARE if socket is not None else timeout_s
        self._fresh = Freshness()
        self._recall = Recall()
        self._uptime_s: float | None = None
        self._default_password: bool | None = None
        self._probed_s: float | None = None
        self._web_failing = False
        self._warned: Firmware | None = None
        self._chip_page: str | None = None

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings, see the module's text for what is asked when. Raises `DeviceError`.

        Where the web server hangs or talks nonsense, the 4028 socket answers instead: fewer readings, no
        preset. Where that fails too, the web server's failure is the one raised.
        """
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._web_s
        try:
            async with asyncio.timeout_at(ends_s):
                # A `/status` that hangs leaves `/summary` half of the time.
                status, page = await self._ask_core(asyncio.timeout(self._web_s / 2))
        except TimeoutError as error:
            self._fresh.failed()
            return await self._read_socket(DeviceTimeout(f"{self._name}: no whole answer in time"), error)
        except (Busy, DeviceTimeout, Unreachable, MalformedReply, Unsupported) as error:
            self._fresh.failed()
            return await self._read_socket(error, error)
        if self._web_failing:
            self._web_failing = False
            _log.info("%s: the web server answers again", self._name)
        told_uptime = False
        try:
            # By itself: who it is may take what is left of the time, and not what was told already.
            async with asyncio.timeout_at(ends_s):
                told_uptime = await self._look_again()
        except TimeoutError:
            _log.debug("%s: identity not read in time", self._name)
        seen = self._seen(status, page, told_uptime=told_uptime)
        if not self._asks_preset() and not self._asks_settings():
            return self._with_proven(seen)
        try:
            async with asyncio.timeout_at(ends_s):
                seen = await self._with_preset(seen)
                return await self._with_wishes(seen)
        except TimeoutError:
            return seen

    async def _read_web(self) -> Observation:
        """A read of the web server without a deadline and without the settings."""
        status, page = await self._ask_core()
        told_uptime = await self._look_again()
        return await self._with_preset(self._seen(status, page, told_uptime=told_uptime))

    async def _ask_core(
        self, share: AbstractAsyncContextManager[object] | None = None
    ) -> tuple[Status, fields.Object]:
        """State and readings, what control needs; each of both pages may tell the state.

        `share` bounds the first of them; without one nothing here needs a running loop.
        """
        status, refused = await self._try_status(share or contextlib.nullcontext())
        page = fields.as_page(await self._session.get("/summary"), "/summary")
        if status is None:
            status = parse.summary_status(page)
            if status is None:
                raise refused or MalformedReply("/summary: no state")
        self._fresh.look(status, self._clock.monotonic())
        return status, page

    def _seen(self, status: Status, page: fields.Object, *, told_uptime: bool) -> Observation:
        """What both pages mean. Without an identity nobody knows the unit, so the hashrate is missing."""
        identity = self._identity
        readings = parse.summary(page, None if identity is None else identity.hash_unit)
        uptime_s = self._fresh.uptime_s(self._clock.monotonic())
        if uptime_s is not None:
            quality = Quality.GOOD if told_uptime else Quality.ESTIMATED
            readings["uptime_s"] = fields.reading("uptime_s", float(round(uptime_s)), quality)
        if status.throttle_pct is not None:
            readings["throttle_pct"] = fields.reading("throttle_pct", status.throttle_pct)
        if "setpoint_c" in readings:
            self._target_c = readings["setpoint_c"].value
        return Observation(
            readings=readings,
            state=status.state,
            algorithm=None if identity is None else identity.algorithm,
            faults=(*status.faults, *parse.summary_faults(page)),
        )

    async def _try_status(
        self, share: AbstractAsyncContextManager[object]
    ) -> tuple[Status | None, DeviceError | None]:
        """`/status`, or why not: `/summary` has the state as well."""
        try:
            async with share:
                status = await self._status()
        except TimeoutError:
            return None, DeviceTimeout(f"{self._name}: /status: no whole reply in time")
        except (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported) as error:
            return None, error
        if status.locked_s is not None:
            self._session.locked_for(status.locked_s)
        return status, None

    async def _look_again(self) -> bool:
        """Read `/info` where it is due; False where it told nothing: then what is known of it stands."""
        if not self._fresh.asks_info(self._clock.monotonic()):
            return False
        try:
            self._identity = parse.identity(await self._session.get("/info"))
        except (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported) as error:
            _log.debug("%s: identity not read: %s", self._name, error)
            return False
        self._note_uptime(self._identity.uptime_s)
        self._fresh.told_info(self._identity.uptime_s, self._clock.monotonic())
        return True

    def _asks_preset(self) -> bool:
        return self._just_written() or self._fresh.asks_preset(self._clock.monotonic())

    def _asks_settings(self) -> bool:
        if not self._just_written() and not self._fresh.asks_settings(self._clock.monotonic()):
            return False
        identity = self._identity
        if identity is None or not self._trust.allows(identity.firmware.words):
            return False
        return self._session.can_log_in

    async def _with_preset(self, seen: Observation) -> Observation:
        """With the preset that runs: asked for where it is its turn, else where it still holds."""
        if not self._asks_preset():
            return self._with_proven(seen)
        # Counted first: a page that hangs until the deadline must not be the end of every read.
        self._fresh.told_preset(None, self._clock.monotonic())
        running = await self._running()
        self._fresh.told_preset(running, self._clock.monotonic())
        return seen if running is None else _with_running(seen, running, Quality.GOOD)

    def _with_proven(self, seen: Observation) -> Observation:
        running = self._fresh.running(self._clock.monotonic())
        return seen if running is None else _with_running(seen, running, Quality.ESTIMATED)

    def _note_uptime(self, uptime_s: float | None) -> None:
        """Less time up than before: the machine has rebooted, and its logins with it."""
        if uptime_s is not None and self._uptime_s is not None and uptime_s < self._uptime_s:
            self._session.rebooted()
        self._uptime_s = uptime_s

    def _just_written(self) -> bool:
        written_s = self._written_s
        return written_s is not None and self._clock.monotonic() - written_s <= AFTER_WRITE_S

    async def _with_wishes(self, seen: Observation) -> Observation:
        """With what the settings ask for, where it is their turn. They may be broken or refused."""
        if not self._asks_settings():
            return seen
        self._fresh.told_settings(self._clock.monotonic())
        try:
            asked = settings.wanted(await self._session.get("/settings", login=True))
        except DeviceError as error:
            _log.debug("%s: settings unknown: %s", self._name, error)
            return seen
        readings = seen.readings
        if asked.power_limit_w is not None:
            readings = {
                **readings,
                "power_limit_w": fields.reading("power_limit_w", asked.power_limit_w),
            }
        return msgspec.structs.replace(seen, readings=readings, preset_requested=asked.preset)

    async def _read_socket(self, failure: DeviceError, cause: BaseException) -> Observation:
        if self._socket is None:
            raise failure from cause
        try:
            page = await self._socket.ask("stats")
            known = self._identity.algorithm if self._identity is not None else Algorithm.UNKNOWN
            state, algorithm, readings = stats(page, known)
        except DeviceError:
            raise failure from cause
        if not self._web_failing:
            self._web_failing = True
            _log.warning("%s: reading port 4028, the web server fails: %s", self._name, failure)
        return Observation(readings=readings, state=state, algorithm=algorithm, faults=stats_faults(page))

    # ------------------------------------------------------------ rare

    async def facts(self) -> DeviceFacts:
        """Identity, ladder (empty without a credential), abilities of this machine, default password.

        Only `/info` has to answer; what stands in for another page that does not is in `recall`. Raises
        `DeviceError`. A firmware that was never tested or accepted is told apart here and warned of; no
        password is sent to it.
        """
        self._identity = found = parse.identity(await self._session.get("/info"))
        self._recall.look(found, self._clock.monotonic())
        page = await self._told("/model", self._model())
        # None: control asks for them itself before it needs them.
        self._limits = None if page is None else page.limits
        trusted = self._trust.allows(found.firmware.words)
        if not trusted and self._warned != found.firmware:
            self._warned = found.firmware
            _log.warning("%s runs %s, which was never tested: read only", self._name, found.firmware.words)
        rungs: tuple[Preset, ...] | None = ()
        if trusted and self._session.can_log_in:
            rungs = await self._told("its ladder", self._one_ladder())
        return DeviceFacts(
            model=(page.name if page is not None else None) or found.model,
            firmware=found.firmware.words,
            mac=found.mac,
            serial=found.serial or (page.serial if page is not None else None) or "",
            algorithm=found.algorithm,
            presets=rungs or (),
            capabilities=abilities.declared(
                found.firmware,
                self._limits,
                rungs or (),
                immersed=await self._is_immersed(),
                trusted=trusted,
            ),
            default_password=trusted and await self._has_default_password(entered=rungs is not None),
        )

    async def _told(self, page: str, asking: Awaitable[T]) -> T | None:
        """What a page of the facts tells, or told before; None: not told. Raises as `Recall.instead`."""
        try:
            answer = await asking
        except (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported) as error:
            _log.debug("%s: %s not read: %s", self._name, page, error)
            return cast(T | None, self._recall.instead(page, error))
        self._recall.told(page, answer)
        return answer

    async def _one_ladder(self) -> tuple[Preset, ...]:
        return one_ladder(await self._ladder())

    async def _model(self) -> abilities.ModelPage:
        """`/model`; nothing told where the firmware does not have the page (1.2.0)."""
        try:
            return abilities.model_page(fields.as_page(await self._session.get("/model"), "/model"))
        except Unsupported:
            return abilities.ModelPage()

    async def _is_immersed(self) -> bool | None:
        """Whether the machine sits in oil or water; None while it does not tell.

        Nothing stands in for it: anybody may change it at any time, and control looks again before it writes.
        """
        try:
            mode, _ = parse.cooling_mode(await self._session.get("/summary"))
        except (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported) as error:
            _log.debug("%s: how it is cooled was not read: %s", self._name, error)
            return None
        return None if mode is None else mode in parse.IMMERSED

    async def _has_default_password(self, *, entered: bool) -> bool:
        """A machine has one password: where ours let us in, the default does exactly if it is ours.

        What it would not say now is asked again with the next facts, and the last that was known stands.
        """
        now_s = self._clock.monotonic()
        if self._session.password is not None:
            if entered:
                self._default_password = self._session.password == DEFAULT_PASSWORD
        elif self._probed_s is None or now_s - self._probed_s >= PROBE_EVERY_S:
            opens = await self._session.accepts_password(DEFAULT_PASSWORD)
            if opens is not None:
                self._default_password, self._probed_s = opens, now_s
        return self._default_password is True

    # ------------------------------------------------------------ parts, logs, history

    async def boards(self) -> tuple[Board, ...]:
        """All boards by index, with serial numbers where the machine knows them. Raises `DeviceError`.

        Where the web server fails they come from the socket, as readings do.
        """
        try:
            unit = (await self._know()).hash_unit
            summary = await self._session.get("/summary")
        except (Busy, DeviceTimeout, Unreachable, MalformedReply, Unsupported) as error:
            if self._socket is None:
                raise
            known = self._identity.algorithm if self._identity is not None else Algorithm.UNKNOWN
            try:
                return stats_boards(await self._socket.ask("stats"), known)
            except DeviceError:
                raise error from None
        return parts.boards(summary, await self._factory(), unit)

    async def _factory(self) -> object:
        try:
            return await self._session.get("/chains/factory-info")
        except (Busy, DeviceTimeout, MalformedReply, Unreachable, Unsupported) as error:
            _log.debug("%s: serial numbers of boards unknown: %s", self._name, error)
            return None

    async def chips(self) -> tuple[Chip, ...]:
        """All chips by board and index, from whichever page this firmware has. Raises `DeviceError`."""
        unit = (await self._know()).hash_unit
        pages = [self._chip_page] if self._chip_page is not None else list(parts.CHIP_PAGES)
        for page in pages:
            try:
                found = parts.chips(await self._session.get(page), unit)
            except (MalformedReply, Unsupported) as error:
                # An unknown path may be a 404, or a page for people with status 200.
                _log.debug("%s: no chips at %s: %s", self._name, page, error)
                continue
            self._chip_page = page
            return found
        self._chip_page = None
        raise Unsupported(f"{self._name} has none of {', '.join(parts.CHIP_PAGES)}")

    async def pools(self) -> tuple[Pool, ...]:
        """All pools in the firmware's order, its own dev fee among them. Raises `DeviceError`."""
        return pools(await self._session.get("/summary"))

    async def log(self, name: str) -> str:
        """The newest 256 kB of log `name`. Raises `Unsupported` for another name than the declared ones."""
        known = (await self._may(Ability.LOGS)).choices
        if name not in known:
            raise Unsupported(f"{self._name} has no log {name!r}; it has {', '.join(known)}")
        return await self._session.text(f"/logs/{name}")

    async def history(self, span_s: float, step_s: float) -> History:
        """The machine's own record of the last `span_s` s (at most 72 h) in steps of `step_s` s.

        Times are the machine's clock. Raises `DeviceError`, `Unsupported` for a span that is not positive.
        """
        if not (math.isfinite(span_s) and math.isfinite(step_s) and span_s > 0 and step_s > 0):
            raise Unsupported(f"{self._name}: a history of {span_s:g} s in steps of {step_s:g} s is none")
        identity = await self._know()
        span = int(min(max(span_s, SHORTEST_STEP_S), LONGEST_S))
        # A reply is bounded, so a long span comes in longer steps.
        step = max(int(step_s), int(SHORTEST_STEP_S), math.ceil(span / MOST_POINTS))
        query = f"time_slice={span}&step={step}"
        if identity.firmware.first:
            query += f"&until={self._clock.utc_ms() // 1000}"
        return history(await self._session.get(f"/metrics?{query}"), identity.hash_unit)

    async def close(self) -> None:
        """Let go of connections."""
        for transport in self._transports:
            await transport.close()


def _with_running(seen: Observation, running: Running, quality: Quality) -> Observation:
    readings = {**seen.readings, "preset_w": fields.reading("preset_w", running.preset_w, quality)}
    return msgspec.structs.replace(seen, readings=readings, preset=running.preset)
