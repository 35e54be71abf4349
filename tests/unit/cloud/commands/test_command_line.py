"""`minewarden command` without a broker: what is signed, what is refused, and what the words come to."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cloud.commands.cli import main
from cloud.commands.following import Follow
from cloud.commands.ordering import next_counter
from shared.artifacts.signing import Keyring, PublicKeyEntry, Purpose, Role, Signed, SigningKey
from shared.clock import ManualClock, SystemClock
from shared.commands import (
    ActionOutcome,
    AnyOrder,
    CancelOrder,
    CommandBody,
    CommandState,
    CommandStatus,
    Curtail,
    DoActions,
    PreviewOrder,
    RenewOrder,
    SafeStopOrder,
    SetPreset,
    StandingCap,
    StartMining,
    StopMining,
)
from shared.errors import ConfigError
from shared.ids import CommandId, DeviceId, ZoneId
from shared.wire import codec

KEY = SigningKey.generate("acme-1")
RING = Keyring((PublicKeyEntry(id="acme-1", role=Role.CONTROL, public=KEY.public_text),))
HOUR = Curtail(target_w=1e6, deadline_s=600.0, duration_s=3600.0)


@pytest.fixture
def key(tmp_path: Path) -> str:
    KEY.save(tmp_path / "acme.key")
    return str(tmp_path / "acme.key")


def signed(path: Path) -> CommandBody:
    message = codec.decode(path.read_bytes(), Signed)
    assert RING.verify(Purpose.COMMAND, message, Role.CONTROL) == "acme-1"
    return msgspec.msgpack.decode(message.payload, type=CommandBody)


@pytest.mark.parametrize(
    ("flags", "order"),
    [
        (["--curtail", "1e6"], HOUR),
        (
            ["--curtail", "1e6", "--within", "60", "--for", "120", "--ramp", "5e4", "--signal", "90"],
            Curtail(target_w=1e6, deadline_s=60.0, duration_s=120.0, ramp_w_per_min=5e4, signal_s=90.0),
        ),
        (["--curtail", "1e6", "--preview"], PreviewOrder(of=HOUR)),
        (["--cap", "2e6"], StandingCap(cap_w=2e6)),
        (["--renew", "c-1"], RenewOrder(target=CommandId("c-1"))),
        (["--cancel", "c-1"], CancelOrder(target=CommandId("c-1"))),
        (["--safe-stop"], SafeStopOrder()),
        (["--safe-stop", "hall-a"], SafeStopOrder(zone=ZoneId("hall-a"))),
        (
            ["--stop", "m-1", "--start", "m-2", "--preset", "m-3=2550"],
            DoActions(
                actions=(
                    StopMining(device=DeviceId("m-1")),
                    StartMining(device=DeviceId("m-2")),
                    SetPreset(device=DeviceId("m-3"), preset="2550"),
                )
            ),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_become_the_order_that_they_name(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str], flags: list[str], order: AnyOrder
) -> None:
    out = tmp_path / "a.signed"
    assert main(["sign", "--key", key, "--site", "pit", "--out", str(out), *flags]) == 0
    body = signed(out)
    assert (body.order, body.site, body.actor) == (order, "pit", "acme-1")
    assert capsys.readouterr().out.strip() == body.id
    assert body.expires_ms - body.issued_ms == 30_000
    assert abs(body.issued_ms - SystemClock().utc_ms()) < 60_000


def order_file(folder: Path, content: object) -> list[str]:
    (folder / "o.json").write_text(json.dumps(content))
    return ["--order", str(folder / "o.json")]


SCHEDULE = {"order": "schedule", "start_ms": 1, "end_ms": 2, "what": {
    "order": "curtail", "target_w": 1e6, "deadline_s": 600.0, "duration_s": 3600.0}}  # fmt: skip


@pytest.mark.parametrize("content", [SCHEDULE, {"order": SCHEDULE}], ids=["the order", "nested as in REST"])
def test_an_order_file_is_that_of_the_rest_api(tmp_path: Path, key: str, content: object) -> None:
    out = tmp_path / "a.signed"
    words = ["sign", "--key", key, "--site", "pit", "--out", str(out), *order_file(tmp_path, content)]
    assert main(words) == 0
    assert signed(out).order.what == HOUR  # type: ignore[union-attr]  # a schedule


@pytest.mark.parametrize(
    "content",
    [{"order": SCHEDULE, "site": "elsewhere"}, {"order": {"order": SCHEDULE}}, {"order": "dance"}, {}, [], 7],
    ids=str,
)
def test_an_order_file_with_anything_else_is_refused_as_a_whole(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str], content: object
) -> None:
    """A request to the REST API names its site and actor: here the flags do, and neither is passed over."""
    out = tmp_path / "a.signed"
    words = ["sign", "--key", key, "--site", "pit", "--out", str(out), *order_file(tmp_path, content)]
    assert main(words) == 2
    assert "not an order" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "name one order"),
        (["--stop", "m-1", "--cap", "1"], "2 are named"),
        (["--preset", "m-1"], "is not DEVICE=PRESET"),
        (["--stop", "m-1", "--start", "m-1"], "'m-1' is named twice: an order does one thing with a device"),
        (["--start", "m-1", "--preset", "m-1=2550"], "'m-1' is named twice"),
        (["--stop", "m-1", "--stop", "m-2", "--stop", "m-1"], "'m-1' is named twice"),
        (["--stop", "m-1", "--expires", "61"], "not between 1 and 60"),
        (["--stop", "m-1", "--site", "No Site"], "not a valid name"),
        (["--safe-stop", "--preview"], "have no preview"),
        (["--order", "/nowhere"], "cannot be read"),
        (["--order", __file__], "not an order"),
        (["--stop", "m-1", "--key", "/nowhere"], "not a signing key"),
    ],
    ids=str,
)
def test_wrong_use_says_what_is_wrong(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    out = tmp_path / "a.signed"
    assert main(["sign", "--key", key, "--site", "pit", "--out", str(out), *flags]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--broker", "broker.example.org"], "--ca is needed"),
        (["--broker", "127.0.0.1:x"], "not HOST or HOST:PORT"),
        (["--broker", "127.0.0.1:1"], "name a signed file"),
        (["/nowhere", "--broker", "127.0.0.1:1"], "cannot be read"),
        ([__file__, "--broker", "127.0.0.1:1"], "not a signed command"),
        (["x", "--broker", "127.0.0.1:1", "--password-file", "/nowhere"], "cannot be read"),
    ],
    ids=str,
)
def test_what_cannot_be_sent(capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    assert main(["send", *flags]) == 2
    assert words in capsys.readouterr().err


def test_a_broker_that_is_not_there_is_a_failure_and_nothing_was_sent(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", "--key", key, "--site", "pit", "--stop", "m-1", "--broker", "127.0.0.1:1"]) == 1
    assert "nothing was sent" in capsys.readouterr().err


class TestCounter:
    def test_it_rises_even_where_the_clock_steps_back(self, tmp_path: Path) -> None:
        key = tmp_path / "k"
        assert [next_counter(key, now) for now in (1_000, 1_000, 500, 2_000)] == [1_000, 1_001, 1_002, 2_000]

    def test_what_a_clock_that_ran_ahead_left_is_given_up(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        day_ms = 86_400_000
        key = tmp_path / "k"
        assert [next_counter(key, now) for now in (30 * day_ms, day_ms, day_ms)] == [
            30 * day_ms,
            day_ms,
            day_ms + 1,
        ]
        assert "more than a day ahead" in caplog.text

    def test_a_damaged_file_is_not_guessed_at(self, tmp_path: Path) -> None:
        (tmp_path / "k.counter").write_text("many")
        with pytest.raises(ConfigError, match="cannot be read"):
            next_counter(tmp_path / "k", 1)


def said(state: CommandState, outcome: ActionOutcome | None = None) -> CommandStatus:
    return CommandStatus(id=CommandId("c"), state=state, detail="", at_ms=1, outcome=outcome)


class TestFollow:
    def words(
        self, clock: ManualClock, *statuses: CommandStatus | None
    ) -> Callable[[float], CommandStatus | None]:
        left = list(statuses)

        def word(left_s: float) -> CommandStatus | None:
            if left:
                return left.pop(0)
            clock.advance(left_s)
            return None

        return word

    @pytest.mark.parametrize(
        ("statuses", "code", "heard"),
        [
            ((), 1, 0),
            ((said(CommandState.RECEIVED),), 1, 1),
            ((said(CommandState.RECEIVED), None, said(CommandState.DONE, ActionOutcome.APPLIED)), 0, 2),
            ((said(CommandState.DONE, ActionOutcome.PARTIAL),), 1, 1),
            ((said(CommandState.REFUSED, ActionOutcome.REJECTED),), 1, 1),
            ((said(CommandState.EXPIRED),), 1, 1),
            ((said(CommandState.RUNNING), said(CommandState.RUNNING)), 0, 1),
        ],
        ids=str,
    )
    def test_what_it_comes_to(self, statuses: tuple[CommandStatus, ...], code: int, heard: int) -> None:
        clock = ManualClock()
        follow = Follow(self.words(clock, *statuses), clock, wait_s=60.0)
        assert len(list(follow)) == heard
        assert follow.exit_code == code
