"""What an emulated VNish machine does when told: logins, settings, commands. See `emulator` for the rest.

What no source tells (a wrong command body, `stop` in failure, whether a restart starts a stopped machine) is
marked where it is decided.
"""

from collections.abc import Iterable
from http import HTTPStatus

from firmware_adapters.miners.emulated import EmulatedMiner, MinerView
from firmware_adapters.miners.emulator_wire import Stop, WebEmulator, WireTraps
from firmware_adapters.miners.vnish.emulator_diary import Diary
from firmware_adapters.miners.vnish.emulator_login import Logins
from firmware_adapters.miners.vnish.emulator_settings import Refused, Settings, Switcher
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.fields import Object, as_number, flag, text
from firmware_adapters.miners.vnish.versions import firmware
from shared.clock import Clock
from shared.telemetry import MinerState

_IDLE = (MinerState.STOPPED, MinerState.FAILURE)


class Commands(WebEmulator):
    """The state of one emulated machine, and the POST side of its API."""

    def __init__(
        self,
        machine: EmulatedMiner,
        *,
        clock: Clock,
        version: str = "1.2.7",
        firmware_name: str = "Vnish",
        password: str = "admin",  # noqa: S107 - the vendor's default is what real machines answer to
        api_keys: Iterable[str] = (),
        traps: Traps | None = None,
        switcher: Switcher | None = None,
    ) -> None:
        super().__init__(machine, clock=clock)
        self.version = version
        self.firmware_name = firmware_name
        self.traps = traps or Traps()
        self.settings = Settings(machine, clock, switcher or Switcher())
        self.diary = Diary(machine, clock)
        number = firmware("Vnish", version)
        self._v13 = number.since(1, 3)
        # The document of 1.2.0-rc5 lacks many of the later pages; none is known of 1.2.0 itself.
        self._first = number.first and number.trial
        self._has_power_limit = number.since(1, 3, 4)
        self.logins = Logins(clock, password, api_keys)
        self._throttles: list[tuple[float, float]] = []

    @property
    def wire(self) -> WireTraps:
        """See `Emulator.wire`."""
        return self.traps

    def _advance(self, view: MinerView) -> None:
        """Bring in what was waiting for time to pass; sessions end where the machine has rebooted."""
        now_s = self._clock.monotonic()
        due = [percent for at_s, percent in self._throttles if at_s <= now_s]
        if due:
            self._throttles = [(at_s, percent) for at_s, percent in self._throttles if at_s > now_s]
            self.machine.throttle(due[-1])
        if self.diary.look(view):
            self.logins.drop()
        self.settings.switch(view)

    def _only_from(self, *, exists: bool) -> None:
        if not exists:
            raise Stop(HTTPStatus.NOT_FOUND)

    # ------------------------------------------------------------ login

    def unlock(self, _view: MinerView, sent: Object) -> object:
        """POST /unlock."""
        return self.logins.unlock(text(sent, "pw"), self.traps.lockout_s)

    def lock(self, _view: MinerView, _sent: Object) -> object:
        """POST /lock."""
        self.logins.drop()
        return None

    def get_keys(self, _view: MinerView, _sent: Object) -> object:
        """GET /apikeys."""
        return self.logins.keys_page()

    def add_key(self, _view: MinerView, sent: Object) -> object:
        """POST /apikeys."""
        return self.logins.add_key(text(sent, "key"))

    def delete_key(self, _view: MinerView, sent: Object) -> object:
        """POST /apikeys/delete."""
        self.logins.delete_key(text(sent, "key"))
        return None

    # ------------------------------------------------------------ settings

    def get_settings(self, view: MinerView, _sent: Object) -> object:
        """GET /settings."""
        if self.traps.settings_broken:
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": "duplicate field `preset`"})
        return self.settings.page(
            view, v13=self._v13, first=self._first, has_power_limit=self._has_power_limit
        )

    def post_settings(self, view: MinerView, sent: Object) -> object:
        """POST /settings. An unknown preset is HTTP 400 (plant.md §1.2)."""
        if not self.traps.settings_ignored:
            try:
                self.settings.store(sent, view, has_power_limit=self._has_power_limit)
            except Refused as refused:
                raise Stop(HTTPStatus.BAD_REQUEST, {"err": str(refused)}) from refused
        if self.traps.empty_settings_reply:
            return b""
        return {"restart_required": self.settings.restart_required, "reboot_required": False}

    # ------------------------------------------------------------ commands

    def _done(self) -> bytes:
        return self.traps.command_body.encode()

    def stop(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/stop. In failure there is no miner process to pause, so it is refused as well."""
        self._refuse_if(view.state in (*_IDLE, MinerState.SHUTTING_DOWN), "pause")
        self.machine.stop()
        return self._done()

    def pause(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/pause."""
        self._refuse_if(view.state in (*_IDLE, MinerState.SHUTTING_DOWN), "pause")
        self.machine.pause()
        return self._done()

    def start(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/start."""
        self._refuse_if(view.state not in _IDLE, "resume")
        self.settings.bring_in()
        self.machine.start()
        return self._done()

    def resume(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/resume."""
        self._refuse_if(view.state not in _IDLE, "resume")
        self.settings.bring_in()
        self.machine.resume()
        return self._done()

    def _refuse_if(self, conflict: bool, mode: str) -> None:  # noqa: FBT001 - reads as a sentence at its callers
        if conflict:
            err = f"CGMiner err: Cgminer error failed-to-activate-{mode}-mode "
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": err})

    def restart(self, view: MinerView, _sent: Object) -> object:
        """POST /mining/restart. Whether it starts a stopped machine is not known; the worse is assumed."""
        changed = self.settings.bring_in()
        if view.state in _IDLE:
            self.machine.start()
        elif not changed:
            self.machine.restart()
        return self._done()

    def throttle(self, _view: MinerView, sent: Object) -> object:
        """POST /mining/throttle, 1.3 only."""
        self._only_from(exists=self._v13)
        percent = as_number(sent.get("percent"))
        if percent is None or not 20 <= percent <= 100:
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": "percent must be between 20 and 100"})
        if self.traps.throttle_delay_s > 0:
            self._throttles.append((self._clock.monotonic() + self.traps.throttle_delay_s, percent))
        else:
            self.machine.throttle(percent)
        return {"restart_required": False, "reboot_required": False}

    def reboot(self, _view: MinerView, sent: Object) -> object:
        """POST /system/reboot; sessions do not survive it."""
        after = as_number(sent.get("after"))
        after_s = 3.0 if after is None or after < 0 else after
        self.settings.bring_in()
        self.logins.drop()
        self.machine.reboot(after_s)
        return {"after": after_s}

    def find(self, view: MinerView, sent: Object) -> object:
        """POST /find-miner: toggles, unless the body says which way; 1.2.0 does not have it."""
        self._only_from(exists=not self._first)
        on = None if self.traps.find_toggles else flag(sent, "on")
        on = not view.locating if on is None else on
        if not self.traps.find_ignored:
            self.machine.locate(on=on)
        return {"on": on}

    def locate(self, view: MinerView, sent: Object) -> object:
        """POST /locate-miner, 1.3 only."""
        self._only_from(exists=self._v13)
        self.find(view, sent)
        return {"is_enabled": not view.locating}

    def switch_pool(self, view: MinerView, sent: Object) -> object:
        """POST /mining/switch-pool."""
        number = as_number(sent.get("pool_id"))
        if number is None or number != int(number) or not 0 <= number <= len(view.other_pools):
            raise Stop(HTTPStatus.INTERNAL_SERVER_ERROR, {"err": "Could not find pool"})
        self.machine.switch_pool(int(number))
        return self._done()

    def clear_log(self, _view: MinerView, _sent: Object) -> object:
        """POST /logs/{type}/clear."""
        self.diary.clear()
        return None
