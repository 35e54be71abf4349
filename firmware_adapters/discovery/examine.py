"""Everything that one device tells about itself, through its adapter, without changing anything on it.

The conversation runs under the guard of `transport.read_only` and on a tape. What cannot be read is said,
part by part: a page that fails costs its own part only. A wrong password is tried once.
"""

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module, resources
from typing import TypeVar

import msgspec

from firmware_adapters.capabilities import (
    BoardTelemetry,
    ChipTelemetry,
    Credential,
    LogReader,
    Observation,
    PoolTelemetry,
    Telemetry,
)
from firmware_adapters.discovery.log_text import pool_users, without_secrets
from firmware_adapters.discovery.plausible import plausible, plausible_board
from firmware_adapters.identify import RECOGNISERS, Trust, unjudged_warnings, without_writes
from firmware_adapters.registry import ADAPTERS, open_device
from firmware_adapters.transport.read_only import ReadOnly
from firmware_adapters.transport.tape import Tape, taping
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.clock import Clock
from shared.counters import Step, has_restarted, step
from shared.details import Board, Chip, LogTail, Pool
from shared.errors import ConfigError, DeviceError, DeviceTimeout, Unsupported
from shared.exchanges import Exchange
from shared.ids import DeviceId, ZoneId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind

COUNTERS = ("shares_accepted", "shares_rejected", "shares_stale", "hw_errors")
READ_REQUESTS = 4
"""A read is a few requests; the whole of it may take so many request time-outs."""

T = TypeVar("T")


class NotRead(msgspec.Struct, frozen=True, kw_only=True):
    """One part that is not known, and why (the failure's code and words)."""

    part: str
    code: str
    why: str


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What a device told. None is a part that could not be read; `not_read` says why."""

    adapter: str
    host: str
    port: int
    at_ms: int | None
    observation: Observation | None = None
    facts: DeviceFacts | None = None
    capabilities: tuple[Capability, ...] = ()
    boards: tuple[Board, ...] | None = None
    pools: tuple[Pool, ...] | None = None
    chips: tuple[Chip, ...] | None = None
    chips_at_ms: int | None = None
    log: LogTail | None = None
    """What a guardian kept of its log, without secrets; a look of our own leaves logs among `exchanges`."""
    counted: dict[str, Step] | None = None
    """What the counters added since a first look, where there were two."""
    counted_s: float | None = None
    not_read: tuple[NotRead, ...] = ()
    warnings: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    password_refused: bool = False


def entry_for(adapter: str, host: str, port: int) -> DeviceEntry:
    """A site entry that exists only for this look."""
    return DeviceEntry(
        id=DeviceId(f"{host}:{port}"),
        kind=DeviceKind.MINER,
        adapter=adapter,
        host=host,
        port=port,
        zone=ZoneId("probe"),
    )


class Examiner:
    """Looks at one device; every failure becomes a part that was not read."""

    def __init__(
        self,
        entry: DeviceEntry,
        credential: Credential | None,
        *,
        timeout_s: float,
        clock: Clock,
        told_firmware: str = "",
    ) -> None:
        """`timeout_s` bounds each request, `told_firmware` is the version that it told without a login.

        Raises `ConfigError` where no adapter has that name.
        """
        self._told_firmware = told_firmware
        self._entry = entry
        self._timeout_s = timeout_s
        self._clock = clock
        self._device: Telemetry = open_device(entry, credential, timeout_s=timeout_s)
        self._secrets = frozenset({credential.secret} if credential is not None else ())
        self._guard = ReadOnly(credential)
        self._tape = Tape(self._guard)
        self._not_read: list[NotRead] = []

    async def examine(
        self,
        *,
        sample: bool = True,
        again_after_s: float | None = None,
        chips: bool = False,
        logs: bool = False,
    ) -> Examined:
        """Facts, and with `sample` one read, boards and pools; a second read after `again_after_s` counts.

        With `chips` the chips, with `logs` every log that the machine has.
        """
        try:
            with taping(self._tape):
                seen = await self._look(sample=sample, again_after_s=again_after_s, chips=chips)
                if not logs:
                    return seen
                return await self._with_logs(seen)
        finally:
            await self._device.close()

    async def _with_logs(self, seen: Examined) -> Examined:
        """The same with its logs, as they came but without secrets."""
        device = self._device
        if not isinstance(device, LogReader):
            return seen
        heard = Tape(self._guard)
        with taping(heard):
            for name in choices(seen.capabilities, Ability.LOGS) or ():
                await self._part(f"log {name}", partial(device.log, name))
        hidden = self._secrets | pool_users(seen.pools or ())
        clean = (
            msgspec.structs.replace(
                one, reply=without_secrets(one.reply.decode("utf-8", "replace"), hidden).encode()
            )
            for one in heard.exchanges
        )
        return msgspec.structs.replace(
            seen,
            not_read=tuple(self._not_read),
            exchanges=(*seen.exchanges, *clean),
            password_refused=self._guard.refused_login is not None,
        )

    async def _chips(self, capabilities: tuple[Capability, ...]) -> tuple[Chip, ...] | None:
        """What it tells of its chips; None where it does not tell, or its firmware has no such page."""
        if not isinstance(self._device, ChipTelemetry) or choices(capabilities, Ability.CHIPS) is None:
            return None
        return await self._part("chips", self._device.chips)

    async def _look(self, *, sample: bool, again_after_s: float | None, chips: bool) -> Examined:
        at_ms = self._clock.utc_ms()
        seen = await self._read("sample") if sample else None
        facts = await self._part("identity, presets and abilities", self._facts)
        boards = pools = None
        if sample and isinstance(self._device, BoardTelemetry):
            boards, gone = believed(await self._part("boards", self._device.boards))
            self._not_read += gone
        if sample and isinstance(self._device, PoolTelemetry):
            pools = await self._part("pools", self._device.pools)
        counted = await self._count(seen, again_after_s) if seen is not None and again_after_s else None
        if facts is not None:
            trust = Trust.of(self._entry)
            warnings = trust.warnings(facts.firmware)
            facts = trust.judged(facts)
            capabilities = facts.capabilities
        else:
            warnings = unjudged_warnings(self._entry.adapter, self._told_firmware)
            capabilities = unjudged(self._entry.adapter)
        told_chips = await self._chips(capabilities) if chips else None
        return Examined(
            adapter=self._entry.adapter,
            host=self._entry.host,
            port=self._entry.port,
            at_ms=at_ms,
            observation=seen,
            facts=facts,
            capabilities=capabilities,
            boards=boards,
            pools=pools,
            chips=told_chips,
            chips_at_ms=self._clock.utc_ms() if told_chips is not None else None,
            counted=counted,
            counted_s=again_after_s if counted is not None else None,
            not_read=tuple(self._not_read),
            warnings=warnings,
            exchanges=tuple(self._tape.exchanges),
            password_refused=self._guard.refused_login is not None,
        )

    async def _read(self, part: str) -> Observation | None:
        """One read, of which only what can be true is believed, as the guardian would."""
        seen = await self._part(part, self._device.read)
        return None if seen is None else msgspec.structs.replace(seen, readings=plausible(seen.readings))

    async def _facts(self) -> DeviceFacts:
        """Asked again where a page is not there: an adapter waits for it once, and then does without."""
        try:
            return await self._device.facts()
        except Unsupported as error:
            page = str(error)
        found = await self._device.facts()
        self._not_read.append(NotRead(part="a page of the facts", code=Unsupported.code, why=page))
        return found

    async def _part(self, part: str, reading: Callable[[], Awaitable[T]]) -> T | None:
        try:
            async with asyncio.timeout(READ_REQUESTS * self._timeout_s):
                return await reading()
        except TimeoutError:
            failure: DeviceError = DeviceTimeout("no whole answer before the deadline")
        except DeviceError as error:
            failure = error
        self._not_read.append(NotRead(part=part, code=failure.code, why=str(failure)))
        return None

    async def _count(self, first: Observation, after_s: float) -> dict[str, Step] | None:
        await self._clock.sleep(after_s)
        second = await self._read("second look")
        if second is None:
            return None
        before, now = _values(first), _values(second)
        restarted = has_restarted(before.get("uptime_s"), now.get("uptime_s"), after_s)
        return {
            name: step(before.get(name), now.get(name), restarted=restarted)
            for name in COUNTERS
            if name in before or name in now
        }


def believed(boards: tuple[Board, ...] | None) -> tuple[tuple[Board, ...] | None, list[NotRead]]:
    """The boards without what cannot be true, and a sentence for each value that was taken away."""
    kept = []
    missing = []
    for board in boards or ():
        likely, gone = plausible_board(board)
        kept.append(likely)
        missing += [
            NotRead(
                part=f"board {board.index} {name}",
                code="out-of-range" if getattr(board, name) else "missing",
                why=f"the value cannot be true: {getattr(board, name):g}",
            )
            for name in gone
        ]
    return (None if boards is None else tuple(kept)), missing


def choices(capabilities: tuple[Capability, ...], ability: Ability) -> tuple[str, ...] | None:
    """What the ability can be asked for; None where it is not among them."""
    return next((one.choices for one in capabilities if one.ability is ability), None)


def _values(seen: Observation) -> dict[str, float]:
    return {name: reading.usable for name, reading in seen.readings.items() if reading.usable is not None}


def unjudged(adapter: str) -> tuple[Capability, ...]:
    """What may be believed of a machine that did not tell what it is: of a miner only what reads.

    Whether a control is safe to try hangs on the firmware version, and one not told is no better than one
    never seen.
    """
    promised = declared(adapter)
    return without_writes(promised) if adapter in RECOGNISERS else promised


def declared(adapter: str) -> tuple[Capability, ...]:
    """What the adapter's data file promises, for a machine that did not answer; empty where it has none."""
    module = ADAPTERS.get(adapter)
    if module is None:
        raise ConfigError(f"no adapter named {adapter!r}")
    told = getattr(import_module(module), "capabilities", None)
    if callable(told):
        return tuple(told())
    file = resources.files(module.rpartition(".")[0]).joinpath("profiles.toml")
    if not file.is_file():
        return ()
    return msgspec.convert(tomllib.loads(file.read_text("utf-8"))["capability"], tuple[Capability, ...])
