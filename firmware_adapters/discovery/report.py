"""What a probe found, as one JSON object: the normalised sample with qualities, and what could not be read.

The layout is documented in `docs/discovery.md` and held by a golden file. Every key is always there; null is
unknown. Units stand in the names: TH/s, W, J/TH, °C, rpm, %, V, A, s.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from firmware_adapters.capabilities import WRITES, Observation
from firmware_adapters.discovery.chips import by_board
from firmware_adapters.discovery.examine import Examined, NotRead
from firmware_adapters.identify import Identification, read_only_warning
from shared.capabilities import Capability
from shared.details import Board
from shared.hashing import is_hashing
from shared.telemetry import METRICS, Quality, Reading
from shared.units import Algorithm, joule_per_terahash

SCHEMA = 1
SINGLES = (
    "hashrate_ths",
    "hashrate_nominal_ths",
    "power_w",
    "power_limit_w",
    "voltage_v",
    "current_a",
    "chip_temp_max_c",
    "chip_temp_min_c",
    "board_temp_max_c",
    "board_temp_min_c",
    "psu_temp_c",
    "air_temp_c",
    "setpoint_c",
    "fan_duty_pct",
    "hw_errors",
    "shares_accepted",
    "shares_rejected",
    "shares_stale",
    "last_share_age_s",
    "uptime_s",
    "preset_w",
    "throttle_pct",
    "boards_working",
)
"""Readings of a miner that have one value; those with an index become lists (`fan_rpm`)."""
LISTS = ("fan_rpm",)

Json = dict[str, object]


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What `probe` knows of a host: what it may be, and what it told through its adapter."""

    host: str
    port: int
    identified: tuple[Identification, ...]
    examined: Examined | None = None
    named: str | None = None
    """The adapter that the user named instead of having the host identified."""
    answered: bool = False
    """Whether any question of the identification was answered at all."""
    silent: Mapping[str, str] = {}
    """Per question of the identification, why there was no answer."""


def as_json(found: Probed, *, chips: bool = False) -> Json:
    """See the module's text. `chips`: every chip as well."""
    examined = found.examined
    return {
        "schema": SCHEMA,
        "host": found.host,
        "port": found.port,
        "at": _instant(examined.at_ms if examined is not None else None),
        "identification": _identification(found),
        "device": _device(found),
        "sample": _sample(examined),
        "quality": _quality(examined.observation if examined is not None else None),
        "boards": _boards(examined.boards if examined is not None else None),
        "pools": _pools(examined),
        "chips": _chips(examined),
        "chip_map": _chip_map(examined) if chips else None,
        "log": msgspec.to_builtins(examined.log) if examined is not None else None,
        "counted": _counted(examined),
        "capabilities": [_capability(one) for one in examined.capabilities] if examined is not None else [],
        "not_read": [_missing(one) for one in missing(found)],
        "warnings": warnings(found),
    }


def warnings(found: Probed) -> list[str]:
    """What the user has to know before trusting the rest."""
    told = list(found.examined.warnings) if found.examined is not None else []
    best, facts = chosen(found), found.examined.facts if found.examined is not None else None
    if best is not None and best.seen_before is False and not (facts is not None and facts.firmware):
        # Where the machine told its adapter the version, that was judged, by what the site accepts as well.
        told.append(read_only_warning(best.firmware))
    if found.examined is not None and found.examined.password_refused:
        told.append("the password was refused; it was tried once and is not tried again")
    if facts is not None and facts.default_password:
        told.append("the machine accepts its vendor's default password: change it")
    return list(dict.fromkeys(told))


def missing(found: Probed) -> list[NotRead]:
    """Parts that failed, then single readings that the device did not tell."""
    if found.examined is None:
        return [NotRead(part=question, code="unreachable", why=why) for question, why in found.silent.items()]
    parts = list(found.examined.not_read)
    seen = found.examined.observation
    if seen is None:
        return parts
    for name in (*SINGLES, *LISTS):
        if not _of(seen, name):
            parts.append(NotRead(part=name, code="not-told", why="the device does not tell it"))
        elif all(reading.usable is None for reading in _of(seen, name)):
            worst = max(reading.quality for reading in _of(seen, name))
            parts.append(NotRead(part=name, code=word_of(worst), why=_WHY[worst]))
    if seen.preset is None:
        parts.append(NotRead(part="preset_running", code="not-told", why="the read did not bring it"))
    return parts


_WHY = {
    Quality.OUT_OF_RANGE: "the value cannot be true",
    Quality.STUCK: "the value does not move",
    Quality.STALE: "the value is old",
    Quality.SENSOR_ERROR: "the sensor is in error",
    Quality.MISSING: "the device has no value for it now",
}


def word_of(quality: Quality) -> str:
    """`sensor-error` for SENSOR_ERROR."""
    return quality.name.lower().replace("_", "-")


def _of(seen: Observation, name: str) -> list[Reading]:
    head = name + "."
    return [reading for point, reading in seen.readings.items() if point == name or point.startswith(head)]


# ---------------------------------------------------------------- parts


def chosen(found: Probed) -> Identification | None:
    """The answer that is used: what the user named, with its clues if there are any, else the likeliest."""
    if found.named is None:
        return next(iter(found.identified), None)
    clued = next((one for one in found.identified if one.adapter == found.named), None)
    return clued or Identification(adapter=found.named, confidence=0.0, evidence=())


def _identification(found: Probed) -> Json:
    best = chosen(found)
    return {
        "adapter": best.adapter if best is not None else None,
        "named_by_user": found.named is not None,
        "confidence": best.confidence if best is not None else 0.0,
        "evidence": list(best.evidence) if best is not None else [],
        "version_seen_before": best.seen_before if best is not None else None,
        "others": _others(found.identified, best.adapter if best is not None else ""),
    }


def _others(identified: Sequence[Identification], best: str) -> list[Json]:
    return [
        {"adapter": one.adapter, "confidence": one.confidence, "evidence": list(one.evidence)}
        for one in identified
        if one.adapter != best
    ]


def device_words(found: Probed) -> dict[str, str]:
    """Model, firmware, MAC, serial and algorithm: what the machine told its adapter goes before the clues."""
    facts = found.examined.facts if found.examined is not None else None
    clue = chosen(found)
    names = ("model", "firmware", "mac", "serial", "algorithm")
    words = {}
    for name in names:
        told = str(getattr(facts, name, "") or "")
        words[name] = told or str(getattr(clue, name, "") or "")
    seen = found.examined.observation if found.examined is not None else None
    if words["algorithm"] in ("", Algorithm.UNKNOWN) and seen is not None and seen.algorithm is not None:
        words["algorithm"] = str(seen.algorithm)
    return words


def _device(found: Probed) -> Json:
    facts = found.examined.facts if found.examined is not None else None
    return {
        **{name: value or None for name, value in device_words(found).items()},
        "presets": [
            {
                "name": preset.name,
                "power_w": preset.power_w,
                "hashrate_ths": preset.hashrate_ths,
                "tuned": preset.tuned,
                "needs_liquid": preset.needs_liquid,
                "needs_modded_psu": preset.needs_modded_psu,
            }
            for preset in (facts.presets if facts is not None else ())
        ],
    }


def _sample(examined: Examined | None) -> Json | None:
    seen = examined.observation if examined is not None else None
    if examined is None or seen is None:
        return None
    told: Json = {name: _single(seen, name) for name in SINGLES}
    told |= {name: [reading.usable for reading in _of(seen, name)] for name in LISTS}
    hashrate, power = _single(seen, "hashrate_ths"), _single(seen, "power_w")
    both = hashrate is not None and power is not None
    told["efficiency_j_per_th"] = joule_per_terahash(power or 0.0, hashrate or 0.0) if both else None
    told["state"] = seen.state
    told["is_hashing"] = is_hashing(seen.state, hashrate, power)
    told["algorithm"] = seen.algorithm
    told["preset_running"] = seen.preset
    told["preset_requested"] = seen.preset_requested
    age_s = _single(seen, "last_share_age_s")
    known = age_s is not None and examined.at_ms is not None
    told["last_share_at"] = _instant((examined.at_ms or 0) - round((age_s or 0.0) * 1000)) if known else None
    told["error_codes"] = (
        None if seen.faults is None else [{"code": one.code, "words": one.words} for one in seen.faults]
    )
    return told


def _single(seen: Observation, name: str) -> float | None:
    reading = seen.readings.get(name)
    return reading.usable if reading is not None else None


def _quality(seen: Observation | None) -> Json | None:
    if seen is None:
        return None
    found: Json = {}
    for name in SINGLES:
        reading = seen.readings.get(name)
        found[name] = word_of(reading.quality) if reading is not None else "not-told"
    for name in LISTS:
        found[name] = [word_of(reading.quality) for reading in _of(seen, name)]
    found["efficiency_j_per_th"] = _derived_quality(seen)
    return found


def _derived_quality(seen: Observation) -> str:
    """As good as the worse of what it is computed from."""
    readings = [seen.readings.get(name) for name in ("hashrate_ths", "power_w")]
    if any(reading is None or reading.usable is None for reading in readings):
        return "missing"
    return word_of(max(reading.quality for reading in readings if reading is not None))


def _boards(boards: tuple[Board, ...] | None) -> list[Json] | None:
    return None if boards is None else [msgspec.to_builtins(board) for board in boards]


def _pools(examined: Examined | None) -> list[Json] | None:
    pools = examined.pools if examined is not None else None
    return None if pools is None else [msgspec.to_builtins(pool) for pool in pools]


def _chips(examined: Examined | None) -> Json | None:
    if examined is None or examined.chips is None:
        return None
    boards = [msgspec.to_builtins(one) for one in by_board(examined.chips)]
    return {"at": _instant(examined.chips_at_ms), "boards": boards}


def _chip_map(examined: Examined | None) -> list[Json] | None:
    chips = examined.chips if examined is not None else None
    return None if chips is None else [msgspec.to_builtins(chip) for chip in chips]


def _counted(examined: Examined | None) -> Json | None:
    if examined is None or examined.counted is None:
        return None
    steps = {name: {"added": one.added, "reset": one.reset} for name, one in sorted(examined.counted.items())}
    return {"over_s": examined.counted_s, **steps}


def _capability(one: Capability) -> Json:
    told: Json = msgspec.to_builtins(one)
    told["writes"] = one.ability in WRITES
    return told


def _missing(one: NotRead) -> Json:
    return {"part": one.part, "code": one.code, "why": one.why}


def _instant(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unit_of(name: str) -> str:
    """The unit of a reading, for people."""
    return str(METRICS[name].unit) if name in METRICS else ""
