"""`minewarden command`: a third party signs commands with a key of its own and sends them to a site."""

import argparse
import sys
from pathlib import Path

import msgspec

from cloud.commands import ordering
from cloud.commands.sender import Login, Sender, SendFailed
from shared.artifacts.signing import Signed
from shared.clock import Clock, SystemClock
from shared.commands import CommandBody, CommandStatus
from shared.errors import ConfigError, WireError
from shared.wire import codec

PROG = "minewarden command"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(args: list[str]) -> int:
    """Run `minewarden command ...`; returns the exit code: 1 refused or unheard, 2 wrong use."""
    options = _parser().parse_args(args)
    try:
        return _sign(options, SystemClock()) if options.command == "sign" else _send(options, SystemClock())
    except ConfigError as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 2
    except SendFailed as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG,
        description=__doc__,
        epilog="The site's keyring must name your key with the role 'control' and what it may order; the "
        "broker must let you write mw/1/SITE/dn/cmd and read mw/1/SITE/up/res/#. See docs/protocol.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sign = commands.add_parser("sign", help="sign an order into a file, which is good for --expires seconds")
    ordering.add_signing_flags(sign, required=True)
    ordering.add_order_flags(sign)
    sign.add_argument("--out", type=Path, required=True, metavar="FILE")
    send = commands.add_parser("send", help="send a signed file, or sign and send; prints the site's words")
    send.add_argument("file", nargs="?", type=Path, help="made by 'sign'; without it --key, --site, an order")
    ordering.add_signing_flags(send, required=False)
    ordering.add_order_flags(send)
    send.add_argument("--broker", required=True, metavar="HOST[:PORT]", help="port 8883 with --ca, else 1883")
    send.add_argument("--ca", type=Path, metavar="FILE", help="the broker's CA; needed beyond loopback (TLS)")
    send.add_argument("--cert", type=Path, metavar="FILE")
    send.add_argument("--cert-key", type=Path, metavar="FILE")
    send.add_argument("--username")
    send.add_argument("--password-file", type=Path, metavar="FILE")
    send.add_argument("--wait", type=float, default=90.0, metavar="S", help="for the last word (default 90)")
    return parser


def _sign(options: argparse.Namespace, clock: Clock) -> int:
    body, signed = ordering.sign(options, clock)
    try:
        options.out.write_bytes(codec.encode(signed))
    except OSError as error:
        raise ConfigError(f"{options.out}: cannot be written: {error.strerror}") from error
    print(body.id)
    return 0


def _send(options: argparse.Namespace, clock: Clock) -> int:
    login = _login(options)
    if options.file is not None:
        body, signed = _read(options.file)
    elif options.key is None or options.site is None:
        raise ConfigError("name a signed file, or --key, --site and an order")
    else:
        body, signed = ordering.sign(options, clock)
    with Sender(login, body) as sender:
        sender.send(signed)
        print(f"{body.id}: the broker has it", flush=True)
        follow = sender.follow(signed, clock, wait_s=options.wait)
        for status in follow:
            print(_words(status), flush=True)
    if follow.last is None:
        print(f"{PROG}: the site said nothing in {options.wait:.0f} s", file=sys.stderr)
    return follow.exit_code


def _read(path: Path) -> tuple[CommandBody, Signed]:
    try:
        signed = codec.decode(path.read_bytes(), Signed)
        return msgspec.msgpack.decode(signed.payload, type=CommandBody), signed
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (WireError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a signed command; make one with '{PROG} sign' ({error})") from error


def _login(options: argparse.Namespace) -> Login:
    host, _, port = options.broker.rpartition(":") if ":" in options.broker else (options.broker, "", "")
    if port and not port.isdecimal():
        raise ConfigError(f"--broker {options.broker!r} is not HOST or HOST:PORT")
    if options.ca is None and host not in LOOPBACK:
        raise ConfigError(f"{host} is not on loopback: --ca is needed, commands do not travel in the clear")
    password = None
    if options.password_file is not None:
        try:
            password = options.password_file.read_text().strip()
        except OSError as error:
            raise ConfigError(f"{options.password_file}: cannot be read: {error.strerror}") from error
    return Login(
        host=host,
        port=int(port) if port else (1883 if options.ca is None else 8883),
        username=options.username,
        password=password,
        ca_file=options.ca,
        cert_file=options.cert,
        key_file=options.cert_key,
    )


def _words(status: CommandStatus) -> str:
    outcome = f", {status.outcome}" if status.outcome is not None else ""
    lines = [f"{status.state}{outcome}: {status.detail}"]
    lines += [
        f"  {write.action.device}: {write.result}" + (f" ({write.detail})" if write.detail else "")
        for write in status.writes
    ]
    if status.preview is not None:
        lines.append(f"  {msgspec.json.encode(status.preview).decode()}")
    return "\n".join(lines)
