"""A proposed fragment of a site file: one `[[devices]]` block per machine found.

What only a person knows is left out and stands there as a comment with `FILL-IN`; until it is filled in,
`minewarden check-config` names what is missing. Rack and slot are optional and never guessed.
"""

import re
from collections.abc import Iterable

import msgspec

from firmware_adapters.discovery.machine import Machine

_NO_CREDENTIAL = "name in the guardian's credential store; without one it is only read"
_LONGEST_CLUE = 160


def fragment(machines: Iterable[Machine], *, at: str, asked: str) -> str:
    """TOML. `at` is when (UTC, ISO 8601), `asked` what was scanned or imported."""
    listed = tuple(machines)
    head = [
        f"# Proposed by `minewarden scan` from {_comment(asked)} at {at}: {len(listed)} machines.",
        "# Fill in each FILL-IN and move the blocks into a site file; `minewarden check-config` helps.",
    ]
    return "\n".join([*head, *(line for machine in listed for line in _block(machine))]) + "\n"


def _block(machine: Machine) -> list[str]:
    clues = [f"# {_comment(machine.evidence)}"] if machine.evidence else []
    if machine.confidence is not None and machine.confidence < 0.9:
        clues.append(f"# Only {machine.confidence:.0%} certain: check what this machine is.")
    steps = (
        f"one of {', '.join(machine.presets)}"
        if machine.presets
        else "what it may run on when nobody is in charge"
    )
    return [
        "",
        *clues,
        *(f"# ! {_comment(warning)}" for warning in machine.warnings),
        "[[devices]]",
        _pair("id", machine.id),
        _pair("kind", "miner"),
        _pair("adapter", machine.adapter),
        _pair("host", machine.host),
        f"port = {machine.port}",
        _pair_or_fill("mac", machine.mac, "not told; needed to see that it moved", optional=True),
        _pair_or_fill("serial_number", machine.serial, "not told", optional=True),
        _pair_or_fill("zone", machine.zone, "id of a [[zones]] table"),
        _pair_or_fill("model", machine.model, "such as s21pro"),
        _pair_or_fill("algorithm", machine.algorithm, "sha256d or scrypt"),
        _number_or_fill("nominal_w", machine.nominal_w, "W at its usual preset"),
        _pair_or_fill("safe_preset", machine.safe_preset, _comment(steps)),
        _pair_or_fill("credential", machine.credential, _NO_CREDENTIAL, optional=True),
        _pair_or_fill("rack", machine.rack, "where it stands", optional=True),
        _number_or_fill("slot", machine.slot, "where it stands, from 1", optional=True),
    ]


def _pair(key: str, value: str) -> str:
    """A TOML basic string: JSON's escapes are a part of TOML's."""
    return f"{key} = {msgspec.json.encode(value).decode()}"


def _pair_or_fill(key: str, value: str, about: str, *, optional: bool = False) -> str:
    return _pair(key, value) if value else f'# {key} = "FILL-IN"  # {_about(about, optional=optional)}'


def _number_or_fill(key: str, value: float | None, about: str, *, optional: bool = False) -> str:
    return (
        f"{key} = {value:g}"
        if value is not None
        else f"# {key} = FILL-IN  # {_about(about, optional=optional)}"
    )


def _about(about: str, *, optional: bool) -> str:
    return f"optional: {about}" if optional else about


def _comment(text: str) -> str:
    """One line that cannot end the comment it stands in: what a device says goes here."""
    return re.sub(r"[\x00-\x1f\x7f\s]+", " ", text)[:_LONGEST_CLUE].strip()
