"""Which batch goes next: now before the past, the past at a bounded rate, everything again until acked."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.agent.uplink.lanes import MAX_UNACKED, RESEND_S, Lanes

LIVE = 10**6


def send(lanes: Lanes, now_s: float, limit: int = 16) -> list[int]:
    new, old = lanes.take(now_s, live=limit, past=limit)
    chosen = [*new, *old][:limit]
    lanes.put_back(new[limit:], old[max(0, limit - len(new)) :])
    for row_id in chosen:
        lanes.sent(row_id, now_s)
    return chosen


def test_live_goes_before_backlog_newest_first() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog([1, 2, 3])
    lanes.add_live([9, 8])
    assert send(lanes, 0, limit=3) == [9, 8, 1]
    lanes.add_live([11, 10])
    assert send(lanes, 0, limit=3) == [11, 10, 2]


def test_the_backlog_keeps_its_rate() -> None:
    lanes = Lanes(now_s=0, backlog_per_s=10)
    lanes.add_backlog(range(1, 10_000))
    sent = 0
    for n in range(101):
        chosen = send(lanes, n * 0.1)
        sent += len(chosen)
        lanes.acked(chosen, n * 0.1)
    assert 90 <= sent <= 10 + 10 * 10


def test_what_could_not_be_sent_comes_first_again() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog([1, 2, 3])
    lanes.add_live([9, 8])
    new, old = lanes.take(0, live=2, past=2)
    assert (new, old) == ([9, 8], [1, 2])
    lanes.put_back(new, old)
    assert lanes.take(0, live=5, past=5) == ([9, 8], [1, 2])


def test_the_past_has_a_room_of_its_own() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog(range(1, 50))
    lanes.add_live([99])
    assert lanes.take(0, live=10, past=0) == ([99], [])
    assert lanes.take(0, live=0, past=1) == ([], [1])


def test_live_batches_are_not_held_back_by_the_rate() -> None:
    lanes = Lanes(now_s=0, backlog_per_s=1)
    lanes.add_backlog(range(1, 100))
    lanes.add_live(range(200, 100, -1))
    assert send(lanes, 0, limit=100) == list(range(200, 100, -1))


def test_of_the_past_only_so_much_is_under_way_as_the_cloud_commits() -> None:
    lanes = Lanes(now_s=0, backlog_per_s=1e6)
    lanes.add_backlog(range(1, 10_000))
    assert send(lanes, 1.0) == [1, 2]
    assert not send(lanes, 1.5), "the window is full"
    lanes.acked([1, 2], 1.5)
    assert send(lanes, 1.5) == [3, 4, 5, 6], "quick acks open it"
    lanes.add_live([20_000])
    assert send(lanes, 1.6) == [20_000], "a full window holds nothing back that is new"


def test_while_the_cloud_is_silent_the_broker_is_not_flooded() -> None:
    lanes = Lanes(now_s=0)
    sent = 0
    for second in range(4 * 3_600):
        if second % 5 == 0:
            lanes.add_live([second // 5 + 1])
        while chosen := send(lanes, float(second)):
            sent += len(chosen)
    assert lanes.unacked <= MAX_UNACKED
    assert sent < MAX_UNACKED * (4 * 12 + 5), "at most one round every five minutes"


def test_what_is_not_acked_is_sent_again_ever_more_rarely() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_live([1])
    times = [n for n in range(2_000) if send(lanes, float(n))]
    assert times[:4] == [0, RESEND_S, RESEND_S * 3, RESEND_S * 7]


def test_an_ack_makes_waits_short_again() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_live([1])
    for n in range(200):
        send(lanes, float(n))
    lanes.add_live([2])
    assert send(lanes, 200.0) == [2]
    lanes.acked([1], 200.0)
    assert send(lanes, 200.0 + RESEND_S) == [2]


def test_what_is_acked_is_not_sent_again() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_live([1, 2])
    send(lanes, 0)
    lanes.acked([1], 0)
    lanes.forget(2)
    assert not send(lanes, 10_000)
    assert lanes.unacked == 0


def run(lanes: Lanes, *, seconds: int, never: set[int], live_every_s: int = 0, first_s: int = 0) -> list[int]:
    """Ids in the order in which they left, four looks a second; a cloud acks all but `never` after 0.2 s."""
    left: list[int] = []
    for quarter in range(4 * first_s, 4 * (first_s + seconds)):
        now_s = quarter / 4
        if live_every_s and quarter % (4 * live_every_s) == 0:
            lanes.add_live([LIVE + quarter])
        chosen = send(lanes, now_s, limit=8)
        left += chosen
        lanes.acked([row_id for row_id in chosen if row_id not in never], now_s + 0.2)
    return left


def test_what_is_never_acked_does_not_stop_the_past() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog(range(1, 1_001))
    left = run(lanes, seconds=300, never={1, 2})
    assert set(left) == set(range(1, 1_001))
    assert lanes.unacked == 2


def test_with_acks_for_what_is_new_it_holds_the_past_up_for_seconds_only() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog(range(1, 1_001))
    left = run(lanes, seconds=60, never=set(range(1, 11)), live_every_s=5)
    assert set(range(1, 1_001)) <= set(left)


def test_more_of_it_than_may_be_unacked_does_not_stop_what_is_new() -> None:
    lanes = Lanes(now_s=0)
    never = set(range(1, 2 * MAX_UNACKED))
    lanes.add_backlog(range(1, 4 * MAX_UNACKED, 2))
    lanes.add_live(sorted(never & set(range(2, 4 * MAX_UNACKED, 2)), reverse=True))
    left = run(lanes, seconds=2 * 3_600, never=never, live_every_s=5)
    assert sum(row_id >= LIVE for row_id in left) == 2 * 720, "each once"
    assert set(range(1, 4 * MAX_UNACKED, 2)) <= set(left)


def test_what_the_cloud_passes_over_is_sent_again_ever_more_rarely_and_never_given_up() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog([1])
    times = []
    for second in range(12 * 3_600):
        lanes.add_live([second + 2])
        chosen = send(lanes, float(second))
        times += [second for row_id in chosen if row_id == 1]
        lanes.acked([row_id for row_id in chosen if row_id != 1], second + 0.2)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[:7] == [30, 60, 120, 240, 480, 960, 1_920]
    assert set(waits[7:]) == {3_600}
    lanes.acked([1], 43_200)
    assert lanes.unacked == 0


def test_however_much_is_passed_over_takes_a_small_share() -> None:
    lanes = Lanes(now_s=0, backlog_per_s=50)
    never = set(range(1, 501))
    lanes.add_backlog(sorted(never))
    run(lanes, seconds=600, never=never, live_every_s=1)
    lanes.add_backlog(range(1_001, 100_000))
    left = run(lanes, seconds=600, never=never, live_every_s=1, first_s=600)
    again = sum(row_id in never for row_id in left)
    assert 0 < again <= 0.1 * len(left)


def test_a_new_connection_does_not_start_with_what_the_cloud_passes_over() -> None:
    lanes = Lanes(now_s=0)
    never = set(range(1, 101))
    lanes.add_backlog(range(1, 201))
    run(lanes, seconds=300, never=never, live_every_s=2)
    again = lanes.next_connection(300.0)
    again.add_live([200_003])
    again.add_backlog([*sorted(never), *range(300, 320)])
    left = run(again, seconds=5, never=never, first_s=300)
    assert set(range(300, 320)) <= set(left)
    assert again.unacked == len(never)


def test_what_is_overdue_and_could_not_be_sent_comes_again() -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog([1])
    run(lanes, seconds=29, never={1}, live_every_s=2)
    new, old = lanes.take(30.0, live=8, past=8)
    assert 1 in old
    lanes.put_back(new, old)
    assert lanes.backlog == 0
    assert 1 in run(lanes, seconds=120, never={1}, live_every_s=2, first_s=30)


def test_a_silent_cloud_gets_little_of_the_past_too() -> None:
    """Nothing says that it passes anything over: the window moves on slowly, to the same bound."""
    lanes = Lanes(now_s=0)
    lanes.add_backlog(range(1, 10_000))
    left = run(lanes, seconds=4 * 3_600, never=set(range(1, 10_000)))
    assert len(set(left)) <= 4 * 3_600 / RESEND_S + 2
    assert lanes.unacked <= MAX_UNACKED


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("live"), st.integers(1, 5)),
            st.tuples(st.just("take"), st.integers(1, 8)),
            st.tuples(st.just("ack"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(1, 50)),
        ),
        max_size=60,
    ),
    old=st.integers(0, 50),
)
def test_everything_is_sent_and_nothing_is_sent_twice_before_its_time(
    steps: list[tuple[str, int]], old: int
) -> None:
    lanes = Lanes(now_s=0)
    lanes.add_backlog(range(1, old + 1))
    now_s, newest = 0.0, old
    last: dict[int, float] = {}
    acked: set[int] = set()
    for what, number in steps:
        match what:
            case "live":
                lanes.add_live(range(newest + number, newest, -1))
                newest += number
            case "wait":
                now_s += number
            case "ack":
                done = [row_id for row_id in last if row_id not in acked][:number]
                acked |= set(done)
                lanes.acked(done, now_s)
            case _:
                for row_id in send(lanes, now_s, number):
                    assert row_id not in acked
                    assert now_s - last.get(row_id, -1e9) >= RESEND_S
                    last[row_id] = now_s
    for _ in range(200):
        chosen = send(lanes, now_s)
        last |= dict.fromkeys(chosen, now_s)
        lanes.acked(chosen, now_s)
        acked |= set(chosen)
        now_s += 1000
    assert acked == set(last)
    assert set(last) == set(range(1, newest + 1))
