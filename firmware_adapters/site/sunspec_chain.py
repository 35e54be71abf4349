"""The SunSpec chain of an emulated unit: SunS, the common model, the profile's model, the end (pure)."""

from firmware_adapters.site.profile import Profile
from firmware_adapters.site.sunspec import COMMON, END, MARK
from firmware_adapters.transport.modbus_plan import Table
from shared.errors import ConfigError

COMMON_LENGTH = 66


class SunSpecChain:
    """Where the unit's model begins, and the registers around it. `texts` are those of the common model."""

    def __init__(self, profile: Profile, *, version: str = "1.0", serial: str = "EMULATED-1") -> None:
        """Raises `ConfigError` for a profile without SunSpec."""
        if profile.modbus is None or profile.modbus.sunspec is None:
            raise ConfigError(f"profile {profile.model!r} has no [modbus.sunspec]")
        rules = profile.modbus.sunspec
        self.base = rules.bases[0]
        self.model = rules.models[0]
        self.skipped: tuple[tuple[int, int], ...] = ((COMMON, COMMON_LENGTH),)
        """Models in front of the profile's own: (number, length)."""
        self.texts = {"maker": "Minewarden", "model": "emulator", "version": version, "serial": serial}
        dog = profile.watchdog
        ends = [2, *(point.span.end for point in profile.points)]
        ends += [point.scale_register + 1 for point in profile.points if point.scale_register is not None]
        ends += [dog.span.end] if dog is not None else []
        self._length = max(ends) - 2

    @property
    def block(self) -> int:
        """The register with the number of the profile's model."""
        return self.base + 2 + sum(length + 2 for _, length in self.skipped)

    def around(self, cells: dict[int, int], table: Table) -> dict[int, int]:
        """`cells` with the chain around them, and zeros in the model's other registers."""
        if table is not Table.HOLDING:
            return cells
        whole = {self.base: MARK[0], self.base + 1: MARK[1]}
        register = self.base + 2
        for number, length in self.skipped:
            whole |= {register: number, register + 1: length}
            whole |= dict.fromkeys(range(register + 2, register + 2 + length), 0)
            if number == COMMON:
                whole |= self._common(register)
            register += 2 + length
        whole |= {register: self.model, register + 1: self._length}
        whole |= dict.fromkeys(range(register + 2, register + 2 + self._length), 0)
        whole |= {register + 2 + self._length: END, register + 3 + self._length: 0}
        return whole | cells

    def _common(self, register: int) -> dict[int, int]:
        cells: dict[int, int] = {}
        for name, offset, words in (
            ("maker", 2, 16),
            ("model", 18, 16),
            ("version", 42, 8),
            ("serial", 50, 16),
        ):
            raw = self.texts[name].encode()[: 2 * words].ljust(2 * words, b"\0")
            for index in range(words):
                cells[register + offset + index] = int.from_bytes(raw[2 * index : 2 * index + 2], "big")
        return cells
