"""What was told earlier and still holds, and what has to be asked anew. Pure, on times that it is handed.

The running preset and the time up stand on pages that are not worth asking for in every read. A change of
preset restarts mining (miners.md §1.6), whoever asked for it, and a reboot does too; a machine that mines
says for how long (`miner_state_time`). So what was told while it mined holds as long as its own clock says
that it has mined ever since, and not longer than `PRESET_EVERY_S`: a firmware may learn to change without a
restart. What holds no longer is unknown.
"""

from firmware_adapters.miners.vnish.ladder import Running
from firmware_adapters.miners.vnish.parse import Status
from shared.telemetry import MinerState

PRESET_EVERY_S = 60.0
WITHOUT_PROOF_S = 20.0
"""How often the preset is asked for where the machine says nothing that proves the last answer."""
INFO_EVERY_S = 3600.0
INFO_AGAIN_S = 60.0
"""When to ask who it is again where it did not say."""
SETTINGS_EVERY_S = 300.0
SLACK_S = 2.0
"""The machine counts whole seconds, and a request takes a while."""

_STANDS = (MinerState.STOPPED, MinerState.FAILURE)


class Freshness:
    """One machine's slower pages: when each is due, and whether the last answer still holds."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._running: Running | None = None
        self._running_s = 0.0
        self._preset_due_s = 0.0
        self._info_due_s = 0.0
        self._settings_due_s = 0.0
        self._uptime_s: float | None = None
        self._uptime_at_s = 0.0
        self._begun = False

    # ------------------------------------------------------------ what happened

    def failed(self) -> None:
        """A read failed: nobody knows what happened meanwhile."""
        self._status = None

    def look(self, status: Status, now_s: float) -> None:
        """Note the newest `/status`: what it does not prove is forgotten, and asked for at once."""
        before, self._status = self._status, status
        if before is not None and before.state is status.state and not _went_back(before, status):
            return
        self._running, self._uptime_s = None, None
        self._preset_due_s = now_s
        self._info_due_s = min(self._info_due_s, now_s) if self._begun else now_s
        if not self._begun:
            self._settings_due_s = now_s
        self._begun = True

    # ------------------------------------------------------------ identity

    def asks_info(self, now_s: float) -> bool:
        """Whether `/info` is due; asking counts, whatever comes of it."""
        if now_s < self._info_due_s:
            return False
        self._info_due_s = now_s + INFO_AGAIN_S
        return True

    def told_info(self, uptime_s: float | None, now_s: float) -> None:
        """`/info` was told, with the time up (s) where it says that."""
        self._info_due_s = now_s + INFO_EVERY_S
        self._uptime_s, self._uptime_at_s = uptime_s, now_s

    def uptime_s(self, now_s: float) -> float | None:
        """The time up (s) by the last answer; None where it may have rebooted since."""
        return None if self._uptime_s is None else self._uptime_s + now_s - self._uptime_at_s

    # ------------------------------------------------------------ preset

    def asks_preset(self, now_s: float) -> bool:
        """Whether `/perf-summary` is due; always while the machine is between two states."""
        status = self._status
        return now_s >= self._preset_due_s or (status is not None and status.state.settling)

    def told_preset(self, running: Running | None, now_s: float) -> None:
        """`/perf-summary` was asked; None: it did not say."""
        self._running, self._running_s = running, now_s
        lasts = running is not None and self._proves()
        self._preset_due_s = now_s + (PRESET_EVERY_S if lasts else WITHOUT_PROOF_S)

    def running(self, now_s: float) -> Running | None:
        """What ran at the last answer, while the machine proves that it still does."""
        status = self._status
        if self._running is None or status is None or status.state is not MinerState.MINING:
            return None
        since_s = status.state_time_s
        if since_s is None or since_s + SLACK_S < now_s - self._running_s:
            return None
        return self._running

    def _proves(self) -> bool:
        """Whether the state that it is in will tell of a change: a clock while it mines, a state of rest."""
        status = self._status
        if status is None or status.state in _STANDS:
            return status is not None
        return status.state is MinerState.MINING and status.state_time_s is not None

    # ------------------------------------------------------------ settings

    def asks_settings(self, now_s: float) -> bool:
        """Whether `/settings` is due."""
        return now_s >= self._settings_due_s

    def told_settings(self, now_s: float) -> None:
        """`/settings` was asked, whatever came of it."""
        self._settings_due_s = now_s + SETTINGS_EVERY_S


def _went_back(before: Status, status: Status) -> bool:
    """Less time in the same state than before: it left it and came back between two reads."""
    told, tells = before.state_time_s, status.state_time_s
    return told is not None and tells is not None and tells < told
