"""ThingsBoard IoT Gateway on the same field and load, from an environment of its own."""

import asyncio
import json
import multiprocessing
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt

from benchmarks.gateway_cost_world import HOST, Broker, Field

PACKAGE = "thingsboard-gateway==3.8.5"
DEVICES = 10
PERIOD_MS = 100
Watch = Callable[[int, Callable[[], int], float], dict[str, Any]]

SERVICE = "v1/devices/me/rpc"
LIMITS = {
    "maxPayloadSize": 1_000_000,
    "maxInflightMessages": 100,
    "rateLimits": {},
    "gatewayRateLimits": {},
}
RATE_LIMITS = (
    "rateLimits",
    "dpRateLimits",
    "messagesRateLimits",
    "deviceRateLimits",
    "deviceDpRateLimits",
    "deviceMessagesRateLimits",
)


def measure(
    folder: Path, *, points: int, seconds: float, warm_s: float, watch: Watch
) -> dict[str, Any]:
    """Return rate, cost and memory at 6,000 points/s asked, or why there are none."""
    folder.mkdir(parents=True)
    try:
        program = _install(folder)
    except (subprocess.SubprocessError, OSError) as e:
        return {"not_run": f"{PACKAGE} cannot be installed here: {e}"}
    counted = multiprocessing.Value("q", 0)
    with Broker(folder) as broker, Field(DEVICES, points) as field:
        taking = multiprocessing.Process(target=_take, args=(broker.port, counted), daemon=True)
        taking.start()
        _configure(folder, broker.port, field, points)
        with (folder / "peer.log").open("wb") as log:
            process = subprocess.Popen(
                [str(program)],
                cwd=folder,
                env={"TB_GW_CONFIG_DIR": f"{folder}/config/", "PATH": str(program.parent)},
                stdout=log,
                stderr=log,
            )
        try:
            threading.Event().wait(warm_s)
            if process.poll() is not None or counted.value == 0:
                return {"not_run": "it delivered nothing: " + _last(folder / "peer.log")}
            figures = watch(process.pid, lambda: counted.value, seconds)
        finally:
            process.kill()
            process.wait()
            taking.terminate()
            taking.join()
    return {
        "package": PACKAGE,
        "asked_points_per_s": DEVICES * points * 1000 // PERIOD_MS,
        **figures,
    }


def _install(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    pip = folder / "venv" / "bin" / "pip"
    subprocess.run(
        [str(pip), "install", "-q", PACKAGE],
        check=True,
        timeout=600,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return folder / "venv" / "bin" / "thingsboard-gateway"


def _configure(folder: Path, broker: int, field: Field, points: int) -> None:
    config = folder / "config"
    for name in ("config", "logs", "data"):
        (folder / name).mkdir()
    (shipped,) = (folder / "venv").glob("lib/python3*/site-packages/thingsboard_gateway/config")
    shutil.copy(shipped / "logs.json", config / "logs.json")
    gateway = {
        "thingsboard": {
            "host": HOST,
            "port": broker,
            "remoteConfiguration": False,
            "remoteShell": False,
            "statistics": {"enable": False},
            "qos": 1,
            "security": {"type": "accessToken", "accessToken": "bench"},
            **dict.fromkeys(RATE_LIMITS, "0:0,"),
        },
        "storage": {"type": "sqlite", "data_file_path": f"{folder}/data/data.db"},
        "connectors": [{"type": "modbus", "name": "modbus", "configuration": "modbus.json"}],
    }
    (config / "tb_gateway.json").write_text(json.dumps(gateway))
    slaves = [
        {
            "host": HOST,
            "port": port,
            "type": "tcp",
            "method": "socket",
            "timeout": 3,
            "byteOrder": "BIG",
            "wordOrder": "BIG",
            "retries": True,
            "unitId": unit,
            "deviceName": f"d-{n}-{unit}",
            "deviceType": "bench",
            "pollPeriod": PERIOD_MS,
            "attributes": [],
            "timeseries": [
                {
                    "tag": f"p{k:02}",
                    "type": "32float",
                    "functionCode": 3,
                    "objectsCount": 2,
                    "address": 2 * k,
                }
                for k in range(points)
            ],
        }
        for n, port in enumerate(field.ports)
        for unit in field.units(n)
    ]
    (config / "modbus.json").write_text(json.dumps({"master": {"slaves": slaves}}))


def _take(broker: int, counted: Any) -> None:
    asyncio.run(_count(broker, counted))


async def _count(broker: int, counted: Any) -> None:
    """Answer what it asks at the start, and count the values that come."""
    async with aiomqtt.Client(HOST, broker, identifier="platform") as client:
        await client.subscribe([("v1/gateway/telemetry", 1), (f"{SERVICE}/request/+", 1)])
        async for message in client.messages:
            topic = message.topic.value
            assert isinstance(message.payload, bytes)
            if topic.startswith(SERVICE):
                number = topic.rpartition("/")[2]
                await client.publish(f"{SERVICE}/response/{number}", json.dumps(LIMITS), 1)
                continue
            for batches in json.loads(message.payload).values():
                counted.value += sum(len(batch.get("values", batch)) for batch in batches)


def _last(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return " | ".join(lines[-3:])[-400:]
