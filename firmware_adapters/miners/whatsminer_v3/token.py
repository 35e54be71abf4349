"""How API v3 signs a command: eight characters of a hash over command, password, salt and time. Pure.

Source: miners.md §2. Commands travel in plain text; only the token shows that the sender knows the password.
"""

import base64
from hashlib import sha256

_LENGTH = 8


def token(command: str, password: str, salt: str, at_s: int) -> str:
    """The `token` of one command; `at_s` is unix seconds, sent beside it as `ts`."""
    digest = sha256(f"{command}{password}{salt}{at_s}".encode()).digest()
    return base64.b64encode(digest).decode()[:_LENGTH]
