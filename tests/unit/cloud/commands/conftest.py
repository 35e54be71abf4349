"""A cloud with a site, and a command link that keeps what was published."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.artifacts.signing import Keyring, PublicKeyEntry, Role
from support.cloud import Service, born, migrated, service
from support.commands import Outbound


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, made once: most of a small test's time would be the migrations."""
    path = tmp_path_factory.mktemp("template") / "cloud.db"

    async def make() -> None:
        async with migrated(f"sqlite+aiosqlite:///{path}"):
            pass

    asyncio.run(make())
    return path


@pytest.fixture
async def cloud(tmp_path: Path, empty_database: Path) -> AsyncIterator[Service]:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(empty_database, data / "cloud.db")
    async with service(tmp_path) as running:
        await running.bench.commit(born())
        yield running


@pytest.fixture
def outbound(cloud: Service, monkeypatch: pytest.MonkeyPatch) -> Outbound:
    fake = Outbound()
    link = cloud.context.command_link
    monkeypatch.setattr(link, "send", fake.send)
    monkeypatch.setattr(type(link), "is_up", property(lambda _self: fake.is_up))
    return fake


@pytest.fixture
def keyring(cloud: Service) -> Keyring:
    key = cloud.context.keys.command
    return Keyring((PublicKeyEntry(id=key.key_id, role=Role.COMMAND, public=key.public_text),))
