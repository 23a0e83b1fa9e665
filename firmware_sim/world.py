"""The field of a configuration with a story in it, ready to be played or to be written down."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from firmware_sim import assembly, history
from firmware_sim.config import SimConfig, problems
from firmware_sim.core import scenario as stories
from firmware_sim.core.events import Event, Layer
from firmware_sim.core.moments import OffsetOf, duration_ms, moment
from firmware_sim.core.plant import Water
from firmware_sim.core.truths import Label, label
from firmware_sim.field import Field
from firmware_sim.scenario_config import ScenarioConfig
from telemetry.errors import ConfigError
from telemetry.instant import DAY_MS, SECOND_MS, Instant
from telemetry.register_map import RegisterMap

Maps = Mapping[str, RegisterMap]

_DEFAULT_END = Instant(1_767_225_600_000)
"""2026-01-01T00:00:00Z: a history is asked for by its seed, not by the day on which it is made."""


@dataclass(slots=True, kw_only=True)
class World:
    """The field, and what its ledger must know of it."""

    config: SimConfig
    field: Field
    water: Water
    scheduled: tuple[Event, ...] = ()
    planned: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, config: SimConfig, maps: Maps, water: Water, *, at: Instant, shift_ms: int = 0
    ) -> "World":
        """Return the world as it stands at `at`. Raises `ConfigError`."""
        instruments = assembly.instruments_of(config, maps, water)
        plant = assembly.plant_of(config, water, instruments, at=at, shift_ms=shift_ms)
        field = Field(
            plant,
            stations=assembly.stations_of(config, maps),
            places=assembly.places_of(config, maps, water),
            seed=config.sim.seed,
        )
        return cls(config=config, field=field, water=water)

    def take_in(self, scenario: ScenarioConfig, *, origin: Instant, shift_ms: int = 0) -> None:
        """Prepare the events of a story that begins at `origin`. Raises `ConfigError`.

        The town's clocks are put forward by `shift_ms`, so the events come that much sooner.
        """
        offset_ms = assembly.offset_of(self.config)
        found, mistakes = events_of(
            scenario, origin=origin, offset_ms=offset_ms, places=self.field.places
        )
        if mistakes:
            raise ConfigError("; ".join(f"{scenario.scenario.name}: {m}" for m in mistakes))
        self.scheduled = stories.shifted(found, -shift_ms)
        self.planned = frozenset(e.id for e in scenario.event if e.planned)

    def label_of(self, event: Event) -> Label:
        """Return what a ledger says of an event."""
        return label(
            event,
            instruments=self.field.plant.instruments,
            where_of=self.field.plant.where,
            is_planned=event.id in self.planned,
        )

    def place_of(self, node: str | None, link: str | None) -> tuple[float, float]:
        """Return the coordinates of a node, or of the middle of a link."""
        return self.water.place(node=node, link=link)

    def write(
        self,
        span: history.Span,
        *,
        is_stopped: Callable[[], bool],
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Write a history. Raises `ConfigError`."""
        history.write(
            self.config,
            self.field,
            span,
            label_of=self.label_of,
            place_of=self.place_of,
            is_stopped=is_stopped,
            progress=progress,
        )


def write_history(
    config: SimConfig,
    maps: Maps,
    *,
    scenario: ScenarioConfig | None,
    ending: Instant | None,
    is_stopped: Callable[[], bool],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write `config.history.days` of the town, with a story in it, straight to a recording.

    With 0 days it is as long as the story. Raises `ConfigError`.
    """
    if found := problems(config, maps):
        raise ConfigError("; ".join(found))
    if scenario is None and not config.history.days:
        raise ConfigError("history.days: expected at least 1 day or a scenario, found neither")
    cadence_ms = config.history.cadence_s * SECOND_MS
    water = assembly.water_of(config)
    try:
        begin, until = _span(config, scenario, ending=ending)
        world = World.of(config, maps, water, at=begin)
        if scenario is not None:
            world.take_in(scenario, origin=origin_of(config, scenario, earliest=begin))
            world.field.schedule(world.scheduled)
        history.prepare(config.history.out)
        span = history.Span(
            folder=config.history.out,
            until=until,
            cadence_ms=cadence_ms,
            story=scenario.scenario.name if scenario else "",
            with_marks=_has_marks(world.scheduled),
        )
        world.write(span, is_stopped=is_stopped, progress=progress)
    finally:
        water.close()


def events_of(
    scenario: ScenarioConfig, *, origin: Instant, offset_ms: OffsetOf, places: stories.Places
) -> tuple[tuple[Event, ...], list[str]]:
    """Return the events of a story in the order of their begin, and every mistake in it."""
    told = [section.told for section in scenario.event]
    found, mistakes = stories.events(told, origin=origin, offset_ms=offset_ms, places=places)
    ids = [t.id for t in told]
    mistakes += stories.expectation_mistakes(scenario.expect.says, ids=ids, places=places)
    return found, mistakes


def mistakes_in(scenario: ScenarioConfig, config: SimConfig, maps: Maps) -> list[str]:
    """Return every mistake in a story, one sentence each. Raises `ConfigError` for its town."""
    water = assembly.water_of(config)
    try:
        begin, _ = _span(config.without_history(), scenario, ending=None)
        _, found = events_of(
            scenario,
            origin=begin,
            offset_ms=assembly.offset_of(config),
            places=assembly.places_of(config, maps, water),
        )
        return found
    finally:
        water.close()


def origin_of(config: SimConfig, scenario: ScenarioConfig, *, earliest: Instant) -> Instant:
    """Return when a story begins that may begin at `earliest` or later. Raises `ConfigError`."""
    starts = scenario.scenario.starts
    if not starts:
        return earliest
    try:
        return moment(starts, origin=earliest, offset_ms=assembly.offset_of(config))
    except ValueError as e:
        raise ConfigError(f"{scenario.scenario.name}: scenario.starts: {e}") from None


def _span(
    config: SimConfig, scenario: ScenarioConfig | None, *, ending: Instant | None
) -> tuple[Instant, Instant]:
    """Return the begin and the end of a history. Raises `ConfigError`."""
    cadence_ms = config.history.cadence_s * SECOND_MS
    until = history.ends_at(config, _DEFAULT_END if ending is None else ending)
    if config.history.days or scenario is None:
        begin = Instant(until - config.history.days * DAY_MS)
        if scenario is not None and origin_of(config, scenario, earliest=begin) >= until:
            raise ConfigError(f"{scenario.scenario.name}: starts only after the history's end")
        return begin, until
    try:
        length_ms = duration_ms(scenario.scenario.lasts) // cadence_ms * cadence_ms
    except ValueError as e:
        raise ConfigError(f"{scenario.scenario.name}: scenario.lasts: {e}") from None
    begin = origin_of(config, scenario, earliest=Instant(until - length_ms))
    return begin, Instant(begin + length_ms)


def _has_marks(events: Iterable[Event]) -> bool:
    """Say whether a story may leave gaps, so that its recording tells why."""
    return any(e.kind.layer is not Layer.WATER or "dark" in e.numbers for e in events)
