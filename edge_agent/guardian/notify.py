"""systemd's notification socket: READY=1 once, WATCHDOG=1 by the interlock loop only."""

import os
import socket


def notify(message: str) -> bool:
    """Send one message to $NOTIFY_SOCKET; False where there is none or it refused."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall(message.encode())
    except OSError:
        return False
    return True
