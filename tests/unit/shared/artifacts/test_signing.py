"""Only a known key of the right role, over these exact bytes, for this purpose."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.artifacts.cli import main
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.errors import ConfigError, SecurityError

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
