"""What `minewarden agent model list` says of the keys: whoever rotated one must see that it came here."""

from pathlib import Path

import pytest

from edge_agent.agent.inference.cli import run
from edge_agent.config import SiteFile
from shared.artifacts.keyring_update import KeyringUpdate, TrustedKeys, sign_update
from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, SigningKey
from support.agent import make_site

ROOT = SigningKey.generate("root-1")
ENTRIES = (PublicKeyEntry(id=ROOT.key_id, role=Role.ROOT, public=ROOT.public_text),)


@pytest.fixture
def site(tmp_path: Path) -> SiteFile:
    found = make_site(tmp_path)
    Path(found.paths.keyring).write_text(Keyring.dump(ENTRIES))
    Path(found.paths.agent_state).mkdir(parents=True, exist_ok=True)
    return found


def kept(site: SiteFile) -> Path:
    return Path(site.paths.agent_state) / "keyring.bin"


def keyring_line(site: SiteFile, capsys: pytest.CaptureFixture[str]) -> str:
    assert run("list", site) == 0
    return capsys.readouterr().out.splitlines()[0]


def test_a_site_that_never_got_an_update_says_so(site: SiteFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert keyring_line(site, capsys) == "keyring    the file of the site, 1 keys"


def test_the_version_that_counts_is_shown(site: SiteFile, capsys: pytest.CaptureFixture[str]) -> None:
    keys = TrustedKeys(Path(site.paths.keyring), kept(site), site.site.id)
    keys.take(
        sign_update(KeyringUpdate(version=7, issued_ms=0, expires_ms=2**53, keys=ENTRIES), ROOT), now_ms=0
    )
    assert keyring_line(site, capsys) == "keyring    version 7, 1 keys"


def test_damage_is_said(site: SiteFile, capsys: pytest.CaptureFixture[str]) -> None:
    kept(site).write_bytes(b"half of it")
    assert "DAMAGED" in keyring_line(site, capsys)
    Path(site.paths.keyring).unlink()
    assert "unreadable" in keyring_line(site, capsys)
