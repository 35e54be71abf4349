"""The HTTPS way of a model file: one range request per missing chunk, each checked by its own digest.

The cloud serves a file only to the site that it is assigned to. The ticket is the assignment that the site
was sent over its own MQTT connection: its counter and its signature, which nobody else has, good for as long
as it is the site's newest. Where the gateway has a client certificate, TLS presents it as well.
"""

import asyncio
import base64
import ssl
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from edge_agent.agent.inference.fetch import Fetch
from edge_agent.agent.service import log
from edge_agent.config.structs import Uplink
from shared.artifacts.manifest import Assignment
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.errors import ArtifactError
from shared.wire.envelope import CHUNK_BYTES, Chunk

RETRY_S: Final = 60.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60.0, sock_connect=10.0, sock_read=20.0)


class BlobHttp:
    """Fetches chunks by HTTPS for as long as that works; where it does not, MQTT takes over for a minute."""

    def __init__(self, uplink: Uplink, clock: Clock) -> None:
        self._uplink = uplink
        self._base = (uplink.model_url or "").rstrip("/")
        self._clock = clock
        self._not_before_s = 0.0
        self.failures = 0

    def _tls(self) -> ssl.SSLContext:
        """Made anew for each fetch, because certificates rotate."""
        context = ssl.create_default_context()
        if self._uplink.ca_file is not None:
            context.load_verify_locations(self._uplink.ca_file)
        if self._uplink.cert_file is not None:
            context.load_cert_chain(self._uplink.cert_file, self._uplink.key_file)
        return context

    async def fill(self, fetch: Fetch, signed: Signed, *, stop: Callable[[], bool]) -> int:
        """Fetch what is missing; returns how many chunks came. Never raises for a bad answer."""
        if self._clock.monotonic() < self._not_before_s:
            return 0
        taken = 0
        try:
            connector = aiohttp.TCPConnector(ssl=await asyncio.to_thread(self._tls))
            async with aiohttp.ClientSession(
                connector=connector, timeout=_TIMEOUT, headers=_ticket(signed)
            ) as session:
                for number in fetch.missing:
                    if stop():
                        break
                    await self._one(session, fetch, number)
                    taken += 1
        except (aiohttp.ClientError, TimeoutError, OSError, ArtifactError) as error:
            self.failures += 1
            self._not_before_s = self._clock.monotonic() + RETRY_S
            log.warning(
                "model file over https stopped after %d chunks, mqtt takes over: %s",
                taken,
                error or type(error).__name__,
            )
        return taken

    async def _one(self, session: aiohttp.ClientSession, fetch: Fetch, number: int) -> None:
        if not fetch.take(await self._chunk(session, fetch, number)):
            raise ArtifactError(f"chunk {number} is not what its digest says")

    async def _chunk(self, session: aiohttp.ClientSession, fetch: Fetch, number: int) -> Chunk:
        first = number * CHUNK_BYTES
        last = min(first + CHUNK_BYTES, fetch.manifest.size) - 1
        url = f"{self._base}/api/v1/blobs/{fetch.manifest.sha256}"
        asked = session.get(url, headers={"Range": f"bytes={first}-{last}"}, allow_redirects=False)
        async with asked as answer:
            if answer.status != 206:
                raise ArtifactError(f"{url} answered {answer.status}, expected 206 (a part)")
            if answer.headers.get("Content-Range") != f"bytes {first}-{last}/{fetch.manifest.size}":
                raise ArtifactError(f"{url} sent another part: {answer.headers.get('Content-Range')}")
            # One byte more than asked would show a server that sends without end.
            data = b""
            while len(data) <= last - first + 1:
                part = await answer.content.read(last - first + 2 - len(data))
                if not part:
                    break
                data += part
            return Chunk(
                sha256=fetch.manifest.sha256,
                number=number,
                total=fetch.total,
                chunk_sha256=_digest_of(answer.headers.get("Content-Digest", "")),
                data=data,
            )


def ticket_of(signed: Signed) -> str:
    """`<site>.<counter>.<signature>`: what the cloud compares with the assignment it made."""
    assignment = msgspec.msgpack.decode(signed.payload, type=Assignment)
    signature = base64.urlsafe_b64encode(signed.signatures[0].value).decode().rstrip("=")
    return f"{assignment.site}.{assignment.counter}.{signature}"


def _ticket(signed: Signed) -> dict[str, str]:
    return {"Authorization": f"Assignment {ticket_of(signed)}"}


def _digest_of(header: str) -> str:
    """Hex SHA-256 of a `Content-Digest` header (RFC 9530), empty where there is none."""
    for field in header.split(","):
        name, _, value = field.strip().partition("=")
        if name.lower() == "sha-256" and value.startswith(":") and value.endswith(":"):
            try:
                return base64.b64decode(value[1:-1], validate=True).hex()
            except ValueError:
                return ""
    return ""
