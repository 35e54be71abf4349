"""A log that leaves the guardian tells what happened, and not who mines for whom."""

import time

import pytest

from firmware_adapters.discovery.log_text import pool_users, without_secrets
from shared.details import Pool

SECRET = "hunter22"
ACCOUNT = "acmecorp"
WALLET = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"


@pytest.mark.parametrize(
    "line",
    [
        f"[2026-11-23 02:00:01] Pool 0: user: {ACCOUNT}.rig7 pass: {SECRET}",
        f"pool0 stratum+tcp://{ACCOUNT}.rig7:{SECRET}@btc.example.com:3333 alive",
        f"connecting to btc.example.com:3333 as {ACCOUNT}.rig7",
        f"worker {ACCOUNT}.rig7 authorized",
        f"login {ACCOUNT}.rig7 with password {SECRET}",
        f'send: {{"id":2,"method":"mining.authorize","params":["{ACCOUNT}.rig7","{SECRET}"]}}',
        f'send: {{"method":"mining.submit","params":["{ACCOUNT}.rig7","6a1f","00"]}}',
        f"bmminer --userpass={ACCOUNT}.rig7:{SECRET} -o stratum+tcp://btc.example.com:3333 --pass {SECRET}",
        f"password is '{SECRET}', username = \"{ACCOUNT}\"",
        f"pool_user: {ACCOUNT}, pool_password => {SECRET}",
        f"POST /unlock Authorization: Bearer {SECRET}",
        f"GET http://10.0.0.9/cgi-bin/x.cgi?key={SECRET}&u={ACCOUNT} 200",
        f"mining to {WALLET}.rig7",
        f"wifi SSID={ACCOUNT} psk={SECRET}",
        f'{{"user" : "{ACCOUNT}.rig7", "pass" : "{SECRET}"',
    ],
)
def test_no_user_and_no_password_is_left_in_any_shape(line: str) -> None:
    clean = without_secrets(line)
    assert SECRET not in clean
    assert ACCOUNT not in clean
    assert WALLET[:12] not in clean
    assert "redacted" in clean


def test_the_users_of_known_pools_go_wherever_they_stand() -> None:
    users = pool_users(
        [Pool(index=0, url="stratum+tcp://p:1", user=f"{ACCOUNT}.rig7"), Pool(index=1, url="")]
    )
    assert without_secrets(f"{ACCOUNT}.rig7!{ACCOUNT}|shares", users) == "redacted!redacted|shares"


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-23 02:00:01] chain 1: chip 17 asic_nonce low, 64 C, 13.2 V",
        "ERROR_TEMP_TOO_HIGH: chain 0 at 91 C, stop",
        "Pool 0 stratum+tcp://btc.example.com:3333 not responding!",
        "pass 1 of 3: frequency 545 MHz",
        "fan 2 lost: 0 rpm",
    ],
)
def test_what_went_wrong_stays_word_for_word(line: str) -> None:
    assert without_secrets(line) == line


@pytest.mark.parametrize("piece", ["user", "pass ", "a.", "mining.authorize", "http://", "user: ", "'", "1"])
def test_a_log_made_to_be_slow_costs_no_time_of_the_loop(piece: str) -> None:
    """Processor time of a text as long as a kept one; a pattern that goes back on itself takes minutes."""
    text = (piece * 8192)[:8192]
    before = time.process_time()
    without_secrets(text)
    assert time.process_time() - before < 1.0
