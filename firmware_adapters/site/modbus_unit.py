"""One emulated Modbus unit: a profile's register map filled from a point source (pure, no sockets).

`answer` takes a request PDU and gives the reply PDU, as in the Modbus Application Protocol V1.1b3, §6.
"""

from firmware_adapters.site.codec import NOT_IMPLEMENTED, DataType, number_to_words, words_to_number
from firmware_adapters.site.point_source import PointSource
from firmware_adapters.site.profile import ModbusRules, Point, Profile
from firmware_adapters.site.sunspec_chain import SunSpecChain
from firmware_adapters.site.unit_watchdog import UnitWatchdog
from firmware_adapters.site.unit_words import POWERS, encoded, fits, reach
from firmware_adapters.transport.modbus_plan import Table
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4

_TABLE_OF = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}
_LONGEST_WORDS, _LONGEST_BITS = 125, 2000


class Refused(Exception):
    """Answer with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class ModbusUnit:
    """Registers of one unit. Addresses between the profile's points exist and read 0 unless `holes`."""

    def __init__(
        self, profile: Profile, source: PointSource, *, holes: bool = False, clock: Clock | None = None
    ) -> None:
        """`holes`: addresses that are no point answer exception 2, as on strict devices."""
        if profile.modbus is None:
            raise ConfigError(f"profile {profile.model!r} is not for Modbus")
        self.profile = profile
        self._rules: ModbusRules = profile.modbus
        self._source = source
        self._holes = holes
        self._extra: dict[int, int] = {
            step.address: 0
            for point in profile.writable
            if point.write
            for step in (*point.write.first, *point.write.then)
        }
        self._chain = SunSpecChain(profile) if self._rules.sunspec is not None else None
        self.swap_bytes = False
        """A gateway set up for the other byte order."""
        self.deaf = False
        """Takes every write, says so, and does nothing."""
        self.watchdog: UnitWatchdog | None = None
        dog = profile.watchdog
        target = profile.point(dog.point) if dog is not None else None
        if dog is not None and target is not None and target.write and target.write.falls_to is not None:
            self._extra |= {step.address: 0 for step in dog.keep_alive}
            self.watchdog = UnitWatchdog(
                dog,
                target.write.falls_to,
                order=self._rules.word_order,
                source=source,
                clock=clock or SystemClock(),
                revert=lambda word: self._value(target, (word,)),
            )

    def answer(self, request: bytes) -> bytes:
        """The reply PDU to a request PDU; never raises."""
        if self.watchdog is not None:
            self.watchdog.asked()
        function = request[0]
        try:
            if function in _TABLE_OF:
                return self._read(function, request)
            if function in (5, 6):
                return self._write_single(function, request)
            if function in (15, 16):
                return self._write_many(function, request)
            return bytes((function | 0x80, ILLEGAL_FUNCTION))
        except Refused as refused:
            return bytes((function | 0x80, refused.code))

    # ---------------------------------------------------------------- reads

    def _read(self, function: int, request: bytes) -> bytes:
        if len(request) != 5:
            raise Refused(ILLEGAL_VALUE)
        table = _TABLE_OF[function]
        address, count = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        limit = self._rules.max_bits if table.is_bits else self._rules.max_registers
        if not 1 <= count <= min(limit, _LONGEST_BITS if table.is_bits else _LONGEST_WORDS):
            raise Refused(ILLEGAL_VALUE)
        words = self._words(table, address, count)
        if table.is_bits:
            packed = sum(bit << index for index, bit in enumerate(words))
            body = packed.to_bytes((count + 7) // 8, "little")
        else:
            body = b"".join(word.to_bytes(2, "little" if self.swap_bytes else "big") for word in words)
        return bytes((function, len(body))) + body

    def _words(self, table: Table, address: int, count: int) -> list[int]:
        cells = self._placed(table)
        known = self._known(table)
        wanted = range(address, address + count)
        if not any(cell in cells for cell in wanted):
            raise Refused(ILLEGAL_ADDRESS)
        for cell in wanted:
            if cell not in cells and (self._holes or cell in known):
                raise Refused(ILLEGAL_ADDRESS)
        return [cells.get(cell, 0) for cell in wanted]

    @property
    def _base(self) -> int:
        """What the profile's addresses count from."""
        return self._chain.block if self._chain is not None else 0

    def _known(self, table: Table) -> set[int]:
        """Cells that belong to points, whether the machine has them or not."""
        return {
            cell + self._base
            for point in self.profile.points
            if point.span.table is table
            for cell in range(point.span.address, point.span.end)
        }

    def _placed(self, table: Table) -> dict[int, int]:
        """The cells where the device really has them."""
        cells = self._cells(table)
        if self._chain is None:
            return cells
        return self._chain.around({cell + self._base: word for cell, word in cells.items()}, table)

    def _cells(self, table: Table) -> dict[int, int]:
        values = self._source.points()
        cells: dict[int, int] = dict(self._extra) if table is Table.HOLDING else {}
        if table is Table.HOLDING and self.watchdog is not None:
            cells |= self.watchdog.cells
        for point in self.profile.points:
            if point.span.table is not table:
                continue
            if point.name not in values:
                cells |= self._not_implemented(point)
                continue
            if point.bit is not None:
                bit = int(values[point.name] != 0) ^ int(point.invert)
                cells[point.span.address] = cells.get(point.span.address, 0) | bit << point.bit
                continue
            power = self._power(point)
            if point.scale_register is not None:
                cells[point.scale_register] = power & 0xFFFF
            for offset, word in enumerate(
                encoded(point, values[point.name], self._rules.word_order, factor=10.0**power)
            ):
                cells[point.span.address + offset] = word
        return cells

    def _not_implemented(self, point: Point) -> dict[int, int]:
        """A SunSpec device has every register of its model, and says in it that there is no value."""
        if self._chain is None or point.type is None:
            return {}
        words = number_to_words(NOT_IMPLEMENTED[point.type], point.type, self._rules.word_order)
        cells = dict(enumerate(words, start=point.span.address))
        if point.scale_register is not None and not self._sharing(point):
            cells[point.scale_register] = 0x8000
        return cells

    def _sharing(self, point: Point) -> list[Point]:
        """The points that the machine has and that share this one's scale register."""
        values = self._source.points()
        return [
            other
            for other in self.profile.points
            if other.scale_register == point.scale_register
            and other.span.table is point.span.table
            and other.name in values
        ]

    def _power(self, point: Point) -> int:
        """The power of ten that the unit shows for the point: the finest in which all that share it fit."""
        if point.scale_register is None:
            return 0
        shown = self._source.points()
        needed = [
            (other, value) for other in self._sharing(point) for value in reach(other, shown[other.name])
        ]
        return next((p for p in POWERS if all(fits(o, value, p) for o, value in needed)), POWERS[-1])

    # ---------------------------------------------------------------- writes

    def _write_single(self, function: int, request: bytes) -> bytes:
        if len(request) != 5:
            raise Refused(ILLEGAL_VALUE)
        address, value = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        if function == 5 and value not in (0x0000, 0xFF00):
            raise Refused(ILLEGAL_VALUE)
        table = Table.COIL if function == 5 else Table.HOLDING
        if self.deaf:
            return request
        self._store(table, address, (int(value != 0),) if function == 5 else (value,))
        return request

    def _write_many(self, function: int, request: bytes) -> bytes:
        if len(request) < 7:
            raise Refused(ILLEGAL_VALUE)
        address, count = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        body = request[6:]
        size = (count + 7) // 8 if function == 15 else count * 2
        if not count or request[5] != size or len(body) != size:
            raise Refused(ILLEGAL_VALUE)
        if self.deaf:
            return request[:5]
        if function == 15:
            packed = int.from_bytes(body, "little")
            self._store(Table.COIL, address, tuple(packed >> index & 1 for index in range(count)))
        else:
            words = tuple(int.from_bytes(body[i : i + 2], "big") for i in range(0, size, 2))
            self._store(Table.HOLDING, address, words)
        return request[:5]

    def _store(self, table: Table, address: int, words: tuple[int, ...]) -> None:
        """Take the words point by point; a range that does not fall on whole writable points is refused."""
        place = 0
        address -= self._base
        while place < len(words):
            at = address + place
            point = next(
                (p for p in self.profile.writable if p.span.table is table and p.span.address == at), None
            )
            if point is not None:
                self._take(point, words[place : place + point.span.count])
                place += point.span.count
            elif table is Table.HOLDING and self._is_time_out(at, words[place]):
                place += 1
            elif table is Table.HOLDING and at in self._extra:
                self._extra[at] = words[place]
                self._source.write_register(at, words[place])
                place += 1
            else:
                raise Refused(ILLEGAL_ADDRESS)

    def _is_time_out(self, address: int, value: int) -> bool:
        """Let the time-out see the word; True when it was one of its own registers."""
        return self.watchdog is not None and self.watchdog.wrote(address, value)

    def _take(self, point: Point, words: tuple[int, ...]) -> None:
        if len(words) != point.span.count or point.type is None or point.write is None:
            raise Refused(ILLEGAL_VALUE)
        value = self._value(point, words)
        if not point.write.low - 1e-6 <= value <= point.write.high + 1e-6:
            raise Refused(ILLEGAL_VALUE)
        self._source.write_point(point.name, value)

    def _value(self, point: Point, words: tuple[int, ...]) -> float:
        """What the words command."""
        assert point.type is not None  # noqa: S101 - checked when the profile was loaded
        raw = words_to_number(words, point.type, self._rules.word_order)
        codes = point.write.values if point.write is not None else {}
        if codes:
            told = next((value for value, code in codes.items() if code == raw), None)
            if told is None:
                raise Refused(ILLEGAL_VALUE)
            return float(told)
        if point.type is DataType.BOOL:
            return float(int(raw) ^ int(point.invert))
        return raw * point.scale * 10.0 ** self._power(point) + point.offset
