"""What devices told is held for agents: numbered, in frames that fit, the newest of it."""

from edge_agent.guardian.polling.backfill import RECORDS_PER_FRAME, Backfill, Histories
from edge_agent.ipc import MAX_FRAME_BYTES, DeviceHistory, encode_frame
from shared.details import History, HistoryMark, HistoryPoint
from shared.ids import DeviceId


def gap(device: str, points: int, *, marks: int = 0) -> Backfill:
    history = History(
        points=tuple(
            HistoryPoint(
                at_ms=1_780_000_000_000 + n * 60_000,
                hashrate_ths=101.123456,
                power_w=3021.5,
                chip_temp_max_c=71.25,
                board_temp_max_c=60.5,
                fan_duty_pct=55.5,
            )
            for n in range(points)
        ),
        marks=tuple(HistoryMark(at_ms=n, what="reboot") for n in range(marks)),
    )
    return Backfill(device=DeviceId(device), from_ms=1, to_ms=2, history=history)


def test_72_hours_come_in_frames_that_fit_and_nothing_is_left_out() -> None:
    sent: list[DeviceHistory] = []
    histories = Histories("boot", sent.append)
    histories.take(gap("m-07", 72 * 60, marks=2_500))
    assert [frame.number for frame in sent] == [1, 2, 3]
    assert sum(len(frame.points) for frame in sent) == 72 * 60
    assert sum(len(frame.marks) for frame in sent) == 2_500
    assert max(len(frame.points) for frame in sent) == RECORDS_PER_FRAME
    assert all(len(encode_frame(frame)) < MAX_FRAME_BYTES for frame in sent)
    assert histories.frames == tuple(sent)


def test_a_device_that_remembers_nothing_is_told_as_such() -> None:
    sent: list[DeviceHistory] = []
    Histories("boot", sent.append).take(gap("m-07", 0))
    assert [(frame.points, frame.marks) for frame in sent] == [((), ())]


def test_the_newest_are_kept_and_their_numbers_go_on() -> None:
    histories = Histories("boot", lambda _frame: None, held=100)
    for number in range(10):
        histories.take(gap(f"m-{number}", 30))
    assert [frame.device for frame in histories.frames] == ["m-7", "m-8", "m-9"]
    assert [frame.number for frame in histories.frames] == [8, 9, 10]


def test_one_that_alone_is_more_than_fits_is_kept() -> None:
    histories = Histories("boot", lambda _frame: None, held=10)
    histories.take(gap("m-1", 30))
    assert [len(frame.points) for frame in histories.frames] == [30]
