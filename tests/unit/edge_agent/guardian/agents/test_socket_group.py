"""operator.sock belongs to the operators' group where this machine has it."""

import asyncio
import grp
import logging
import os
import stat
from pathlib import Path

import pytest

from edge_agent.guardian.agents.server import listen


async def _nobody(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _opened(path: Path, group: str) -> os.stat_result:
    server = await listen(path, _nobody, mode=0o660, group=group)
    seen = path.stat()
    server.close()
    return seen


async def test_a_group_that_we_may_give_it_to_gets_it(tmp_path: Path) -> None:
    ours = next((gid for gid in os.getgroups() if gid != os.getegid()), None)
    if os.geteuid() == 0:
        ours = next(entry.gr_gid for entry in grp.getgrall() if entry.gr_gid not in (0, os.getegid()))
    if ours is None:
        pytest.skip("this user is in one group only")
    seen = await _opened(tmp_path / "operator.sock", grp.getgrgid(ours).gr_name)
    assert seen.st_gid == ours
    assert stat.S_IMODE(seen.st_mode) == 0o660


async def test_a_machine_without_the_group_keeps_its_own(tmp_path: Path) -> None:
    seen = await _opened(tmp_path / "operator.sock", "no-such-group-here")
    assert seen.st_gid in (os.getegid(), tmp_path.stat().st_gid)


async def test_a_group_that_we_are_not_in_is_told_and_not_fatal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    with caplog.at_level(logging.WARNING):
        await _opened(tmp_path / "operator.sock", grp.getgrgid(0).gr_name)
    assert "not in root" in caplog.text
