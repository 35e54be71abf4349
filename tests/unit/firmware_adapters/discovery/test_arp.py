"""MAC addresses from the kernel's own table."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.discovery.arp import parse, table

TEXT = """IP address       HW type     Flags       HW address            Mask     Device
10.0.1.7         0x1         0x2         aa:bb:cc:00:00:01     *        eth0
10.0.1.8         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.1.9         0x1         0x6         AA:BB:CC:00:00:03     *        eth0
10.0.1.10        0x1         zz          aa:bb:cc:00:00:04     *        eth0
nonsense
"""


def test_complete_entries_only() -> None:
    assert parse(TEXT) == {"10.0.1.7": "aa:bb:cc:00:00:01", "10.0.1.9": "aa:bb:cc:00:00:03"}


@given(st.text(max_size=200))
def test_any_text_is_a_table(text: str) -> None:
    parse(text)


def test_a_kernel_that_does_not_tell(tmp_path: Path) -> None:
    assert table(tmp_path / "none") == {}
