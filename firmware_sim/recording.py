"""recording.toml: what a recording of the pretend field says of itself (docs/recordings.md)."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from firmware_sim.config import SimConfig
from firmware_sim.core.instruments import Instrument
from telemetry.instant import HOUR_MS, SECOND_MS, Instant
from telemetry.units import Quantity

Place = Callable[[str | None, str | None], tuple[float, float]]
"""The coordinates of a node, or of the middle of a link."""


def description(
    config: SimConfig,
    instruments: Sequence[Instrument],
    *,
    first: Instant,
    last: Instant,
    cadence_ms: int,
    place_of: Place,
    story: str,
    with_flows: bool,
) -> str:
    """Return the text of recording.toml."""
    source = f"Mainwatch simulator, seed {config.sim.seed}" + (f", {story}" if story else "")
    cadence_s = cadence_ms / SECOND_MS
    head: dict[str, Any] = {
        "version": 1,
        "name": f"{config.sim.name}, {story}" if story else config.sim.name,
        "source": source,
        "licence": "Apache-2.0",
        "timezone": config.sim.timezone,
        "calendar": config.sim.calendar,
        "from": _Moment(first),
        "to": _Moment(last),
        "cadence_s": round(cadence_s) if cadence_s == round(cadence_s) else cadence_s,
    }
    if config.sim.network.suffix == ".inp":
        head["network"] = "network.inp"
    tables = [("[recording]", head)]
    for z in config.zone:
        inflow = [{"point": i.point, "sign": i.sign} for i in z.inflow]
        zone = {"id": z.id, "name": z.name.en, "kind": "dma", "inflow": inflow}
        tables.append(("[[zone]]", zone))
    for i in instruments:
        point = _point(i, place_of)
        tables.append(("[[point]]", point))
        if with_flows and i.flow_point is not None:
            flow = {"id": i.flow_point, "quantity": Quantity.FLOW, "unit": Quantity.FLOW.unit}
            step = round(point["resolution"] * HOUR_MS / cadence_ms, 6)
            tables.append(("[[point]]", point | flow | {"resolution": step}))
    return "\n".join(
        f"{title}\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in body.items())
        for title, body in tables
    )


def _point(instrument: Instrument, place_of: Place) -> dict[str, Any]:
    i = instrument
    x, y = place_of(i.site.node, i.site.link)
    role = "inlet" if i.site.link else ("customer" if i.counts else i.register.quantity.value)
    return {
        "id": i.point,
        "zone": i.zone,
        "quantity": i.register.quantity,
        "unit": i.register.quantity.unit,
        "role": role,
        "resolution": round(i.step, 9),
        **({"node": i.site.node} if i.site.node else {"link": i.site.link}),
        "x": round(x, 1),
        "y": round(y, 1),
    }


class _Moment:
    """An instant that TOML writes without quotes."""

    def __init__(self, at: Instant) -> None:
        self.text = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _toml(value: Any) -> str:
    match value:
        case _Moment():
            return value.text
        case dict():
            return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
        case list():
            return "[" + ", ".join(_toml(v) for v in value) + "]"
        case str():
            return json.dumps(str(value), ensure_ascii=False)
        case _:
            return str(value)
