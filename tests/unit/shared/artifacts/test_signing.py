"""Only a known key of the right role, over these exact bytes, for this purpose."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.artifacts.cli import main
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.errors import ConfigError, SecurityError
from shared.ids import DeviceId, SiteId, ZoneId
from shared.wire.rights import control_rights

KEY = SigningKey.generate("cmd-1")
OTHER = SigningKey.generate("cmd-2")
RING = Keyring((PublicKeyEntry(id="cmd-1", role=Role.COMMAND, public=KEY.public_text),))


def test_a_good_signature_names_its_key() -> None:
    assert RING.verify(Purpose.COMMAND, KEY.sign(Purpose.COMMAND, b"stop"), Role.COMMAND) == "cmd-1"


@given(st.binary(min_size=1), st.integers(0), st.integers(1, 255))
@settings(max_examples=60)
def test_any_changed_byte_breaks_it(payload: bytes, where: int, flip: int) -> None:
    signed = KEY.sign(Purpose.COMMAND, payload)
    changed = bytearray(payload)
    changed[where % len(changed)] ^= flip
    with pytest.raises(SecurityError, match="does not match"):
        RING.verify(
            Purpose.COMMAND, Signed(payload=bytes(changed), signatures=signed.signatures), Role.COMMAND
        )


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    with pytest.raises(SecurityError):
        RING.verify(Purpose.MANIFEST, KEY.sign(Purpose.COMMAND, b"x"), Role.COMMAND)


def test_the_role_decides() -> None:
    with pytest.raises(SecurityError, match="role 'operator'"):
        RING.verify(Purpose.COMMAND, KEY.sign(Purpose.COMMAND, b"x"), Role.OPERATOR)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(SecurityError, match="cmd-2"):
        RING.verify(Purpose.COMMAND, OTHER.sign(Purpose.COMMAND, b"x"), Role.COMMAND)


def test_unsigned_is_refused() -> None:
    with pytest.raises(SecurityError, match="signed by nobody"):
        RING.verify(Purpose.COMMAND, Signed(payload=b"x", signatures=()), Role.COMMAND)


def test_the_secret_never_shows(tmp_path: Path) -> None:
    path = tmp_path / "key"
    KEY.save(path)
    seed = path.read_text().split()[1]
    assert seed not in repr(KEY)
    assert path.stat().st_mode & 0o077 == 0


class TestFiles:
    def test_round_trip_through_the_command_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "release.key"
        assert main(["new", str(file), "--id", "rel-1"]) == 0
        capsys.readouterr()
        assert main(["keyring", f"release={file}"]) == 0
        (tmp_path / "ring.toml").write_text(capsys.readouterr().out)
        ring = Keyring.load(tmp_path / "ring.toml")
        signed = SigningKey.load(file).sign(Purpose.MANIFEST, b"m")
        assert ring.verify(Purpose.MANIFEST, signed, Role.RELEASE) == "rel-1"

    def test_a_key_is_never_overwritten(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "k"
        file.write_text("precious")
        assert main(["new", str(file), "--id", "x"]) == 2
        assert "never overwritten" in capsys.readouterr().err
        assert file.read_text() == "precious"

    @pytest.mark.parametrize("text", ["", "one-word", "id not-base64!", "id AAAA"])
    def test_a_damaged_key_file_is_a_config_error(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "k").write_text(text)
        with pytest.raises(ConfigError, match="not a signing key"):
            SigningKey.load(tmp_path / "k")

    @pytest.mark.parametrize(
        "text",
        [
            "keys = 3",
            "[[keys]]\nid='a'\nrole='king'\npublic='x'",
            "[[keys]]\nid='a'\nrole='command'\npublic='x'",
        ],
    )
    def test_a_damaged_keyring_is_a_config_error(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(ConfigError):
            Keyring.load(tmp_path / "r.toml")


class TestControlKeys:
    LIMITS = PublicKeyEntry(
        id="acme-1",
        role=Role.CONTROL,
        public=KEY.public_text,
        may=("curtail", "set-preset"),
        zones=(ZoneId("hall-a"),),
        devices=(DeviceId("m-1"), DeviceId("m-2")),
    )

    def test_limits_survive_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "r.toml").write_text(Keyring.dump((self.LIMITS,)))
        assert Keyring.load(tmp_path / "r.toml").entry("acme-1") == self.LIMITS
        assert Keyring.load(tmp_path / "r.toml").entry("nobody") is None

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("role='command'\nmay=['curtail']", "for the role 'control' only"),
            ("role='operator'\nzones=['hall-a']", "for the role 'control' only"),
            ("role='control'\nmay=['curtial']", "may names curtial, known are"),
            ("role='control'\nmay=['reset-trip']", "may names reset-trip"),
            ("role='control'\nmight=['curtail']", "unknown field"),
        ],
    )
    def test_limits_that_mean_nothing_are_refused(self, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / "r.toml").write_text(f"[[keys]]\nid='a'\npublic='{KEY.public_text}'\n{text}\n")
        with pytest.raises(ConfigError, match=words):
            Keyring.load(tmp_path / "r.toml")

    def test_an_entry_is_made_from_the_public_half(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = [
            "entry",
            "--id",
            "acme-1",
            "--role",
            "control",
            "--public",
            KEY.public_text,
            "--may",
            "curtail",
        ]
        assert (
            main([*words, "--may", "set-preset", "--zone", "hall-a", "--device", "m-1", "--device", "m-2"])
            == 0
        )
        (tmp_path / "r.toml").write_text(capsys.readouterr().out)
        assert Keyring.load(tmp_path / "r.toml").entry("acme-1") == self.LIMITS

    @pytest.mark.parametrize(
        "more", [["--may", "everything"], ["--zone", "Hall A"], ["--public", "x"]], ids=str
    )
    def test_an_entry_that_means_nothing_is_not_printed(
        self, capsys: pytest.CaptureFixture[str], more: list[str]
    ) -> None:
        assert main(["entry", "--id", "a", "--role", "control", "--public", KEY.public_text, *more]) == 2
        assert not capsys.readouterr().out


def test_a_digest_names_the_message_and_not_only_what_it_says() -> None:
    signed = KEY.sign(Purpose.COMMAND, b"stop")
    assert signed.digest == KEY.sign(Purpose.COMMAND, b"stop").digest
    assert (
        len(
            {
                signed.digest,
                OTHER.sign(Purpose.COMMAND, b"stop").digest,
                KEY.sign(Purpose.COMMAND, b"go").digest,
            }
        )
        == 3
    )


def test_a_third_party_may_write_commands_and_read_results_and_nothing_else() -> None:
    assert control_rights(SiteId("pit")) == (("write", "mw/1/pit/dn/cmd"), ("read", "mw/1/pit/up/res/#"))
