"""A third party's key: what it names and nothing else, its own counter, its own orders, its name on them."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.guardian.actions.orders import OrderRefused, Orders
from edge_agent.guardian.actions.third_parties import beyond
from shared.artifacts.signing import MAY_WORDS, Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.clock import ManualClock
from shared.commands import (
    AnyOrder,
    CancelOrder,
    CommandBody,
    Curtail,
    DoActions,
    PreviewOrder,
    RenewOrder,
    ResetTripOrder,
    SafeStopOrder,
    Schedule,
    SetPreset,
    StandingCap,
    StartMining,
    StopMining,
    tag_of,
)
from shared.errors import SecurityError
from shared.ids import CommandId, DeviceId, SiteId, ZoneId
from support.guardian import KEYS, SITE, signed_order

ACME, OTHER = SigningKey.generate("acme-1"), SigningKey.generate("other-1")
HALL, YARD = ZoneId("hall-1"), ZoneId("yard")
ZONE_OF = {DeviceId("m-1"): HALL, DeviceId("m-2"): YARD}
CURTAIL = Curtail(target_w=1e6, deadline_s=600.0, duration_s=3600.0)
STOP_1 = DoActions(actions=(StopMining(device=DeviceId("m-1")),))
STOP_2 = DoActions(actions=(StopMining(device=DeviceId("m-2")),))
EVERY: tuple[AnyOrder, ...] = (
    STOP_1,
    SafeStopOrder(),
    SafeStopOrder(zone=HALL),
    ResetTripOrder(zone=HALL, reason="r"),
    CURTAIL,
    StandingCap(cap_w=1e6),
    StandingCap(cap_w=None),
    Schedule(start_ms=1, end_ms=2, what=CURTAIL),
    CancelOrder(target=CommandId("mine")),
    RenewOrder(target=CommandId("mine")),
    PreviewOrder(of=CURTAIL),
)


def entry(**limits: object) -> PublicKeyEntry:
    return PublicKeyEntry(id="acme-1", role=Role.CONTROL, public=ACME.public_text, **limits)  # type: ignore[arg-type]  # from the table


def why(order: AnyOrder, **limits: object) -> str | None:
    owners = {CommandId("mine"): "acme-1", CommandId("theirs"): "other-1"}
    return beyond(entry(**limits), order, zone_of=ZONE_OF, owner_of=owners.get)


@pytest.mark.parametrize("order", EVERY, ids=repr)
def test_a_key_without_may_may_nothing(order: AnyOrder) -> None:
    assert why(order) is not None


@given(may=st.sets(st.sampled_from(sorted(MAY_WORDS))), order=st.sampled_from(EVERY))
@settings(max_examples=200)
def test_what_is_not_named_is_refused_whatever_else_is(may: set[str], order: AnyOrder) -> None:
    inner = order.of if isinstance(order, PreviewOrder) else order
    words = {tag_of(inner)}
    if isinstance(inner, DoActions):
        words |= {tag_of(action) for action in inner.actions}
    if not words & may:
        assert why(order, may=tuple(may)) is not None
    assert why(ResetTripOrder(zone=HALL, reason="r"), may=tuple(may)) is not None


@pytest.mark.parametrize(
    ("order", "limits", "words"),
    [
        (STOP_1, {"may": ("stop",)}, None),
        (STOP_1, {"may": ("actions",)}, None),
        (STOP_1, {"may": ("start",)}, "may not order 'stop'"),
        (STOP_1, {"may": ("stop",), "zones": (HALL,)}, None),
        (STOP_2, {"may": ("stop",), "zones": (HALL,)}, "does not reach device 'm-2'"),
        (STOP_2, {"may": ("stop",), "devices": (DeviceId("m-2"),)}, None),
        (
            DoActions(actions=(StopMining(device=DeviceId("gone")),)),
            {"may": ("stop",), "zones": (HALL,)},
            "reach",
        ),
        (CURTAIL, {"may": ("curtail",)}, None),
        (CURTAIL, {"may": ("curtail",), "zones": (HALL,)}, "touches more"),
        (SafeStopOrder(zone=HALL), {"may": ("safe-stop",), "zones": (HALL,)}, None),
        (SafeStopOrder(zone=YARD), {"may": ("safe-stop",), "zones": (HALL,)}, "touches more"),
        (SafeStopOrder(), {"may": ("safe-stop",), "zones": (HALL,)}, "touches more"),
        (SafeStopOrder(), {"may": ("safe-stop",)}, None),
        (StandingCap(cap_w=1.0), {"may": ("power-cap",)}, None),
        (StandingCap(cap_w=None), {"may": ("power-cap",)}, "everybody's"),
        (CancelOrder(target=CommandId("mine")), {"may": ("cancel",)}, None),
        (CancelOrder(target=CommandId("theirs")), {"may": ("cancel",)}, "not one of key"),
        (RenewOrder(target=CommandId("gone")), {"may": ("renew",)}, "not one of key"),
        (Schedule(start_ms=1, end_ms=2, what=CURTAIL), {"may": ("schedule",)}, "may not order 'curtail'"),
        (Schedule(start_ms=1, end_ms=2, what=CURTAIL), {"may": ("schedule", "curtail")}, None),
        (
            Schedule(start_ms=1, end_ms=2, what=STOP_1, revert=(StartMining(device=DeviceId("m-1")),)),
            {"may": ("schedule", "stop")},
            "may not order 'start'",
        ),
        (PreviewOrder(of=CURTAIL), {"may": ("curtail",)}, None),
        (PreviewOrder(of=STOP_1), {"may": ("curtail",)}, "may not order 'stop'"),
        (
            DoActions(actions=(SetPreset(device=DeviceId("m-1"), preset="x"),)),
            {"may": ("stop",)},
            "set-preset",
        ),
    ],
    ids=repr,
)
def test_limits(order: AnyOrder, limits: dict[str, object], words: str | None) -> None:
    found = why(order, **limits)
    assert (found is None) if words is None else (found is not None and words in found)


class TestBook:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    def book(
        self, folder: Path, clock: ManualClock, *, may: tuple[str, ...] = ("stop", "curtail", "cancel")
    ) -> Orders:
        command = KEYS[Role.COMMAND]
        ring = Keyring(
            (
                PublicKeyEntry(id=command.key_id, role=Role.COMMAND, public=command.public_text),
                entry(may=may),
                PublicKeyEntry(id="other-1", role=Role.CONTROL, public=OTHER.public_text, may=may),
            )
        )
        return Orders(folder / "orders.json", ring, SITE, clock, lambda: True, zone_of=ZONE_OF)

    def sign(
        self,
        order: AnyOrder,
        clock: ManualClock,
        *,
        counter: int,
        command: str = "t-1",
        key: SigningKey = ACME,
        **more: object,
    ) -> Signed:
        fields = {
            "id": CommandId(command),
            "site": SITE,
            "issued_ms": clock.utc_ms(),
            "expires_ms": clock.utc_ms() + 30_000,
            "counter": counter,
            "actor": "desk",
            "order": order,
        }
        return key.sign(Purpose.COMMAND, msgspec.msgpack.encode(CommandBody(**{**fields, **more})))  # type: ignore[arg-type]  # fields as above

    def test_its_counter_is_its_own_and_outlives_a_restart(self, tmp_path: Path, clock: ManualClock) -> None:
        book = self.book(tmp_path, clock)
        assert isinstance(book.accept(signed_order(STOP_1, clock, counter=1_000, command="c-1")), CommandBody)
        assert isinstance(book.accept(self.sign(STOP_1, clock, counter=5)), CommandBody)
        assert isinstance(
            book.accept(self.sign(STOP_1, clock, counter=1, command="o-1", key=OTHER)), CommandBody
        )
        assert isinstance(book.accept(signed_order(STOP_1, clock, counter=1_001, command="c-2")), CommandBody)
        again = self.book(tmp_path, clock)
        with pytest.raises(SecurityError, match="counter 5 was used before"):
            again.accept(self.sign(STOP_1, clock, counter=5, command="t-2"))
        with pytest.raises(SecurityError, match="last 1001"):
            again.accept(signed_order(STOP_1, clock, counter=900, command="c-3"))

    def test_a_refused_order_uses_up_no_counter(self, tmp_path: Path, clock: ManualClock) -> None:
        book = self.book(tmp_path, clock, may=("stop",))
        with pytest.raises(SecurityError, match="may not order 'curtail'"):
            book.accept(self.sign(CURTAIL, clock, counter=9))
        assert isinstance(book.accept(self.sign(STOP_1, clock, counter=1, command="t-2")), CommandBody)

    def test_only_its_own_standing_orders_are_taken_back(self, tmp_path: Path, clock: ManualClock) -> None:
        book = self.book(tmp_path, clock)
        book.accept(signed_order(CURTAIL, clock, counter=1, command="theirs"))
        book.accept(self.sign(CURTAIL, clock, counter=1, command="mine"))
        with pytest.raises(SecurityError, match="not one of key"):
            book.accept(self.sign(CancelOrder(target=CommandId("theirs")), clock, counter=2, command="t-2"))
        later = self.book(tmp_path, clock)
        assert later.accept(self.sign(CancelOrder(target=CommandId("mine")), clock, counter=2, command="t-3"))
        with pytest.raises(SecurityError, match="not one of key"):
            later.accept(
                self.sign(CancelOrder(target=CommandId("mine")), clock, counter=1, command="o-1", key=OTHER)
            )

    def test_the_records_name_the_key(self, tmp_path: Path, clock: ManualClock) -> None:
        book = self.book(tmp_path, clock)
        signed = self.sign(STOP_1, clock, counter=5)
        body = book.accept(signed)
        assert isinstance(body, CommandBody)
        assert body.actor == "desk (acme-1)"
        seen = book.seen(CommandId("t-1"))
        assert seen is not None
        assert seen.by is not None
        assert (seen.by.key, seen.by.role, seen.by.actor, seen.digest) == (
            "acme-1",
            "control",
            "desk",
            signed.digest,
        )

    def test_a_refusal_tells_whose_order_it_was_only_where_that_is_verified(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        book = self.book(tmp_path, clock)
        with pytest.raises(OrderRefused) as verified:
            book.accept(self.sign(STOP_1, clock, counter=1, site=SiteId("elsewhere")))
        assert verified.value.by is not None
        assert verified.value.by.key == "acme-1"
        forged = msgspec.structs.replace(self.sign(STOP_1, clock, counter=1), signatures=())
        with pytest.raises(SecurityError) as unknown:
            book.accept(forged)
        assert not isinstance(unknown.value, OrderRefused)

    @pytest.mark.parametrize(
        "more", [{"actor": ""}, {"actor": "a\0b"}, {"actor": "x" * 201}, {"id": "+/#"}], ids=repr
    )
    def test_words_that_no_record_takes_are_refused(
        self, tmp_path: Path, clock: ManualClock, more: dict[str, object]
    ) -> None:
        with pytest.raises(SecurityError):
            self.book(tmp_path, clock).accept(self.sign(STOP_1, clock, counter=1, **more))
        nul = DoActions(actions=(SetPreset(device=DeviceId("m-1"), preset="\0"),))
        with pytest.raises(SecurityError, match="control characters"):
            self.book(tmp_path, clock, may=("actions",)).accept(self.sign(nul, clock, counter=1))
