"""What a running guardian knows of one of its devices, asked at its operator socket and not at the device.

Speaks the socket's protocol (docs/protocol.md: a 4-byte length, one msgpack body tagged by `is`) and shares
no code with the guardian, as everything that lives in other processes.
"""

import socket
import struct
from pathlib import Path

import msgspec

from firmware_adapters.capabilities import Observation
from firmware_adapters.discovery import ranges
from firmware_adapters.discovery.examine import Examined, NotRead, believed, unjudged
from firmware_adapters.discovery.report import Probed
from firmware_adapters.discovery.running_site import KnownSite
from firmware_adapters.identify import Identification, Trust, unjudged_warnings, version_seen
from firmware_adapters.transport.tape import file_name
from shared.errors import ConfigError, DeviceTimeout, Unreachable
from shared.exchanges import Exchange
from shared.ids import DeviceId
from shared.shown import DeviceShown, ShowDevice
from shared.telemetry import DeviceKind

_LENGTH = struct.Struct(">I")
_MOST_BYTES = 1024 * 1024
_WITHIN_S = 10.0


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="refused"):
    """The other answer."""

    why: str


def meant(site: KnownSite, target: str) -> ShowDevice:
    """The device that a person named: by its id in the site file, or as HOST[:PORT]. Raises `ConfigError`.

    Units behind one gateway or on one line are told apart by their ids alone.
    """
    if any(entry.id == target for entry in site.devices):
        return ShowDevice(device=DeviceId(target))
    host, port = ranges.target(target)
    return ShowDevice(host=host, port=port or 0)


def ask(site: KnownSite, asked: ShowDevice) -> DeviceShown:
    """What the site's guardian knows of one device.

    Raises `ConfigError` where no guardian answers, this user may not ask it, or it refuses.
    """
    path = site.operator_socket
    if path is None:
        raise ConfigError(f"{site.path}: names no paths.operator_socket")
    try:
        body = _exchange(path, msgspec.msgpack.encode(asked))
        answer = msgspec.msgpack.decode(body, type=DeviceShown | Refused)
    except OSError as error:
        raise ConfigError(f"{path}: no answer from a guardian ({error.strerror or error})") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: this guardian does not speak as we do: {error}") from error
    if isinstance(answer, Refused):
        raise ConfigError(f"the guardian refuses: {answer.why}")
    return answer


_SILENT = frozenset({Unreachable.code, DeviceTimeout.code})


def silent(site: KnownSite, hosts: frozenset[str]) -> frozenset[DeviceId]:
    """The miners at these addresses that the site's guardian cannot reach. Raises `ConfigError` as `ask`."""
    return frozenset(
        entry.id
        for entry in site.devices
        if entry.kind is DeviceKind.MINER
        and site.names.get(entry.host, entry.host) in hosts
        and ask(site, ShowDevice(host=entry.host, port=entry.port)).failing in _SILENT
    )


def _exchange(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WITHIN_S)
        connection.connect(str(path))
        connection.sendall(_LENGTH.pack(len(request)) + request)
        (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
        if size > _MOST_BYTES:
            raise OSError(f"an answer of {size} bytes")
        return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise OSError("it closed the connection")
        data += part
    return bytes(data)


def as_probed(shown: DeviceShown) -> Probed:
    """The same in the words of a probe."""
    entry, facts = shown.entry, shown.facts
    firmware = facts.firmware if facts is not None else ""
    known = Identification(
        adapter=entry.adapter,
        confidence=1.0,
        evidence=("the site file of the running guardian says so",),
        model=(facts.model if facts is not None else "") or entry.model or "",
        firmware=firmware,
        mac=entry.mac or "",
        serial=entry.serial_number or "",
        seen_before=version_seen(entry.adapter, firmware),
    )
    return Probed(
        host=entry.host, port=entry.port, identified=(known,), examined=_examined(shown), answered=True
    )


def _examined(shown: DeviceShown) -> Examined:
    sample, failing, facts = shown.sample, shown.failing, shown.facts
    seen = None
    if sample is not None and failing is None:
        seen = Observation(
            readings=sample.readings,
            state=sample.state,
            preset=sample.preset,
            algorithm=sample.algorithm,
            faults=shown.faults,
        )
    why = f"the guardian's newest read failed: {failing}" if failing else "the guardian has not read it yet"
    boards, missing = believed(shown.boards)
    if seen is None:
        missing.insert(0, NotRead(part="sample", code=failing or "unread", why=why))
    return Examined(
        adapter=shown.entry.adapter,
        host=shown.entry.host,
        port=shown.entry.port,
        at_ms=_at_ms(shown),
        observation=seen,
        facts=facts,
        capabilities=facts.capabilities if facts is not None else unjudged(shown.entry.adapter),
        boards=boards,
        pools=shown.pools,
        not_read=tuple(missing),
        warnings=(
            Trust.of(shown.entry).warnings(facts.firmware)
            if facts is not None
            else unjudged_warnings(shown.entry.adapter, "")
        ),
        chips=shown.chips,
        chips_at_ms=shown.chips_at_ms,
        log=shown.log,
        exchanges=(*(shown.kept.exchanges if shown.kept is not None else ()), *_kept_pages(shown)),
    )


def _kept_pages(shown: DeviceShown) -> list[Exchange]:
    """What the guardian holds as values and text, for a recording; named apart from what a device says."""
    pages = []
    if shown.chips is not None:
        told = {"at_ms": shown.chips_at_ms, "chips": shown.chips}
        pages.append(
            Exchange(
                question="chips, as the guardian has them",
                name="guardian_chips",
                reply=msgspec.json.encode(told),
            )
        )
    if shown.log is not None:
        log = shown.log
        pages.append(
            Exchange(
                question=f"log {log.name} at {log.at_ms}, kept by the guardian because of: {log.why}",
                name=file_name(f"guardian_log_{log.name}"),
                reply=log.text.encode(),
            )
        )
    return pages


def _at_ms(shown: DeviceShown) -> int | None:
    """When it said what is shown: its failure where it fails, else its newest good word."""
    if shown.failing is not None and shown.kept is not None:
        return shown.kept.at_ms
    return shown.sample.at_ms if shown.sample is not None else None
