"""A cloud in this process that issues certificates."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from cloud import app as cloud_app
from cloud.config import load
from cloud.identity.authority import Authority
from shared.clock import Clock
from support.cloud import TOKEN, Bench, Service, configure

DAY_MS = 86_400_000


@asynccontextmanager
async def certified_service(
    folder: Path, *, url: str | None = None, clock: Clock, more: str = ""
) -> AsyncIterator[Service]:
    """A cloud in this process that has an authority, and a broker nobody reloads (its files are written)."""
    made = Authority.create("Test CA", clock.utc_ms() - DAY_MS)
    made.save(folder / "ca.crt", folder / "ca.key")
    path = configure(folder, extra="" if url is None else f'database_url = "{url}"')
    # The broker counts as one that knows who asks; it is never spoken to.
    text = path.read_text().replace("[keys]", 'ca_file = "ca.crt"\n[keys]')
    path.write_text(f'{text}[identity]\nca_cert = "ca.crt"\nca_key = "ca.key"\nbroker_dir = "rules"\n{more}')
    async with cloud_app.running(load(path), clock, connect=False) as context:
        application = cloud_app.make_app(context, token=TOKEN)
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Service(context, client, Bench(context.database))
