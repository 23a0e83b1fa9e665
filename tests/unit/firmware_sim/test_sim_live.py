"""The simulator live: stories from now on, commands of every kind, and a ledger of what it said."""

import asyncio
import json
from contextlib import asynccontextmanager

import pyarrow.parquet as pq
import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from firmware_sim.app import run
from firmware_sim.control import ask
from firmware_sim.core.events import SHEETS, Kind
from firmware_sim.scenario_config import ScenarioConfig
from mainwatch.wall_clock import WallClock
from telemetry.errors import ConfigError, RefusedCommand

TARGETS = {
    "pipe": "P-EAST-030",
    "node": "J-NORTH-024",
    "link": "PRV-SOUTH",
    "pump": "PU-1",
    "tank": "T-HILL",
    "zone": "north",
    "line": "converter-2",
    "device": "customer-08",
    "point": "wenhua-road-12/pressure",
    "clock": "customer-05",
    "town": "",
}
NEEDS_COUNTER = (
    *(Kind.COUNTER_RESET, Kind.COUNTER_NEAR_ROLLOVER, Kind.METER_REPLACED, Kind.FROZEN_COUNTER),
)


def target_of(kind):
    if kind in NEEDS_COUNTER:
        return "customer-08"
    if kind is Kind.REVERSE_FLOW:
        return "north-inlet"
    return TARGETS[SHEETS[kind].targets[0]]


@asynccontextmanager
async def running(config, maps, scenario=None):
    stop, served = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run(
                config,
                maps,
                clock=WallClock(),
                ready=served.set_result,
                stop=stop,
                scenario=scenario,
            )
        )
        try:
            yield await served
        finally:
            stop.set()


def told(*events, **scenario):
    head = {"name": "s", "title": {"zh": "甲", "en": "A"}} | scenario
    return ScenarioConfig.model_validate({"scenario": head, "event": events})


async def status_when(port, found):
    while not found(status := await ask("127.0.0.1", port, {"status": {}})):
        pass
    return status


def test_everything_can_be_made_to_happen_and_put_right_again(make_config, maps):
    kinds = [k for k in Kind if k not in {Kind.PIT_FLOODED, Kind.DOOR_OPEN}]

    async def scenario():
        async with running(make_config(), maps) as served:

            def tell(**message):
                return ask("127.0.0.1", served["control"], message)

            for kind in kinds:
                numbers = dict.fromkeys(
                    SHEETS[kind].needs, 250.0 if "kpa" in kind.sheet.needs else 2
                )
                more = {"for_s": 60} if kind is Kind.TANK_EMPTIED else {}
                reply = await tell(
                    do={"kind": kind.value, "target": target_of(kind), **numbers, **more}
                )
                assert reply["kind"] == kind.value
                assert reply["target"] == target_of(kind)
                status = await tell(status={})
                if kind.sheet.at_once:
                    assert status["open"] == []
                    continue
                assert [e["id"] for e in status["open"]] == [reply["id"]]
                await tell(undo=reply["id"])
            assert (await tell(status={}))["open"] == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"do": {"kind": "flood"}}, "kind: expected one of burst, .* was 'flood'"),
        ({"do": {"kind": "burst", "target": "P-EAST-030"}}, "m3h: required"),
        ({"do": {"kind": "dead", "target": "pt-nowhere"}}, "expected a device or line"),
        ({"do": {"kind": "flat", "target": "old-market/pressure", "for_s": "x"}}, "expected"),
        ({"do": {"target": "old-market/pressure"}}, "expected"),
        ({"undo": "burst-7"}, r"expected the id of something open \(none\), was 'burst-7'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(make_config, maps, message, sentence):
    async def scenario():
        async with running(make_config(), maps) as served:
            with pytest.raises(RefusedCommand, match=sentence):
                await ask("127.0.0.1", served["control"], message)

    asyncio.run(scenario())


def test_what_is_done_for_a_while_ends_by_itself(make_config, maps):
    async def scenario():
        async with running(make_config(sim={"step_s": 0.1}), maps) as served:
            message = {"do": {"kind": "burst", "target": "P-EAST-030", "m3h": 40, "for_s": 0.5}}
            await ask("127.0.0.1", served["control"], message)
            await status_when(served["control"], lambda s: s["open"])
            await status_when(served["control"], lambda s: not s["open"])

    asyncio.run(scenario())


def test_a_story_is_played_from_now_on_at_its_own_time_of_day(make_config, maps):
    story = told(
        {"id": "b", "kind": "burst", "at": "02:00:01", "for": "1h", "target": "P-EAST-030"}
        | {"m3h": 40},
        starts="02:00",
    )

    async def levels(scenario):
        async with running(make_config(sim={"step_s": 0.1}), maps, scenario) as served:
            assert served["scenario"] == (scenario and "s")
            if scenario is not None:
                await status_when(served["control"], lambda s: s["bursts"])
                status = await ask("127.0.0.1", served["control"], {"status": {}})
                assert status["bursts"][0]["now_m3h"] == pytest.approx(40, abs=2)

    asyncio.run(levels(story))
    asyncio.run(levels(None))


def test_a_faster_town_reaches_its_story_sooner(make_config, maps):
    story = told({"id": "trip", "kind": "pump_trip", "at": "+10m"}, speed=600)

    async def scenario():
        async with running(make_config(sim={"step_s": 0.1}), maps, story) as served:
            async with asyncio.timeout(10):
                await status_when(served["control"], lambda s: s["open"])

    asyncio.run(scenario())


def test_a_story_with_a_mistake_never_starts(make_config, maps):
    story = told({"id": "b", "kind": "burst", "at": "+1m", "target": "P-WEST-001", "m3h": 4})

    async def scenario():
        async with running(make_config(), maps, story):
            pass

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(scenario())
    (error,) = caught.value.exceptions
    assert isinstance(error, ConfigError)
    assert "s: event[0] 'b': target: expected a pipe or node, was 'P-WEST-001'" in str(error)


def test_the_ledger_holds_every_register_and_every_happening(make_config, maps, tmp_path):
    folder = tmp_path / "ledger"
    story = told({"id": "flat", "kind": "flat", "at": "+0s", "target": "old-market/pressure"})

    async def scenario():
        config = make_config(sim={"step_s": 0.1}, ledger={"out": str(folder)})
        async with running(config, maps, story) as served:
            message = {"burst": {"pipe": "P-EAST-030", "m3h": 40}}
            await ask("127.0.0.1", served["control"], message)
            await asyncio.sleep(1)
            await ask("127.0.0.1", served["control"], {"stop_burst": "P-EAST-030"})

    asyncio.run(scenario())
    truth = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    tables = [pq.ParquetFile(p).read().to_pylist() for p in (folder / "samples").iterdir()]
    found = [row for table in tables for row in table]
    instants = sorted({row["at"] for row in found})

    assert [t["cause"] for t in truth] == ["flat", "burst"]
    assert truth[0]["from"] <= truth[1]["from"] <= truth[1]["to"] <= truth[0]["to"]
    assert len(found) == 31 * len(instants)
    assert len(instants) >= 8
    assert len({r["value"] for r in found if r["point"] == "old-market/pressure"}) == 1
    assert len({r["value"] for r in found if r["point"] == "taoyuan-village/pressure"}) > 1
    assert (folder / "recording.toml").is_file()
    assert (folder / "truth_flow.parquet").is_file()


def test_a_cabinet_tells_of_its_pit_its_door_and_the_mains(make_config, maps, body):
    cabinet = {"id": "cabinet-1", "unit": 30, "map": "cabinet-io", "zone": "south"}
    body["converter"][2]["device"].append(cabinet)

    async def scenario():
        async with running(make_config(sim={"step_s": 0.1}), maps) as served:
            port = served["converters"]["converter-3"]
            async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:

                async def shows(*expected):
                    while True:
                        reply = await client.read_holding_registers(0, count=4, device_id=30)
                        if tuple(reply.registers[:3]) == expected:
                            return reply.registers[3] / 100

                assert await shows(1, 0, 0) == pytest.approx(13.65)
                for kind, target in (
                    *(("pit_flooded", "cabinet-1"), ("door_open", "cabinet-1")),
                    ("power_failure", "south"),
                ):
                    message = {"do": {"kind": kind, "target": target}}
                    await ask("127.0.0.1", served["control"], message)
                assert await shows(0, 1, 1) < 13
                hasty = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=0.3, retries=0)
                async with hasty:
                    with pytest.raises(ModbusIOException):
                        await hasty.read_holding_registers(10, count=2, device_id=1)
                await ask("127.0.0.1", served["control"], {"undo": "power_failure-3"})
                await shows(1, 1, 1)

    asyncio.run(scenario())


def test_a_low_battery_and_a_wrong_clock_show_in_registers_of_their_own(make_config, maps):
    sheet = maps["pulse-counter"]
    status, watch = sheet.register("status"), sheet.register("clock")

    async def scenario():
        async with running(make_config(sim={"step_s": 0.1}), maps) as served:
            for kind, target in (
                ("low_battery", "customer-08/volume"),
                ("wrong_clock", "customer-08"),
            ):
                await ask("127.0.0.1", served["control"], {"do": {"kind": kind, "target": target}})
            port = served["converters"]["converter-3"]
            async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
                while True:
                    low_battery = await client.read_input_registers(status.address, device_id=6)
                    clock = await client.read_input_registers(watch.address, count=2, device_id=6)
                    high, low = clock.registers
                    ahead_s = (high << 16 | low) - WallClock().now() // 1000
                    if low_battery.registers[0] and ahead_s > 3000:
                        assert ahead_s == pytest.approx(3600, abs=2)
                        return

    asyncio.run(scenario())
