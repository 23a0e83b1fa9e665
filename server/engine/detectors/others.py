"""What else is told of a zone: what its single points do then may belong to that.

To be told of the same twice helps nobody.
"""

from collections.abc import Iterator

from server.engine.detectors.finding import Finding
from server.engine.detectors.hours import Hour
from server.engine.effects import AlarmKind

_SPEAKS = (AlarmKind.LEAK, AlarmKind.BURST, AlarmKind.SUPPLY)


class Others:
    """The leaks, bursts and failures of supply that are told of each zone, and where is news."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, AlarmKind]] = {}
        self._news: dict[str, None] = {}

    def hear(self, finding: Finding) -> None:
        """Note what else is told of a zone."""
        if finding.kind in _SPEAKS:
            self._news[finding.zone] = None
            keys = self.told.setdefault(finding.zone, {})
            if finding.is_present:
                keys[finding.key] = finding.kind
            else:
                keys.pop(finding.key, None)

    def speak(self, zone: str, kinds: tuple[AlarmKind, ...] = _SPEAKS) -> bool:
        """Say whether something of some kinds is told of a zone."""
        return any(kind in kinds for kind in self.told.get(zone, {}).values())

    def news(self) -> frozenset[str]:
        """Return the zones of which something was heard since this was asked last."""
        news, self._news = frozenset(self._news), {}
        return news

    def through(self, hours: list[Hour], found: list[tuple[int, Finding]]) -> Iterator[Hour]:
        """Yield closed hours, each when what was found until its row has been heard."""
        heard = sorted(((row, f) for row, f in found if f.kind in _SPEAKS), key=lambda f: f[0])
        for hour in hours:
            while heard and heard[0][0] <= hour.row:
                self.hear(heard.pop(0)[1])
            yield hour
        for _, finding in heard:
            self.hear(finding)

    def adopt(self, other: "Others", zone: str) -> None:
        """Go on with a zone that goes on."""
        if zone in other.told:
            self.told[zone] = other.told[zone]
