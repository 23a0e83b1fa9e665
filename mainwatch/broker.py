"""The demo's private broker: mosquitto where it is installed, else amqtt in a process of its own.

Both listen on one loopback port and keep nothing. amqtt ignores keep-alive, so a client whose
network vanishes without closing its connection is not noticed: good enough for a demo, not for more
(docs/decisions/0016-broker.md).
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from telemetry.errors import ConfigError

MOSQUITTO = "mosquitto"
AMQTT = "amqtt"

_CONFIG = """\
# One private listener; nothing is kept on disk.
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_type error
log_type warning
# Gateways have whole windows under way; the default of 1000 loses QoS 0 data in a burst.
max_queued_messages 100000
{user}
"""


def find_mosquitto() -> str | None:
    """Return the path of mosquitto, also where an ordinary user's PATH has no sbin."""
    return shutil.which(MOSQUITTO) or shutil.which(
        MOSQUITTO, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    )


def command(kind: str | None, *, port: int, folder: Path) -> tuple[str, Sequence[str]]:
    """Return which broker it is and the command that runs it. Writes its configuration file.

    Raises `ConfigError` when mosquitto is wanted and absent.
    """
    found = find_mosquitto()
    if kind == MOSQUITTO and found is None:
        raise ConfigError("--broker mosquitto: expected mosquitto to be installed, found none")
    if kind == AMQTT or found is None:
        return AMQTT, [sys.executable, "-m", "mainwatch.broker", str(port)]
    # Started as root, mosquitto gives up its rights and could not read a folder of ours alone.
    user = "user root" if os.geteuid() == 0 else ""
    path = folder / "mosquitto.conf"
    path.write_text(_CONFIG.format(port=port, user=user), encoding="utf-8")
    return MOSQUITTO, [found, "-c", str(path)]


async def _run_amqtt(port: int) -> None:
    from amqtt.broker import Broker

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_run_amqtt(int(sys.argv[1])))
