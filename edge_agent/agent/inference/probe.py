"""Loads and tests a model in a child process with limits on memory, CPU, time and descriptors.

A hundred bytes of ONNX can ask for gigabytes or loop for ever (edge.md §6). So nobody else sees a model
before it has loaded and answered its golden vectors here: `python -P -m edge_agent.agent.inference.probe`.
The model comes over stdin, and no descriptor can be opened once it is there: no file is read beside it, none
is written, and there is no socket to speak through.
"""

import asyncio
import contextlib
import os
import re
import resource
import sys
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from edge_agent.agent.inference.session import CHUNK, ModelSession, self_test
from shared.artifacts.manifest import Manifest
from shared.clock import SystemClock
from shared.errors import ArtifactError

MODEL_BYTES: Final = 128 * 1024**2
"""What a model may need at its peak over a child that has none: resident memory, while it loads and runs.

The agent holds two models beside the test of a third, and all of it shares the unit's `MemoryMax` with the
agent's own 170 MB (at 1,000 miners). Ours need 10 MB; a file that loads needs about twelve times its size.
"""
MEMORY_BYTES: Final = 256 * 1024**2
"""What the child may have in all: private writable memory, 61 MB before the first model. An allocation beyond
it fails in the child, long before the unit's limit could end the agent with it."""
ADDRESS_BYTES: Final = 3 * 1024**3
"""Address space, not memory that is used: threads and libraries reserve far more than they ever touch."""
CPU_S: Final = 20
WALL_S: Final = 40.0
RUN_S: Final = 2.0
_STANDARD_STREAMS: Final = 3


class ProbeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is asked."""

    model: bytes
    manifest: Manifest
    width: int
    features: int


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the child found. `why` is empty when the model is fine."""

    why: str
    error_max: float = 0.0
    batch_ms: float = 0.0
    """One batch of 128 devices."""
    memory_bytes: int = 0
    """Resident memory at the peak, over a child without a model."""


async def probe(request: ProbeRequest, *, wall_s: float = WALL_S) -> ProbeReport:
    """Test a model in a child; raises `ArtifactError` when it fails, crashes or takes too long."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "edge_agent.agent.inference.probe",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "PATH": os.environ.get("PATH", ""),
        },
    )
    try:
        async with asyncio.timeout(wall_s):
            out, err = await child.communicate(msgspec.msgpack.encode(request))
    except TimeoutError as error:
        raise ArtifactError(f"model test did not end within {wall_s:g} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    try:
        report = msgspec.msgpack.decode(out, type=ProbeReport)
    except msgspec.DecodeError as error:
        last = err.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise ArtifactError(f"model test ended with {child.returncode}: {last[0][:200]}") from error
    if report.why:
        raise ArtifactError(report.why)
    return report


def main() -> int:
    """The child: limits before it looks at the model."""
    _limit()
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=ProbeRequest)
    status = _close_the_door()
    before = _resident(status, "VmRSS")
    try:
        report = _test(request, status, before)
    except ArtifactError as error:
        report = ProbeReport(why=str(error), memory_bytes=_resident(status, "VmHWM") - before)
    except MemoryError:
        report = ProbeReport(why="model needs more memory than a gateway gives it")
    sys.stdout.buffer.write(msgspec.msgpack.encode(report))
    return 0


def _limit() -> None:
    with contextlib.suppress(OSError):  # whoever must go where memory runs out, it is not the agent
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _close_the_door() -> int:
    """No new descriptor from here on, and none inherited but the standard streams.

    Returns the only other one: the kernel's account of this process, to read its memory from.
    """
    os.closerange(_STANDARD_STREAMS, 1024)
    status = os.open("/proc/self/status", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (status + 1, status + 1))
    return status


def _resident(status: int, what: str) -> int:
    """Bytes now (`VmRSS`) or at the peak (`VmHWM`).

    Not `getrusage`: its peak is inherited over fork and exec, so it would be the agent's.
    """
    found = re.search(rf"^{what}:\s+(\d+) kB$", os.pread(status, 8192, 0).decode(), re.MULTILINE)
    if found is None:
        raise ArtifactError("how much memory the model needs cannot be measured here")
    return int(found[1]) * 1024


def _test(request: ProbeRequest, status: int, before: int) -> ProbeReport:
    session = ModelSession(request.model, width=request.width, features=request.features)
    error_max = self_test(session, request.manifest, deadline_s=RUN_S)
    clock = SystemClock()
    started = clock.monotonic()
    session.run(np.zeros((CHUNK, request.width), dtype=np.float32), deadline_s=RUN_S)
    batch_ms = (clock.monotonic() - started) * 1000
    needed = _resident(status, "VmHWM") - before
    if needed > MODEL_BYTES:
        raise ArtifactError(
            f"model needs {needed / 1e6:.0f} MB of memory, allowed are {MODEL_BYTES / 1e6:.0f} MB"
        )
    return ProbeReport(why="", error_max=error_max, batch_ms=batch_ms, memory_bytes=needed)


if __name__ == "__main__":
    sys.exit(main())
