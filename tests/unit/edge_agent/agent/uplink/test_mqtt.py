"""What of the MQTT transport can be known without a socket."""

import pytest

from edge_agent.agent.uplink.mqtt import ping_s


@pytest.mark.parametrize("keep_alive_s", [4, 5, 6, 7, 8, 10, 13, 20, 60, 600])
def test_f04_the_ping_leaves_time_to_notice_for_every_keep_alive(keep_alive_s: int) -> None:
    """Two intervals, and two looks a second apart, are not above 1.5 × keep-alive."""
    assert 2 * ping_s(keep_alive_s) + 2 <= 1.5 * keep_alive_s
    assert ping_s(keep_alive_s) >= 1
