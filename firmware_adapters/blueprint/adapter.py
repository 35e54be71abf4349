"""The Blueprint OS adapter: copy me. One object per machine; only this file does I/O.

Say here what is read when. A read is one request, `GET /status`. Commands carry the machine's key in a
header; they return once the machine has accepted them, and what came of them is for a later read to tell.
"""

import asyncio
from http import HTTPStatus

from firmware_adapters.blueprint import parse
from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.miners.declared import declared
from firmware_adapters.miners.fields import Object, decode
from firmware_adapters.transport.http import HttpReply, HttpTransport
from firmware_adapters.transport.http_client import HttpClient
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import AuthFailed, Busy, DeviceTimeout, MalformedReply, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind
from shared.units import Algorithm


def capabilities() -> tuple[Capability, ...]:
    """The declared abilities, from `profiles.toml`."""
    return declared(__package__)


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> "BlueprintAdapter":
    """The adapter for one site entry; connects lazily, so this never waits."""
    http = HttpClient(entry.host, entry.port, timeout_s=timeout_s)
    return BlueprintAdapter(http, credential, timeout_s=timeout_s, name=entry.id)


class BlueprintAdapter:
    """Telemetry, stop and start, and throttling of one machine. `timeout_s` bounds one whole `read()`."""

    kind = DeviceKind.MINER

    def __init__(
        self,
        http: HttpTransport,
        credential: Credential | None,
        *,
        timeout_s: float,
        name: str = "blueprint",
    ) -> None:
        self._http = http
        self._credential = credential
        self._timeout_s = timeout_s
        self._name = name

    # ------------------------------------------------------------ reading

    async def read(self) -> Observation:
        """State and readings. Raises `DeviceError`."""
        page = await self._status()
        return Observation(
            readings=parse.readings(page), state=parse.state(page), algorithm=Algorithm.SHA256D
        )

    async def facts(self) -> DeviceFacts:
        """Identity and abilities. Raises `DeviceError`."""
        found = parse.identity(await self._status())
        return DeviceFacts(
            model=found.model,
            firmware=found.firmware,
            mac=found.mac,
            algorithm=Algorithm.SHA256D,
            capabilities=capabilities(),
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()

    async def _status(self) -> Object:
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._send("GET", "/status")
        except TimeoutError as error:
            raise DeviceTimeout(f"{self._name}: no whole answer in time") from error
        return parse.status(decode(reply.body, "/status"))

    # ------------------------------------------------------------ control

    async def stop_mining(self) -> None:
        """Ask to stop. Raises `Busy` where the state does not allow it, as on a machine that is stopped."""
        await self._send("POST", "/mining", {"run": False})

    async def start_mining(self) -> None:
        """Ask to start. Raises `Busy` where the state does not allow it, as on a machine that runs."""
        await self._send("POST", "/mining", {"run": True})

    async def set_throttle(self, percent: float) -> None:
        """Ask for `percent` (%); 100 takes it back. Raises `Unsupported` outside the declared range."""
        span = next(found for found in capabilities() if found.ability is Ability.THROTTLE)
        low, high = span.low or 0.0, span.high or 100.0
        if not low <= percent <= high:
            raise Unsupported(f"{self._name}: a throttle of {percent:g} % is outside {low:g}..{high:g} %")
        await self._send("POST", "/power", {"level": round(percent)})

    # ------------------------------------------------------------ requests

    async def _send(self, method: str, path: str, body: object | None = None) -> HttpReply:
        """One request, and its status as a typed failure: this table is the firmware's own. After a 200 to a
        command nothing here may fail, whatever the body says, because the command was accepted."""
        headers = {"X-Key": self._credential.secret} if self._credential is not None else {}
        reply = await self._http.request(method, path, body, headers)
        if reply.status == HTTPStatus.OK:
            return reply
        where = f"{method} {path}: HTTP {reply.status}"
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise AuthFailed(f"{where}: the key was refused")
        if reply.status in (HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS):
            raise Busy(where)
        if reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            raise Unsupported(where)
        raise MalformedReply(f"{where}: not a status that Blueprint OS gives")
