"""How an emulated AxeOS machine misbehaves, beside what any machine does on the wire."""

from firmware_adapters.miners.emulator_wire import WireTraps


class Traps(WireTraps, frozen=True, kw_only=True):
    """Replace `emulator.traps` to switch."""

    too_many: bool = False
    """Every request is a 429."""
    no_asic_page: bool = False
    """There is no `/api/system/asic`, as in early releases."""
    sensors_absent: bool = False
    """Temperatures read -1 and 0, as where the sensor chip does not answer."""
    quiet: bool = False
    """The page tells who the machine is and nothing that was measured."""
    settings_ignored: bool = False
    """PATCH says 200 and changes nothing."""
    power_fault: str = ""
    """What the power stage complains of."""
