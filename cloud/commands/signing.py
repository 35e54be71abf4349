"""Orders become signed commands: one counter per site, stored with the command before it leaves."""

import msgspec
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.kit.keys import Keys
from cloud.kit.problems import BadInput, NotFound
from cloud.tables import SiteRow
from shared.artifacts.signing import Purpose, Signed
from shared.commands import MAX_COMMAND_LIFE_MS, AnyOrder, CommandBody
from shared.ids import CommandId, SiteId


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A command and its signed bytes."""

    body: CommandBody
    signed: Signed


def order_of(given: BaseModel) -> AnyOrder:
    """The order in the words of the site; raises `BadInput`."""
    return order_from(given.model_dump())


def order_from(given: dict[str, object]) -> AnyOrder:
    """As `order_of`, from what was stored."""
    try:
        order: AnyOrder = msgspec.convert(given, type=AnyOrder)
    except msgspec.ValidationError as error:
        raise BadInput(f"order: {error}") from error
    return order


async def seal(
    session: AsyncSession,
    keys: Keys,
    *,
    command: CommandId,
    site: str,
    actor: str,
    order: AnyOrder,
    life_s: int,
    now_ms: int,
) -> Sealed:
    """Sign it with the site's next counter; raises `NotFound`."""
    row = await session.get(SiteRow, site, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no site {site!r}")
    # Time as the floor: a database restored from an old copy must not re-use counters that sites have seen.
    row.command_counter = max(row.command_counter + 1, now_ms)
    body = CommandBody(
        id=command,
        site=SiteId(site),
        issued_ms=now_ms,
        expires_ms=now_ms + min(life_s * 1000, MAX_COMMAND_LIFE_MS),
        counter=row.command_counter,
        actor=actor,
        order=order,
    )
    return Sealed(body=body, signed=keys.command.sign(Purpose.COMMAND, msgspec.msgpack.encode(body)))
