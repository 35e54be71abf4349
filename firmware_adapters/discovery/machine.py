"""One machine as a scan lists it: a row of the table, a block of the proposed site file."""

import ipaddress

import msgspec

from firmware_adapters.discovery.report import Probed, chosen, device_words, warnings
from firmware_adapters.identify import LIKELY
from shared.units import Algorithm


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one machine. Empty text and None are unknown; a person fills them in."""

    host: str
    port: int
    adapter: str
    id: str = ""
    model: str = ""
    firmware: str = ""
    mac: str = ""
    serial: str = ""
    algorithm: str = ""
    nominal_w: float | None = None
    safe_preset: str = ""
    credential: str = ""
    zone: str = ""
    rack: str = ""
    slot: int | None = None
    confidence: float | None = None
    evidence: str = ""
    presets: tuple[str, ...] = ()
    """Tuned steps of its ladder, lowest first: for the person who chooses `safe_preset`."""
    warnings: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it answers."""
        return f"{self.host}:{self.port}"


def machine_of(found: Probed, arp_mac: str = "") -> Machine | None:
    """The machine behind a look; None where no firmware is likely. `arp_mac` counts where it tells none."""
    best = chosen(found)
    if best is None or (found.named is None and best.confidence < LIKELY):
        return None
    told = device_words(found)
    facts = found.examined.facts if found.examined is not None else None
    ladder = sorted(facts.presets, key=lambda step: step.power_w) if facts is not None else []
    algorithm = told["algorithm"] if told["algorithm"] in (Algorithm.SHA256D, Algorithm.SCRYPT) else ""
    return Machine(
        host=found.host,
        port=found.port,
        adapter=best.adapter,
        model=told["model"],
        firmware=told["firmware"],
        mac=told["mac"].lower() or arp_mac,
        serial=told["serial"],
        algorithm=algorithm,
        confidence=best.confidence,
        evidence="; ".join(best.evidence),
        presets=tuple(step.name for step in ladder if step.tuned),
        warnings=tuple(warnings(found)),
    )


def numbered(machines: tuple[Machine, ...], taken: frozenset[str]) -> tuple[Machine, ...]:
    """The machines with an id each, in the order of their addresses; ids that are taken are left out."""
    width = max(3, len(str(len(machines) + len(taken))))
    used = set(taken) | {machine.id for machine in machines if machine.id}
    out = []
    number = 0
    for machine in machines:
        name = machine.id
        while not name:
            number += 1
            tried = f"m-{number:0{width}d}"
            name = "" if tried in used else tried
        used.add(name)
        out.append(msgspec.structs.replace(machine, id=name))
    return tuple(out)


def by_address(machine: Machine) -> tuple[int, int, str, int]:
    """Sort key: 10.0.0.9 stands before 10.0.0.10, names behind addresses."""
    try:
        address = ipaddress.ip_address(machine.host)
    except ValueError:
        return 9, 0, machine.host, machine.port
    return address.version, int(address), "", machine.port
