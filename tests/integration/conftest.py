"""A real broker, and the cloud as a process of its own on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import cloud_broker as brokers
from support.cloud_process import CloudProcess


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[brokers.Broker]:
    reason = brokers.why_not()
    if reason is not None:
        pytest.skip(reason)
    with brokers.broker(tmp_path) as running:
        yield running


@pytest.fixture
def cloud(tmp_path: Path, broker: brokers.Broker) -> Iterator[CloudProcess]:
    process = CloudProcess(tmp_path, broker.port)
    try:
        yield process
    finally:
        process.close()
