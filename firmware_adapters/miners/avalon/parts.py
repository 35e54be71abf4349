"""Boards and chips of an Avalon, out of its brackets. Pure; never raises."""

from firmware_adapters.miners.avalon import parse
from firmware_adapters.miners.avalon.brackets import amount, numbers
from firmware_adapters.miners.avalon.parse import Stats
from shared.details import Board, Chip
from shared.units import ghs_to_ths


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
