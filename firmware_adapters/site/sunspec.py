"""A SunSpec device's own list of its registers: find a model in it, and who made the device.

From one of a few bases the device says "SunS", then come the models in a chain: number, length, `length`
registers, the next one; number 0xFFFF ends it (SunSpec device information model specification; plant.md §6).
Nothing here trusts the chain: a length that leads out of the address space or round in circles is malformed.
"""

from collections.abc import Awaitable, Callable

import msgspec

from firmware_adapters.transport.modbus_plan import Span, Table
from shared.errors import DeviceError, MalformedReply, Unsupported

MARK = (0x5375, 0x6E53)
"""The letters SunS."""
END = 0xFFFF
COMMON = 1
MOST_MODELS = 64
LAST_REGISTER = 0xFFFF
_MAKER, _MODEL, _VERSION, _SERIAL = (2, 16), (18, 16), (42, 8), (50, 16)
"""First register and length of the common model's texts, counted from its number."""

Ask = Callable[[Span], Awaitable[tuple[int, ...]]]
"""Reads a span of the device."""


class Maker(msgspec.Struct, frozen=True, kw_only=True):
    """What the common model says; an empty text is unknown."""

    model: str = ""
    version: str = ""
    serial: str = ""


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """Which models a device has: (number, register of the number, length without number and length)."""

    blocks: tuple[tuple[int, int, int], ...]

    def place(self, models: tuple[int, ...]) -> int:
        """The register of the first of `models`. Raises `Unsupported` with what there is instead."""
        for wanted in models:
            for number, register, _ in self.blocks:
                if number == wanted:
                    return register
        have = ", ".join(str(number) for number, _, _ in self.blocks) or "none"
        raise Unsupported(f"SunSpec models of the device: {have}; wanted {', '.join(map(str, models))}")


async def find_chain(ask: Ask, bases: tuple[int, ...]) -> Chain:
    """Walk the chain from the first base that says SunS.

    Raises `Unsupported` where none does, `MalformedReply` for a chain that cannot be, and other
    `DeviceError`s as they come.
    """
    for base in bases:
        try:
            mark = await ask(Span(Table.HOLDING, base, 2))
        except Unsupported:
            continue  # no such register here; the next base may have it
        if mark == MARK:
            return await _walk(ask, base + 2)
    raise Unsupported(f"no SunSpec device: SunS stands at none of {', '.join(map(str, bases))}")


async def _walk(ask: Ask, register: int) -> Chain:
    blocks: list[tuple[int, int, int]] = []
    while register < LAST_REGISTER and len(blocks) < MOST_MODELS:
        number, length = await ask(Span(Table.HOLDING, register, 2))
        if number == END:
            return Chain(blocks=tuple(blocks))
        blocks.append((number, register, length))
        register += 2 + length
    raise MalformedReply(f"SunSpec: the chain does not end; {len(blocks)} models up to register {register}")


async def read_maker(ask: Ask, chain: Chain) -> Maker:
    """Model, version and serial number from the common model; unknown where it is absent or unreadable."""
    block = next((block for block in chain.blocks if block[0] == COMMON), None)
    if block is None:
        return Maker()
    _, register, length = block
    texts: list[str] = []
    for offset, words in (_MAKER, _MODEL, _VERSION, _SERIAL):
        if offset + words > length + 2:
            texts.append("")
            continue
        try:
            texts.append(_text(await ask(Span(Table.HOLDING, register + offset, words))))
        except DeviceError:
            return Maker()
    maker, model, version, serial = texts
    return Maker(model=f"{maker} {model}".strip(), version=version, serial=serial)


def _text(words: tuple[int, ...]) -> str:
    raw = b"".join(word.to_bytes(2, "big") for word in words)
    text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(letter for letter in text if letter.isprintable()).strip()
