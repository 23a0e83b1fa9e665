"""What becomes of files that others write, and what is said of those that are not right."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.history.export import Wanted, of_recording, to_csv, to_recording
from server.history.importing.mapping import mapping_of
from server.history.importing.run import Order, run
from server.history.labels import truth, truth_flow
from server.history.recording import open_recording
from server.history.recording_check import findings
from telemetry.errors import ConfigError
from tests.unit.server.recording_files import MINUTE, recording, sample

HEAD = {"recording": {"timezone": "UTC"}}


class Quiet:
    """A step of the work that nobody watches."""

    def __init__(self, what, total):
        pass

    def __enter__(self):
        return lambda _done: None

    def __exit__(self, *_):
        return None


def point(column: str, ident: str, quantity: str, unit: str, **more) -> dict:
    return {
        "column": column,
        "id": ident,
        "quantity": quantity,
        "unit": unit,
        "zone": "north",
    } | more


def taken(folder: Path, kind: str, *sources: Path, **body) -> list[str]:
    """Import into `folder`; return what was said."""
    said: list[str] = []
    order = Order(
        kind=kind,
        sources=sources,
        folder=folder / "out",
        mapping=mapping_of(HEAD | body, where="map.toml"),
        software="test",
    )
    run(order, step=Quiet, say=said.append)
    assert findings(folder / "out") == []
    return said


def refused(folder: Path, kind: str, *sources: Path, **body) -> str:
    """Import what is wrong; return what was said, and see that nothing was left behind."""
    before = sorted(folder.iterdir())
    with pytest.raises(ConfigError) as e:
        taken(folder, kind, *sources, **body)
    assert sorted(folder.iterdir()) == before
    return str(e.value)


def rows(folder: Path) -> dict[str, list[tuple[str, float | None]]]:
    """Return what each point says, its instants in short."""
    found = open_recording(folder / "out")
    told: dict[str, list] = {}
    for s in found.stretches():
        for p, at, value in zip(s.point, s.at, s.value, strict=True):
            stamp = str(np.datetime64(int(at), "ms").astype("datetime64[m]"))[5:]
            told.setdefault(found.points[p], []).append(
                (stamp, None if np.isnan(value) else round(float(value), 6))
            )
    return told


def file(folder: Path, text: str, name: str = "in.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


WIDE = {
    "input": {"separator": ";", "decimal": ","},
    "point": [
        point("P1", "mill/pressure", "pressure", "bar"),
        point("Q", "mill/flow", "flow", "l/s", role="inlet"),
    ],
}


def test_wide_csv_with_decimal_comma_becomes_house_units(tmp_path: Path):
    path = file(
        tmp_path,
        "\ufeffZeit;P1;Q\n2026-01-01 00:00:00;2,5;10\n\n2026-01-01 00:05:00;;10,5\n",
    )

    said = taken(tmp_path, "csv", path, **WIDE)

    assert rows(tmp_path) == {
        "mill/pressure": [("01-01T00:00", 250.0)],
        "mill/flow": [("01-01T00:00", 36.0), ("01-01T00:05", 37.8)],
    }
    assert said == [f"{path}: 1 empty cells are gaps"]
    zone = open_recording(tmp_path / "out").registry().zones["north"]
    assert [i.point for i in zone.inflow] == ["mill/flow"]


def test_long_csv_is_read_by_the_names_of_its_columns(tmp_path: Path):
    path = file(
        tmp_path,
        "when,what,how much,ok\n01/02/2026 00:05,A,1.5,192\n01/02/2026 00:05,B,2,64\n"
        "01/02/2026 00:10,A,,0\n01/02/2026 00:10,skip,7,192\n",
    )
    body = {
        "input": {
            "layout": "long",
            "time_column": "when",
            "time_format": "%d/%m/%Y %H:%M",
            "point_column": "what",
            "value_column": "how much",
            "quality_column": "ok",
            "ignore": ["skip"],
        },
        "point": [point("A", "a/flow", "flow", "m3/h"), point("B", "b/level", "level", "cm")],
    }

    taken(tmp_path, "csv", path, **body)

    assert rows(tmp_path) == {
        "a/flow": [("02-01T00:05", 1.5), ("02-01T00:10", None)],
        "b/level": [("02-01T00:05", 0.02)],
    }


def test_a_chinese_file_is_read_in_its_own_encoding(tmp_path: Path):
    path = file(tmp_path, "时间,压力\n1767225600,0.28\n", encoding="gb18030")
    body = {
        "input": {"encoding": "gb18030", "time_format": "epoch_s"},
        "point": [point("压力", "a/pressure", "pressure", "MPa", name="文化路")],
    }

    taken(tmp_path, "csv", path, **body)

    assert rows(tmp_path) == {"a/pressure": [("01-01T00:00", 280.0)]}
    assert open_recording(tmp_path / "out").registry().points["a/pressure"].name_zh == "文化路"


def test_an_hour_that_comes_twice_and_one_that_never_was_are_told(tmp_path: Path):
    spring = ["2026-03-29 01:30", "2026-03-29 02:30", "2026-03-29 03:45"]
    autumn = ["2026-10-25 02:00", "2026-10-25 02:30", "2026-10-25 02:00", "2026-10-25 02:30"]
    path = file(tmp_path, "t,Q\n" + "".join(f"{t}:00,{n}\n" for n, t in enumerate(spring + autumn)))
    body = {
        "recording": {"timezone": "Europe/Rome"},
        "point": [point("Q", "a/flow", "flow", "m3/h")],
    }

    said = taken(tmp_path, "csv", path, **body)

    assert [at for at, _ in rows(tmp_path)["a/flow"]] == [
        *("03-29T00:30", "03-29T01:30", "03-29T01:45"),
        *("10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30"),
    ]
    assert "1 stamps do not exist in Europe/Rome" in said[0] and "first row 3" in said[0]
    assert "4 stamps come twice in Europe/Rome" in said[1] and "first row 5" in said[1]


def test_stamps_with_a_zone_of_their_own_are_taken_at_their_word(tmp_path: Path):
    path = file(tmp_path, "t,Q\n2026-01-01T08:00:00+08:00,1\n")
    body = {
        "point": [point("Q", "a/flow", "flow", "m3/h")],
        "recording": {"timezone": "Europe/Rome"},
    }

    taken(tmp_path, "csv", path, **body)

    assert rows(tmp_path) == {"a/flow": [("01-01T00:00", 1.0)]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("t;P1;Q;X\n", "in.csv: row 1: column 'X': expected one of P1, Q, t"),
        ("t;P1;P1\n", "in.csv: row 1: column 'P1' is there twice"),
        ("t,P1,Q\n", "in.csv: row 1: expected names of columns with ';' between them"),
        (
            "t;P1;Q\n2026-01-01;1;2\n2026-01-02;1\n",
            "row 3: expected 3 cells, was 2: '2026-01-02;1'",
        ),
        ("t;P1;Q\n2026-01-01;1;NaN\n", "row 2: Q: expected a number with ',' as its decimal sign"),
        ("t;P1;Q\n\n2026-01-01;1;x\n", "row 3: Q: expected a number with ','"),
        ("t;P1;Q\n2026-01-01;1.5;2\n", "row 2: P1: expected a number with ','"),
        (
            "t;P1;Q\n2026-02-30 00:00;1;2\n",
            "row 2: t: expected an ISO 8601 instant, was '2026-02-30",
        ),
        (
            "t;P1;Q\n2026-01-01;1;2\n2026-01-01;1;2\n",
            "row 3: time: expected mill/pressure to speak",
        ),
        ("", "in.csv: row 1: expected names of columns"),
    ],
)
def test_a_mistake_in_csv_is_told_by_file_and_row(tmp_path: Path, text: str, told: str):
    assert told in refused(tmp_path, "csv", file(tmp_path, text), **WIDE)


def test_a_day_that_is_none_is_told_in_every_format(tmp_path: Path):
    path = file(tmp_path, "t;P1;Q\n01.02.2026;1;2\n30.02.2026;1;2\n")
    body = WIDE | {"input": WIDE["input"] | {"time_format": "%d.%m.%Y"}}

    assert "row 3: t: expected a time such as '%d.%m.%Y', was '30.02.2026'" in refused(
        tmp_path, "csv", path, **body
    )


def test_files_that_overlap_are_named(tmp_path: Path):
    one = file(tmp_path, "t;P1;Q\n2026-01-01;1;2\n2026-01-03;1;2\n", "one.csv")
    two = file(tmp_path, "t;P1;Q\n2026-01-02;1;2\n", "two.csv")

    told = refused(tmp_path, "csv", one, two, **WIDE)

    assert f"two.csv: overlaps {one}: both speak of mill/pressure in 2026-01-01T00:00:00Z" in told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"recording": {"timezone": "Mars/Olympus"}}, "timezone: expected an IANA time zone"),
        ({"recording": {}}, "timezone: expected the IANA time zone of the stamps, found none"),
        (
            {"point": [point("P1", "a/flow", "flow", "stone")]},
            "map.toml: point[0].unit: expected a",
        ),
        (
            {"point": [point("P1", "a/flow", "flow", "bar")]},
            "point[0].unit: expected a unit of flow",
        ),
        ({"input": {"sepparator": ";"}}, "map.toml: input.sepparator: unknown key"),
        ({"point": [*WIDE["point"], WIDE["point"][0]]}, "map.toml: point[2].column: 'P1' is used"),
    ],
)
def test_a_mistake_in_the_mapping_is_told_by_key(tmp_path: Path, body: dict, told: str):
    path = file(tmp_path, "t;P1\n2026-01-01;1\n")

    assert told in refused(tmp_path, "csv", path, **(WIDE | body))


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(["street/pressure", "inlet/flow", "tower/level"]),
        st.integers(0, 3000),
        st.none() | st.floats(-1e6, 1e6),
        st.sampled_from([64, 192]),
        st.integers(0, 500),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda s: s[:2],
)


@given(samples=SAMPLES, logged=st.booleans())
@settings(max_examples=40, deadline=None)
def test_export_import_export_gives_the_same_bytes(tmp_path_factory, samples, logged):
    here = tmp_path_factory.mktemp("x")
    written = []
    for n, (name, minute, value, quality, delay) in enumerate(sorted(samples, key=lambda s: s[1])):
        row = sample(name, minute / 3, value, 0 if value is None else quality)
        row["reason"] = "timeout" if value is None else ("stuck" if quality == 64 else "")
        if logged:
            row |= {
                "arrived_at": row["at"] + delay * MINUTE,
                "gateway": "-pi",
                "epoch": 2,
                "offset": n,
            }
        written.append(row)
    source = open_recording(recording(here / "r", {"a": written}))

    def quiet(_done: int) -> None:
        return None

    to_recording(of_recording(source), Wanted(), here / "one", software="t", progress=quiet)
    to_csv(of_recording(open_recording(here / "one")), Wanted(), here / "one.csv", progress=quiet)
    taken(here, "csv", here / "one.csv", recording={})
    to_csv(of_recording(open_recording(here / "out")), Wanted(), here / "two.csv", progress=quiet)

    def files(name: str) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (here / name / "samples").iterdir()}

    assert files("out") == files("one")
    assert (here / "two.csv").read_bytes() == (here / "one.csv").read_bytes()


def test_a_published_battledim_folder_is_taken_in_with_its_leaks(tmp_path: Path):
    folder = tmp_path / "2018"
    folder.mkdir()
    stamps = [f"2018-01-01 00:{m:02}:00" for m in range(0, 30, 5)]

    def publish(name: str, header: str, cells: str) -> None:
        text = f"Timestamp;{header}\n" + "".join(f"{t};{cells}\n" for t in stamps)
        file(folder, text, name)

    publish("2018_SCADA_Pressures.csv", "n1;n54", "30,5;40,25")
    publish("2018_SCADA_Flows.csv", "p227;p235;PUMP_1", "70,1;80;12")
    publish("2018_SCADA_Levels.csv", "T1", "3,25")
    publish("2018_SCADA_Demands.csv", "n2", "120,5")
    leaks = ["0;0,0", "5,5;0", "5,6;0", "5,5;1", "5,5;9", "0;9,5"]
    text = "Timestamp;p461;p257\n" + "".join(
        f"{t};{c}\n" for t, c in zip(stamps, leaks, strict=True)
    )
    file(folder, text, "2018_Leakages.csv")

    taken(tmp_path, "battledim", folder)

    found = open_recording(tmp_path / "out")
    registry = found.registry()
    assert rows(tmp_path)["n1/pressure"][0] == ("01-01T00:00", round(30.5 * 9.80665, 6))
    assert rows(tmp_path)["n2/demand"][0] == ("01-01T00:00", 0.1205)
    assert registry.points["n54/pressure"].zone == "area-ab" and found.cadence_ms == 300_000
    assert [(i.point, i.sign) for i in registry.zones["area-ab"].inflow][-1] == ("PUMP_1/flow", -1)
    assert registry.zones["area-c"].storage[0].point == "T1/level"
    p461, p257 = truth(tmp_path / "out")
    assert (p461.id, p461.type, p461.zone) == ("p461", "abrupt", "area-ab")
    assert (p257.id, p257.type, p257.zone, p257.peak_m3h) == ("p257", "incipient", "area-c", 9.5)
    assert (p461.end - p461.begin, p257.end - p257.begin) == (15 * MINUTE, 10 * MINUTE)
    assert truth_flow(tmp_path / "out").m3h.sum() == pytest.approx(22.1 + 19.5)


def test_a_folder_that_holds_none_of_battledims_files_is_refused(tmp_path: Path):
    folder = tmp_path / "empty"
    folder.mkdir()

    assert "expected some of Pressures.csv" in refused(tmp_path, "battledim", folder)


INP = """[JUNCTIONS]
J1 100
J.2 50 ; comment
[TANKS]
T1 20 1 0 5 40
[PIPES]
P1 J1 J.2 100 100 100
[OPTIONS]
Units GPM
Pressure Exponent 0.5
[COORDINATES]
J1 0 0
J.2 10 20
"""


def epanet(
    folder: Path, text: str, quantity: str, inp: str = INP, start: str = "2026-01-01"
) -> dict:
    files = [{"file": file(folder, text, "c.dat"), "quantity": quantity}]
    network = file(folder, inp, "n.inp")
    return {"epanet": {"network": network, "start": start, "zone": "town", "files": files}}


def test_an_epanet_series_is_read_in_the_units_of_its_network(tmp_path: Path):
    body = epanet(tmp_path, ";loc time value\nJ1 0 50\n 1.5 51 ; note\nJ.2 1:30 52\n", "pressure")

    taken(tmp_path, "epanet", **body)

    psi = 6.894757
    found = rows(tmp_path)
    assert [at for at, _ in found["J1/pressure"]] == ["01-01T00:00", "01-01T01:30"]
    assert found["J1/pressure"][1][1] == pytest.approx(51 * psi, rel=1e-6)
    assert found["J-2/pressure"][0][1] == pytest.approx(52 * psi, rel=1e-6)
    assert open_recording(tmp_path / "out").network is not None
    place = open_recording(tmp_path / "out").registry().points["J-2/pressure"]
    assert (place.x, place.y, place.elevation_m) == (10.0, 20.0, pytest.approx(15.24))


def test_epanet_flows_and_levels_have_their_own_units(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    taken(tmp_path / "a", "epanet", **epanet(tmp_path / "a", "P1 0 100\n", "flow"))
    si = INP.replace("GPM", "LPS")
    taken(tmp_path / "b", "epanet", **epanet(tmp_path / "b", "T1 0 23.5\n", "head", si))

    assert rows(tmp_path / "a") == {"P1/flow": [("01-01T00:00", 22.712471)]}
    assert rows(tmp_path / "b") == {"T1/level": [("01-01T00:00", 3.5)]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("J9 0 50\n", "c.dat: row 1: expected a node of the network, one of J1, J.2, T1, was 'J9'"),
        ("0 50\n", "c.dat: row 1: expected LocationID Time Value"),
        ("J1 noon 50\n", "c.dat: row 1: expected hours or h:mm, was 'noon'"),
        ("J1 0 nan\n", "c.dat: row 1: expected a number, was 'nan'"),
        ("J1 0 1\nJ1 0 2\n", "c.dat: row 2: time: expected J1/pressure to speak once"),
        ("; nothing\n", "c.dat: expected rows of LocationID Time Value, found none"),
    ],
)
def test_a_mistake_in_a_series_of_epanets_is_told_by_row(tmp_path: Path, text: str, told: str):
    assert told in refused(tmp_path, "epanet", **epanet(tmp_path, text, "pressure"))


def test_a_network_with_an_unknown_unit_is_refused(tmp_path: Path):
    body = epanet(tmp_path, "J1 0 1\n", "pressure", INP.replace("GPM", "FURLONGS"))

    assert "n.inp: UNITS: expected one of CFS" in refused(tmp_path, "epanet", **body)


INFLUX = {
    "point": [
        point("a/flow", "a/flow", "flow", "m3/h"),
        point("site,room=2", "b/level", "level", "m"),
    ]
}

FLUX = """#datatype,string,long,dateTime:RFC3339,double,string,string,string
#group,false,false,false,false,true,true,true
#default,_result,,,,,,
,result,table,_time,_value,_field,_measurement,point
,,0,2026-01-01T00:00:00Z,1.5,v,telemetry,a/flow
,,0,2026-01-01T00:05:00Z,2.5,v,telemetry,a/flow

#datatype,string,long,dateTime:RFC3339,long,string,string,string
#group,false,false,false,false,true,true,true
#default,_result,,,,,,
,result,table,_time,_value,_field,_measurement,point
,,1,2026-01-01T00:05:00Z,64,q,telemetry,a/flow
,,1,2026-01-01T00:10:00Z,0,q,telemetry,a/flow
"""

INFLUXQL_CSV = """name,tags,time,v,q
telemetry,point=a/flow,1767225600000000000,1.5,192
telemetry,point=a/flow,1767225900000000000,2.5,64
telemetry,point=a/flow,1767226200000000000,,0
"""


def influxql_json() -> str:
    values = [["2026-01-01T00:00:00Z", 1.5, 192], ["2026-01-01T00:05:00Z", 2.5, 64]]
    series = {"name": "telemetry", "tags": {"point": "a/flow"}, "columns": ["time", "v", "q"]}
    chunks = [values, [["2026-01-01T00:10:00Z", None, 0]]]
    results = [{"results": [{"series": [series | {"values": c}], "partial": True}]} for c in chunks]
    return "\n".join(json.dumps(r) for r in results)


@pytest.mark.parametrize("text", [FLUX, INFLUXQL_CSV, influxql_json()], ids=["flux", "csv", "json"])
def test_the_three_forms_of_an_influx_result_say_the_same(tmp_path: Path, text: str):
    taken(tmp_path, "influx", file(tmp_path, text), **INFLUX)

    table = pq.read_table(next((tmp_path / "out" / "samples").iterdir()))
    assert rows(tmp_path) == {
        "a/flow": [("01-01T00:00", 1.5), ("01-01T00:05", 2.5), ("01-01T00:10", None)]
    }
    assert table["quality"].to_pylist() == [192, 64, 0]


def test_a_series_without_the_points_tag_is_known_by_measurement_and_tags(tmp_path: Path):
    body = {"name": "site", "tags": {"room": "2"}, "columns": ["time", "mean"]}
    body["values"] = [[1767225600, 1.25]]
    path = file(tmp_path, json.dumps({"results": [{"series": [body]}]}))

    taken(tmp_path, "influx", path, influx={"epoch": "s"}, **INFLUX)

    assert rows(tmp_path) == {"b/level": [("01-01T00:00", 1.25)]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (INFLUXQL_CSV.replace("a/flow", "x/flow"), "row 2: expected a series of the mapping"),
        (INFLUXQL_CSV.replace(",1.5,", ",warm,"), "row 2: v: expected a number, was 'warm'"),
        (INFLUXQL_CSV.replace(",192", ",7"), "row 2: q: expected 192, 64 or 0, was '7'"),
        (
            INFLUXQL_CSV.replace("1767225900", "1767225600"),
            "row 3: time: expected each instant once",
        ),
        (FLUX.replace("2026-01-01T00:05:00Z,2.5", "noon,2.5"), "row 6: time: expected an instant"),
        ('{"results":[{"error":"no such db"}]}', "holds an error of InfluxDB: no such db"),
        ('{"results":[', "not JSON"),
        (influxql_json().replace(", 2.5,", ", NaN,"), "row 2: v: expected a number, was nan"),
    ],
)
def test_a_mistake_in_an_influx_result_is_told_by_row(tmp_path: Path, text: str, told: str):
    assert told in refused(tmp_path, "influx", file(tmp_path, text), **INFLUX)
