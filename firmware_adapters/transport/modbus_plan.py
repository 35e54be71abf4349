"""Which registers to read together: adjacent ones merge into few requests (pure).

A request for 125 registers costs about the same as one for two, so batching is nearly free; many devices
allow fewer per request or refuse a range with holes, so both limits come from the device's profile.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Table(StrEnum):
    """The four Modbus tables; the name says which function reads them."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"

    @property
    def is_bits(self) -> bool:
        return self in (Table.COIL, Table.DISCRETE)

    @property
    def read_function(self) -> int:
        """FC01 coils, FC02 discrete inputs, FC03 holding, FC04 input registers."""
        return {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}[self]


class Span(msgspec.Struct, frozen=True, order=True):
    """`count` consecutive registers (or bits) of one table, from a zero-based PDU address."""

    table: Table
    address: int
    count: int

    @property
    def end(self) -> int:
        return self.address + self.count

    def covers(self, other: "Span") -> bool:
        """Whether `other` lies wholly inside."""
        return self.table is other.table and self.address <= other.address and other.end <= self.end


def merge_spans(spans: Iterable[Span], *, gap: int, max_registers: int, max_bits: int) -> tuple[Span, ...]:
    """The fewest reads that cover `spans`, reading over at most `gap` unwanted registers in between.

    No read is longer than `max_registers` (`max_bits` for coils and discrete inputs) unless one span is by
    itself; a span is never split.
    """
    merged: list[Span] = []
    for span in sorted(set(spans)):
        limit = max_bits if span.table.is_bits else max_registers
        last = merged[-1] if merged else None
        if last is not None and last.table is span.table and span.address - last.end <= gap:
            end = max(last.end, span.end)
            if end - last.address <= limit:
                merged[-1] = Span(last.table, last.address, end - last.address)
                continue
        merged.append(span)
    return tuple(merged)
