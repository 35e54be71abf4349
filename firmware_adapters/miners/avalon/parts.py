"""Boards and chips of an Avalon, out of its brackets, and its pools. Pure; raises only `MalformedReply`."""

from firmware_adapters.miners.avalon import parse
from firmware_adapters.miners.avalon.brackets import amount, numbers
from firmware_adapters.miners.avalon.parse import Module, Stats
from firmware_adapters.miners.cgminer import pool_state
from firmware_adapters.miners.fields import Object, children, flag, text
from firmware_adapters.miners.fields import amount as amount_of
from shared.details import Board, Chip, Pool
from shared.errors import MalformedReply
from shared.units import ghs_to_ths

_MOST = 16
"""Boards of one module."""
_UNIX = 1e9
"""A smaller number of seconds is no date: the recorded machine prints such `Last Share Time`s."""


def boards(seen: Stats) -> tuple[Board, ...]:
    """The boards that the brackets tell of, as far as each thing is told per board; numbered through the
    modules."""
    found: list[Board] = []
    for module in seen.modules:
        heats = parse.chip_values(module, "PVT_T")
        count = min(_count(module, heats), _MOST)
        found += [_board(module, place, count, heats, len(found) + place) for place in range(count)]
    return tuple(found)


def _count(module: Module, heats: list[list[float]]) -> int:
    rates = numbers(module.said, "MGHS")
    return max(len(heats), len(module.boards), len(numbers(module.said, "MTmax")), len(rates))


def _board(module: Module, place: int, count: int, heats: list[list[float]], index: int) -> Board:
    """The board at `place` of its module's `count`; `index` is its number in the machine."""
    said = module.said
    chips = heats[place] if place < len(heats) else []
    known = [] if module.rests else [value for value in chips if value]
    hottest = numbers(said, "MTmax")
    told = hottest[place] if place < len(hottest) else None
    alone = count == 1
    now, rates = amount(said, "GHSspd"), numbers(said, "MGHS")
    ghs = now if alone and now is not None else rates[place] if len(rates) == count else None
    nominal = amount(said, "GHSmm") if alone else None
    names = ("HBITemp", "HBOTemp") if alone else ()
    ends = [value for name in names if (value := parse.celsius(said, name)) is not None]
    return Board(
        index=index,
        hashrate_ths=None if ghs is None else ghs_to_ths(ghs),
        hashrate_nominal_ths=ghs_to_ths(nominal) if nominal else None,
        chip_temp_max_c=told or max(known, default=None),
        chip_temp_min_c=min(known, default=None),
        board_temp_max_c=max(ends, default=None),
        board_temp_min_c=min(ends, default=None),
        frequency_mhz=amount(said, "Freq") or None,
        voltage_v=parse.supply_voltage_v(module),
        chips=len(chips) or None,
    )


def chips(seen: Stats) -> tuple[Chip, ...]:
    """The chips by board; what a module at rest prints of them is of an earlier time and so left out."""
    found: list[Chip] = []
    before = 0
    for module in seen.modules:
        heats = parse.chip_values(module, "PVT_T")
        volts = parse.chip_values(module, "PVT_V")
        for place, board in enumerate(heats[:_MOST]):
            millivolts = volts[place] if place < len(volts) else []
            found += _chips(module, before + place, board, millivolts)
        before += min(_count(module, heats), _MOST)
    return tuple(found)


def _chips(module: Module, board: int, heats: list[float], millivolts: list[float]) -> list[Chip]:
    live = not module.rests
    told = millivolts if live and len(millivolts) == len(heats) else [0.0] * len(heats)
    return [
        Chip(
            board=board,
            index=index,
            temp_c=(celsius or None) if live else None,
            voltage_v=millivolt / 1000 if millivolt > 0 else None,
        )
        for index, (celsius, millivolt) in enumerate(zip(heats, told, strict=True))
    ]


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
