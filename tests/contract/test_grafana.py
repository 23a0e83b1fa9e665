"""The dashboards: valid, alike in both languages, of our measurement, answered by an engine."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from server.history.line_protocol import MEASUREMENT, QUALITY, TAG, VALUE
from tests.contract.test_influx_engines import POINTS, T, drain, fill, needs_influxd, on_influxd
from tests.support.influx import accepted, influxql

FOLDER = Path(__file__).parents[2] / "configs/grafana"
BOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
WORDS = ("title", "description", "alias", "label", "uid")


def board(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def queries(path: Path) -> list[str]:
    asked = [t["query"] for panel in board(path)["panels"] for t in panel["targets"]]
    return [
        *asked,
        *(v["query"] for v in board(path)["templating"]["list"] if v["type"] == "query"),
    ]


def without_words(value: object) -> object:
    """Return a dashboard without what its language makes of it."""
    match value:
        case dict():
            return {k: without_words(v) for k, v in value.items() if k not in WORDS}
        case list():
            return [without_words(v) for v in value]
        case str():
            return re.sub(r'AS "[^"]+"', "AS ...", value)
        case _:
            return value


def test_the_dashboards_are_alike_and_each_speaks_its_language():
    en, zh = (board(FOLDER / f"dashboards/mainwatch-{name}.json") for name in ("en", "zh-CN"))

    assert without_words(en) == without_words(zh)
    for one, other in zip(en["panels"], zh["panels"], strict=True):
        assert re.search("[一-鿿]", other["title"]) and not re.search("[一-鿿]", one["title"])
        assert re.search("[一-鿿]", other["description"]) and one["description"]
    assert en["uid"] != zh["uid"]


@pytest.mark.parametrize("path", BOARDS, ids=lambda p: p.stem)
def test_the_queries_name_our_measurement_tag_and_fields_and_no_others(path: Path):
    for query in queries(path):
        named = set(re.findall('"([^"]+)"', re.sub('AS "[^"]+"', "", query)))
        assert MEASUREMENT in named
        assert named <= {MEASUREMENT, TAG, VALUE, QUALITY}, query


def test_the_datasource_is_the_one_that_the_dashboards_ask():
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    source = (FOLDER / "provisioning/datasources/mainwatch.yaml").read_text(encoding="utf-8")
    provider = (FOLDER / "provisioning/dashboards/mainwatch.yaml").read_text(encoding="utf-8")

    (datasource,) = yaml.safe_load(source)["datasources"]

    assert yaml.safe_load(provider)["providers"][0]["type"] == "file"
    assert (datasource["type"], datasource["jsonData"]["version"]) == ("influxdb", "InfluxQL")
    asked = {
        t["datasource"]["uid"]
        for path in BOARDS
        for panel in board(path)["panels"]
        for t in panel["targets"]
    }
    assert asked == {datasource["uid"]}


def as_grafana_asks(query: str, points: tuple[str, ...]) -> str:
    """Put in what Grafana puts in for a range of the last ten minutes and chosen points."""
    chosen = "|".join(re.sub(r"[\\^$*+?.()|[\]{}/]", r"\\\g<0>", p) for p in points)
    return (
        query.replace("$timeFilter", f"time >= {T - 10**7}ms AND time <= {T + 10**8}ms")
        .replace("$__interval", "10m")
        .replace("$timezone", "Asia/Shanghai")
        .replace("${point:regex}", f"({chosen})")
    )


@needs_influxd
def test_influxdb_16_answers_every_query_of_the_dashboards(tmp_path: Path):
    pytest.importorskip("influxdb_client", reason="needs mainwatch[influx]")
    writer = fill(tmp_path)
    writer.take(accepted((POINTS[0], T + 1, None, 0), at=T + 10**7, first_offset=10**6))

    async def act(shim: str, url: str) -> None:
        await asyncio.to_thread(drain, tmp_path, shim, token_file=tmp_path / "token")
        for path in BOARDS:
            for query in queries(path):
                asked = as_grafana_asks(query, POINTS[:2])
                found = await asyncio.to_thread(influxql, url, asked, "water")
                assert found, asked
                tags = {s["tags"][TAG] for s in found if "tags" in s}
                if 'GROUP BY time(10m), "point"' in asked and '"q" = 0' not in asked:
                    assert tags == set(POINTS[:2]), asked
                if "last(" in asked:
                    assert [len(s["values"]) for s in found] == [1, 1]
                if '"q" = 0' in asked:
                    assert sum(v[1] for s in found for v in s["values"]) == 1

    on_influxd(tmp_path, act)
    writer.close()
