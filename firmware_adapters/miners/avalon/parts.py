"""Boards and chips of an Avalon, out of its brackets, and its pools. Pure; raises only `MalformedReply`."""

from firmware_adapters.miners.avalon import parse
from firmware_adapters.miners.avalon.brackets import amount, numbers
from firmware_adapters.miners.avalon.parse import Stats
from firmware_adapters.miners.cgminer import pool_state
from firmware_adapters.miners.fields import Object, children, flag, text
from firmware_adapters.miners.fields import amount as amount_of
from shared.details import Board, Chip, Pool
from shared.errors import MalformedReply
from shared.units import ghs_to_ths

_UNIX = 1e9
"""A smaller number of seconds is no date: the recorded machine prints such `Last Share Time`s."""


def boards(seen: Stats) -> tuple[Board, ...]:
    """The boards that the brackets tell of, as far as each thing is told per board."""
    heats = parse.chip_temperatures(seen)
    rates = numbers(seen.module, "MGHS")
    count = max(len(heats), len(seen.boards), len(numbers(seen.module, "MTmax")), 1 if rates else 0)
    count = max(count, len(rates) if len(rates) > 1 else 0)
    return tuple(_board(seen, index, count, heats) for index in range(min(count, 16)))


def _board(seen: Stats, index: int, count: int, heats: list[list[float]]) -> Board:
    module = seen.module
    chips = heats[index] if index < len(heats) else []
    known = [] if seen.rests else [value for value in chips if value]
    hottest = numbers(module, "MTmax")
    told = hottest[index] if index < len(hottest) else None
    alone = count == 1
    now, rates = amount(module, "GHSspd"), numbers(module, "MGHS")
    ghs = now if alone and now is not None else rates[index] if len(rates) == count else None
    nominal = amount(module, "GHSmm") if alone else None
    names = ("HBITemp", "HBOTemp") if alone else ()
    ends = [value for name in names if (value := parse.celsius(module, name)) is not None]
    return Board(
        index=index,
        hashrate_ths=None if ghs is None else ghs_to_ths(ghs),
        hashrate_nominal_ths=ghs_to_ths(nominal) if nominal else None,
        chip_temp_max_c=told or max(known, default=None),
        chip_temp_min_c=min(known, default=None),
        board_temp_max_c=max(ends, default=None),
        board_temp_min_c=min(ends, default=None),
        frequency_mhz=amount(module, "Freq") or None,
        voltage_v=parse.supply_voltage_v(seen),
        chips=len(chips) or None,
    )


def chips(seen: Stats) -> tuple[Chip, ...]:
    """The chips by board; what a machine at rest prints of them is of an earlier time and so left out."""
    volts = parse.chip_values(seen, "PVT_V")
    found = []
    for board, heats in enumerate(parse.chip_temperatures(seen)):
        millivolts = volts[board] if board < len(volts) and len(volts[board]) == len(heats) else []
        for index, celsius in enumerate(heats):
            volt = millivolts[index] / 1000 if millivolts and millivolts[index] > 0 else None
            live = not seen.rests
            found.append(
                Chip(
                    board=board,
                    index=index,
                    temp_c=(celsius or None) if live else None,
                    voltage_v=volt if live else None,
                )
            )
    return tuple(found)


def pools(body: object) -> tuple[Pool, ...]:
    """The pools in their order. Raises `MalformedReply` where the reply holds none such."""
    page = body if isinstance(body, dict) else {}
    if not isinstance(page.get("POOLS"), list):
        raise MalformedReply("pools: there are none in the reply")
    now_s = parse.clock_s(page)
    return tuple(_pool(said, position, now_s) for position, said in enumerate(children(page, "POOLS")))


def _pool(said: Object, position: int, now_s: float | None) -> Pool:
    own = amount_of(said, "POOL")
    share_s = amount_of(said, "Last Share Time")
    known = now_s is not None and share_s is not None and share_s >= _UNIX
    return Pool(
        index=int(own) if own is not None and own < 100 else position,
        url=text(said, "URL") or text(said, "Stratum URL") or "",
        user=text(said, "User") or "",
        state=pool_state(text(said, "Status") or "", active=flag(said, "Stratum Active")),
        accepted=amount_of(said, "Accepted"),
        rejected=amount_of(said, "Rejected"),
        stale=amount_of(said, "Stale"),
        last_share_age_s=max((now_s or 0.0) - (share_s or 0.0), 0.0) if known else None,
    )
