"""Keyrings that replace each other: only a root says so, only upwards, and a removed key is gone at once."""

from pathlib import Path

import pytest

from shared.artifacts.keyring_update import MAX_KEYS, KeyringUpdate, TrustedKeys, sign_update
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.errors import SecurityError, StoreError
from shared.ids import SiteId

NOW = 1_780_000_000_000
SITE = SiteId("testsite")
ROOT, ROOT2, OLD, NEW = (SigningKey.generate(name) for name in ("root-1", "root-2", "command-1", "command-2"))


def entry(key: SigningKey, role: Role) -> PublicKeyEntry:
    return PublicKeyEntry(id=key.key_id, role=role, public=key.public_text)


BASE = (entry(ROOT, Role.ROOT), entry(OLD, Role.COMMAND))
ROTATED = (entry(ROOT, Role.ROOT), entry(NEW, Role.COMMAND))


def update(
    version: int = 1,
    keys: tuple[PublicKeyEntry, ...] = ROTATED,
    *,
    roots: tuple[SigningKey, ...] = (ROOT,),
    expires_ms: int = NOW + 1,
    sites: tuple[str, ...] = (),
) -> Signed:
    return sign_update(
        KeyringUpdate(version=version, issued_ms=NOW, expires_ms=expires_ms, keys=keys, sites=sites), *roots
    )


def trusted(folder: Path, base: tuple[PublicKeyEntry, ...] = BASE) -> TrustedKeys:
    (folder / "keyring.toml").write_text(Keyring.dump(base))
    return TrustedKeys(folder / "keyring.toml", folder / "keyring.bin", SITE)


def counts(keys: Keyring, key: SigningKey) -> bool:
    try:
        keys.verify(Purpose.COMMAND, key.sign(Purpose.COMMAND, b"stop"), Role.COMMAND)
    except SecurityError:
        return False
    return True


def test_a_key_that_is_removed_stops_working_at_once_and_after_a_restart(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    assert (counts(keys, OLD), counts(keys, NEW)) == (True, False)
    assert keys.take(update(), now_ms=NOW) is not None
    assert (counts(keys, OLD), counts(keys, NEW)) == (False, True)
    again = trusted(tmp_path)
    assert (counts(again, OLD), counts(again, NEW)) == (False, True)
    assert again.version == 1
    assert again.newest == update()


def test_the_same_update_again_changes_nothing_and_an_older_one_is_a_replay(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    keys.take(update(2), now_ms=NOW)
    assert keys.take(update(2), now_ms=NOW) is None
    for version in (1, 2):
        back = update(version, BASE)
        with pytest.raises(SecurityError, match="replayed"):
            keys.take(back, now_ms=NOW)
        with pytest.raises(SecurityError, match="replayed"):
            trusted(tmp_path).take(back, now_ms=NOW)
    assert not counts(keys, OLD)


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (update(roots=(OLD,)), "'root' is needed"),
        (update(roots=()), "nobody"),
        (update(roots=(SigningKey.generate("root-1"),)), "does not match"),
        (update(sites=("elsewhere",)), "not meant for site"),
        (update(keys=(entry(NEW, Role.COMMAND),)), "no root key"),
        (update(keys=(entry(ROOT2, Role.ROOT),)), "no root of keyring"),
        (update(keys=(entry(ROOT2, Role.ROOT),), roots=(ROOT2,)), "'root' is needed"),
        (update(keys=(*BASE, entry(OLD, Role.RELEASE))), "listed twice"),
        (update(keys=(PublicKeyEntry(id="x", role=Role.ROOT, public="!"),)), "base64"),
        (
            update(keys=(entry(ROOT, Role.ROOT), *(entry(OLD, Role.COMMAND),) * MAX_KEYS)),
            "allowed are",
        ),
        (ROOT.sign(Purpose.KEYRING, b"\xc1"), "does not decode"),
        (ROOT.sign(Purpose.COMMAND, update().payload), "does not match"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused_changes_nothing(tmp_path: Path, signed: Signed, why: str) -> None:
    keys = trusted(tmp_path)
    with pytest.raises(SecurityError, match=why):
        keys.take(signed, now_ms=NOW)
    assert counts(keys, OLD)
    assert keys.version == 0
    assert not (tmp_path / "keyring.bin").exists()


def test_roots_change_only_by_the_old_root_together_with_the_new_one(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    moved = (entry(ROOT2, Role.ROOT), entry(NEW, Role.COMMAND))
    keys.take(update(1, moved, roots=(ROOT, ROOT2)), now_ms=NOW)
    with pytest.raises(SecurityError):
        keys.take(update(2, BASE, roots=(ROOT,)), now_ms=NOW)
    again = trusted(tmp_path)
    again.take(update(2, (*moved, entry(OLD, Role.COMMAND)), roots=(ROOT2,)), now_ms=NOW)
    assert counts(again, OLD), "a chain of roots survives restarts, though the file knows the first only"


def test_another_keyring_file_starts_anew_but_old_updates_stay_old(tmp_path: Path) -> None:
    trusted(tmp_path).take(update(5), now_ms=NOW)
    fresh = trusted(tmp_path, (*BASE, entry(ROOT2, Role.ROOT)))
    assert counts(fresh, OLD)
    assert fresh.newest is None
    with pytest.raises(SecurityError, match="replayed"):
        fresh.take(update(5), now_ms=NOW)


@pytest.mark.parametrize("damage", [b"", b"\xc0", b"half of it"])
def test_a_damaged_memory_trusts_roots_only_and_is_healed_by_the_next_delivery(
    tmp_path: Path, damage: bytes
) -> None:
    trusted(tmp_path).take(update(3), now_ms=NOW)
    (tmp_path / "keyring.bin").write_bytes(damage)
    keys = trusted(tmp_path)
    assert keys.damaged
    assert (counts(keys, OLD), counts(keys, NEW)) == (False, False)
    keys.take(update(3), now_ms=NOW)
    assert counts(keys, NEW)
    assert not keys.damaged


def full_disk(folder: Path) -> Path:
    """The disk refuses; `rmdir` it, and it takes data again."""
    blocked = folder / "keyring.bin.new"
    blocked.mkdir()
    return blocked


def test_what_cannot_be_stored_takes_away_at_once_and_adds_nothing(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    full_disk(tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        keys.take(update(), now_ms=NOW)
    assert (counts(keys, OLD), counts(keys, NEW)) == (False, False), "a restart would forget the new one"
    assert (keys.version, keys.newest, keys.held) == (0, None, update())


def test_what_came_in_time_may_be_stored_after_it_ran_out(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    blocked = full_disk(tmp_path)
    with pytest.raises(StoreError):
        keys.take(update(), now_ms=NOW)
    blocked.rmdir()
    assert keys.take(update(), now_ms=NOW + 10**9) is not None
    assert (counts(keys, OLD), counts(keys, NEW), keys.held) == (False, True, None)
    assert trusted(tmp_path).version == 1


def test_what_came_too_late_takes_away_and_adds_nothing_until_the_clock_is_right(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    for now_ms in (NOW + 1, NOW + 2):
        with pytest.raises(SecurityError, match="expired"):
            keys.take(update(), now_ms=now_ms)
        assert (counts(keys, OLD), counts(keys, NEW), keys.version) == (False, False, 0)
    assert not (tmp_path / "keyring.bin").exists()
    assert keys.changes == 1, "the second time nothing was left to take away"
    assert keys.take(update(), now_ms=NOW) is not None
    assert counts(keys, NEW)


def test_whoever_replays_an_update_that_ran_out_wins_no_key(tmp_path: Path) -> None:
    """Version 2 named a key that was stolen later; the site had slept through it."""
    stolen = SigningKey.generate("command-3")
    keys = trusted(tmp_path)
    with pytest.raises(SecurityError, match="expired"):
        keys.take(update(2, (*BASE, entry(stolen, Role.COMMAND)), expires_ms=NOW - 1), now_ms=NOW)
    assert (counts(keys, OLD), counts(keys, stolen)) == (True, False)
    assert keys.take(update(3), now_ms=NOW) is not None


def test_an_older_update_does_not_slip_in_while_a_newer_one_waits_for_the_disk(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    blocked = full_disk(tmp_path)
    with pytest.raises(StoreError):
        keys.take(update(2), now_ms=NOW)
    blocked.rmdir()
    with pytest.raises(SecurityError, match="which waits: replayed"):
        keys.take(update(1, BASE), now_ms=NOW)
    assert keys.take(update(2), now_ms=NOW + 10**9) is not None
    assert not counts(keys, OLD)


def test_roots_stay_while_an_update_waits_so_that_it_can_be_verified_again(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    blocked = full_disk(tmp_path)
    moved = update(1, (entry(ROOT2, Role.ROOT), entry(NEW, Role.COMMAND)), roots=(ROOT, ROOT2))
    with pytest.raises(StoreError):
        keys.take(moved, now_ms=NOW)
    blocked.rmdir()
    assert keys.take(moved, now_ms=NOW) is not None
    assert keys.entry("root-1") is None
