"""Boards and chips of an Avalon, out of its brackets, and its pools. Pure; raises only `MalformedReply`.

`MGHS` is each board's average since the start (recorded: it stands on while nothing is hashed). It tells what
a board hashes now only where all of them together still make what the module hashes now.
"""

from firmware_adapters.miners.avalon import parse
from firmware_adapters.miners.avalon.brackets import Values, amount, numbers
from firmware_adapters.miners.avalon.parse import Module, Stats
from firmware_adapters.miners.cgminer import pool_state
from firmware_adapters.miners.fields import Object, children, flag, text
from firmware_adapters.miners.fields import amount as amount_of
from shared.details import Board, Chip, Pool
from shared.errors import MalformedReply
from shared.units import ghs_to_ths

_STEADY = 0.1
"""As much may the boards' averages and the hashrate of now differ, as a share of it [default]."""
_UNIX = 1e9
"""A smaller number of seconds is no date: the recorded machine prints such `Last Share Time`s."""


def boards(seen: Stats) -> tuple[Board, ...]:
    """The boards that the brackets tell of, as far as each thing is told per board; numbered through the
    modules."""
    found: list[Board] = []
    for module in seen.modules:
        found += _boards(module, len(found))
    return tuple(found)


def _boards(module: Module, before: int) -> list[Board]:
    said = module.said
    lives = parse.board_lives(module)
    rows, tops = parse.chips_c(module), parse.hottest(module)
    rates = _rates(said, len(lives))
    codes = numbers(said, "ECHU")
    alone = len(lives) == 1
    nominal = amount(said, "GHSmm") if alone else None
    ends = [value for name in ("HBITemp", "HBOTemp") if (value := parse.celsius(said, name)) is not None]
    found = []
    for place, alive in enumerate(lives):
        row = rows[place] if place < len(rows) else []
        top = tops[place] if place < len(tops) and parse.is_celsius(tops[place]) else None
        runs = alive is not False and not module.rests
        code = codes[place] if len(codes) == len(lives) else 0
        board = Board(
            index=before + place,
            working=_works(module, lives, place),
            hashrate_ths=rates[place],
            hashrate_nominal_ths=ghs_to_ths(nominal) if nominal else None,
            chip_temp_max_c=max(row, default=None) if top is None else top,
            chip_temp_min_c=min(row, default=None),
            board_temp_max_c=max(ends, default=None) if alone else None,
            board_temp_min_c=min(ends, default=None) if alone else None,
            # Clock and supply are told for all boards together, and so not of one that answers nothing.
            frequency_mhz=amount(said, "Freq") or None if runs else None,
            voltage_v=None if alive is False else parse.supply_voltage_v(module),
            chips=len(row) or None,
            fault=f"hash unit: code {code:g}" if code else "",
        )
        found.append(board)
    return found


def _rates(said: Values, count: int) -> list[float | None]:
    """What each of `count` boards hashes now, TH/s."""
    now = amount(said, "GHSspd")
    if count == 1:
        return [None if now is None else ghs_to_ths(now)]
    averages = numbers(said, "MGHS")
    if not now or len(averages) != count or abs(sum(averages) - now) > _STEADY * now:
        return [None] * count
    return [ghs_to_ths(rate) if rate >= 0 else None for rate in averages]


def _works(module: Module, lives: list[bool | None], place: int) -> bool | None:
    """Whether it is one of the boards that the module found, as far as the chips tell which those are."""
    found = parse.boards_found(module.said)
    if found is None:
        return None
    alive, answer = lives[place], lives.count(True)
    if alive is None and found:
        # Of one that is up and hashes nothing, what it found at its start says nothing any more.
        counts = module.idle or amount(module.said, "GHSspd")
        return True if counts and found >= len(lives) else None
    if alive:
        return True if found >= answer else None
    return False if found <= answer else None


def chips(seen: Stats) -> tuple[Chip, ...]:
    """The chips by board; what a module at rest prints of them is of an earlier time and so left out."""
    found: list[Chip] = []
    before = 0
    for module in seen.modules:
        heats = parse.chip_values(module, "PVT_T")
        volts = parse.chip_values(module, "PVT_V")
        for place, board in enumerate(heats):
            millivolts = volts[place] if place < len(volts) else []
            found += _chips(module, before + place, board, millivolts)
        before += parse.board_count(module)
    return tuple(found)


def _chips(module: Module, board: int, heats: list[float], millivolts: list[float]) -> list[Chip]:
    live = not module.rests
    told = millivolts if live and len(millivolts) == len(heats) else [0.0] * len(heats)
    return [
        Chip(
            board=board,
            index=index,
            temp_c=celsius if live and parse.is_celsius(celsius) else None,
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
