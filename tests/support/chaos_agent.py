"""The agent as a process with a chaos run's hooks: `python -P -m support.chaos_agent SITE BOARD [POINT:N]`.

The product knows nothing of this. The hooks sit below it (a `sqlite3.Connection` that can be slow, full or
deadly) and beside it (the clock, the MQTT link), so the code under test is the code that ships. At the N-th
time that POINT is reached the process kills itself with SIGKILL: no `finally`, no flush, no goodbye.
"""

import asyncio
import contextlib
import errno
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_agent import config
from edge_agent.agent import app
from edge_agent.agent.uplink import downlink, mqtt
from edge_agent.agent.uplink.transport import Delivery, Message
from shared.artifacts.signing import Keyring
from shared.clock import SystemClock
from support.chaos_board import Board, Switch

POINTS = (
    "rows-before-commit",
    "rows-after-commit",
    "mark-before-commit",
    "mark-after-commit",
    "publish-handed-over",
    "publish-confirmed",
    "ack-arrived",
    "delete-before-commit",
    "delete-after-commit",
)
"""Every step of record, publish, ack and delete at which a run kills the agent."""
_KINDS = (("delete", "delete from outbox"), ("rows", "insert into outbox"), ("mark", "set published"))


class Death:
    """Kills this process at the N-th visit of one point."""

    def __init__(self, word: str) -> None:
        self._point, _, count = word.partition(":")
        self._left = int(count or 1)

    def at(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class SteppedClock(SystemClock):
    """The machine's clock, with a wall clock that the run moves."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def utc_ms(self) -> int:
        return super().utc_ms() + self._board.get(Switch.UTC_OFFSET_MS)


def connection_class(board: Board, death: Death) -> type[sqlite3.Connection]:
    """A connection whose commits can be slow or deadly, and whose file can be full."""

    class ChaosConnection(sqlite3.Connection):
        _kind = ""
        _full = False

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql == "COMMIT":
                return self._commit(sql)
            if sql.startswith("BEGIN"):
                self._kind = ""
                self._obey()
            self._note(sql)
            return super().execute(sql, *args)

        def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
            self._note(sql)
            return super().executemany(sql, rows)

        def _note(self, sql: str) -> None:
            low = " ".join(sql.lower().split())
            for kind, words in _KINDS:
                if words in low:
                    self._kind = self._kind or kind

        def _commit(self, sql: str) -> sqlite3.Cursor:
            kind = self._kind
            death.at(f"{kind}-before-commit")
            _slow(board)
            done = super().execute(sql)
            death.at(f"{kind}-after-commit")
            return done

        def _obey(self) -> None:
            """SQLite's own limit, so that the error is SQLite's own "database or disk is full"."""
            full = bool(board.get(Switch.DISK_FULL))
            if full != self._full:
                self._full = full
                (pages,) = super().execute("PRAGMA page_count").fetchone()
                super().execute(f"PRAGMA max_page_count={pages if full else 2**31 - 2}").fetchall()

    return ChaosConnection


def _slow(board: Board) -> None:
    """The disk takes its time: this is the fault itself, and no test that waits for something."""
    threading.Event().wait(board.get(Switch.SLOW_COMMIT_MS) / 1000)


def install(board: Board, death: Death) -> None:
    """Put the hooks in place."""
    real_connect, factory = sqlite3.connect, connection_class(board, death)

    def connect(*args: Any, **more: Any) -> sqlite3.Connection:
        return real_connect(*args, factory=factory, **more)

    sqlite3.connect = connect  # type: ignore[assignment]  # the seam below the store

    real_fsync = os.fsync

    def fsync(file: int) -> None:
        """What Python code syncs are raw frames; SQLite syncs below us."""
        _slow(board)
        if board.get(Switch.DISK_FULL):
            raise OSError(errno.ENOSPC, "no space left on device (chaos)")
        real_fsync(file)

    os.fsync = fsync  # type: ignore[assignment]  # as above

    real_publish, real_handle = mqtt._MqttLink.publish, downlink.Downlink.handle

    async def publish(self: mqtt._MqttLink, message: Message) -> Delivery:
        outgoing = asyncio.ensure_future(real_publish(self, message))
        await asyncio.sleep(0)
        telemetry = "/up/t/" in message.topic or message.topic.endswith("/up/ev")
        if telemetry:
            death.at("publish-handed-over")
        delivery = await outgoing
        if telemetry:
            death.at("publish-confirmed")
        return delivery

    async def handle(self: downlink.Downlink, message: Message) -> None:
        if message.topic.endswith("/dn/ack"):
            death.at("ack-arrived")
        await real_handle(self, message)

    mqtt._MqttLink.publish = publish  # type: ignore[method-assign]  # as above
    downlink.Downlink.handle = handle  # type: ignore[method-assign]  # as above


async def serve(site_file: Path, board: Board) -> None:
    """As `app.serve`, on a clock that can be stepped."""
    site = config.load(site_file)
    keyring = Keyring.load(Path(site.paths.keyring))
    clock = SteppedClock(board)
    transport = mqtt.MqttTransport(site.uplink, site.site.id)
    agent = app.Agent(site, clock=clock, transport=transport, keyring=keyring)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await agent.open()
    await agent.run(stop)


def main(argv: list[str]) -> None:
    board = Board(Path(argv[1]))
    install(board, Death(argv[2] if len(argv) > 2 else ""))
    app.configure_logging()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(Path(argv[0]), board))


if __name__ == "__main__":
    main(sys.argv[1:])
