"""No secret in any log, journal, database or reply: all runs at debug level, then all of it is searched.

Enrolment, cloud, broker, agent, guardian and emulated miners are real processes; a command goes all the way
to a miner with a password; then every file that they wrote is read, but for the files that hold the secrets.
"""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.identity.authority import read_key
from edge_agent.agent.identity.files import IdentityFiles
from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, SigningKey
from support import processes, processes_canary, processes_guardian, processes_simulator
from support.cloud import TOKEN
from support.fleet import Fleet, fleet
from support.identity import MOSQUITTO
from support.processes import ProcessSite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]

PASSWORD = f"canary-{secrets.token_hex(12)}"
BROKER_PASSWORD = f"canary-{secrets.token_hex(12)}"


def _forms(secret: bytes) -> list[bytes]:
    """A secret as it would look in a log: itself, hexadecimal, base 64 of two kinds."""
    return [
        secret,
        secret.hex().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
    ]


def _of_key(key: ec.EllipticCurvePrivateKey) -> list[bytes]:
    number = key.private_numbers().private_value.to_bytes(32, "big")
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return [*_forms(number), *pem.splitlines()[1:3]]


class Everything:
    """One fleet with one whole site, at debug level."""

    def __init__(self, ours: Fleet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ours = ours
        monkeypatch.setitem(processes.CREDENTIALS, "miners", PASSWORD)
        monkeypatch.setenv("CANARY_PASSWORD", PASSWORD)
        monkeypatch.setattr(processes_simulator, "__file__", processes_canary.__file__)
        self.site = ProcessSite(folder, miners=2)
        self.said: list[str] = []
        self._configure(folder)

    def _configure(self, folder: Path) -> None:
        """Uplink with certificates and a password, and the cloud's keys in the keyring."""
        state = Path(self.site.site.paths.agent_state)
        state.mkdir(parents=True, exist_ok=True)
        self.identity = IdentityFiles(state)
        (folder / "broker-password").write_text(BROKER_PASSWORD + "\n")
        text = self.site.path.read_text()
        start = text.index("uplink = ")
        end = text.index("\n", start)
        uplink = (
            f'uplink = {{broker_host = "localhost", broker_port = {self.ours.broker.site_port}, '
            f'keep_alive_s = 10, password_file = "broker-password", ca_file = "{self.identity.ca_file}", '
            f'cert_file = "{self.identity.pair_file}"}}'
        )
        self.site.path.write_text(text[:start] + uplink + text[end:])
        keys = [
            PublicKeyEntry(id=key.key_id, role=Role(role), public=key.public_text)
            for role in ("command", "assignment", "release")
            for key in [SigningKey.load(self.ours.folder / role)]
        ]
        Path(self.site.site.paths.keyring).write_text(Keyring.dump(tuple(keys)))

    def enrol(self) -> None:
        asking = self.ours.enroll(self.site.path, "--cloud", self.ours.url, "--poll", "0.2")
        confirm = ("enrolments", "confirm", self.name, asking.fingerprint())
        self.said += self.ours.must(*confirm), *asking.end()[1:]
        self.said += self.ours.must("enrolments", "list"), self.ours.must("certificates")

    @property
    def name(self) -> str:
        return str(self.site.site.site.id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        guardian = [processes_guardian.__file__, str(self.site.clock_file), "run", "--verbose"]
        self.site.start_guardian = lambda: setattr(self.site, "guardian", self.site._run(guardian))  # type: ignore[method-assign]  # the same at debug level
        agent = ["-m", "edge_agent.agent", "run", "--verbose"]
        self.site.start_agent = lambda: setattr(self.site, "agent", self.site._run(agent))  # type: ignore[method-assign]  # as above
        try:
            yield await self.site.start(agent=True) and None
        finally:
            self.site.close()

    async def command(self, order: dict[str, Any]) -> str:
        """Plan it, confirm it; the site's last word."""
        post = self.ours.post
        body = {"site": self.name, "actor": "Ada"}
        plan = await asyncio.to_thread(post, "/commands/plans", {**body, "order": order})
        confirm = f"/commands/plans/{plan['id']}/confirm"
        made = await asyncio.to_thread(post, confirm, {"actor": "Ada", "blind": True})
        async with asyncio.timeout(60):
            while True:
                shown = await asyncio.to_thread(self.ours.get, f"/commands/{made['id']}")
                if shown["state"] in ("done", "refused", "expired"):
                    self.said.append(str(shown))
                    return str(shown["state"])
                await asyncio.sleep(0.2)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "fleet").mkdir()
    with fleet(tmp_path / "fleet", verbose=True) as running:
        yield running


async def test_no_secret_is_in_anything_that_is_written_or_said(
    ours: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    whole = Everything(ours, tmp_path / "site", monkeypatch)
    await asyncio.to_thread(whole.enrol)
    async with whole.running():
        async with asyncio.timeout(60):
            while not any(
                site["id"] == whole.name and site["online"]
                for site in (await asyncio.to_thread(ours.get, "/sites"))["items"]
            ):
                await asyncio.sleep(0.2)
        miner = whole.site.miners[0]
        action = {"do": "set-preset", "device": miner, "preset": "1850"}
        state = await whole.command({"order": "actions", "actions": [action]})
        assert state == "done", "the password was used"
        for words in (("status",), ("credential", "list"), ("journal",)):
            whole.said.append((await asyncio.to_thread(whole.site.guardian_command, *words))[1])
        whole.said.append(await asyncio.to_thread(ours.must, "revoke", whole.name))
    secret, holders = _secrets(whole)
    found = _search(tmp_path, secret, holders, whole.said)
    assert found == []
    _check_that_the_search_finds(tmp_path, secret, holders)
    _check_that_everything_spoke(whole)


def _secrets(whole: Everything) -> tuple[dict[str, list[bytes]], set[Path]]:
    """What must be nowhere, by name, and the files whose purpose it is to hold it."""
    ours, pair = whole.ours, whole.identity.pair()
    assert pair is not None
    holders = {ours.folder / "token", whole.site.folder / "broker-password", whole.identity.pair_file}
    secret = {
        "token": [TOKEN.encode()],
        "device password": _forms(PASSWORD.encode()),
        "broker password": [BROKER_PASSWORD.encode()],
        "site key": _of_key(pair.key),
        "authority's key": _of_key(read_key(ours.folder / "ca" / "ca.key")),
    }
    holders.add(ours.folder / "ca" / "ca.key")
    for role in ("broker", "ingest", "command"):
        secret[f"{role} key"] = _of_key(read_key(ours.keys / f"{role}.key"))
        holders.add(ours.keys / f"{role}.key")
    for role in ("command", "assignment", "release"):
        seed = base64.b64decode((ours.folder / role).read_text().split()[1])
        secret[f"{role} signing key"] = _forms(seed)
        holders.add(ours.folder / role)
    master = Path(whole.site.site.paths.credentials_key)
    secret["master key"] = _forms(master.read_bytes().strip())
    holders.add(master)
    local = Path(whole.site.site.paths.agent_state) / "local-token"
    if local.exists():
        secret["local token"] = [local.read_bytes().strip()]
        holders.add(local)
    return secret, holders


def _search(
    folder: Path, secret: dict[str, list[bytes]], holders: set[Path], said: list[str]
) -> list[tuple[str, str]]:
    texts = {str(path): path.read_bytes() for path in _files(folder) if path not in holders}
    texts |= {f"output {number}": text.encode() for number, text in enumerate(said)}
    return [
        (name, where)
        for name, forms in secret.items()
        for where, text in texts.items()
        if any(form in text for form in forms)
    ]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def _check_that_the_search_finds(folder: Path, secret: dict[str, list[bytes]], holders: set[Path]) -> None:
    """The same search over the files that do hold them: each is found where it belongs."""
    found = {name for name, _ in _search(folder, secret, set(), [])}
    assert found == set(secret) - {"device password"}, "which stands nowhere in the clear"
    assert all(path.exists() for path in holders)


def _check_that_everything_spoke(whole: Everything) -> None:
    cloud, site = whole.ours.log.read_text(), (whole.site.folder / "log.txt").read_text()
    assert " DEBUG " in cloud
    assert " DEBUG " in site, "the guardian"
    assert "<7>" in site, "the agent"
    assert "mosquitto: New client connected" in cloud
    assert "Received PUBLISH" in whole.ours.broker.complaints.read_text(), "the broker, at debug level"
    assert any((whole.site.state / "journal").iterdir())
    assert len(whole.said) >= 8
