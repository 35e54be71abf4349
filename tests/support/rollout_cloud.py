"""The cloud of roll-out tests: versions in its registry before it starts, and a hand on its REST API."""

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from cloud.app import open_database
from cloud.config import load
from cloud.kit.keys import Keys
from cloud.migrations import runner
from cloud.models.blobs import BlobStore
from cloud.models.service import Built, register
from shared.artifacts.signing import PublicKeyEntry, Role
from shared.clock import SystemClock
from shared.ids import SiteId
from support.cloud import AUTH
from support.cloud_process import CloudProcess


def registered(
    cloud: CloudProcess, versions: Sequence[Built], *, site: str, files: Sequence[bytes] = ()
) -> tuple[PublicKeyEntry, ...]:
    """Register these blessed versions, and keep their files; the public keys that sites trust."""
    config = load(cloud.folder / "cloud.toml")
    keys = Keys.load(config.keys)

    async def fill() -> None:
        database = open_database(config)
        await runner.upgrade(database)
        for data in files:
            await BlobStore(config.data_dir / "models").put(data)
        for version in versions:
            async with database.write() as session:
                await register(
                    session,
                    [version],
                    site=SiteId(site),
                    job="j",
                    keys=keys,
                    now_ms=SystemClock().utc_ms(),
                    life_days=30,
                )
        await database.close()

    asyncio.run(fill())
    assert keys.release is not None
    pairs = ((keys.assignment, Role.ASSIGNMENT), (keys.release, Role.RELEASE))
    return tuple(PublicKeyEntry(id=k.key_id, role=role, public=k.public_text) for k, role in pairs)


def call(cloud: CloudProcess, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{cloud.port}/api/v1{path}",
        None if body is None else json.dumps(body).encode(),
        {**AUTH, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)


def until(cloud: CloudProcess, what: Callable[[], bool], seconds: float) -> None:
    """Ask until it is true; the cloud's log where it never is."""
    clock = SystemClock()
    end_s = clock.monotonic() + seconds
    while not what():
        assert clock.monotonic() < end_s, cloud.log()[-3000:]
        with contextlib.suppress(Exception):
            assert cloud.process is not None
            cloud.process.wait(timeout=0.2)


def known(cloud: CloudProcess, names: tuple[str, ...]) -> None:
    """Wait until the cloud has heard of all these sites."""
    until(cloud, lambda: {site["id"] for site in call(cloud, "/sites")["items"]} >= set(names), 60)


def state(cloud: CloudProcess, campaign: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = call(cloud, f"/campaigns/{campaign['id']}")
    return found
