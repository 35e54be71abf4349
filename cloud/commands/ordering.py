"""A third party's order from the command line: flags or a JSON file to an order, and to signed bytes.

Needs nothing but `shared`: what is written here, anybody can write in any language (docs/protocol.md).
"""

import argparse
import logging
import uuid
from pathlib import Path

import msgspec

from shared.artifacts.signing import Purpose, Signed, SigningKey
from shared.clock import Clock
from shared.commands import (
    MAX_COMMAND_LIFE_MS,
    AnyAction,
    AnyOrder,
    CancelOrder,
    CommandBody,
    Curtail,
    DoActions,
    PreviewOrder,
    RenewOrder,
    SafeStopOrder,
    Schedule,
    SetPreset,
    StandingCap,
    StartMining,
    StopMining,
)
from shared.errors import ConfigError
from shared.ids import CommandId, DeviceId, SiteId, ZoneId, checked_id

WHOLE_SITE = "*"
COUNTER_AHEAD_MS = 24 * 3_600_000
"""How far a guardian lets a counter be above the time of issue, or above the last that it took."""
_log = logging.getLogger(__name__)


def add_order_flags(parser: argparse.ArgumentParser) -> None:
    """What may be ordered; `order_of` reads it back."""
    what = parser.add_argument_group(
        "the order (one of)", "--preset, --stop and --start make one order and repeat, each device once"
    )
    shape = 'JSON, as in the REST API {"order": {"order": TAG, …}}, or the inner object alone'
    what.add_argument("--order", type=Path, metavar="FILE", help=shape)
    what.add_argument("--curtail", type=float, metavar="W", help="metered site power down to W, for a while")
    what.add_argument("--cap", type=float, metavar="W", help="hold the site at or below W")
    what.add_argument("--renew", metavar="ID", help="the signal behind a running curtailment is still there")
    what.add_argument("--cancel", metavar="ID", help="take a standing order back")
    what.add_argument("--safe-stop", nargs="?", const=WHOLE_SITE, metavar="ZONE", help="stop mining")
    what.add_argument("--preset", action="append", default=[], metavar="DEVICE=PRESET")
    what.add_argument("--stop", action="append", default=[], metavar="DEVICE")
    what.add_argument("--start", action="append", default=[], metavar="DEVICE")
    more = parser.add_argument_group("with --curtail")
    more.add_argument("--within", type=float, default=600.0, metavar="S", help="deadline (default 600)")
    more.add_argument("--for", type=float, default=3600.0, dest="duration", metavar="S", help="default 3600")
    more.add_argument("--ramp", type=float, metavar="W", help="how fast load goes down at most, W per minute")
    more.add_argument("--signal", type=float, metavar="S", help="ends without a --renew for so long")
    parser.add_argument("--preview", action="store_true", help="only ask what it would do; nothing is done")


def add_signing_flags(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Who signs, and for which site."""
    parser.add_argument("--key", type=Path, required=required, metavar="FILE", help="your signing key")
    parser.add_argument("--site", required=required, help="the site's id")
    parser.add_argument("--actor", default="", help="who asks, for the record (default: the key's id)")
    parser.add_argument("--expires", type=int, default=30, metavar="S", help="1 to 60 (default 30)")


def order_of(options: argparse.Namespace) -> AnyOrder:
    """The one order that the flags name; raises `ConfigError`."""
    found = [order for order in _named(options) if order is not None]
    if len(found) != 1:
        raise ConfigError(f"name one order (see --help); {len(found)} are named")
    order = found[0]
    if not options.preview:
        return order
    if not isinstance(order, DoActions | Curtail | StandingCap | Schedule | CancelOrder):
        raise ConfigError("a safe-stop and a renewal have no preview: they change nothing for the worse")
    return PreviewOrder(of=order)


def _named(options: argparse.Namespace) -> list[AnyOrder | None]:
    stop = options.safe_stop
    return [
        None if options.order is None else _from_file(options.order),
        None if options.curtail is None else _curtail(options),
        None if options.cap is None else StandingCap(cap_w=options.cap),
        None if options.renew is None else RenewOrder(target=CommandId(options.renew)),
        None if options.cancel is None else CancelOrder(target=CommandId(options.cancel)),
        None if stop is None else SafeStopOrder(zone=None if stop == WHOLE_SITE else ZoneId(stop)),
        _actions(options),
    ]


def _from_file(path: Path) -> AnyOrder:
    try:
        found = msgspec.json.decode(path.read_bytes())
        # The REST API nests the order under its name; a request with more than that (a site, an actor) would
        # be believed in part, so it is none.
        nested = isinstance(found, dict) and found.keys() == {"order"} and isinstance(found["order"], dict)
        order: AnyOrder = msgspec.convert(found["order"] if nested else found, AnyOrder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not an order: {error}") from error
    return order


def _curtail(options: argparse.Namespace) -> Curtail:
    return Curtail(
        target_w=options.curtail,
        deadline_s=options.within,
        duration_s=options.duration,
        ramp_w_per_min=options.ramp,
        signal_s=options.signal,
    )


def _actions(options: argparse.Namespace) -> DoActions | None:
    actions: list[AnyAction] = [StopMining(device=DeviceId(device)) for device in options.stop]
    actions += [StartMining(device=DeviceId(device)) for device in options.start]
    for pair in options.preset:
        device, separator, preset = pair.partition("=")
        if not separator or not preset:
            raise ConfigError(f"--preset {pair!r} is not DEVICE=PRESET")
        actions.append(SetPreset(device=DeviceId(device), preset=preset))
    devices = [str(action.device) for action in actions]
    if twice := next((device for device in devices if devices.count(device) > 1), None):
        # Which of two would count is for nobody to guess.
        raise ConfigError(f"{twice!r} is named twice: an order does one thing with a device")
    return DoActions(actions=tuple(actions)) if actions else None


def sign(options: argparse.Namespace, clock: Clock) -> tuple[CommandBody, Signed]:
    """Sign what the flags name; raises `ConfigError`."""
    life_ms = options.expires * 1000
    if not 0 < life_ms <= MAX_COMMAND_LIFE_MS:
        raise ConfigError(f"--expires {options.expires} is not between 1 and {MAX_COMMAND_LIFE_MS // 1000}")
    key = SigningKey.load(options.key)
    order = order_of(options)
    now_ms = clock.utc_ms()
    body = CommandBody(
        id=CommandId(str(uuid.uuid4())),
        site=SiteId(checked_id(options.site, "site")),
        issued_ms=now_ms,
        expires_ms=now_ms + life_ms,
        counter=next_counter(options.key, now_ms),
        actor=options.actor or key.key_id,
        order=order,
    )
    return body, key.sign(Purpose.COMMAND, msgspec.msgpack.encode(body))


def next_counter(key: Path, now_ms: int) -> int:
    """The key's next counter: above the last one (kept beside the key), and never behind the clock.

    More than a day ahead of it no guardian takes one, so what a clock that once ran ahead left is given up.
    Raises `ConfigError`.
    """
    path = key.with_name(key.name + ".counter")
    try:
        last = int(path.read_text())
    except FileNotFoundError:
        last = 0
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the last counter cannot be read: {error}") from error
    counter = max(last + 1, now_ms)
    if counter > now_ms + COUNTER_AHEAD_MS:
        _log.warning("%s: counter %s is more than a day ahead of the clock; starting from it", path, counter)
        counter = now_ms
    try:
        beside = path.with_name(path.name + ".new")
        beside.write_text(f"{counter}\n")
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: the counter cannot be kept, so nothing is signed: {error}") from error
    return counter
