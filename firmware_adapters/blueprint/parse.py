"""Blueprint OS pages → state, readings, identity. Pure; raises nothing but `MalformedReply`.

Copy me, and say here where your facts come from. What every firmware's parser does, and this one shows once:
a field is found by meaning and may be missing; a wrong type is a missing value; the vendor's sentinels (here
0 °C: no sensor) are no data; units are converted (MH/s → TH/s, minutes → s); a word for the state that
nobody has seen is UNKNOWN, which counts as running; watts that the firmware estimates are ESTIMATED.
"""

from types import MappingProxyType

import msgspec

from firmware_adapters.miners.fields import Object, amount, as_page, children, number, reading, text
from shared.errors import MalformedReply
from shared.telemetry import MISSING, MinerState, Quality, Reading
from shared.units import mhs_to_ths

CORE_POINTS = ("hashrate_ths", "power_w", "chip_temp_max_c", "board_temp_max_c")
"""Points that every observation names, MISSING where the reply did not say."""
_STATES = MappingProxyType(
    {
        "hashing": MinerState.MINING,
        "booting": MinerState.STARTING,
        "sleeping": MinerState.STOPPED,
        "broken": MinerState.FAILURE,
    }
)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the machine is."""

    model: str
    firmware: str
    mac: str


def status(body: object) -> Object:
    """The page `/status`; raises `MalformedReply` if it is no object or another firmware's."""
    page = as_page(body, "/status")
    if not (text(page, "firmware") or "").startswith("Blueprint"):
        raise MalformedReply("/status: this is not Blueprint OS")
    return page


def identity(page: Object) -> Identity:
    """Who the machine is."""
    return Identity(
        model=text(page, "model") or "",
        firmware=text(page, "firmware") or "",
        mac=(text(page, "mac") or "").lower(),
    )


def state(page: Object) -> MinerState:
    """What it says that it is doing."""
    return _STATES.get(text(page, "state") or "", MinerState.UNKNOWN)


def readings(page: Object) -> dict[str, Reading]:
    """Everything that it measures, in our units."""
    found: dict[str, Reading] = dict.fromkeys(CORE_POINTS, MISSING)
    mhs, minutes = amount(page, "hashrate_mhs"), amount(page, "uptime_min")
    boards = children(page, "boards")
    found["hashrate_ths"] = reading("hashrate_ths", None if mhs is None else mhs_to_ths(mhs))
    found["power_w"] = reading("power_w", amount(page, "watts"), Quality.ESTIMATED)
    for point, key in (("chip_temp_max_c", "chip_c"), ("board_temp_max_c", "board_c")):
        found[point] = reading(point, _hottest(boards, key))
    for index, fan in enumerate(children(page, "fans")[:16]):
        found[f"fan_rpm.{index}"] = reading("fan_rpm", amount(fan, "rpm"))
    found["uptime_s"] = reading("uptime_s", None if minutes is None else 60.0 * minutes)
    found["throttle_pct"] = reading("throttle_pct", amount(page, "power_level"))
    return found


def _hottest(boards: list[Object], key: str) -> float | None:
    """The hottest sensor; 0 is an absent one."""
    known = [value for board in boards if (value := number(board, key)) is not None and value != 0]
    return max(known, default=None)
