"""The programs in docs/protocol.md, as a stranger would copy them."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"


def protocol_example(name: str) -> str:
    """The example whose first line says this file name."""
    [found] = re.findall(rf"~~~python\n(# {re.escape(name)}\n.*?)~~~", PAGE.read_text(), re.DOTALL)
    return str(found)
