"""Lives of the agent, and which model was loaded when one of them ended without being asked to.

`transitions.py` counts starts of models that have not yet run for a while. This is about the model that runs
well for hours and then ends the agent, again and again: each life looks good, so what is counted is ends.

Unclean is every end without a clean stop: an exception, the watchdog, kill -9, the kernel's OOM killer. An
end that came with the end of the gateway's boot may have been a power cut and is not counted. Of two models
the candidate is counted for, as everywhere: it has proved less.

Ends within an hour count as one. Somebody who tries things out, a script or a fault beside the model ends an
agent many times within minutes; a leak or a rare input comes back hours and days later.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from shared.clock import Clock

MAX_HOURS: Final = 5
"""In so many different hours may the agent end with a model before it is taken away: a model that lets it
live for 4.8 h is found within the day that a roll-out leaves it in the shadow."""
APART_S: Final = 3_600.0
WINDOW_S: Final = 7 * 86_400.0
"""Of site time. With `MAX_HOURS` a model is found that lets the agent live for up to 33 h."""
_MOST: Final = 32
"""Kept over all versions; the oldest go first. One version needs `MAX_HOURS` of them."""
_SAME_MOMENT_MS: Final = 60_000
_KERNEL: Final = Path("/proc/sys/kernel/random/boot_id")


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One life of the agent: written when it begins with a model, and once more at a clean stop."""

    boot: str
    """The gateway's boot; empty where that is not known."""
    at_ms: int
    """UTC, of the gateway's clock."""
    monotonic_s: float
    """At the same moment; counted from the gateway's boot."""
    ran_s: float = 0.0
    """Site time at that moment: seconds that agents were seen to run here. No clock step moves it."""
    clean: bool = False
    """It was stopped in order; the times are those of its end."""


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """Unclean ends within one hour, with this model loaded. Both times are of the first one's discovery."""

    sha256: str
    at_ms: int
    ran_s: float
    times: int = 1


def boot_id() -> str:
    """Which boot of the gateway this is; empty where nobody says.

    The unit says it (`%b` of systemd) because its sandbox hides the kernel's own file.
    """
    if named := os.environ.get("MINEWARDEN_BOOT_ID", ""):
        return named.replace("-", "")
    try:
        return _KERNEL.read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        return ""


def begin(before: Life | None, clock: Clock) -> Life:
    """A life that begins now; time between two boots of the gateway is unknown and not counted."""
    now = Life(boot=boot_id(), at_ms=clock.utc_ms(), monotonic_s=clock.monotonic())
    if before is None:
        return now
    passed_s = 0.0
    if not before.clean and _same_boot(before, now):
        passed_s = now.monotonic_s - before.monotonic_s
    return msgspec.structs.replace(now, ran_s=before.ran_s + passed_s)


def ended_uncleanly(before: Life | None, now: Life) -> bool:
    """Whether the life before ended without a clean stop, and the gateway did not end with it."""
    return before is not None and not before.clean and _same_boot(before, now)


def _same_boot(before: Life, now: Life) -> bool:
    if now.monotonic_s < before.monotonic_s:
        return False
    if before.boot and now.boot:
        return before.boot == now.boot
    # Nobody says which boot it is: then by the moment of it. A stepped clock looks like another boot.
    return abs(_booted_ms(before) - _booted_ms(now)) <= _SAME_MOMENT_MS


def _booted_ms(life: Life) -> float:
    return life.at_ms - life.monotonic_s * 1000


def with_death(deaths: tuple[Death, ...], sha256: str, now: Life) -> tuple[Death, ...]:
    """One more unclean end with this model; what is older than the window goes."""
    kept = [death for death in deaths if now.ran_s - death.ran_s <= WINDOW_S]
    last = next((n for n in reversed(range(len(kept))) if kept[n].sha256 == sha256), None)
    if last is not None and now.ran_s - kept[last].ran_s < APART_S:
        kept[last] = msgspec.structs.replace(kept[last], times=kept[last].times + 1)
    else:
        kept.append(Death(sha256=sha256, at_ms=now.at_ms, ran_s=now.ran_s))
    return tuple(kept[-_MOST:])


def without(deaths: tuple[Death, ...], sha256: str) -> tuple[Death, ...]:
    """This version is gone; should it be assigned anew, it begins anew."""
    return tuple(death for death in deaths if death.sha256 != sha256)


def verdict(deaths: tuple[Death, ...], sha256: str) -> str:
    """Why this model must go, in words; empty where it may stay."""
    own = [death for death in deaths if death.sha256 == sha256]
    if len(own) < MAX_HOURS:
        return ""
    since = datetime.fromtimestamp(own[0].at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"with this model the agent ended {sum(death.times for death in own)} times in {len(own)} different "
        f"hours since {since}, and neither a stop nor a restart of the gateway explains it"
    )
