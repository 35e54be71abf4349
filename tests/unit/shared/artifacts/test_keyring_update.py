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
        (update(expires_ms=NOW), "expired"),
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


def test_what_cannot_be_stored_does_not_count(tmp_path: Path) -> None:
    keys = trusted(tmp_path)
    (tmp_path / "keyring.bin.new").mkdir()  # the disk refuses
    with pytest.raises(StoreError, match="cannot be written"):
        keys.take(update(), now_ms=NOW)
    assert counts(keys, OLD), "else a restart would bring it back silently"
