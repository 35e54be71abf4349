"""The cloud as a process that dies on purpose: `python -P -m support.chaos_cloud CONFIG [POINT:N]`.

`commit-before-ack`: the transaction is committed, and neither the broker nor the site has been told.
`commit-before-site-ack`: the broker has been told (it forgets the message), the site has not.
"""

import os
import signal
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode

from cloud import cli

POINTS = ("commit-before-ack", "commit-before-site-ack")


def install(word: str) -> None:
    """Count acknowledgements in paho itself, below whatever the cloud does; die before the N-th."""
    point, _, count = word.partition(":")
    left = [int(count or 1)]
    real_ack, real_publish = mqtt.Client.ack, mqtt.Client.publish

    def die(here: str) -> None:
        if here == point:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def ack(self: mqtt.Client, mid: int, qos: int) -> MQTTErrorCode:
        die("commit-before-ack")
        return real_ack(self, mid, qos)

    def publish(self: mqtt.Client, topic: str, *args: object, **more: object) -> mqtt.MQTTMessageInfo:
        if topic.endswith("/dn/ack"):
            die("commit-before-site-ack")
        return real_publish(self, topic, *args, **more)  # type: ignore[arg-type]  # passed through as it came

    mqtt.Client.ack = ack  # type: ignore[method-assign]  # the hook
    mqtt.Client.publish = publish  # type: ignore[method-assign]  # the hook


if __name__ == "__main__":
    install(sys.argv[2] if len(sys.argv) > 2 else "")
    sys.exit(cli.main(["run", "--config", sys.argv[1]]))
