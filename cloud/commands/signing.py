"""Orders become signed commands: one counter per site, stored with the command before it leaves."""

import logging

import msgspec
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from cloud.commands import repository
from cloud.commands.ordering import COUNTER_AHEAD_MS
from cloud.kit.keys import Keys
from cloud.kit.problems import BadInput, NotFound
from cloud.tables import SiteRow
from shared.artifacts.signing import Purpose, Signed
from shared.commands import MAX_COMMAND_LIFE_MS, AnyOrder, CommandBody
from shared.ids import CommandId, SiteId

_log = logging.getLogger(__name__)


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
    row.command_counter = await _next_counter(session, row, now_ms)
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


async def _next_counter(session: AsyncSession, site: SiteRow, now_ms: int) -> int:
    """The next counter that the site's guardian takes.

    Time is the floor: a database restored from an old copy must not re-use counters that sites have seen.
    The ceiling is the guardian's own rule, a day above the clock or above the last that it took: what a clock
    that ran ahead left behind is given up, or each later order would be refused, a safe-stop too.
    """
    counter = max(site.command_counter + 1, now_ms)
    if counter <= now_ms + COUNTER_AHEAD_MS:
        return counter
    taken = await repository.highest_taken(session, site.id)
    if counter <= taken + COUNTER_AHEAD_MS:
        return counter
    again = max(taken + 1, now_ms)
    _log.warning(
        "site %s: counter %s is more than a day ahead (did this machine's clock run ahead?) and the site is "
        "not known to have taken it; counting from %s",
        site.id,
        counter,
        again,
    )
    return again
