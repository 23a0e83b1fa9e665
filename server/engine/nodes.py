"""What is remembered of an edge node: its births, its devices, and what each metric is."""

from dataclasses import asdict, dataclass
from typing import Any

from server.engine.cursor import Cursors
from server.engine.shapes import Shapes
from telemetry.errors import ContractError
from telemetry.instant import SECOND_MS, Instant
from telemetry.point import PointId
from telemetry.sparkplug import DataType

DEVICES_MAX = 1_000
"""Devices of one edge node; the birth of one more is refused."""

UNBORN_MAX = 1_000
"""Unborn names, and devices that cannot be understood, that are waited for at one edge node."""

BIRTHS_BEFORE_GIVING_UP = 3
"""A metric that so many births in a row did not name will never be named: its samples are given up,
counted and told, as otherwise they would hold up everything behind them for ever."""

_ASK_EVERY_MS = 5 * SECOND_MS
_ASK_AGAIN_MS = 30 * SECOND_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a metric of a device reports. `unit` is set where its numbers must be converted."""

    point: PointId
    unit: str
    is_refused: bool


class Device:
    """One device of an edge node, or the node itself; a name without a point maps to None."""

    __slots__ = ("aliases", "datatypes", "is_alive", "is_born", "metrics", "scans")

    def __init__(self) -> None:
        self.is_born = False
        self.is_alive = False
        self.metrics: dict[str, Binding | None] = {}
        self.aliases: dict[int, str] = {}
        self.datatypes: dict[str, DataType] = {}
        self.scans = Shapes()

    def to_json(self) -> dict[str, Any]:
        """Return what the birth said, as plain values."""
        return {
            "is_born": self.is_born,
            "is_alive": self.is_alive,
            "metrics": [(name, b and asdict(b)) for name, b in self.metrics.items()],
            "aliases": list(self.aliases.items()),
            "datatypes": list(self.datatypes.items()),
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Device":
        """Return the device that `to_json` wrote."""
        device = cls()
        device.is_born, device.is_alive = body["is_born"], body["is_alive"]
        device.metrics = {name: Binding(**b) if b else None for name, b in body["metrics"]}
        device.aliases = {int(alias): name for alias, name in body["aliases"]}
        device.datatypes = {name: DataType(number) for name, number in body["datatypes"]}
        return device


class Node:
    """One edge node. It is `own` when its birth declared a log (`mw/epoch`)."""

    def __init__(self, *, group: str, edge: str) -> None:
        self.group = group
        self.edge = edge
        self.is_born = False
        self.is_online = False
        self.epoch: int | None = None
        self.is_bare = True
        self.hears_acks = False
        self.bd_seq: int | None = None
        self.seq = 0
        self.births = 0
        self.foreign_offset = 0
        self.cursors = Cursors()
        self.devices: dict[str, Device] = {}
        self._unborn: dict[str, int] = {}
        self._wanted = ""
        self._asked_for_this = False
        self._asked_at: Instant | None = None

    @property
    def gateway(self) -> str:
        """Return the name that its samples carry.

        Only our own nodes need no group before it, and of those with one id only the first.
        """
        is_alone = self.epoch is not None and self.is_bare
        return self.edge if is_alone else f"{self.group}/{self.edge}"

    def device(self, name: str) -> Device:
        """Return a device, made when it was not known."""
        device = self.devices.get(name)
        if device is None:
            if len(self.devices) >= DEVICES_MAX:
                raise ContractError(f"expected at most {DEVICES_MAX} devices, was told of another")
            device = self.devices[name] = Device()
        return device

    def want_birth(self, because: str) -> None:
        """Note that our picture of this node is not whole."""
        if not self._wanted:
            self._wanted = because
            self._asked_for_this = False

    def born(self) -> None:
        """Note a birth: every device must be born again before its data are understood."""
        self.births += 1
        self.is_born = True
        self._wanted = ""
        for device in self.devices.values():
            device.is_born = False

    def birth_to_ask_for(self, *, at: Instant) -> str:
        """Return why a birth must be asked for now, or nothing; never more than one in 5 s."""
        if not self._wanted:
            return ""
        pause = _ASK_AGAIN_MS if self._asked_for_this else _ASK_EVERY_MS
        if self._asked_at is not None and at - self._asked_at < pause:
            return ""
        self._asked_at = at
        self._asked_for_this = True
        return self._wanted

    def is_given_up(self, name: str) -> bool:
        """Say whether a name is still unborn after so many births that it will stay so."""
        first = self._unborn.get(name)
        if first is None:
            if len(self._unborn) >= UNBORN_MAX:
                del self._unborn[next(iter(self._unborn))]
            first = self._unborn[name] = self.births
        return self.births - first >= BIRTHS_BEFORE_GIVING_UP

    def to_json(self) -> dict[str, Any]:
        """Return all that is remembered of it, as plain values."""
        kept = {name: getattr(self, name) for name in _PLAIN}
        devices = [(name, device.to_json()) for name, device in self.devices.items()]
        return kept | {"cursors": self.cursors.to_json(), "devices": devices}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "Node":
        """Return the node that `to_json` wrote."""
        node = cls(group=body["group"], edge=body["edge"])
        for name in _PLAIN:
            setattr(node, name, body[name])
        node.cursors = Cursors.from_json(body["cursors"])
        node.devices = {name: Device.from_json(device) for name, device in body["devices"]}
        return node


_PLAIN = (
    "group", "edge", "is_born", "is_online", "epoch", "is_bare", "hears_acks", "bd_seq", "seq",
    "births", "foreign_offset", "_unborn", "_wanted", "_asked_for_this", "_asked_at",
)  # fmt: skip
"""What of a node is plain already."""
