"""`minewarden cloud publish-keyring`: leave a root-signed keyring at the broker for sites to take over.

It is kept in the database first: the running cloud publishes it again to a broker that lost its memory, and
to sites that come later. It stays retained, so a site that is offline today takes it over when it comes back.
"""

import argparse
import asyncio
from pathlib import Path

import msgspec
from sqlalchemy import select

from cloud.config import CloudConfig
from cloud.identity import keyrings
from cloud.kit.broker import Link, command_login
from cloud.kit.database import Database
from cloud.kit.problems import Unavailable
from cloud.tables import SiteRow
from shared.artifacts.keyring_update import KeyringUpdate
from shared.artifacts.signing import Signed
from shared.clock import Clock
from shared.errors import ConfigError, WireError
from shared.ids import SiteId
from shared.wire import codec, topics

CONNECT_S = 10.0


async def publish(config: CloudConfig, given: argparse.Namespace, database: Database, clock: Clock) -> int:
    """Publish the file to the named sites, else to those that it names, else to all; closes the database.

    Raises `ConfigError` for a file that is no signed keyring or too old a one, `Unavailable` without a
    broker: then it is kept, and the running cloud publishes it.
    """
    try:
        signed, update = _read(given.file)
        async with database.read() as session:
            known = set(await session.scalars(select(SiteRow.id)))
        named = given.site or update.sites
        if strangers := sorted(set(named) - known):
            raise ConfigError(f"no such site: {', '.join(strangers)}; nothing was published")
        async with database.write() as session:
            await keyrings.keep(session, signed, update, named, clock.utc_ms())
    finally:
        await database.close()
    wanted = named or sorted(known)
    if not wanted:
        print(f"keyring version {update.version} is kept; no site is known yet")
        return 0
    # A role of its own: the running cloud's connection must not be taken over by ours.
    link = Link(config.broker, msgspec.structs.replace(command_login(config.broker), role="keyring"))
    up = asyncio.Event()
    link.on_up = up.set
    link.start()
    try:
        async with asyncio.timeout(CONNECT_S):
            await up.wait()
        for site in wanted:
            await link.send(topics.keyring(SiteId(site)), codec.encode(signed), retain=True)
            print(f"{site}: keyring version {update.version} is at the broker")
    except (TimeoutError, Unavailable) as error:
        why = str(error) or (
            f"no connection to the broker {config.broker.host}:{config.broker.port} in {CONNECT_S:.0f} s"
        )
        raise Unavailable(
            f"{why}; the keyring is kept, and a running cloud publishes it when the broker is there"
        ) from error
    finally:
        await link.stop()
    return 0


def _read(path: Path) -> tuple[Signed, KeyringUpdate]:
    try:
        signed = codec.decode(path.read_bytes(), Signed)
        return signed, msgspec.msgpack.decode(signed.payload, type=KeyringUpdate)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (WireError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: not a signed keyring; 'minewarden keys root-sign' makes one ({error})"
        ) from error
