"""Small durable files: latches, credentials, the book of orders, the book of assignments."""

import base64
import stat
from pathlib import Path

import msgspec
import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian.actions.orders import Orders
from edge_agent.guardian.agents.assignments import Assignments
from edge_agent.guardian.interlocks.inputs import ModelClaim
from edge_agent.guardian.interlocks.state import Durable, SafeWhy, Trip
from edge_agent.guardian.storage import durable
from edge_agent.guardian.storage.credentials import FILE_NAME, CredentialStore, new_key, read_key
from edge_agent.guardian.storage.latches import Latches
from edge_agent.ipc import Mode, Result
from firmware_adapters.capabilities import Credential
from shared.artifacts.manifest import Assignment, Manifest, SelfTest, Stage, assign, bless
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.clock import ManualClock
from shared.commands import (
    ActionOutcome,
    CommandBody,
    DoActions,
    ResetTripOrder,
    SafeStopOrder,
    StopMining,
)
from shared.errors import ConfigError, SecurityError, StoreError
from shared.ids import CommandId, SiteId, ZoneId
from support.guardian import KEYS, SITE, ZONE, make_site, miner_id, signed_order
from support.manifests import draft

RING = Keyring(
    tuple(PublicKeyEntry(id=key.key_id, role=role, public=key.public_text) for role, key in KEYS.items())
)


class TestDurable:
    def test_sealed_values_come_back(self) -> None:
        assert durable.unseal(durable.seal({"a": 1}), dict[str, int]) == {"a": 1}

    @pytest.mark.parametrize("position", [0, 20, -3])
    def test_a_flipped_bit_shows(self, position: int) -> None:
        data = bytearray(durable.seal({"counter": 7}))
        data[position] ^= 0x01
        with pytest.raises(StoreError):
            durable.unseal(bytes(data), dict[str, int])

    def test_a_file_is_replaced_whole_and_private(self, tmp_path: Path) -> None:
        path = tmp_path / "f"
        durable.replace(path, b"one")
        durable.replace(path, b"two")
        assert path.read_bytes() == b"two"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [p.name for p in tmp_path.iterdir()] == ["f"]

    def test_a_disk_that_refuses_is_a_store_error(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="cannot be written"):
            durable.replace(tmp_path / "no" / "folder", b"x")


class TestLatches:
    KEPT = Durable(
        mode=Mode.TRIPPED,
        trips=(Trip(id="t", interlock="cooling-lost", at_ms=1, first_out="fan 0"),),
        pending=(miner_id(1),),
    )

    def test_come_back(self, tmp_path: Path, site: SiteFile) -> None:
        latches = Latches(tmp_path / "l.json")
        assert latches.load(site, at_ms=1) == {}
        latches.save({ZONE: self.KEPT})
        assert Latches(tmp_path / "l.json").load(site, at_ms=1) == {ZONE: self.KEPT}

    def test_a_renamed_zone_does_not_lose_its_trip(self, tmp_path: Path) -> None:
        latches = Latches(tmp_path / "l.json")
        latches.save({ZONE: self.KEPT})
        renamed = make_site(tmp_path, edit=lambda text: text.replace('"hall-1"', '"hall-west"'))
        assert latches.load(renamed, at_ms=1) == {ZoneId("hall-west"): self.KEPT}

    def test_a_safe_stop_outlives_a_renamed_zone(self, tmp_path: Path) -> None:
        latches = Latches(tmp_path / "l.json")
        latches.save({ZoneId("old"): Durable(safe_why=SafeWhy.STOP), ZONE: Durable()})
        kept = latches.load(make_site(tmp_path), at_ms=1)
        assert (kept[ZONE].mode, kept[ZONE].safe_why) == (Mode.SAFE, SafeWhy.STOP), (
            "no new zone: it is all of them"
        )

    def test_a_latched_miner_that_moves_stays_latched(self, tmp_path: Path) -> None:
        chip = Trip(id="c", interlock="chip-temp", at_ms=1, first_out="99 °C", device=miner_id(2))
        latches = Latches(tmp_path / "l.json")
        latches.save({ZoneId("old"): Durable(trips=(chip,), pending=(miner_id(3),)), ZONE: Durable()})
        kept = latches.load(make_site(tmp_path), at_ms=1)
        assert kept == {ZONE: Durable(trips=(chip,), pending=(miner_id(3),))}

    @pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b'{"sha256":"0","body":"{}"}'])
    def test_a_damaged_file_trips_every_zone(self, tmp_path: Path, site: SiteFile, data: bytes) -> None:
        path = tmp_path / "l.json"
        path.write_bytes(data)
        kept = Latches(path).load(site, at_ms=1)
        assert [entry.mode for entry in kept.values()] == [Mode.TRIPPED]
        assert "latch file is damaged" in kept[ZONE].trips[0].first_out


class TestCredentials:
    def store(self, folder: Path) -> CredentialStore:
        return CredentialStore(folder, b"k" * 32)

    def test_come_back_and_are_not_readable_on_disk(self, tmp_path: Path) -> None:
        folder = tmp_path / "guardian"
        self.store(folder).set("miners", Credential(user=None, secret="s3cret-word"))
        self.store(folder).set("pdu", Credential(user="apc", secret="other"))
        assert self.store(folder).all()["miners"] == Credential(user=None, secret="s3cret-word")
        data = (folder / FILE_NAME).read_bytes()
        assert b"s3cret-word" not in data
        assert b"miners" not in data
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600

    def test_another_key_or_a_changed_byte_opens_nothing(self, tmp_path: Path) -> None:
        self.store(tmp_path).set("a", Credential(user=None, secret="x"))
        with pytest.raises(ConfigError, match="another master key"):
            CredentialStore(tmp_path, b"z" * 32).all()
        path = tmp_path / FILE_NAME
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(ConfigError, match="damaged"):
            self.store(tmp_path).all()

    def test_the_master_key_is_private_and_never_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "keys" / "master"
        new_key(path)
        key = read_key(path)
        assert len(key) == 32
        with pytest.raises(StoreError):
            new_key(path)
        path.chmod(0o644)
        with pytest.raises(ConfigError, match="readable by everybody"):
            read_key(path)

    @pytest.mark.parametrize(
        ("data", "good"),
        [
            (bytes(range(200, 232)), True),
            (base64.b64encode(b"k" * 32), True),
            (b"short", False),
            (b"a" * 44, False),
        ],
    )
    def test_forms_of_the_master_key(self, tmp_path: Path, data: bytes, good: bool) -> None:
        path = tmp_path / "master"
        path.write_bytes(data)
        path.chmod(0o600)
        if good:
            assert len(read_key(path)) == 32
        else:
            with pytest.raises(ConfigError, match="not a master key"):
                read_key(path)

    def test_a_missing_key_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="credential set"):
            read_key(tmp_path / "none")

    def test_a_credential_does_not_print_its_secret(self) -> None:
        assert "hunter2" not in repr(Credential(user="u", secret="hunter2"))


STOP = DoActions(actions=(StopMining(device=miner_id(1)),))
RESET = ResetTripOrder(zone=ZONE, reason="r")


class TestOrders:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    def book(self, folder: Path, clock: ManualClock, *, synchronised: bool = True) -> Orders:
        return Orders(folder / "orders.json", RING, SITE, clock, lambda: synchronised)

    def result(self, command: str) -> Result:
        return Result(id=CommandId(command), outcome=ActionOutcome.APPLIED, detail="done", at_ms=1)

    def test_a_good_order_is_accepted_with_its_counter_on_the_disk(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        body = self.book(tmp_path, clock).accept(signed_order(STOP, clock, counter=5))
        assert isinstance(body, CommandBody)
        with pytest.raises(SecurityError, match="counter 5 was used before"):
            self.book(tmp_path, clock).accept(signed_order(STOP, clock, counter=5, command="c-2"))

    def test_a_repeated_id_returns_the_stored_result_even_after_a_restart(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        signed = signed_order(STOP, clock)
        book = self.book(tmp_path, clock)
        book.accept(signed)
        book.finish(self.result("c-1"))
        clock.advance(3600)
        assert self.book(tmp_path, clock).accept(signed) == self.result("c-1")

    def test_an_order_that_a_crash_interrupted_is_not_run_again(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        signed = signed_order(STOP, clock)
        self.book(tmp_path, clock).accept(signed)
        answer = self.book(tmp_path, clock).accept(signed)
        assert isinstance(answer, Result)
        assert answer.outcome is ActionOutcome.UNCONFIRMED

    def test_an_id_with_other_contents_is_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        book = self.book(tmp_path, clock)
        book.accept(signed_order(STOP, clock, counter=1))
        with pytest.raises(SecurityError, match="other contents"):
            book.accept(signed_order(SafeStopOrder(), clock, counter=2))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"site": SiteId("elsewhere")}, "for site 'elsewhere'"),
            ({"life_ms": 60_001}, "allowed are 1 to 60000"),
            ({"life_ms": 0}, "allowed are"),
            ({"life_ms": -5}, "allowed are"),
            ({"issued_ms": 1_780_000_011_000}, "in the future"),
            ({"issued_ms": 1_779_999_960_000, "life_ms": 30_000}, "expired"),
            ({"counter": 0}, "used before"),
            (
                {"counter": 1_780_000_000_000_000_000},
                "at most 1780086400000, which is one day above issued_ms",
            ),
            ({"role": Role.ASSIGNMENT}, "'command' is needed"),
            ({"role": Role.RELEASE}, "'command' is needed"),
            ({"role": Role.OPERATOR}, "actions need the command key"),
        ],
    )
    def test_refusals(
        self, tmp_path: Path, clock: ManualClock, change: dict[str, object], words: str
    ) -> None:
        with pytest.raises(SecurityError, match=words):
            self.book(tmp_path, clock).accept(signed_order(STOP, clock, **change))  # type: ignore[arg-type] # from the table
        assert not (tmp_path / "orders.json").exists(), "a refused order leaves no trace in the counter"

    def test_one_counter_in_nanoseconds_does_not_shut_out_every_later_order(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        book, stop = self.book(tmp_path, clock), SafeStopOrder()
        with pytest.raises(SecurityError, match="count in milliseconds since 1970, or one by one"):
            book.accept(signed_order(stop, clock, counter=clock.utc_ms() * 10**6, role=Role.OPERATOR))
        assert book.accept(signed_order(stop, clock, counter=clock.utc_ms(), command="c-2"))

    def test_a_counter_that_is_ahead_already_goes_on_from_where_it_is(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Both clocks were a day ahead once, and were set right."""
        book, ahead = self.book(tmp_path, clock), clock.utc_ms() + 24 * 3_600_000
        assert book.accept(signed_order(STOP, clock, counter=ahead))
        assert book.accept(signed_order(STOP, clock, counter=ahead + 1, command="c-2"))

    def test_a_reset_needs_an_operator(self, tmp_path: Path, clock: ManualClock) -> None:
        with pytest.raises(SecurityError, match="operator's key only"):
            self.book(tmp_path, clock).accept(signed_order(RESET, clock))
        assert self.book(tmp_path, clock).accept(signed_order(RESET, clock, role=Role.OPERATOR))

    def test_a_safe_stop_takes_either_key(self, tmp_path: Path, clock: ManualClock) -> None:
        book = self.book(tmp_path, clock)
        assert book.accept(signed_order(SafeStopOrder(), clock, counter=1))
        assert book.accept(signed_order(SafeStopOrder(), clock, counter=2, command="c-2", role=Role.OPERATOR))

    def test_without_a_synchronised_clock_nothing_is_accepted(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        with pytest.raises(SecurityError, match="not synchronised"):
            self.book(tmp_path, clock, synchronised=False).accept(signed_order(STOP, clock))

    def test_changed_bytes_and_foreign_keys_are_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        signed = signed_order(STOP, clock)
        for bad in (
            msgspec.structs.replace(signed, payload=signed.payload[:-1] + b"\x00"),
            msgspec.structs.replace(signed, signatures=()),
            SigningKey.generate("test-command").sign(Purpose.COMMAND, signed.payload),
            KEYS[Role.COMMAND].sign(Purpose.ASSIGNMENT, signed.payload),
            KEYS[Role.COMMAND].sign(Purpose.COMMAND, b"\xc1 not msgpack"),
        ):
            with pytest.raises(SecurityError):
                self.book(tmp_path, clock).accept(bad)

    def test_a_disk_that_refuses_holds_actions_back_but_not_a_safe_stop(
        self, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise StoreError("full")

        book = self.book(tmp_path, clock)
        monkeypatch.setattr(durable, "replace", refuse)
        with pytest.raises(SecurityError, match="cannot be stored"):
            book.accept(signed_order(STOP, clock))
        assert isinstance(book.accept(signed_order(SafeStopOrder(), clock)), CommandBody)

    def test_a_damaged_book_is_not_guessed_at(self, tmp_path: Path, clock: ManualClock) -> None:
        (tmp_path / "orders.json").write_bytes(b"{}")
        with pytest.raises(StoreError, match="remove it by hand"):
            self.book(tmp_path, clock)


FAR_MS = 2_000_000_000_000


def manifest(version: int = 1, name: str = "anomaly") -> Manifest:
    vector = b"\x00" * 4
    self_test = SelfTest(shape=(1,), input=vector, output=vector, output_shape=(1,), atol=1e-5)
    return draft(name=name, version=version, sha256=f"{version:064d}", self_test=self_test, expires_ms=FAR_MS)


END_MS = 1_900_000_000_000


def assigned(
    version: int,
    counter: int,
    stage: Stage = Stage.ACTIVE,
    *,
    site: SiteId = SITE,
    expires_ms: int = END_MS,
) -> Signed:
    signed = Assignment(
        site=site,
        counter=counter,
        issued_ms=0,
        expires_ms=expires_ms,
        stage=stage,
        manifest=bless(manifest(version), KEYS[Role.RELEASE]),
    )
    return assign(signed, KEYS[Role.ASSIGNMENT])


class TestAssignments:
    def book(self, folder: Path, now_ms: int | None = None) -> Assignments:
        clock = ManualClock() if now_ms is None else ManualClock(utc_ms=now_ms)
        return Assignments(folder / "a.json", RING, SITE, clock)

    def test_shadow_then_swap(self, tmp_path: Path) -> None:
        book = self.book(tmp_path)
        signed = assigned(1, 1)
        book.accept(signed, swapped=False)
        assert (book.claim, book.words) == (ModelClaim.SHADOW, "anomaly v1 shadow")
        book.accept(signed, swapped=True)
        assert (book.claim, book.words) == (ModelClaim.ACTIVE, "anomaly v1 active")
        assert book.active is not None
        assert book.active.version == 1

    def test_the_old_one_acts_until_the_new_one_is_swapped_in_and_may_come_back(self, tmp_path: Path) -> None:
        book = self.book(tmp_path)
        old, new = assigned(1, 1), assigned(2, 2)
        book.accept(old, swapped=True)
        book.accept(new, swapped=False)
        assert book.words == "anomaly v1 active, anomaly v2 shadow"
        book.accept(new, swapped=True)
        assert book.words == "anomaly v2 active"
        book.accept(old, swapped=True)
        assert book.words == "anomaly v1 active", "a rollback to what was accepted before"

    def test_a_restart_accepts_what_was_accepted_and_refuses_old_counters(self, tmp_path: Path) -> None:
        self.book(tmp_path).accept(assigned(2, 2), swapped=False)
        again = self.book(tmp_path)
        assert again.claim is ModelClaim.NONE
        again.accept(assigned(2, 2), swapped=True)
        with pytest.raises(SecurityError, match="counter 1 is old"):
            again.accept(assigned(1, 1), swapped=True)

    def test_months_later_the_old_one_may_still_come_back_while_the_newest_assignment_stands(
        self, tmp_path: Path
    ) -> None:
        """Nobody signs anew what does not act; a rollback must work all the same, and without a network."""
        old, new = assigned(1, 1, expires_ms=END_MS - 1_000), assigned(2, 2, expires_ms=END_MS)
        book = self.book(tmp_path)
        book.accept(old, swapped=True)
        book.accept(new, swapped=True)
        later = self.book(tmp_path, END_MS - 500)
        later.accept(old, swapped=True)
        assert later.words == "anomaly v1 active"
        with pytest.raises(SecurityError, match="has expired"):
            self.book(tmp_path, END_MS).accept(old, swapped=True)

    def test_what_was_never_accepted_in_time_has_no_more_than_its_own_time(self, tmp_path: Path) -> None:
        self.book(tmp_path).accept(assigned(2, 2), swapped=True)
        late = assigned(3, 3, expires_ms=END_MS - 1_000)
        with pytest.raises(SecurityError, match="has expired"):
            self.book(tmp_path, END_MS - 500).accept(late, swapped=True)

    def test_a_model_has_no_more_than_its_manifest_s_time(self, tmp_path: Path) -> None:
        old = assigned(1, 1)
        self.book(tmp_path).accept(old, swapped=True)
        self.book(tmp_path).accept(assigned(2, 2, expires_ms=FAR_MS + 1_000), swapped=True)
        self.book(tmp_path, FAR_MS - 1).accept(old, swapped=True)
        with pytest.raises(SecurityError, match="has expired"):
            self.book(tmp_path, FAR_MS).accept(old, swapped=True)

    def test_a_shadow_stage_never_acts(self, tmp_path: Path) -> None:
        with pytest.raises(SecurityError, match="must not act"):
            self.book(tmp_path).accept(assigned(1, 1, Stage.SHADOW), swapped=True)

    def test_what_is_withdrawn_or_demoted_cannot_be_claimed_by_an_older_assignment(
        self, tmp_path: Path
    ) -> None:
        book = self.book(tmp_path)
        book.accept(assigned(1, 1), swapped=True)
        book.accept(assigned(1, 2, Stage.SHADOW), swapped=False)
        assert book.words == "anomaly v1 shadow", "demoted, although the agent said nothing of it"
        with pytest.raises(SecurityError, match="counter 1 is old"):
            book.accept(assigned(1, 1), swapped=True)
        book.accept(assigned(1, 3, Stage.WITHDRAWN), swapped=False)
        assert book.words is None
        with pytest.raises(SecurityError, match="is old"):
            book.accept(assigned(1, 2, Stage.SHADOW), swapped=False)

    def test_withdrawing_one_version_leaves_the_other(self, tmp_path: Path) -> None:
        book = self.book(tmp_path)
        book.accept(assigned(1, 1), swapped=True)
        book.accept(assigned(2, 2), swapped=False)
        book.accept(assigned(2, 3, Stage.WITHDRAWN), swapped=False)
        assert book.words == "anomaly v1 active"

    def test_withdrawal_and_mistrust_end_it(self, tmp_path: Path) -> None:
        book = self.book(tmp_path)
        book.accept(assigned(1, 1), swapped=True)
        book.accept(assigned(1, 2, Stage.WITHDRAWN), swapped=False)
        assert book.claim is ModelClaim.NONE
        book.accept(assigned(1, 3), swapped=True)
        book.drop()
        assert book.claim is ModelClaim.NONE

    @pytest.mark.parametrize(
        "signed",
        [
            assigned(1, 1, site=SiteId("elsewhere")),
            bless(manifest(), KEYS[Role.RELEASE]),
            KEYS[Role.COMMAND].sign(Purpose.ASSIGNMENT, assigned(1, 1).payload),
        ],
    )
    def test_foreign_or_wrongly_signed(self, tmp_path: Path, signed: Signed) -> None:
        with pytest.raises(SecurityError):
            self.book(tmp_path).accept(signed, swapped=True)
