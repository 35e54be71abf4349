"""Each adapter and flavour in turn, in front of an emulated device over real loopback sockets.

A new adapter joins by adding its module to `_MODULES`; see `support.adapter_contract`.
"""

from collections.abc import AsyncIterator
from importlib import import_module

import pytest

from support.adapter_contract import Opening, Subject

_MODULES = (
    "vnish",
    "antminer",
    "luxos",
    "braiins",
    "axeos",
    "blueprint",
    "whatsminer",
    "avalon",
    "modbus",
    "snmp",
    "bacnet",
)
_SUBJECTS: dict[str, Opening] = {
    name: opening
    for module in _MODULES
    for name, opening in import_module(f"support.subjects.{module}").SUBJECTS.items()
}


@pytest.fixture(params=_SUBJECTS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Each adapter and flavour in turn."""
    async with _SUBJECTS[request.param]() as opened:
        yield opened
