"""The units are sandboxed (score), well-formed, and keep the agent away from the devices."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.agent.inference.probe import MEMORY_BYTES, MODEL_BYTES
from support.processes import ProcessSite

AGENT_BYTES = 192 * 1024**2
"""The agent without its models: 170 MB resident, measured with 1,000 miners."""
LIBRARIES_BYTES = 48 * 1024**2
"""Of a child that tests a model: code in files, which its own limit does not count."""

UNITS = Path(__file__).resolve().parents[3] / "packaging" / "systemd"
NAMES = sorted(path.name for path in UNITS.glob("*.service"))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def _settings(name: str) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if found := re.match(r"(\w+)=(.*)", line):
            settings.setdefault(found[1], []).append(found[2])
    return settings


@needs_systemd
@pytest.mark.parametrize("name", NAMES)
def test_exposure_is_at_most_two(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNITS / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_agent_cannot_reach_a_device() -> None:
    """Modbus and 4028 have no login, so the operating system must keep the agent out (S02)."""
    settings = _settings("minewarden-agent.service")
    assert settings["IPAddressDeny"] == ["any"]
    assert settings["IPAddressAllow"] == ["localhost"]


def test_guardian_and_agent_are_different_users() -> None:
    guardian, agent = _settings("minewarden-guardian.service"), _settings("minewarden-agent.service")
    assert guardian["User"] != agent["User"]
    assert "minewarden-operator" in guardian["SupplementaryGroups"][0]
    assert "SupplementaryGroups" not in agent


def test_the_guardian_is_the_last_to_be_killed_and_never_given_up() -> None:
    settings = _settings("minewarden-guardian.service")
    assert int(settings["OOMScoreAdjust"][0]) <= -900
    assert settings["Restart"] == ["always"]
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert "WatchdogSec" in settings


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"minewarden-broker-reload.service"}))
def test_f23_a_service_is_started_again_for_ever_and_never_in_a_busy_loop(name: str) -> None:
    """That it happens often is told by the agent (edge_agent/agent/restarts.py), not by giving up."""
    settings = _settings(name)
    assert (settings["Restart"], settings["StartLimitIntervalSec"]) == (["always"], ["0"])
    assert settings["RestartSec"] == (["1"] if "guardian" in name else ["2"])


def test_the_test_of_a_model_meets_its_own_limit_before_the_agents_unit_meets_its() -> None:
    """They share a cgroup: an agent with two models as large as may be, and the child that tests a third."""
    settings = _settings("minewarden-agent.service")
    most = int(settings["MemoryMax"][0].removesuffix("M")) * 1024**2
    needed = AGENT_BYTES + 2 * MODEL_BYTES + MEMORY_BYTES + LIBRARIES_BYTES
    assert needed < most
    assert settings["OOMPolicy"] == ["continue"], "and a child that is killed takes nobody with it"


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"minewarden-broker-reload.service"}))
def test_services_run_the_installed_code(name: str) -> None:
    """`-P` keeps a checkout in the working directory from shadowing what was installed."""
    assert " -P -m " in _settings(name)["ExecStart"][0]


# ---------------------------------------------------------------- the kernel's calls

_ON_A_GATEWAY_ONLY = """
import asyncio, grp, os, sys
from pathlib import Path
from edge_agent.guardian.agents.server import listen
from edge_agent.guardian.clock_sync import kernel_clock_is_disciplined
from edge_agent.guardian.polling.open_files import raise_limit

async def serve():
    group = grp.getgrgid(os.getgid()).gr_name
    (await listen(Path(sys.argv[1]), lambda *_: None, mode=0o660, group=group)).close()

asyncio.run(serve())
kernel_clock_is_disciplined()
raise_limit()
"""
"""What the guardian does where its operators' group exists and the site is a real one."""


def _expanded(words: list[str]) -> set[str]:
    """The calls behind names and `@sets`."""
    found: set[str] = set()
    for word in words:
        if not word.startswith("@"):
            found.add(word)
            continue
        done = subprocess.run(
            ["systemd-analyze", "--no-pager", "syscall-filter", word],
            capture_output=True,
            text=True,
            check=True,
        )
        inside = [line.strip() for line in done.stdout.splitlines()[1:]]
        found |= _expanded([line for line in inside if line and not line.startswith("#")])
    return found


def _allowed(name: str) -> set[str]:
    """Every call that a unit may make: its first filter allows, later ones take out or put back."""
    calls: set[str] = set()
    for line in _settings(name)["SystemCallFilter"]:
        named = _expanded(line.removeprefix("~").split())
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def _traced(trace: Path) -> set[str]:
    return set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))


def _strace(trace: Path, command: list[str]) -> list[str]:
    return ["strace", "-f", "-qq", "-o", str(trace), *command]


@pytest.mark.slow
@needs_systemd
@needs_strace
async def test_the_guardian_asks_the_kernel_for_nothing_that_its_unit_forbids(tmp_path: Path) -> None:
    """A forbidden call once would have ended it at each start, on gateways only."""
    there, here = tmp_path / "gateway.trace", tmp_path / "site.trace"
    command = [sys.executable, "-P", "-c", _ON_A_GATEWAY_ONLY, str(tmp_path / "operator.sock")]
    await asyncio.to_thread(subprocess.run, _strace(there, command), cwd=UNITS.parents[1], check=True)
    site = ProcessSite(tmp_path, miners=2)
    site.around_guardian = lambda command: _strace(here, command)
    try:
        await site.start()
    finally:
        site.close()
    seen = _traced(there) | _traced(here)
    assert {"chown", "fchownat"} & seen, "the group was given"
    assert {"adjtimex", "clock_adjtime"} & seen, "the clock was asked"
    assert {"epoll_wait", "epoll_pwait"} & seen, "the guardian ran"
    assert seen <= _allowed("minewarden-guardian.service")


def test_the_guardians_unit_lets_it_ask_whether_the_clock_is_synchronised() -> None:
    """`ProtectClock` refuses adjtimex whatever the filter says; no signed order would ever count."""
    settings = _settings("minewarden-guardian.service")
    assert "ProtectClock" not in settings
    assert settings["CapabilityBoundingSet"] == [""], "so it cannot be set either"


@pytest.mark.parametrize("name", NAMES)
def test_a_forbidden_call_is_refused_and_kills_nobody(name: str) -> None:
    assert _settings(name)["SystemCallErrorNumber"] == ["EPERM"]
