"""`minewarden cloud publish-keyring` at a real broker: a site that comes later finds the keyring there."""

from contextlib import closing
from pathlib import Path

import pytest

from cloud.cli import main
from shared.artifacts.cli import main as keys
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.signing import Keyring, PublicKeyEntry, Role, Signed, SigningKey
from shared.ids import SiteId
from shared.wire import codec, topics
from support import cloud_broker as brokers
from support.cloud import SITE, configure
from support.cloud_process import CloudProcess
from support.cloud_site import FakeSite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(brokers.why_not() is not None, reason=str(brokers.why_not())),
]


def signed_keyring(folder: Path) -> tuple[Path, Path]:
    """The keyring file that gateways hold, and a signed newer one with one key more."""
    root, command = SigningKey.generate("root-1"), SigningKey.generate("command-2")
    root.save(folder / "root.key")
    entries = (PublicKeyEntry(id=root.key_id, role=Role.ROOT, public=root.public_text),)
    (folder / "present.toml").write_text(Keyring.dump(entries))
    more = PublicKeyEntry(id=command.key_id, role=Role.COMMAND, public=command.public_text)
    (folder / "next.toml").write_text(Keyring.dump((*entries, more)))
    out = folder / "next.bin"
    options = ["--root", str(folder / "root.key"), "--version", "7", "--days", "30", "--out", str(out)]
    assert keys(["root-sign", str(folder / "next.toml"), *options]) == 0
    return folder / "present.toml", out


def test_a_site_that_connects_later_takes_it_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    present, update = signed_keyring(tmp_path)
    with brokers.broker(tmp_path) as broker, closing(CloudProcess(tmp_path, broker.port)) as cloud:
        cloud.start()
        with FakeSite(broker.port) as site:
            assert site.wait(lambda: cloud.answers(f"/api/v1/sites/{SITE}"), 20)
        command = ["publish-keyring", str(update), "--config", str(cloud._config)]
        assert main(command) == 0
        assert capsys.readouterr().out == (
            f"{update}: keyring version 7 with 2 keys, to be taken over within 30 days\n"
            f"{SITE}: keyring version 7 is at the broker\n"
        )
        with FakeSite(broker.port) as site:
            assert site.wait(lambda: bool(site.heard), 20)
            (topic, payload, retained) = site.heard[0]
        assert (topic, retained) == (topics.keyring(SITE), True)
        trusted = TrustedKeys(present, tmp_path / "kept.bin", SITE)
        assert trusted.take(codec.decode(payload, Signed), now_ms=0) is not None
        assert trusted.entry("command-2") is not None
        assert cloud.answers("/health/ready"), "the cloud kept its own connection"
        assert main([*command, "--site", "nowhere"]) == 2
        assert "no such site: nowhere" in capsys.readouterr().err


def test_a_broker_that_lost_its_memory_gets_it_again_and_so_does_a_new_site(tmp_path: Path) -> None:
    """Nobody publishes it a second time: the running cloud has it."""
    _, update = signed_keyring(tmp_path)
    with brokers.broker(tmp_path) as broker, closing(CloudProcess(tmp_path, broker.port)) as cloud:
        cloud.start()
        assert main(["publish-keyring", str(update), "--config", str(cloud._config)]) == 0
        broker.kill()
        broker.start()
        with FakeSite(broker.port, SiteId("new")) as site:
            expected = (topics.keyring(SiteId("new")), update.read_bytes())
            assert site.wait(lambda: expected in [heard[:2] for heard in site.heard], 60)


def test_what_is_no_keyring_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.bin").write_bytes(b"\x00rubbish")
    assert main(["publish-keyring", str(tmp_path / "x.bin"), "--config", str(configure(tmp_path))]) == 2
    assert "root-sign" in capsys.readouterr().err
