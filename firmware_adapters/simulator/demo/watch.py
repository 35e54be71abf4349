"""What the demo can see from outside: the cloud's REST, the agent's status page, the simulator's truth."""

import asyncio
from types import TracebackType
from typing import Any, Self, cast

import aiohttp

from firmware_adapters.simulator.demo.files import MINEWARDEN, SITE
from firmware_adapters.simulator.demo.layout import Layout

Json = dict[str, Any]


class Watch:
    """Reads (and, with the token, writes) over HTTP. A service that is not up yet reads as None."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # -- reading

    async def cloud(self, path: str) -> Json | None:
        """GET below `/api/v1`."""
        return await self._get(f"{self._layout.cloud_url}/api/v1{path}")

    async def cloud_ready(self) -> bool:
        return await self._get(f"{self._layout.cloud_url}/health/ready") is not None

    async def agent(self) -> Json | None:
        """The agent's status page as JSON."""
        return await self._get(f"{self._layout.agent_url}/status.json")

    async def truth(self) -> Json | None:
        """What the simulator knows and no process of the product may see."""
        return await self._get(f"{self._layout.fault_url}/truth")

    async def simulator_ready(self) -> bool:
        return await self._get(f"{self._layout.fault_url}/health") is not None

    async def site(self) -> Json | None:
        return await self.cloud(f"/sites/{SITE}")

    async def devices(self) -> list[Json]:
        return await self._items(f"/sites/{SITE}/devices")

    async def events(self, kind: str, *, limit: int = 200) -> list[Json]:
        """The newest events of one kind, from the cloud's automation log."""
        return await self._items(f"/events?site={SITE}&kind={kind}&limit={limit}")

    async def alarms(self) -> list[Json]:
        return await self._items(f"/alarms?site={SITE}&state=all&limit=200")

    async def rollouts(self) -> list[Json]:
        return await self._items(f"/rollouts?site={SITE}")

    async def _items(self, path: str) -> list[Json]:
        reply = await self.cloud(path)
        return cast(list[Json], reply["items"]) if reply else []

    async def _get(self, url: str) -> Json | None:
        try:
            async with self._open.get(url) as reply:
                if reply.status != 200:
                    return None
                return cast(Json, await reply.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    # -- acting

    async def write(self, path: str, body: Json) -> Json:
        """POST below `/api/v1` with the token; raises `RuntimeError` with the problem's own words."""
        token = self._layout.token_file.read_text().strip()
        url = f"{self._layout.cloud_url}/api/v1{path}"
        headers = {"Authorization": f"Bearer {token}"}
        async with self._open.post(url, json=body, headers=headers) as reply:
            text = await reply.text()
            if reply.status >= 300:
                raise RuntimeError(f"POST {path}: {reply.status} {text}")
            return cast(Json, await reply.json(content_type=None))

    async def fault(self, name: str, target: str, **details: float) -> None:
        """Break something in the plant."""
        body = {"name": name, "target": target, **details}
        async with self._open.post(f"{self._layout.fault_url}/faults", json=body) as reply:
            if reply.status >= 300:
                raise RuntimeError(f"fault {name} on {target}: {reply.status} {await reply.text()}")

    async def clear_fault(self, name: str, target: str) -> None:
        body = {"name": name, "target": target}
        async with self._open.delete(f"{self._layout.fault_url}/faults", json=body) as reply:
            if reply.status >= 300:
                raise RuntimeError(f"clearing {name} on {target}: {reply.status} {await reply.text()}")

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a `minewarden` command as an operator would; returns exit code and output."""
        process = await asyncio.create_subprocess_exec(
            *MINEWARDEN, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace").strip()

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Watch with 'async with'")
        return self._session
