"""Instruments: how what they show differs from the truth, from the seed."""

from dataclasses import dataclass

from firmware_sim.core.encode import Words, counter_words, counts, words
from firmware_sim.core.noise import Key, bell, key_of
from telemetry.instant import Instant
from telemetry.point import PointId, ZoneId
from telemetry.register_map import Register
from telemetry.units import Quantity, from_house, to_house


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where an instrument sits in the network: at a node, or on a link."""

    node: str | None
    link: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One register of one device, and the water it shows."""

    point: PointId
    device: str
    zone: ZoneId
    register: Register
    site: Site
    flow_point: PointId | None
    key: Key
    gain: float
    shift: float
    jitter: float
    jitter_share: float

    @property
    def counts(self) -> bool:
        """Say whether it adds up volume rather than showing the moment."""
        return self.register.quantity is Quantity.VOLUME

    @property
    def unit_size(self) -> float:
        """Return the unit of its register in the house unit."""
        return to_house(1.0, self.register.unit)

    @property
    def step(self) -> float:
        """Return the smallest difference that it can show, in the house unit."""
        return to_house(self.register.resolution or self.register.scale, self.register.unit)

    def reading(self, truth: float, at: Instant) -> float:
        """Return what it shows at `at`, in the house unit, in the steps that it can show."""
        chance = (self.jitter + self.jitter_share * abs(truth)) * bell(self.key, at)
        r = self.register
        shown = from_house(truth * self.gain + self.shift + chance, r.unit)
        if r.minimum is not None:
            shown = max(shown, r.minimum)
        if r.maximum is not None:
            shown = min(shown, r.maximum)
        step = r.resolution or r.scale
        return to_house(round(shown / step) * step, r.unit)

    def total(self, total_m3: float) -> float:
        """Return the volume that its counter stands at, in whole counts, in m³."""
        r = self.register
        return to_house(counts(total_m3, r) * r.scale, r.unit)

    def words(self, truth: float, at: Instant) -> Words:
        """Return its words for a moment's truth, or for the true total of a counter."""
        if self.counts:
            return counter_words(truth, self.register)
        return words(self.reading(truth, at), self.register)


_ERRORS: dict[Quantity, tuple[float, float, float, float]] = {
    # relative gain error, fixed shift, jitter in house units, jitter as a share of the value
    Quantity.PRESSURE: (0.001, 0.6, 0.22, 0.0),
    Quantity.FLOW: (0.003, 0.0, 0.04, 0.003),
    Quantity.LEVEL: (0.001, 0.004, 0.0015, 0.0),
    Quantity.TEMPERATURE: (0.0, 0.12, 0.02, 0.0),
    Quantity.VOLUME: (0.003, 0.0, 0.0, 0.0),
}
"""Typical of the trade: 0.1 % class transmitters, 0.3 % electromagnetic meters (one deviation)."""


def instrument(
    *,
    seed: int,
    device: str,
    zone: ZoneId,
    point: PointId,
    register: Register,
    site: Site,
    flow_point: PointId | None,
) -> Instrument:
    """Return the instrument with the errors that its device was born with.

    Flow and total of one device share their gain: they are one measurement.
    """
    gain, shift, jitter, share = _ERRORS[register.quantity]
    birth = key_of(seed, f"birth {device}")
    return Instrument(
        point=point,
        device=device,
        zone=zone,
        register=register,
        site=site,
        flow_point=flow_point,
        key=key_of(seed, f"reading {point}"),
        gain=1.0 + gain * bell(birth, 0),
        shift=shift * bell(birth, 1),
        jitter=jitter,
        jitter_share=share,
    )
