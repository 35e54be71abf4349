"""The units are sandboxed (score), well-formed, and keep the agent away from the devices."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.agent.inference.probe import MEMORY_BYTES, MODEL_BYTES

AGENT_BYTES = 192 * 1024**2
"""The agent without its models: 170 MB resident, measured with 1,000 miners."""
LIBRARIES_BYTES = 48 * 1024**2
"""Of a child that tests a model: code in files, which its own limit does not count."""

UNITS = Path(__file__).resolve().parents[3] / "packaging" / "systemd"
NAMES = sorted(path.name for path in UNITS.glob("*.service"))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


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
