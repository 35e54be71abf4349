"""What goes wrong between a device and whoever asks it: silence, late, double or broken replies."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from firmware_adapters.site.modbus_emulator import Misbehaviour as ModbusMisbehaviour
from firmware_adapters.site.modbus_emulator import ModbusEmulator, ModbusFault
from firmware_adapters.site.snmp_emulator import Misbehaviour as SnmpMisbehaviour
from firmware_adapters.site.snmp_emulator import SnmpAgent


class LinkFault(StrEnum):
    """Faults of equipment's network side (`network_drop` on a miner is the plant's)."""

    NETWORK_DROP = "network_drop"
    """It does not answer any more."""
    REPLY_LATE = "reply_late"
    """It answers after `value` s (5)."""
    REPLY_TWICE = "reply_twice"
    REPLY_GARBAGE = "reply_garbage"
    REPLY_REFUSED = "reply_refused"
    """It answers with an error of its protocol."""
    BYTE_ORDER = "byte_order"
    """Its registers come with the bytes the other way round."""


_MODBUS = {
    LinkFault.NETWORK_DROP: ModbusMisbehaviour.SILENT,
    LinkFault.REPLY_LATE: ModbusMisbehaviour.LATE,
    LinkFault.REPLY_TWICE: ModbusMisbehaviour.TWICE,
    LinkFault.REPLY_GARBAGE: ModbusMisbehaviour.GARBAGE,
    LinkFault.REPLY_REFUSED: ModbusMisbehaviour.EXCEPTION,
}
_SNMP = {
    LinkFault.NETWORK_DROP: SnmpMisbehaviour.SILENT,
    LinkFault.REPLY_GARBAGE: SnmpMisbehaviour.GARBAGE,
    LinkFault.REPLY_REFUSED: SnmpMisbehaviour.GEN_ERR,
}
_BACNET = {
    LinkFault.NETWORK_DROP: "silent",
    LinkFault.REPLY_GARBAGE: "garbage",
    LinkFault.REPLY_TWICE: "twice",
}
LATE_S = 5.0


class BacnetFaulty(Protocol):
    """A BACnet device whose datagrams can be spoilt; its own module needs an extra."""

    def distort_by(self, word: str | None) -> None:
        """Begin the misbehaviour of that name, or (None) end it."""
        ...


class LinkFaults:
    """Breaks and mends the links of emulated equipment."""

    def __init__(
        self,
        modbus: Mapping[str, tuple[ModbusEmulator, int]],
        snmp: Mapping[str, SnmpAgent],
        bacnet: Mapping[str, BacnetFaulty],
    ) -> None:
        self._modbus = modbus
        self._snmp = snmp
        self._bacnet = bacnet

    def apply(self, fault: LinkFault, target: str, *, on: bool, value: float | None) -> None:
        """Begin or end a fault; one at a time per device. Raises `ValueError` where it makes no sense."""
        if target in self._modbus:
            emulator, unit = self._modbus[target]
            if fault is LinkFault.BYTE_ORDER:
                emulator.units[unit].swap_bytes = on
                return
            emulator.faults.pop(unit, None)
            if on:
                emulator.faults[unit] = ModbusFault(
                    _MODBUS[fault], delay_s=LATE_S if value is None else value
                )
            return
        if target in self._bacnet:
            if fault not in _BACNET:
                raise ValueError(f"{fault} does not apply to {target!r}, which speaks BACnet")
            self._bacnet[target].distort_by(_BACNET[fault] if on else None)
            return
        if fault not in _SNMP or target not in self._snmp:
            raise ValueError(f"{fault} does not apply to {target!r}, which speaks SNMP")
        self._snmp[target].fault = _SNMP[fault] if on else None
