"""The operator's tools: one request over operator.sock each, and its answer in words."""

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.guardian.operators import words
from edge_agent.guardian.operators.client import ask
from edge_agent.ipc import (
    CancelStanding,
    CloseBypass,
    ConfirmBypass,
    Done,
    Explain,
    FromOperator,
    Lines,
    Mode,
    OpenBypass,
    PlanPreview,
    PlanRequest,
    ProofTest,
    Refused,
    ResetTrip,
    SafeStop,
    SetMode,
    Status,
    StatusRequest,
)
from shared.commands import Curtail
from shared.errors import ConfigError
from shared.ids import CommandId, ZoneId

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no other name for it


def add(commands: "Commands", common: argparse.ArgumentParser) -> None:
    """Add the operator's commands to the parser of `minewarden guardian`."""
    _add_zone(commands, common)
    _add_tests(commands, common)
    _add_power(commands, common)


def _add_zone(commands: "Commands", common: argparse.ArgumentParser) -> None:
    command = commands.add_parser("status", parents=[common], help="modes, trips, inhibits, power, orders")
    command.set_defaults(do=_status)

    command = commands.add_parser("trips", parents=[common], help="latched trips, and how to go on")
    command.set_defaults(do=_trips)

    command = commands.add_parser("reset", parents=[common], help="reset one trip, or those of a zone")
    command.add_argument("trip", nargs="?", help="id of a trip, as 'trips' shows it")
    command.add_argument("--zone", help="every trip of this zone")
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_reset)

    command = commands.add_parser("explain", parents=[common], help="what happened around an event or trip")
    command.add_argument("event", help="id of an event, a trip, a proposal or an order")
    command.set_defaults(do=_explain)

    command = commands.add_parser("safe-stop", parents=[common], help="stop a zone, or everything")
    command.add_argument("--zone")
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_safe_stop)

    command = commands.add_parser("mode", parents=[common], help="take a zone over, or hand it back")
    command.add_argument("mode", choices=[Mode.MANUAL.value, Mode.LOCAL_AUTO.value])
    command.add_argument("--zone", required=True)
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_mode)


def _add_tests(commands: "Commands", common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "proof-test", parents=[common], help="test the interlocks; nothing moves without --actuate"
    )
    command.add_argument("--zone", required=True)
    command.add_argument("--interlock", help="only this one, as the test without it lists them")
    command.add_argument("--actuate", action="store_true", help="trip for real: miners stop, a reset follows")
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_proof_test)

    bypass = commands.add_parser("bypass", help="set one interlock aside for a while")
    actions = bypass.add_subparsers(required=True, metavar="ACTION")
    command = actions.add_parser("open", parents=[common], help="ask for one; needs a second fact")
    command.add_argument("interlock")
    command.add_argument("--zone", required=True)
    command.add_argument("--minutes", required=True, type=float)
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_bypass_open)
    command = actions.add_parser(
        "confirm", parents=[common], help="the second fact: another person's account"
    )
    command.add_argument("interlock")
    command.add_argument("--zone", required=True)
    command.set_defaults(do=_bypass_confirm)
    command = actions.add_parser("close", parents=[common], help="end it early")
    command.add_argument("interlock")
    command.add_argument("--zone", required=True)
    command.set_defaults(do=_bypass_close)


def _add_power(commands: "Commands", common: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "plan", parents=[common], help="what a curtailment would do, without acting"
    )
    command.add_argument("--target-kw", required=True, type=float)
    command.add_argument("--minutes", type=float, default=60.0, help="how long it would last (60)")
    command.set_defaults(do=_plan)

    command = commands.add_parser("orders", parents=[common], help="standing and scheduled orders")
    command.set_defaults(do=_orders)

    command = commands.add_parser("cancel", parents=[common], help="take a standing order back")
    command.add_argument("order")
    command.add_argument("--reason", required=True)
    command.set_defaults(do=_cancel)


Show = Callable[[Status], list[str]]


def _operator(
    socket: Path, request: FromOperator, show: Show = words.status, *, within_s: float = 10.0
) -> int:
    answer = ask(socket, request, within_s=within_s)
    match answer:
        case Done(detail=detail):
            print(detail)
        case Refused(why=why):
            print(f"refused: {why}", file=sys.stderr)
            return 1
        case Status():
            print("\n".join(show(answer)))
        case Lines(lines=lines, good=good):
            print("\n".join(lines))
            return 0 if good else 1
        case PlanPreview():
            print("\n".join(words.plan(answer)))
            return 0 if answer.reaches_target else 1
    return 0


def _status(socket: Path, _: argparse.Namespace) -> int:
    return _operator(socket, StatusRequest())


def _trips(socket: Path, _: argparse.Namespace) -> int:
    return _operator(socket, StatusRequest(), words.trips)


def _orders(socket: Path, _: argparse.Namespace) -> int:
    return _operator(
        socket, StatusRequest(), lambda told: words.orders(told.orders) or ["no order stands on this site"]
    )


def _reset(socket: Path, options: argparse.Namespace) -> int:
    if (options.trip is None) is (options.zone is None):
        raise ConfigError("name either one trip ('minewarden guardian trips' lists them) or a --zone")
    zone = ZoneId(options.zone) if options.zone else None
    request = ResetTrip(zone=zone, trip=options.trip, reason=options.reason, operator=getpass.getuser())
    return _operator(socket, request)


def _explain(socket: Path, options: argparse.Namespace) -> int:
    return _operator(socket, Explain(event=options.event), within_s=60.0)


def _safe_stop(socket: Path, options: argparse.Namespace) -> int:
    zone = ZoneId(options.zone) if options.zone else None
    return _operator(socket, SafeStop(zone=zone, reason=options.reason))


def _mode(socket: Path, options: argparse.Namespace) -> int:
    request = SetMode(
        zone=ZoneId(options.zone),
        mode=Mode(options.mode),
        operator=getpass.getuser(),
        reason=options.reason,
    )
    return _operator(socket, request)


def _proof_test(socket: Path, options: argparse.Namespace) -> int:
    request = ProofTest(
        zone=ZoneId(options.zone),
        interlock=options.interlock,
        actuate=options.actuate,
        reason=options.reason,
        operator=getpass.getuser(),
    )
    if options.actuate:
        print("tripping for real; this takes until every miner has confirmed its stop", file=sys.stderr)
    return _operator(socket, request, within_s=300.0)


def _bypass_open(socket: Path, options: argparse.Namespace) -> int:
    request = OpenBypass(
        zone=ZoneId(options.zone),
        interlock=options.interlock,
        seconds=options.minutes * 60.0,
        reason=options.reason,
        operator=getpass.getuser(),
    )
    return _operator(socket, request)


def _bypass_confirm(socket: Path, options: argparse.Namespace) -> int:
    zone, who = ZoneId(options.zone), getpass.getuser()
    return _operator(socket, ConfirmBypass(zone=zone, interlock=options.interlock, operator=who))


def _bypass_close(socket: Path, options: argparse.Namespace) -> int:
    zone, who = ZoneId(options.zone), getpass.getuser()
    return _operator(socket, CloseBypass(zone=zone, interlock=options.interlock, operator=who))


def _plan(socket: Path, options: argparse.Namespace) -> int:
    duration_s = options.minutes * 60.0
    order = Curtail(target_w=options.target_kw * 1000.0, deadline_s=duration_s, duration_s=duration_s)
    return _operator(socket, PlanRequest(id=CommandId("preview"), order=order))


def _cancel(socket: Path, options: argparse.Namespace) -> int:
    request = CancelStanding(
        target=CommandId(options.order), reason=options.reason, operator=getpass.getuser()
    )
    return _operator(socket, request)
