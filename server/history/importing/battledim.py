"""BattLeDIM's published folder: SCADA pressures, flows, levels and demands, and the leakages.

Files are named as they were published (`2018_SCADA_Pressures.csv`, `2018_Leakages.csv`) or, in a
folder a year, plainly (`Pressures.csv`). Pressures are in metres, flows in m³/h, demands in L/h;
decimals have a comma, and the time is taken for UTC. Zones are L-Town's: areas A and B behind the
two inlets, and area C behind the pump, with the tank.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from server.history import labels
from server.history.importing import local_time
from server.history.importing.csv_text import Form, batches, header, numbers, stamps
from server.history.importing.gathering import Gathering
from server.history.importing.inp import Network, read_network
from server.history.importing.plain_csv import read_wide
from server.history.labels import TruthFlow
from server.history.recording_toml import PointSection, told_instant
from server.history.stretch import Float64s, Int64s
from telemetry.errors import ConfigError

FORM = Form(
    separator=";",
    decimal=",",
    encoding="utf-8",
    time_format="iso",
    missing=("",),
)

TANK_AREA_M2 = 201.06
"""Of the tank T1, 16 m across."""

PUMP = "PUMP_1"
AREA_C_NODES = {"n1", "n4", "n31"}
AREA_C_PIPES = {"p257", "p277", "p280"}
"""The pressure points of area C, and the pipes there that leak, for a folder without network."""

ZONES: tuple[dict[str, Any], ...] = (
    {
        "id": "area-ab",
        "name": "L-Town areas A and B",
        "inflow": [
            {"point": "p227/flow", "sign": 1},
            {"point": "p235/flow", "sign": 1},
            {"point": "PUMP_1/flow", "sign": -1},
        ],
    },
    {
        "id": "area-c",
        "name": "L-Town area C",
        "inflow": [{"point": "PUMP_1/flow", "sign": 1}],
        "storage": [{"point": "T1/level", "area_m2": TANK_AREA_M2}],
    },
)

_KINDS = {
    "Pressures": ("pressure", "mH2O"),
    "Flows": ("flow", "m3/h"),
    "Levels": ("level", "m"),
    "Demands": ("demand", "l/h"),
}

_ABRUPT_SHARE = 0.5
"""A leak that lets out more than this share of its usual flow in its first row began at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The files of a published folder."""

    samples: tuple[tuple[str, Path], ...]
    leakages: tuple[Path, ...]
    network: Path | None


def find(folder: Path) -> Folder:
    """Return the files that are there. Raises `ConfigError` when none of samples is."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    samples = [
        (kind, p)
        for kind in _KINDS
        for p in paths
        if re.fullmatch(rf"((\d{{4}}_)?SCADA_)?{kind}\.csv", p.name, re.IGNORECASE)
    ]
    if not samples:
        expected = ", ".join(f"{k}.csv" for k in _KINDS)
        raise ConfigError(f"{folder}: expected some of {expected} or 2018_SCADA_…, found none")
    leakages = [p for p in paths if re.fullmatch(r"(\d{4}_)?Leakages\.csv", p.name, re.IGNORECASE)]
    networks = [p for p in paths if re.fullmatch(r"L-?TOWN\.inp", p.name, re.IGNORECASE)]
    return Folder(
        samples=tuple(samples),
        leakages=tuple(leakages),
        network=networks[0] if networks else None,
    )


def read(folder: Path, gathering: Gathering) -> None:
    """Take in a published folder. Raises `ConfigError` with every mistake of a file."""
    found = find(folder)
    town = _Town(found.network)
    for kind, path in found.samples:
        names = header(path, FORM)[1:]
        columns = {name: town.point(kind, name) for name in names}
        read_wide(path, FORM, None, columns, gathering)
    if found.network is not None:
        gathering.put("network.inp", found.network.read_bytes())
    if found.leakages:
        _read_leakages(found.leakages, town, gathering)


def zones(gathering: Gathering) -> list[dict[str, Any]]:
    """Return L-Town's zones, without what no file has spoken of."""
    kept = []
    for zone in ZONES:
        parts = [*zone["inflow"], *zone.get("storage", ())]
        is_whole = all(gathering.has_point(part["point"]) for part in parts)
        kept.append(dict(zone) if is_whole else {k: zone[k] for k in ("id", "name")})
    return kept


class _Town:
    """L-Town: from its network file where the folder has it, else from what was published."""

    def __init__(self, path: Path | None) -> None:
        self._network: Network | None = None if path is None else read_network(path)
        self._area_c: set[str] = set(AREA_C_NODES)
        if self._network is not None and "T1" in self._network.nodes:
            self._area_c = self._network.reached("T1", without={PUMP})

    def point(self, kind: str, name: str) -> PointSection:
        quantity, unit = _KINDS[kind]
        is_in_c = kind in {"Levels", "Demands"} or (kind == "Pressures" and name in self._area_c)
        roles = {"Levels": "tank", "Demands": "customer"}
        role = "pump" if name == PUMP else roles.get(kind, "inlet" if kind == "Flows" else None)
        place = None if self._network is None else self._network.place_of(name)
        elevation = None
        if self._network is not None and kind == "Pressures":
            elevation = self._network.nodes.get(name)
        return PointSection.model_validate(
            {
                "id": f"{name}/{quantity}",
                "zone": "area-c" if is_in_c else "area-ab",
                "quantity": "flow" if kind == "Demands" else quantity,
                "unit": unit,
                "role": role,
                "node": name if kind != "Flows" else None,
                "link": name if kind == "Flows" else None,
                "x": None if place is None else place[0],
                "y": None if place is None else place[1],
                "elevation_m": elevation,
            }
        )

    def pipe(self, name: str) -> dict[str, Any]:
        """Return what a label says of where a pipe is."""
        if self._network is None or name not in self._network.links:
            return {"zone": "area-c" if name in AREA_C_PIPES else "area-ab", "pipe": name}
        ends = self._network.links[name]
        zone = "area-c" if set(ends) <= self._area_c else "area-ab"
        found: dict[str, Any] = {"zone": zone, "pipe": name, "nodes": list(ends)}
        if (place := self._network.place_of(name)) is not None:
            found |= {"x": place[0], "y": place[1]}
        return found


def _read_leakages(paths: Sequence[Path], town: _Town, gathering: Gathering) -> None:
    """Write the flows of the leaks as labels, one where a leak goes on into the next file."""
    at: dict[str, list[Int64s]] = {}
    flow: dict[str, list[Float64s]] = {}
    for path in paths:
        names = header(path, FORM)
        file = gathering.file(path)
        series = local_time.Sequence()
        for batch in batches(path, FORM, names, file.wrong):
            found = stamps(batch, names[0], FORM, file.wrong)
            instants = file.instants(found, batch.rows, series)
            for name in names[1:]:
                m3h = numbers(batch, name, FORM, file.wrong)
                at.setdefault(name, []).append(instants[m3h > 0])
                flow.setdefault(name, []).append(m3h[m3h > 0])
        file.close()
    rows = []
    kept: list[tuple[str, Int64s, Float64s]] = []
    for name, parts in at.items():
        instants, m3h = np.concatenate(parts), np.concatenate(flow[name])
        if len(instants):
            order = np.argsort(instants, kind="stable")
            kept.append((name, instants[order], m3h[order]))
            rows.append(_label(name, instants[order], m3h[order], town))
    rows.sort(key=lambda row: (row["from"], row["id"]))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    gathering.put("truth.jsonl", text.encode())
    if kept:
        gathering.put("truth_flow.parquet", labels.flow_file(_flows(kept)))


def _label(name: str, at: Int64s, m3h: Float64s, town: _Town) -> dict[str, Any]:
    is_abrupt = m3h[0] > _ABRUPT_SHARE * np.median(m3h)
    peak = int(np.argmax(m3h))
    return {
        "id": name,
        "kind": "leak",
        "type": "abrupt" if is_abrupt else "incipient",
        **town.pipe(name),
        "from": told_instant(at[0]),
        "to": told_instant(at[-1]),
        "peak_at": told_instant(at[peak]),
        "peak_m3h": round(float(m3h[peak]), 3),
    }


def _flows(kept: Sequence[tuple[str, Int64s, Float64s]]) -> TruthFlow:
    at = np.concatenate([instants for _, instants, _ in kept])
    label = np.concatenate([np.full(len(a), n, np.int32) for n, (_, a, _) in enumerate(kept)])
    order = np.lexsort((label, at))
    m3h = np.concatenate([flows for _, _, flows in kept])
    return TruthFlow(
        ids=tuple(name for name, _, _ in kept), at=at[order], label=label[order], m3h=m3h[order]
    )
