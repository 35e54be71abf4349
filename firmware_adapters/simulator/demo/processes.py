"""Starts real processes, waits until they answer, and leaves none behind."""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_STOP_WITHIN_S = 8.0


def _die_with_parent() -> None:
    """Ask the kernel to end the child when the demo dies, even by kill -9."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """The demo's children, in starting order; stopped in the reverse order."""

    def __init__(self, log_folder: Path) -> None:
        self._logs = log_folder
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str, command: Sequence[str], *, env: dict[str, str] | None = None) -> None:
        """Start one child, its output to `<name>.log`."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                # A terminal's Ctrl-C goes to the whole group; ours are stopped in order instead.
                start_new_session=True,
                preexec_fn=_die_with_parent,
                env={**os.environ, **(env or {})},
            )

    def check(self) -> None:
        """Raise `RuntimeError` with the end of its log for a child that ended by itself."""
        for name, process in self._running.items():
            if process.returncode is not None:
                tail = (self._logs / f"{name}.log").read_text(errors="replace").strip().splitlines()[-8:]
                text = "\n    ".join(tail)
                raise RuntimeError(f"{name} ended with exit code {process.returncode}:\n    {text}")

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    async def stop(self) -> None:
        """SIGTERM to each in reverse order, SIGKILL to its whole session when it does not go."""
        for name in reversed(self._running):
            process = self._running[name]
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
        for process in self._running.values():
            try:
                await asyncio.wait_for(process.wait(), _STOP_WITHIN_S)
            except TimeoutError:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        self._running.clear()
