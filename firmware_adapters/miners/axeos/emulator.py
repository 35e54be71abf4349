"""One emulated AxeOS machine: its HTTP API in front of an `EmulatedMiner`.

What is the vendor's stays here: frequency and core voltage. A change of frequency reaches the machine as a
throttle, which is its word for "less than full". No login, as on the real one.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from firmware_adapters.miners.axeos.emulator_traps import Traps
from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import Answer, Stop, WebEmulator, WireTraps
from firmware_adapters.miners.fields import NOT_JSON, amount, as_object
from shared.clock import Clock
from shared.telemetry import MinerState

Json = dict[str, object]

__all__ = ["AxeosEmulator", "Traps"]

DEFAULT_MHZ = 525.0
OPTIONS_MHZ = (400.0, 425.0, 450.0, 475.0, 485.0, 500.0, 525.0, 550.0, 575.0)
DEFAULT_MV, OPTIONS_MV = 1150, (1000, 1060, 1100, 1150, 1200, 1250)
SUPPLY_MV = 5_175
SMALL_CORES = 2_040
NERDQAXE = "NerdQAxe++"
_HASHING = (MinerState.MINING, MinerState.AUTO_TUNING)


class AxeosEmulator(WebEmulator):
    """The wire side of one machine. `traps` may be replaced at any time."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        version: str = "v2.9.0",
        traps: Traps | None = None,
        model: str = "Gamma",
    ) -> None:
        """`model` "NerdQAxe++" tells what that kin of the Bitaxe tells."""
        super().__init__(machine, clock=clock)
        self.version = version
        self.model = model
        self.traps = traps or Traps()
        self.frequency_mhz = DEFAULT_MHZ
        self.core_mv = DEFAULT_MV

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    def _answer(
        self,
        view: MinerView,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        address: str,
    ) -> Answer:
        del headers, address  # there is no login, and it never says where it is
        path = path.partition("?")[0]
        try:
            return self._page(view, method, path, body)
        except Stop as stop:
            return stop.answer

    def _page(self, view: MinerView, method: str, path: str, body: bytes) -> Answer:
        if (method, path) == ("GET", "/"):
            return Answer(HTTPStatus.OK, b"<!doctype html><title>AxeOS</title>", kind="text/html")
        if self.traps.too_many:
            raise Stop(HTTPStatus.TOO_MANY_REQUESTS)
        if self.traps.garbage:
            return Answer(HTTPStatus.OK, b"<html>\xff 502")
        if (method, path) == ("GET", "/api/system/info"):
            return Answer(HTTPStatus.OK, msgspec.json.encode(self._info(view)))
        if (method, path) == ("GET", "/api/system/asic") and not self.traps.no_asic_page:
            return Answer(HTTPStatus.OK, msgspec.json.encode(self._asic(view)))
        if (method, path) == ("PATCH", "/api/system"):
            self._patch(view, body)
            return Answer(HTTPStatus.OK)
        if (method, path) == ("POST", "/api/system/restart"):
            self.machine.reboot(1.0)
            return Answer(HTTPStatus.OK, b"System will restart shortly.", kind="text/plain")
        raise Stop(HTTPStatus.NOT_FOUND)

    # ------------------------------------------------------------ pages

    def _info(self, view: MinerView) -> Json:
        page: Json = {
            "ASICModel": "BM1370",
            "boardVersion": "601",
            "deviceModel": self.model,
            "version": self.version,
            "axeOSVersion": self.version,
            "idfVersion": "v5.4",
            "macAddr": view.mac,
            "hostname": view.hostname,
            "ssid": "emulated",
            "wifiStatus": "Connected!",
            "asicCount": max(1, len(view.boards)),
            "smallCoreCount": SMALL_CORES,
            "freeHeap": 8_000_000,
            "runningPartition": "ota_0",
        }
        if self.traps.quiet:
            return page
        page |= {**self._measured(view), **self._settings(view)}
        return self._nerdqaxe(view, page) if self.model == NERDQAXE else page

    def _nerdqaxe(self, view: MinerView, page: Json) -> Json:
        """What it tells more, and what less (a Bitaxe's counting per chip)."""
        for only_there in ("hashrateMonitor", "expectedHashrate", "overheat_mode", "axeOSVersion"):
            page.pop(only_there, None)
        board = view.boards[0] if view.boards and not self.traps.sensors_absent else None
        automatic = page["autofanspeed"]
        shares = [
            (view.shares_accepted, view.shares_rejected),
            *((pool.shares_accepted, pool.shares_rejected) for pool in view.other_pools[:1]),
        ]
        counted = [
            {"connected": view.pool == at, "accepted": accepted, "rejected": rejected}
            for at, (accepted, rejected) in enumerate(shares)
        ]
        return {
            **page,
            "boardtemp1": 0 if board is None else board.board_temp_min_c or 0,
            "boardtemp2": 0 if board is None else board.board_temp_max_c or 0,
            "autofanspeed": 2 if automatic else 0,
            "pidTargetTemp": view.target_temp_c,
            "duplicateHWNonces": view.hw_errors,
            "shutdown": view.state is MinerState.STOPPED,
            "isStratumConnected": view.state in _HASHING,
            "stratum": {"poolMode": 0, "pools": counted},
        }

    def _measured(self, view: MinerView) -> Json:
        chips = [b.chip_temp_max_c for b in view.boards if b.chip_temp_max_c is not None]
        boards = [b.board_temp_max_c for b in view.boards if b.board_temp_max_c is not None]
        absent = self.traps.sensors_absent
        page: Json = {
            "power": view.power_w,
            "voltage": SUPPLY_MV,
            "current": view.power_w / SUPPLY_MV * 1e6,
            "temp": -1 if absent or not chips else max(chips),
            "vrTemp": 0 if absent or not boards else max(boards),
            "hashRate": view.hashrate_ths * 1e3 if view.state in _HASHING else 0,
            "expectedHashrate": view.hashrate_nominal_ths * 1e3,
            "overheat_mode": int(view.state is MinerState.FAILURE),
            "fanspeed": view.fan_duty_pct,
            "sharesAccepted": view.shares_accepted + sum(p.shares_accepted for p in view.other_pools),
            "sharesRejected": view.shares_rejected + sum(p.shares_rejected for p in view.other_pools),
            "uptimeSeconds": int(view.uptime_s),
            "bestDiff": "483k",
            "bestSessionDiff": "0",
            "hashrateMonitor": {"asics": [{"errorCount": board.hw_errors} for board in view.boards]},
        }
        for fan, key in zip(view.fans, ("fanrpm", "fan2rpm"), strict=False):
            page[key] = round(fan.rpm)
        if self.traps.power_fault:
            page["power_fault"] = self.traps.power_fault
        return page

    def _settings(self, view: MinerView) -> Json:
        spare = view.other_pools[0] if view.other_pools else None
        pools = _pool("stratum", view.pool_url, view.pool_user)
        if spare is not None:
            pools |= _pool("fallbackStratum", spare.url, spare.user)
        return {
            **pools,
            "frequency": self.frequency_mhz,
            "coreVoltage": self.core_mv,
            "coreVoltageActual": self.core_mv + 5,
            "autofanspeed": int(view.cooling == "auto"),
            "isUsingFallbackStratum": int(view.pool == 1),
            "stratumDiff": 1000,
        }

    def _asic(self, view: MinerView) -> Json:
        return {
            "ASICModel": "BM1370",
            "deviceModel": self.model,
            "asicCount": max(1, len(view.boards)),
            "defaultFrequency": DEFAULT_MHZ,
            "frequencyOptions": list(OPTIONS_MHZ),
            "defaultVoltage": DEFAULT_MV,
            "voltageOptions": list(OPTIONS_MV),
        }

    # ------------------------------------------------------------ settings

    def _patch(self, view: MinerView, body: bytes) -> None:
        try:
            sent = as_object(msgspec.json.decode(body))
        except NOT_JSON as error:
            raise Stop(HTTPStatus.BAD_REQUEST) from error
        if sent is None:
            raise Stop(HTTPStatus.BAD_REQUEST)
        if self.traps.settings_ignored:
            return
        mhz, millivolts, fan = (amount(sent, key) for key in ("frequency", "coreVoltage", "fanspeed"))
        if millivolts is not None:
            self.core_mv = round(millivolts)
        automatic = amount(sent, "autofanspeed")
        if automatic:
            self.machine.set_cooling("auto", view.target_temp_c)
        elif fan is not None and (automatic == 0 or view.cooling == "manual"):
            self.machine.set_cooling("manual", fan)
        if mhz is not None and mhz > 0:
            self.frequency_mhz = mhz
            self.machine.throttle(max(20.0, min(100.0, 100.0 * mhz / DEFAULT_MHZ)))


def _pool(prefix: str, url: str, user: str) -> Json:
    host, _, port = url.rpartition(":")
    number = int(port) if port.isdigit() else 0
    return {f"{prefix}URL": host.rpartition("//")[2], f"{prefix}Port": number, f"{prefix}User": user}
