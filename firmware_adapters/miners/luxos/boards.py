"""LuxOS boards and chips, put together from several replies by board number. Pure."""

from collections.abc import Mapping

import msgspec

from firmware_adapters.miners.cgminer import (
    Chain,
    Stats,
    Temperatures,
    first,
    temperature_readings,
    temperatures,
)
from firmware_adapters.miners.fields import Object, amount, as_number, as_object, children, flag, text
from shared.details import Board, Chip
from shared.errors import MalformedReply
from shared.telemetry import Quality, Reading
from shared.units import ghs_to_ths, mhs_to_ths

_NOT_SENSORS = frozenset({"ID", "TEMP", "Board ID"})
_WATER = ("water", "coolant", "liquid")
"""Labels of sensors that are in the cooling circuit: neither a board's nor a chip's."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What the sensors of one board say, °C."""

    board: Temperatures = Temperatures()
    chip: Temperatures = Temperatures()
    water: bool = False
    """Some of them are in the cooling circuit, and not in `board`."""


def numbers(devs: object) -> tuple[int, ...]:
    """The board numbers of `devs`. Raises `MalformedReply` where it lists none."""
    listed = [_index(item, at) for at, item in enumerate(children(as_object(devs), "DEVS"))]
    if not listed:
        raise MalformedReply("devs: no board in the reply")
    return tuple(sorted(set(listed)))


def boards(
    devs: object,
    stats: Stats,
    temps: Mapping[int, Span],
    volts: Mapping[int, float | None],
    *,
    asleep: bool = False,
) -> tuple[Board, ...]:
    """All boards of `devs` by number; what the other replies lack stays unknown.

    `asleep`: it was told to, so that its boards answer "Dead" says nothing about them.
    """
    chains = {chain.index: chain for chain in stats.chains}
    found = {}
    for at, item in enumerate(children(as_object(devs), "DEVS")):
        index = _index(item, at)
        one = _board(index, item, chains.get(index), temps.get(index, Span()), volts.get(index))
        found[index] = msgspec.structs.replace(one, working=None, fault="") if asleep else one
    return tuple(found[index] for index in sorted(found))


def boards_of_stats(stats: Stats, temps: Mapping[int, Span]) -> tuple[Board, ...]:
    """All boards as `stats` tells them, for a release without `devs`; whether they work it does not say."""
    return tuple(
        Board(
            index=chain.index,
            hashrate_ths=chain.rate_ths,
            hashrate_nominal_ths=chain.nominal_ths,
            frequency_mhz=chain.frequency_mhz,
            hw_errors=chain.hw_errors,
            chips=chain.chips,
            board_temp_min_c=_board_c(span, chain).low,
            board_temp_max_c=_board_c(span, chain).high,
            chip_temp_min_c=span.chip.low,
            chip_temp_max_c=span.chip.high,
        )
        for chain in stats.chains
        for span in (temps.get(chain.index, Span()),)
    )


def _board_c(span: Span, chain: Chain | None) -> Temperatures:
    """Of a board's own sensors: as `temps` has them, else as `stats` does."""
    if span.board != Temperatures() or span.water or chain is None:
        return span.board
    return temperatures(tuple(chain.pcb_c))


def _index(item: Object, at: int) -> int:
    own = amount(item, "ID")
    own = amount(item, "ASC") if own is None else own
    return at if own is None else int(own)


def _board(index: int, item: Object, chain: Chain | None, span: Span, volts: float | None) -> Board:
    rate, nominal = amount(item, "MHS 5s"), amount(item, "Nominal MHS")
    faults = []
    word = text(item, "Status")
    if flag(item, "IsUserShutdown"):
        faults.append("shut down by a user")
    if word is not None and word.lower() != "alive":
        faults.append(f"status {word}")
    enabled = text(item, "Enabled")
    return Board(
        index=index,
        working=None if word is None else word.lower() == "alive" and enabled != "N" and not faults,
        hashrate_ths=None if rate is None else mhs_to_ths(rate),
        hashrate_nominal_ths=None if nominal is None else mhs_to_ths(nominal),
        board_temp_min_c=_board_c(span, chain).low,
        board_temp_max_c=_board_c(span, chain).high,
        chip_temp_min_c=span.chip.low,
        chip_temp_max_c=span.chip.high,
        frequency_mhz=chain.frequency_mhz if chain is not None else None,
        voltage_v=volts,
        hw_errors=amount(item, "Hardware Errors"),
        chips=chain.chips if chain is not None else None,
        serial=text(item, "SerialNumber") or "",
        fault="; ".join(faults),
    )


def spans(body: object) -> dict[int, Span]:
    """`temps` by board. A sensor is the chips' where its name or its label in the metadata says so."""
    labels = first(body, "METADATA") or {}
    found = {}
    for at, item in enumerate(children(as_object(body), "TEMPS")):
        chip: list[float] = []
        board: list[float] = []
        water = False
        for key, value in item.items():
            number = as_number(value)
            if key in _NOT_SENSORS or number is None:
                continue
            label = text(as_object(labels.get(key)), "Label") or ""
            named = f"{key} {label}".lower()
            if any(word in named for word in _WATER):
                water = True
            else:
                (chip if "chip" in named else board).append(number)
        found[_index(item, at)] = Span(
            board=temperatures(tuple(board)),
            chip=temperatures(tuple(chip)),
            water=water,
        )
    return found


def tell_more(spans: Mapping[int, Span], stats: Stats) -> bool:
    """Whether `temps` tells what `stats` does not: chips, which sensors are in the water, or anything."""
    silent = not any(value for chain in stats.chains for value in chain.pcb_c)
    return any(span.water or span.chip != Temperatures() or silent for span in spans.values())


def temperature_points(spans: Mapping[int, Span]) -> dict[str, Reading]:
    """Coolest and hottest over all boards, of boards and chips; empty for what no sensor tells."""
    found: dict[str, Reading] = {}
    for what in ("board", "chip"):
        told: list[Temperatures] = [getattr(span, what) for span in spans.values()]
        ends = tuple(end for one in told for end in (one.low, one.high) if end is not None)
        over_all = temperatures(ends) if ends else Temperatures(failed=any(one.failed for one in told))
        if over_all != Temperatures():
            found |= temperature_readings(what, over_all, Quality.GOOD)
    return found


def volts(body: object) -> float | None:
    """The voltage of one board's chip chain, V, in `voltageget`."""
    return amount(first(body, "VOLTAGE"), "Voltage")


def chips(body: object, board: int) -> tuple[Chip, ...]:
    """The chips of one board in `healthchipget`. Raises `MalformedReply` where there is no list.

    The hashrate is that over 15 minutes: shorter spans count too few shares to tell a weak chip.
    """
    listed = body.get("CHIPS") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise MalformedReply("healthchipget: no chips in the reply")
    found = {}
    for at, item in enumerate(children(as_object(body), "CHIPS")):
        own = amount(item, "Chip")
        index = at if own is None else int(own)
        rate = amount(item, "GHS 15m")
        found[index] = Chip(
            board=board,
            index=index,
            hashrate_ths=None if rate is None else ghs_to_ths(rate),
            frequency_mhz=amount(item, "Frequency"),
            grade=_grade(item),
        )
    return tuple(found[index] for index in sorted(found))


def _grade(item: Object) -> str:
    """Its own word ("Y", "N") and score, if it tells them."""
    healthy, score = text(item, "Healthy"), amount(item, "Score")
    words = {"Y": "healthy", "N": "unhealthy"}.get(healthy or "", healthy or "")
    return words if score is None else f"{words} {score:g}".strip()
