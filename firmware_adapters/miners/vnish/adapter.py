"""The VNish adapter: one object per machine, over its HTTP API with the 4028 socket as a read-only fallback.

Cadence: `/status` and `/summary` on every read (neither needs a login); `/perf-summary` on every
`PRESET_EVERY`-th and on each read within `AFTER_WRITE_S` of a preset write; `/info` on every `SLOW_EVERY`-th.
A read that did not ask which preset runs says `preset=None`: unknown, never what it was earlier.
"""

import asyncio
import logging
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import msgspec

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.miners.vnish import fields, ladder, parse
from firmware_adapters.miners.vnish.ladder import Running
from firmware_adapters.miners.vnish.parse import Identity
from firmware_adapters.miners.vnish.session import Session
from firmware_adapters.miners.vnish.stats import stats
from firmware_adapters.transport.http import AiohttpTransport, HttpTransport
from firmware_adapters.transport.line_json import CGMINER_PORT, LineClient, LineTransport
from shared.capabilities import Capability, DeviceFacts, Preset
from shared.clock import Clock, SystemClock
from shared.errors import Busy, DeviceError, DeviceTimeout, MalformedReply, Unreachable, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind, MinerState, Reading
from shared.units import Algorithm

PRESET_EVERY = 2
"""Every roll-up step of two polls or more knows the running preset then; the features need it."""
SLOW_EVERY = 5
AFTER_WRITE_S = 120.0
DEFAULT_PASSWORD = "admin"
"""The vendor's published default, looked for to raise an alarm."""
PROBE_EVERY_S = 86_400.0
"""How often a machine that we enter without its password is asked whether the default still opens it."""
_WEB_SHARE = 2 / 3
"""Part of a read's time that the web server gets before the 4028 socket is asked."""

_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def capabilities() -> tuple[Capability, ...]:
    """The declared abilities, from `profiles.toml`."""
    text = resources.files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["capability"], tuple[Capability, ...], strict=True)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "VnishAdapter":
    """The adapter for one site entry; connects lazily.

    A real machine has its socket on 4028 beside HTTP on 80. Emulated machines cannot bind such ports: there
    the socket is on `entry.port + 1`.
    """
    socket_port = CGMINER_PORT if entry.port == 80 else entry.port + 1
    return VnishAdapter(
        AiohttpTransport(entry.host, entry.port, timeout_s=timeout_s),
        credential,
        timeout_s=timeout_s,
        socket=LineClient(entry.host, socket_port, timeout_s=timeout_s * (1 - _WEB_SHARE)),
        name=entry.id,
    )


class VnishAdapter:
    """Telemetry, preset and mining control of one VNish machine.

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
        clock: Clock | None = None,
        name: str = "vnish",
    ) -> None:
        self._http = http
        self._clock = clock or SystemClock()
        self._session = Session(http, credential, self._clock)
        self._socket = socket
        self._web_s = timeout_s * _WEB_SHARE if socket is not None else timeout_s
        self._name = name
        self._identity: Identity | None = None
        self._reads = 0
        self._preset_written_s: float | None = None
        self._default_password: bool | None = None
        self._probed_s: float | None = None
        self._web_failing = False

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings, see the module's text for what is asked when. Raises `DeviceError`.

        Where the web server hangs or talks nonsense, the 4028 socket answers instead: fewer readings, no
        preset. Where that fails too, the web server's failure is the one raised.
        """
        try:
            async with asyncio.timeout(self._web_s):
                seen = await self._read_web()
        except TimeoutError as error:
            return await self._read_socket(DeviceTimeout(f"{self._name}: no whole answer in time"), error)
        except (DeviceTimeout, Unreachable, MalformedReply) as error:
            return await self._read_socket(error, error)
        if self._web_failing:
            self._web_failing = False
            _log.info("%s: the web server answers again", self._name)
        return seen

    async def _read_web(self) -> Observation:
        slow = self._reads % SLOW_EVERY == 0
        status = parse.status(await self._session.get("/status"))
        uptime_s = None
        if slow or self._identity is None:
            self._identity = parse.identity(await self._session.get("/info"))
            uptime_s = self._identity.uptime_s
        readings = parse.summary(await self._session.get("/summary"), self._identity.hash_unit)
        asks_preset = self._reads % PRESET_EVERY == 0 or self._just_written()
        running = await self._running() if asks_preset else None
        self._reads += 1
        if uptime_s is not None:
            readings["uptime_s"] = Reading(uptime_s)
        if status.throttle_pct is not None:
            readings["throttle_pct"] = Reading(status.throttle_pct)
        if running is not None:
            readings["preset_w"] = fields.reading(running.preset_w)
        return Observation(
            readings=readings,
            state=status.state,
            preset=running.preset if running is not None else None,
            algorithm=self._identity.algorithm,
        )

    async def _running(self) -> Running | None:
        """The running preset; a page that does not answer costs the preset, not the whole read."""
        try:
            return ladder.running(await self._session.get("/perf-summary"))
        except (Busy, MalformedReply, Unsupported) as error:
            _log.debug("%s: running preset unknown: %s", self._name, error)
            return None

    def _just_written(self) -> bool:
        written_s = self._preset_written_s
        return written_s is not None and self._clock.monotonic() - written_s <= AFTER_WRITE_S

    async def _read_socket(self, failure: DeviceError, cause: BaseException) -> Observation:
        if self._socket is None:
            raise failure from cause
        try:
            state, readings = stats(await self._socket.ask("stats"))
        except DeviceError:
            raise failure from cause
        if not self._web_failing:
            self._web_failing = True
            _log.warning("%s: reading port 4028, the web server fails: %s", self._name, failure)
        algorithm = self._identity.algorithm if self._identity is not None else Algorithm.UNKNOWN
        return Observation(readings=readings, state=state, algorithm=algorithm)

    # ------------------------------------------------------------ rare

    async def facts(self) -> DeviceFacts:
        """Identity, ladder (empty without a credential), abilities, default password.

        Raises `DeviceError`.
        """
        self._identity = found = parse.identity(await self._session.get("/info"))
        model = fields.as_object(await self._session.get("/model"))
        ladder = await self._ladder() if self._session.can_log_in else ()
        return DeviceFacts(
            model=fields.text(model, "full_name") or found.model,
            firmware=found.firmware,
            mac=found.mac,
            serial=found.serial or fields.text(model, "serial") or "",
            algorithm=found.algorithm,
            presets=ladder,
            capabilities=capabilities(),
            default_password=await self._has_default_password(),
        )

    async def _ladder(self) -> tuple[Preset, ...]:
        return ladder.presets(await self._session.get("/autotune/presets", login=True))

    async def _has_default_password(self) -> bool:
        """A machine has one password: where ours let us in, the default does exactly if it is ours."""
        if self._session.password is not None:
            return self._session.password == DEFAULT_PASSWORD
        now_s = self._clock.monotonic()
        if (
            self._default_password is None
            or self._probed_s is None
            or now_s - self._probed_s >= PROBE_EVERY_S
        ):
            self._probed_s = now_s
            self._default_password = await self._session.accepts_password(DEFAULT_PASSWORD)
        return self._default_password is True

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()

    # ------------------------------------------------------------ control

    async def set_preset(self, name: str) -> None:
        """Ask for a tuned rung of the machine's own ladder, with the switcher's ceiling moved to it.

        A machine that is mining is restarted where the firmware wants that; one that is stopped stays so.
        Raises `Unsupported` for a rung that is unknown or untuned (tuning runs for hours at full power),
        `Busy` where the machine refuses now, and what any request raises.
        """
        ladder = await self._ladder()
        self._check_rung(name, ladder)
        overclock: dict[str, object] = {"preset": name}
        # Unknown switcher or not: a preset that is lowered without its ceiling is better than none lowered.
        running = await self._running()
        if running and running.switcher and fields.flag(running.switcher, "enabled") is not False:
            overclock["preset_switcher"] = _held_at(name, running.switcher, ladder)
        self._preset_written_s = self._clock.monotonic()
        saved = await self._session.post("/settings", {"miner": {"overclock": overclock}})
        await self._obey(saved)

    def _check_rung(self, name: str, ladder: Sequence[Preset]) -> None:
        rung = next((rung for rung in ladder if rung.name == name), None)
        if rung is None:
            raise Unsupported(
                f"{self._name} has no preset {name!r}; it has {', '.join(r.name for r in ladder)}"
            )
        if not rung.tuned:
            raise Unsupported(f"{self._name}: preset {name!r} is not tuned; selecting it would start tuning")

    async def _obey(self, saved: fields.Object | None) -> None:
        """Restart mining if the change needs it. `/status` is asked as well: the reply may have been empty,
        and restarting a stopped machine would start it."""
        status = parse.status(await self._session.get("/status"))
        if fields.flag(saved, "reboot_required"):
            # A reboot ends in mining, so it is never a side effect; read-back will not confirm.
            _log.warning("%s: the setting waits for a reboot", self._name)
        wanted = fields.flag(saved, "restart_required") or status.restart_required
        if wanted and status.state.draws_power and status.state is not MinerState.SHUTTING_DOWN:
            await self._session.post("/mining/restart")

    async def stop_mining(self) -> None:
        """Ask to stop. Raises `Busy` where the state does not allow it, as on a machine that is stopped."""
        await self._session.post("/mining/stop")

    async def start_mining(self) -> None:
        """Ask to start. Raises `Busy` where the state does not allow it, as on a machine that is mining."""
        await self._session.post("/mining/start")


def _held_at(name: str, switcher: fields.Object, ladder: Sequence[Preset]) -> fields.Object:
    """The switcher as it is, but with `name` as its ceiling; it would climb back to a higher one by itself.

    Sent whole, because whether the firmware merges a part of it is not known.
    """
    watts = {rung.name: rung.power_w for rung in ladder}
    held = {**switcher, "top_preset": name, "autochange_top_preset": False}
    floor = fields.text(switcher, "min_preset")
    if floor is not None and watts.get(floor, 0.0) > watts[name]:
        held["min_preset"] = name
    return held
