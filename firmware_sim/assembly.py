"""From the configuration to water, instruments and plant, or one sentence on what is wrong."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from firmware_sim.config import SimConfig
from firmware_sim.core.days import CALENDARS
from firmware_sim.core.heat import HeatingCurve
from firmware_sim.core.instruments import Instrument, Site, instrument
from firmware_sim.core.moments import OffsetOf
from firmware_sim.core.names import known
from firmware_sim.core.plant import Plant, TankRule, Water
from firmware_sim.core.reach import Station
from firmware_sim.core.scenario import Places
from firmware_sim.core.town import Town
from firmware_sim.core.weather import Climate, Thirst, Weather
from firmware_sim.gas_file import gas_of
from firmware_sim.heating import Heating
from firmware_sim.hydraulics import Hydraulics
from telemetry.device_sheet import Power
from telemetry.errors import ConfigError
from telemetry.instant import Instant
from telemetry.point import PointId, ZoneId
from telemetry.register_map import RegisterMap
from telemetry.units import Quantity

_THIRST = {
    "water": Thirst(),
    "heating": Thirst(per_degree_above=0.0),  # its curve knows the weather
    "gas": Thirst(per_degree_above=0.0, below_c=15.0, per_degree_below=0.02),
}
"""How the weather makes people ask for more."""


def offset_of(config: SimConfig, *, shift_ms: int = 0) -> OffsetOf:
    """Return by how much the town's clocks are ahead of UTC; a story may shift them further."""
    zone = ZoneInfo(config.sim.timezone)

    def offset_ms(at: Instant) -> int:
        ahead = datetime.fromtimestamp((at + shift_ms) / 1000, zone).utcoffset() or timedelta()
        return round(ahead.total_seconds() * 1000) + shift_ms

    return offset_ms


def water_of(config: SimConfig, *, shift_ms: int = 0) -> Water:
    """Return the engine that balances the mains. Raises `ConfigError`."""
    network = config.sim.network
    offset_ms = offset_of(config, shift_ms=shift_ms)
    customers = [
        p.node
        for _, line in config.lines
        for d in line.device
        for p in d.point
        if p.node is not None and p.flow_point is not None
    ]
    weather = Weather(_climate(config), seed=config.sim.seed)

    def ground_c(at: Instant) -> float:
        return weather.ground_c(local_ms=at + offset_ms(at))

    if config.sim.utility == "gas":
        return gas_of(network, customers=customers, ground_c=ground_c)
    mains = Hydraulics(
        network,
        pumps=[pump for plant in config.plant for pump in plant.pump],
        customers=customers,
        offset_ms=offset_ms,
        ground_c=ground_c,
    )
    if config.heating is None:
        return mains
    curve = HeatingCurve(**config.heating.model_dump(exclude={"pump"}))
    return Heating(
        mains,
        pump=config.heating.pump,
        curve=curve,
        weather=weather,
        seed=config.sim.seed,
        offset_ms=offset_ms,
    )


def instruments_of(
    config: SimConfig, maps: Mapping[str, RegisterMap], water: Water
) -> tuple[Instrument, ...]:
    """Return every instrument, in the order of the file. Raises `ConfigError`."""
    found = []
    for where, line in config.lines:
        for m, device in enumerate(line.device):
            for k, p in enumerate(device.point):
                register = maps[device.map].register(p.register_name)
                assert register is not None
                is_level = register.quantity is Quantity.LEVEL
                key = f"{where}.device[{m}].point[{k}]"
                what = "tank" if is_level else "node"
                _refuse_unknown(config, f"{key}.node", p.node, water.names, what)
                _refuse_unknown(config, f"{key}.link", p.link, water.names, "link")
                made = instrument(
                    seed=config.sim.seed,
                    device=device.id,
                    zone=ZoneId(device.zone),
                    point=PointId(p.point),
                    register=register,
                    site=Site(node=p.node, link=p.link),
                    flow_point=PointId(p.flow_point) if p.flow_point else None,
                )
                found.append(made)
    return tuple(found)


def plant_of(
    config: SimConfig,
    water: Water,
    instruments: tuple[Instrument, ...],
    *,
    at: Instant,
    shift_ms: int = 0,
) -> Plant:
    """Return the plant as it stands at `at`. Raises `ConfigError`."""
    seed = config.sim.seed
    for n, section in enumerate(config.plant):
        key = f"plant[{n}]" if len(config.plant) > 1 else "plant"
        _refuse_unknown(config, f"{key}.tank", section.tank, water.names, "tank")
    town = Town(
        water.users,
        seed=seed,
        offset_ms=offset_of(config, shift_ms=shift_ms),
        calendar=CALENDARS[config.sim.calendar],
        climate=_climate(config),
        thirst=_THIRST[config.sim.utility],
    )
    rules = [
        TankRule(
            tank=section.tank,
            pumps=section.pump,
            on_below_m=section.pump_on_below_m,
            off_above_m=section.pump_off_above_m,
        )
        for section in config.plant
    ]
    return Plant(at=at, water=water, town=town, rules=rules, instruments=instruments, seed=seed)


def _climate(config: SimConfig) -> Climate:
    return Climate(**config.climate.model_dump())


def _refuse_unknown(
    config: SimConfig, key: str, name: str | None, names: Places, what: str
) -> None:
    """Raise `ConfigError` naming the key, with near names, unless `name` is one of `what`."""
    if name is None:
        return
    try:
        known(name, names[what], what=f"a {what} of {config.sim.network}")
    except ValueError as e:
        raise ConfigError(f"{key}: {e}") from None


def stations_of(config: SimConfig, maps: Mapping[str, RegisterMap]) -> list[Station]:
    """Return every device as the wires see it."""
    return [
        Station(
            device=d.id,
            line=line.name,
            zone=d.zone,
            on_mains=maps[d.map].behaviour.power is Power.MAINS,
        )
        for _, line in config.lines
        for d in line.device
    ]


def places_of(config: SimConfig, maps: Mapping[str, RegisterMap], water: Water) -> Places:
    """Return every name that something can happen to, by what it is."""
    devices = [d for _, line in config.lines for d in line.device]
    return {
        **water.names,
        "zone": tuple(z.id for z in config.zone),
        "line": tuple(line.name for _, line in config.lines),
        "device": tuple(d.id for d in devices),
        "point": tuple(p.point for d in devices for p in d.point),
        "cabinet": tuple(d.id for d in devices if not d.point),
        "clock": tuple(d.id for d in devices if maps[d.map].register("clock") is not None),
    }
