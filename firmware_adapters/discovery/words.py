"""What a probe found, in lines for a technician in front of the machine."""

from collections.abc import Iterable
from datetime import UTC, datetime

from firmware_adapters.capabilities import WRITES
from firmware_adapters.discovery.chips import believed_c, by_board
from firmware_adapters.discovery.report import (
    LISTS,
    SINGLES,
    Json,
    Probed,
    as_json,
    chosen,
    device_words,
    missing,
    unit_of,
    warnings,
)
from shared.capabilities import Capability
from shared.details import Board, Chip, LogTail, Pool

_MOST_NAMED = 12
_LOG_LINES = 20
_ABOUT_HASHING = {True: "yes", False: "no", None: "unknown"}


def lines(found: Probed, *, chips: bool = False) -> list[str]:
    """The whole report; the most important first. `chips`: a line for every chip as well."""
    best = chosen(found)
    if best is None:
        silent = [f"  {question}: {why}" for question, why in sorted(found.silent.items())]
        what = "something answers, but no firmware that we know" if found.answered else "nothing answers"
        return [f"{found.host}:{found.port}: {what}; --adapter names one", *silent]
    told = device_words(found)
    name = f"{told['model'] or 'a miner'}, {told['firmware'] or 'firmware version not told'} ({best.adapter})"
    out = [f"{found.host}:{found.port}: {name}"]
    out.append(_row("confidence", f"{best.confidence:.0%}" + (" (named by you)" if found.named else "")))
    out += [_row("", f"because {clue}") for clue in best.evidence]
    out += [
        _row("", f"could also be {one.adapter} ({one.confidence:.0%}): {'; '.join(one.evidence)}")
        for one in found.identified
        if one.adapter != best.adapter
    ]
    out += [_row("MAC, serial", f"{told['mac'] or 'not told'}, {told['serial'] or 'not told'}")]
    out += [f"  ! {warning}" for warning in warnings(found)]
    report = as_json(found)
    out += _sample(report)
    examined = found.examined
    if examined is not None:
        out += _boards(examined.boards or ())
        out += _chips(examined.chips or (), every=chips)
        out += _pools(examined.pools or ())
        out += _presets(found)
        out += ["abilities:", *(f"  {_ability(one)}" for one in examined.capabilities)]
        out += _log(examined.log)
    gone = missing(found)
    out += ["not read:", *(f"  {one.part}: {one.why}" for one in gone)] if gone else []
    return out


def _row(name: str, text: str) -> str:
    return f"  {name:<22}{text}"


def _sample(report: Json) -> list[str]:
    told, quality = report["sample"], report["quality"]
    if not isinstance(told, dict) or not isinstance(quality, dict):
        return ["sample: could not be read"]
    out = [
        f"sample, read at {report['at']}:",
        _row("state", str(told["state"] or "unknown")),
        _row("hashing", _ABOUT_HASHING[told["is_hashing"]]),
        _row("algorithm", str(told["algorithm"] or "unknown")),
        _row(
            "preset",
            f"{told['preset_running'] or 'unknown'}, asked for {told['preset_requested'] or 'unknown'}",
        ),
        _row("efficiency", f"{_number(told['efficiency_j_per_th'], 'J/TH')}"),
    ]
    for name in SINGLES:
        if told[name] is not None:
            remark = "" if quality[name] == "good" else f" ({quality[name]})"
            out.append(
                _row(
                    _label(name),
                    _said(name, told[name]) + remark,
                )
            )
    out += [
        _row(name, ", ".join(_number(value, "") for value in told[name]) + f" {unit_of(name)}")
        for name in LISTS
        if told[name]
    ]
    faults = told["error_codes"] or ()
    out += [_row("firmware says", f"{fault['code']} {fault['words']}") for fault in faults]
    return out + _counted(report)


def _counted(report: Json) -> list[str]:
    counted = report["counted"]
    if not isinstance(counted, dict):
        return []
    over = counted["over_s"]
    out = []
    for name, one in counted.items():
        if not isinstance(one, dict):
            continue
        added = "began anew" if one["reset"] else f"{_number(one['added'], '')} more"
        out.append(_row(name, f"{added} in {over:g} s"))
    return out


def _said(name: str, value: object) -> str:
    """The value as people say it: a time up of 791880 s is 9 days 3 h 58 min."""
    if name in ("uptime_s", "last_share_age_s") and isinstance(value, int | float):
        return duration(value)
    return _number(value, unit_of(name))


def duration(seconds: float) -> str:
    """Seconds in the largest units that matter, at most three of them."""
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} day{'s' if days != 1 else ''} {hours} h {minutes} min"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _label(name: str) -> str:
    """The unit stands behind the number; `preset_w` is not the preset."""
    if name == "preset_w":
        return "preset is rated"
    head, _, unit = name.rpartition("_")
    return head.replace("_", " ") if unit in ("ths", "w", "c", "pct", "s") else name.replace("_", " ")


def _number(value: object, unit: str) -> str:
    if not isinstance(value, int | float):
        return "unknown"
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{shown} {unit}".strip() if unit not in ("count", "1") else shown


def _boards(boards: Iterable[Board]) -> list[str]:
    out = []
    for board in boards:
        words = [
            "works" if board.working else "does not work" if board.working is False else "state unknown",
            _number(board.hashrate_ths, "TH/s"),
            f"chips {_number(board.chip_temp_max_c, '°C')}",
            f"board {_number(board.board_temp_max_c, '°C')}",
            f"{_number(board.frequency_mhz, 'MHz')}",
            f"{board.chips if board.chips is not None else 'unknown'} chips answer",
            *([board.fault] if board.fault else []),
        ]
        out.append(_row(f"board {board.index}", ", ".join(words)))
    return ["boards:", *out] if out else []


def _pools(pools: Iterable[Pool]) -> list[str]:
    out = [
        _row(
            f"pool {pool.index}",
            f"{pool.url} as {pool.user or 'nobody'}: {pool.state}, "
            f"{_number(pool.accepted, '')} accepted, {_number(pool.rejected, '')} rejected"
            + ("" if pool.ours else " (the firmware maker's)"),
        )
        for pool in pools
    ]
    return ["pools:", *out] if out else []


def _chips(chips: tuple[Chip, ...], *, every: bool) -> list[str]:
    out = []
    for board in by_board(chips):
        dark = "dark unknown" if board.dark is None else f"{len(board.dark)} dark{_some(board.dark)}"
        words = [f"{board.told} told", dark]
        if board.hottest_c is not None:
            words += [f"hottest {_number(board.hottest_c, '°C')}", f"spread {_number(board.spread_k, 'K')}"]
        out.append(_row(f"board {board.board}", ", ".join(words)))
        out += [_chip(chip) for chip in chips if every and chip.board == board.board]
    return ["chips:", *out] if out else []


def _some(dark: tuple[int, ...]) -> str:
    """Which, as long as a person can take that in."""
    if not dark:
        return ""
    more = ", …" if len(dark) > _MOST_NAMED else ""
    return f" ({', '.join(str(index) for index in dark[:_MOST_NAMED])}{more})"


def _chip(chip: Chip) -> str:
    told = (
        ("TH/s", chip.hashrate_ths),
        ("MHz", chip.frequency_mhz),
        ("V", chip.voltage_v),
        ("°C", believed_c(chip)),
        ("errors", chip.errors),
    )
    words = [_number(value, unit) for unit, value in told if value is not None]
    return _row(f"  chip {chip.index}", ", ".join([*words, *([chip.grade] if chip.grade else [])]))


def _log(log: LogTail | None) -> list[str]:
    """The end of what the guardian kept; the whole of it is for `diagnostics`."""
    if log is None:
        return []
    at = datetime.fromtimestamp(log.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return [
        f"its log {log.name!r}, read at {at} because of: {log.why}",
        *(f"  | {line}" for line in log.text.splitlines()[-_LOG_LINES:]),
    ]


def _presets(found: Probed) -> list[str]:
    facts = found.examined.facts if found.examined is not None else None
    out = [
        _row(
            preset.name,
            f"{preset.power_w:g} W, {preset.hashrate_ths:g} TH/s" + ("" if preset.tuned else ", not tuned"),
        )
        for preset in (facts.presets if facts is not None else ())
    ]
    return ["presets:", *out] if out else []


def _ability(one: Capability) -> str:
    words = [f"{one.ability}"]
    if one.ability in WRITES:
        words.append("control")
    if one.low is not None or one.high is not None:
        words.append(f"{_number(one.low, '')} to {_number(one.high, '')}")
    if one.choices:
        words.append(", ".join(one.choices))
    if one.restarts_mining:
        words.append("restarts mining")
    return f"{words[0]:<20}{'; '.join(words[1:])}".rstrip()
