"""Makes the broker obey: writes its ACL and revocation list, has it read them, ends sessions of the revoked.

What mosquitto 2.0.11 does on SIGHUP, found out with the real one (tests/integration/identity): it reads the
ACL, and live sessions are judged by the new one, publish and delivery alike; it reads the revocation list,
and new connections are judged by it; it ends no session. So after the reload the session itself is ended by
taking over its client id, which only the cloud's own listener allows (`broker_config`). Sessions of the
cloud's own roles are not ended like this: their names stay in the ACL, only a restart of the broker helps.
"""

import asyncio
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Final, Protocol

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from cloud.config import BrokerSettings, IdentitySettings
from cloud.identity import repository
from cloud.identity.authority import Authority
from cloud.identity.broker_rules import acl_of
from cloud.kit.broker import command_login
from cloud.kit.database import Database
from cloud.kit.problems import Unavailable
from shared.clock import Clock

ACL, CRL = "acl", "crl.pem"
TICK_S: Final = 30.0
"""How often expiry is looked at; a revocation does not wait for it."""
RETRY_S: Final = 5.0
SETTLE_S: Final = 1.0
"""Between a reload and the end of the session: who is thrown out must not slip in under the old list."""
WATCHED_SETTLE_S: Final = 5.0
"""The same where a path unit reloads the broker in its own time."""
_DEADLINE_S: Final = 10.0
_ENDED: Final = ("site", "control")
"""Roles whose client id is their CN, because they come in by the listener that makes it so."""
_log = logging.getLogger(__name__)


class Sessions(Protocol):
    """Ends sessions at the broker."""

    def end(self, client_id: str) -> None:
        """End the session and forget what it had queued; blocks, raises `Unavailable`."""
        ...


class TakeOver:
    """Ends a session by connecting with its client id, which the broker answers by closing the other."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._login = command_login(settings)

    def end(self, client_id: str) -> None:
        """See `Sessions.end`."""
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        if self._login.username is not None:
            client.username_pw_set(self._login.username, self._login.password)
        welcomed, words = threading.Event(), []

        def connected(*told: object) -> None:
            words.append(told[3])
            welcomed.set()

        client.on_connect = connected
        try:
            if self._settings.ca_file is not None:
                client.tls_set(self._settings.ca_file, self._login.cert_file, self._login.key_file)
            client.connect(self._settings.host, self._settings.port, clean_start=True)
            client.loop_start()
            if not welcomed.wait(_DEADLINE_S) or getattr(words[0], "is_failure", True):
                raise Unavailable(f"the broker did not let the session of {client_id!r} be ended")
        except (OSError, ValueError) as error:
            raise Unavailable(f"the broker cannot be reached to end a session: {error}") from error
        finally:
            client.disconnect()
            client.loop_stop()


class Outcome(msgspec.Struct, kw_only=True):
    """How the last attempt went."""

    applied_ms: int | None = None
    trouble: str | None = None


class BrokerKeeper:
    """Keeps the broker's files in step with the database. `poke` after every change; `run` does the work."""

    def __init__(
        self,
        settings: IdentitySettings,
        authority: Authority,
        database: Database,
        clock: Clock,
        sessions: Sessions,
    ) -> None:
        self._settings = settings
        self._folder = Path(settings.broker_dir)
        self._authority = authority
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._reloaded: tuple[str, tuple[str, ...]] | None = None
        """What the broker has read in this life of ours: the ACL and the revoked serials."""
        self.outcome = Outcome()

    def poke(self) -> None:
        """Something changed; look at once."""
        self._changed.set()

    async def run(self) -> None:
        """Apply for ever; ends only by cancellation. What cannot be done now is tried again in seconds."""
        while True:
            self._changed.clear()
            wait_s = TICK_S
            try:
                await self.apply()
            except Exception as error:  # noqa: BLE001 - supervisor: a broker or database that is away comes back
                wait_s = RETRY_S
                self._complain(error)
            await self._pause(wait_s)

    async def apply(self) -> None:
        """Bring the broker to what the database says; raises `Unavailable` and what the database raises."""
        async with self._lock:
            now_ms = self._clock.utc_ms()
            async with self._database.read() as session:
                live = await repository.live(session, now_ms)
                revoked = await repository.revoked(session, now_ms)
            rules = acl_of(live), tuple(row.serial for row in revoked)
            if rules != self._reloaded:
                text = self._authority.revocations(
                    [(row.serial, row.revoked_ms or now_ms) for row in revoked], now_ms
                )
                await asyncio.to_thread(self._write, rules[0], text)
                await self._reload()
                self._reloaded = rules
            await self._cut(
                {row.serial: row.name for row in revoked if row.cut_ms is None and row.role in _ENDED}
            )
        if self.outcome.trouble is not None:
            _log.warning("the broker obeys again")
        self.outcome.applied_ms, self.outcome.trouble = now_ms, None

    async def _cut(self, uncut: dict[str, str]) -> None:
        if not uncut:
            return
        await self._clock.sleep(SETTLE_S if self._reloads_itself else WATCHED_SETTLE_S)
        for name in sorted(set(uncut.values())):
            await asyncio.to_thread(self._sessions.end, name)
            _log.warning("session of %s is ended: its certificate was revoked", name)
        async with self._database.write() as session:
            await repository.note_cut(session, list(uncut), self._clock.utc_ms())

    @property
    def _reloads_itself(self) -> bool:
        return self._settings.broker_pid_file is not None or bool(self._settings.broker_reload)

    def _write(self, acl: str, crl: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # The revocation list first: a watcher of the ACL then reloads both.
        for name, text in ((CRL, crl), (ACL, acl)):
            replace_file(self._folder / name, text)

    async def _reload(self) -> None:
        if self._settings.broker_pid_file is not None:
            await asyncio.to_thread(_hang_up, Path(self._settings.broker_pid_file))
        elif self._settings.broker_reload:
            await _command(self._settings.broker_reload)

    async def _pause(self, seconds: float) -> None:
        nap = asyncio.ensure_future(self._clock.sleep(seconds))
        news = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({nap, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            news.cancel()

    def _complain(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if self.outcome.trouble is None:
            _log.error("the broker does not have the newest rules: %s", text)
        self.outcome.trouble = text


def replace_file(path: Path, text: str) -> None:
    """Write a public file whole or not at all, readable by the broker's user."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w") as out:
        out.write(text)
        out.flush()
        os.fchmod(out.fileno(), 0o644)
        os.fsync(out.fileno())
    fresh.replace(path)


def _hang_up(pid_file: Path) -> None:
    """SIGHUP to the broker. To any other program it would be the end, so the name is looked at first."""
    try:
        pid = int(pid_file.read_text().strip())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if name != "mosquitto":
            raise Unavailable(
                f"process {pid} of {pid_file} is {name!r}, not mosquitto; is the broker running?"
            )
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise Unavailable(f"the broker of {pid_file} cannot be told to reload: {error}") from error


async def _command(words: tuple[str, ...]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise Unavailable(f"identity.broker_reload {words[0]!r} cannot be started: {error}") from error
    try:
        async with asyncio.timeout(_DEADLINE_S):
            _, complaint = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Unavailable(f"identity.broker_reload took longer than {_DEADLINE_S:.0f} s") from error
    if process.returncode != 0:
        detail = complaint.decode(errors="replace").strip()[:200]
        raise Unavailable(f"identity.broker_reload ended with {process.returncode}: {detail}")
