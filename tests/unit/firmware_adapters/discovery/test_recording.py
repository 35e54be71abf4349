"""A conversation as files: named as recordings are, byte for byte, and without a secret in them."""

import time
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.discovery.recording import Provenance, redact, write
from shared.errors import ConfigError
from shared.exchanges import Exchange

ABOUT = Provenance(
    adapter="luxos",
    model="Antminer S19k Pro",
    firmware="LUXminer 2025.4.8",
    at="2026-11-22T10:00:00Z",
    failures=("boards: malformed: not JSON",),
)
POOLS = (
    b'{"POOLS":[{"URL":"stratum+tcp://bc1q.w1:x@pool.example:3333","User":"bc1qsecret.rig7","Pass":"123",'
    b'"Accepted":4057,}],"SessionID":"ABCDEF12","id":1}\x00'
)


def test_secrets_go_and_everything_else_stays_byte_for_byte() -> None:
    assert redact(POOLS) == (
        b'{"POOLS":[{"URL":"stratum+tcp://redacted@pool.example:3333","User":"redacted","Pass":"redacted",'
        b'"Accepted":4057,}],"SessionID":"redacted","id":1}\x00'
    )


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b'{"token": "eyJhbGciOi\\"x", "timeout_s": 3600}', b'{"token": "redacted", "timeout_s": 3600}'),
        (b'{"stratumUser":"bc1q.a","ssid":"Home"}', b'{"stratumUser":"redacted","ssid":"redacted"}'),
        (b'{"fallbackStratumUser":"x.y"}', b'{"fallbackStratumUser":"redacted"}'),
        (b'{"password": {"current": "a", "pw": "b"}, "x": 1}', b'{"password": {}, "x": 1}'),
        (b'{"keys":3,"user_agent":"x"}', b'{"keys":3,"user_agent":"x"}'),
        (
            b'{"worker_name":"bc1.r","pool_user":"a.b","pool_pass":"x"}',
            b'{"worker_name":"redacted","pool_user":"redacted","pool_pass":"redacted"}',
        ),
        (
            b'{"_ant_pool1user":"a.b","_ant_pool1pw":"123"}',
            b'{"_ant_pool1user":"redacted","_ant_pool1pw":"redacted"}',
        ),
        (b'{"stratumPassword":"x","poolUser":"y"}', b'{"stratumPassword":"redacted","poolUser":"redacted"}'),
        (
            b'{"password":12345678,"pool_pw": 7,"fan_pwm":50}',
            b'{"password":"redacted","pool_pw": "redacted","fan_pwm":50}',
        ),
        (b'{"bypass":"on","users":2,"monkey":"x"}', b'{"bypass":"on","users":2,"monkey":"x"}'),
        (b"user=rig7 password=abc", b"user=redacted password=redacted"),
        (b'{"hashrate": 110.5}', b'{"hashrate": 110.5}'),
    ],
)
def test_keys_that_name_a_secret(raw: bytes, clean: bytes) -> None:
    assert redact(raw) == clean


def test_a_reply_that_was_cut_off_keeps_no_half_of_a_secret() -> None:
    assert redact(b'{"POOLS":[{"User":"bc1q.ri') == b'{"POOLS":[{"User":"redacted'
    assert redact(b'{"token":"abc\\') == b'{"token":"redacted\\'


@pytest.mark.parametrize(
    "piece",
    [
        b"x",
        b"a+",
        b"://",
        b"user",
        b'"user":"',
        b'"user":"\\',
        b"user =",
        b"user=x",
        b'"password":{',
        b'"a1',
        b'"a_1_',
        b'"password":1',
        b" ",
        b"@",
    ],
)
def test_any_reply_is_redacted_in_time(piece: bytes) -> None:
    """A quadratic search would take minutes for these; the guardian redacts on its own loop."""
    began_s = time.process_time()
    redact(piece * (400_000 // len(piece)), ["Hunter2!"])
    assert time.process_time() - began_s < 15.0


def test_what_was_used_to_log_in_goes_wherever_it_stands() -> None:
    assert redact(b'{"note":"pw is Hunter2!"}', ["Hunter2!"]) == b'{"note":"pw is redacted"}'
    assert redact(b'{"power":3250}', ["3"]) == b'{"power":3250}', "one digit would tear holes into numbers"
    assert redact(b'{"power":3250}', [""]) == b'{"power":3250}'


@given(raw=st.binary(max_size=200), user=st.text(alphabet="abcdef0123456789.", min_size=1, max_size=30))
def test_no_user_survives_in_whatever_surroundings(raw: bytes, user: str) -> None:
    whole = raw.replace(b'"', b"") + b'{"User" : "secret-' + user.encode() + b'"}' + raw
    assert b"secret-" + user.encode() + b'"' not in redact(whole)


def test_a_recording_is_a_folder_that_can_be_dropped_in(tmp_path: Path) -> None:
    said = [
        Exchange(question="summary", name="summary", reply=b'{"old":1}'),
        Exchange(question="pools", name="pools", reply=POOLS.replace(b",}", b"}")),
        Exchange(question="stats", name="stats", reply=b'{"STATS":[{"a":1,}]}\x00'),
        Exchange(question="fans", name="fans", failure="timeout: no reply"),
        Exchange(question="summary", name="summary", reply=b'{"new":2}'),
    ]
    place = write(tmp_path, said, ABOUT, secrets=["Hunter2!"])
    assert place == tmp_path / "luxos" / "LUXminer_2025.4.8"
    assert sorted(path.name for path in place.iterdir()) == [
        "PROVENANCE.toml",
        "pools.json",
        "stats.raw",
        "summary.json",
    ]
    assert (place / "summary.json").read_bytes() == b'{"new":2}', "the last of several"
    assert (
        msgspec.json.decode((place / "pools.json").read_bytes().strip(b"\x00"))["POOLS"][0]["Accepted"]
        == 4057
    )
    assert (place / "stats.raw").read_bytes().endswith(b"\x00"), "what is odd about it is kept"
    told = tomllib.loads((place / "PROVENANCE.toml").read_text())
    assert told["failures"] == ["boards: malformed: not JSON"]
    assert [one["question"] for one in told["exchange"]] == ["summary", "pools", "stats", "fans", "summary"]
    assert told["exchange"][3]["failure"] == "timeout: no reply"


FRAMES = msgspec.structs.replace(ABOUT, adapter="modbus")


def test_a_modbus_frame_stays_byte_for_byte_whatever_it_looks_like(tmp_path: Path) -> None:
    """Registers may hold any bytes: text with a password in it, the credential's own bytes, a JSON number."""
    frames = {
        "unit_1_input_0_20": b"\x00\x01\x00\x00\x00\x17\x01\x04\x14password=abc,user=x://a@",
        "unit_1_input_20_4": b"\x00\x02\x00\x00\x00\x0b\x01\x04\x08Hunter2!",
        "unit_1_input_24_1": b"\x00\x31\x00",
    }
    said = [Exchange(question=name, name=name, reply=frame) for name, frame in frames.items()]
    place = write(tmp_path, said, FRAMES, secrets=["Hunter2!"])
    assert {path.stem: path.read_bytes() for path in place.glob("*.raw")} == frames
    assert not list(place.glob("*.json"))


def test_a_refused_reply_is_the_one_that_is_kept(tmp_path: Path) -> None:
    """A second attempt may have succeeded in the same poll; what was wrong with the first is the point."""
    said = [
        Exchange(question="unit 1 input 0+1", name="unit_1_input_0_1", reply=b"bad", failure="malformed: x"),
        Exchange(question="unit 1 input 0+1", name="unit_1_input_0_1", reply=b"good"),
    ]
    place = write(tmp_path, said, FRAMES)
    assert (place / "unit_1_input_0_1.raw").read_bytes() == b"bad"
    told = tomllib.loads((place / "PROVENANCE.toml").read_text())
    assert [one.get("failure", "") for one in told["exchange"]] == ["malformed: x", ""]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    said = [Exchange(question="stats", name="stats", reply=b"{}")]
    first, second = write(tmp_path, said, ABOUT), write(tmp_path, said, ABOUT)
    assert first != second
    assert second.name == "LUXminer_2025.4.8-2"


def test_a_device_names_no_folder_elsewhere(tmp_path: Path) -> None:
    evil = msgspec.structs.replace(ABOUT, firmware="../../../x", model='a"\n[site]')
    said = [Exchange(question="stats", name="stats", reply=b"{}")]
    place = write(tmp_path, said, evil)
    assert place.parent == tmp_path / "luxos"
    assert "site" not in tomllib.loads((place / "PROVENANCE.toml").read_text())
    nameless = write(tmp_path, said, msgspec.structs.replace(ABOUT, firmware=""))
    assert nameless.name == "unknown-version"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "luxos").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        write(tmp_path, [Exchange(question="stats", name="stats", reply=b"{}")], ABOUT)
