"""A network file in EPANET: opened, in our units, with its names, zones, users and controls."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from epanet import toolkit as en

from firmware_sim.core.automation import Condition, Order, Relation, Rule, Sight
from firmware_sim.core.plant import Tank
from firmware_sim.core.town import Course, Habit, Users
from telemetry.errors import ConfigError
from telemetry.instant import SECOND_MS

WHOLE_TOWN = "town"
"""The one zone of a network file without [TAGS]."""

_NEIGHBOURHOOD = 12
"""So many neighbouring nodes share their chances, so that zones do not breathe as one."""

_NEIGHBOURHOODS = 48
"""About so many at most, however large the network, as each costs time at every step."""

_REQUIRED_M = 15.0
"""Below this pressure people get less than they ask for, where the file does not say."""

_SIGHTS = {
    en.R_DEMAND: Sight.DEMAND,
    en.R_HEAD: Sight.HEAD,
    en.R_GRADE: Sight.HEAD,
    en.R_LEVEL: Sight.LEVEL,
    en.R_PRESSURE: Sight.PRESSURE,
    en.R_FLOW: Sight.FLOW,
    en.R_STATUS: Sight.IS_OPEN,
    en.R_SETTING: Sight.SETTING,
    en.R_CLOCKTIME: Sight.CLOCK_S,
}

_RELATIONS = {
    en.R_EQ: Relation.EQUAL,
    en.R_IS: Relation.EQUAL,
    en.R_NE: Relation.UNEQUAL,
    en.R_NOT: Relation.UNEQUAL,
    en.R_LE: Relation.AT_MOST,
    en.R_GE: Relation.AT_LEAST,
    en.R_LT: Relation.BELOW,
    en.R_BELOW: Relation.BELOW,
    en.R_GT: Relation.ABOVE,
    en.R_ABOVE: Relation.ABOVE,
}


class Inp:
    """An open EPANET project; indices change when nodes come and go, names do not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = _opened(path)
        self.zones = _zones(path)
        self.nodes: dict[str, int] = {}
        self.links: dict[str, int] = {}
        self.index()

    def close(self) -> None:
        """Give the engine's memory back; nothing may be asked afterwards."""
        en.close(self.project)
        en.deleteproject(self.project)

    def index(self) -> None:
        """Read anew which name has which index."""
        p = self.project
        self.nodes = {en.getnodeid(p, k): k for k in _counted(p, en.NODECOUNT)}
        self.links = {en.getlinkid(p, k): k for k in _counted(p, en.LINKCOUNT)}

    def nodes_of(self, *kinds: int) -> tuple[str, ...]:
        """Return the names of the nodes of these kinds."""
        return tuple(n for n, k in self.nodes.items() if en.getnodetype(self.project, k) in kinds)

    def links_of(self, *kinds: int) -> tuple[str, ...]:
        """Return the names of the links of these kinds."""
        return tuple(n for n, k in self.links.items() if en.getlinktype(self.project, k) in kinds)

    def ends(self, link: str) -> tuple[str, str]:
        """Return the names of the nodes at the ends of a link."""
        begin, end = en.getlinknodes(self.project, self.links[link])
        return en.getnodeid(self.project, begin), en.getnodeid(self.project, end)

    def zone_of(self, name: str) -> str:
        """Return the zone that the file tags a node or link with, or an empty text."""
        if not self.zones:
            return WHOLE_TOWN if name in self.nodes or name in self.links else ""
        return self.zones.get(name, "")

    def place(self, *, node: str | None, link: str | None) -> tuple[float, float]:
        """Return the coordinates of a node, or of the middle of a link."""
        try:
            if node is not None:
                x, y = en.getcoord(self.project, self.nodes[node])
                return x, y
            (ax, ay), (bx, by) = (self.place(node=n, link=None) for n in self.ends(link or ""))
        except Exception:  # noqa: BLE001  the binding has no narrower word for "no coordinates"
            return 0.0, 0.0
        return (ax + bx) / 2, (ay + by) / 2

    def tanks(self) -> dict[str, Tank]:
        """Return the shape of every tank; one with a volume curve has its mean area."""
        found = {}
        keys = (en.MINLEVEL, en.MAXLEVEL, en.TANKLEVEL, en.MAXVOLUME, en.MINVOLUME, en.TANKDIAM)
        for name in self.nodes_of(en.TANK):
            minimum, maximum, start, full, empty, across = (
                en.getnodevalue(self.project, self.nodes[name], key) for key in keys
            )
            height = maximum - minimum
            area = (full - empty) / height if height > 0 and full > empty else across**2 * 0.7854
            found[name] = Tank(
                area_m2=max(area, 0.1), minimum_m=minimum, maximum_m=maximum, start_m=start
            )
        return found

    def users(self, customers: Sequence[str]) -> tuple[tuple[Users, ...], list[int]]:
        """Give every group of users a demand pattern of its own, of one value."""
        p = self.project
        step_ms = en.gettimeparam(p, en.PATTERNSTEP) * SECOND_MS
        habits: dict[int, Habit | Course] = {}
        patterns: dict[Users, int] = {}
        seen: dict[tuple[str, int], int] = {}
        junctions = self.nodes_of(en.JUNCTION)
        size = max(_NEIGHBOURHOOD, len(junctions) // _NEIGHBOURHOODS)
        for name in junctions:
            k = self.nodes[name]
            zone = self.zone_of(name)
            for category in range(1, en.getnumdemands(p, k) + 1):
                # What is let in rather than taken keeps to the file's own pattern.
                if en.getbasedemand(p, k, category) <= 0:
                    continue
                pattern = en.getdemandpattern(p, k, category)
                if pattern not in habits:
                    habits[pattern] = self._habit(pattern, step_ms)
                nth = seen[zone, category] = seen.get((zone, category), -1) + 1
                label = en.getpatternid(p, pattern) if pattern else ""
                group = name if name in customers else f"{zone} {nth // size} {label}"
                users = Users(name=group, habit=habits[pattern], alone=name in customers)
                if users not in patterns:
                    patterns[users] = self._new_pattern(f"SIM-{len(patterns)}")
                en.setdemandpattern(p, k, category, patterns[users])
        return tuple(patterns), list(patterns.values())

    def taken_rules(self, *, but: Sequence[str]) -> tuple[Rule, ...]:
        """Take the controls and rules out of EPANET, and return them but those for some links."""
        found = [*self._controls(), *self._rules()]
        for _ in range(en.getcount(self.project, en.CONTROLCOUNT)):
            en.deletecontrol(self.project, 1)
        for _ in range(en.getcount(self.project, en.RULECOUNT)):
            en.deleterule(self.project, 1)
        kept = []
        for rule in found:
            then, otherwise = (
                tuple(order for order in orders if order.link not in but)
                for orders in (rule.then, rule.otherwise)
            )
            if then or otherwise:
                kept.append(
                    Rule(
                        conditions=rule.conditions,
                        then=then,
                        otherwise=otherwise,
                        priority=rule.priority,
                    )
                )
        return tuple(kept)

    def _habit(self, pattern: int, step_ms: int) -> Habit | Course:
        p = self.project
        name = en.getpatternid(p, pattern).upper() if pattern else ""
        if name in {h.value for h in Habit}:
            return Habit(name)
        length = en.getpatternlen(p, pattern) if pattern else 0
        values = tuple(en.getpatternvalue(p, pattern, n) for n in range(1, length + 1))
        return Course(values=values or (1.0,), step_ms=step_ms)

    def _new_pattern(self, name: str) -> int:
        en.addpattern(self.project, name)
        index: int = en.getpatternindex(self.project, name)
        return index

    def _controls(self) -> list[Rule]:
        p, found = self.project, []
        for k in _counted(p, en.CONTROLCOUNT):
            kind, link, setting, node, level = en.getcontrol(p, k)
            if kind == en.TIMER:  # it would act once, in the first hours of a run of EPANET's own
                continue
            if kind == en.TIMEOFDAY:
                when = Condition(sight=Sight.CLOCK_S, relation=Relation.EQUAL, value=level)
            else:
                is_tank = en.getnodetype(p, node) == en.TANK
                when = Condition(
                    sight=Sight.LEVEL if is_tank else Sight.PRESSURE,
                    name=en.getnodeid(p, node),
                    relation=Relation.AT_MOST if kind == en.LOWLEVEL else Relation.AT_LEAST,
                    value=level,
                )
            found.append(Rule(conditions=(when,), then=(self._order(link, setting),)))
        return found

    def _order(self, link: int, setting: float) -> Order:
        name = en.getlinkid(self.project, link)
        if en.getlinktype(self.project, link) in {en.PIPE, en.CVPIPE, en.PUMP}:
            return Order(link=name, is_open=setting > 0)
        return Order(link=name, setting=setting)

    def _rules(self) -> list[Rule]:
        p, found = self.project, []
        for k in _counted(p, en.RULECOUNT):
            premises, thens, elses, priority = en.getrule(p, k)
            conditions = [self._premise(k, n) for n in range(1, premises + 1)]
            if None in conditions:  # it looks at the time since a start that our town never had
                continue
            then = tuple(self._action(en.getthenaction(p, k, n)) for n in range(1, thens + 1))
            other = tuple(self._action(en.getelseaction(p, k, n)) for n in range(1, elses + 1))
            held = tuple(c for c in conditions if c is not None)
            found.append(Rule(conditions=held, then=then, otherwise=other, priority=priority))
        return found

    def _premise(self, rule: int, n: int) -> Condition | None:
        p = self.project
        logic, kind, index, variable, relation, status, value = en.getpremise(p, rule, n)
        sight = _SIGHTS.get(variable)
        if sight is None:
            return None
        name = ""
        if kind == en.R_NODE:
            name = en.getnodeid(p, index)
        elif kind == en.R_LINK:
            name = en.getlinkid(p, index)
        if sight is Sight.IS_OPEN:
            value = float(status != en.R_IS_CLOSED)
        return Condition(
            sight=sight,
            name=name,
            relation=_RELATIONS[relation],
            value=value,
            is_or=n > 1 and logic == _OR,
        )

    def _action(self, action: Sequence[Any]) -> Order:
        link, status, setting = action
        name = en.getlinkid(self.project, link)
        if status in {en.R_IS_OPEN, en.R_IS_CLOSED}:
            return Order(link=name, is_open=status == en.R_IS_OPEN)
        return Order(link=name, setting=setting)


_OR = 3
"""EPANET's word for OR between premises; AND is 2, IF is 1."""


def _counted(project: Any, what: int) -> range:
    return range(1, en.getcount(project, what) + 1)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"sim.network: expected an EPANET file, found none at {path}")
    project = en.createproject()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.txt"
        try:
            en.open(project, str(path), str(report), "")
            if en.getflowunits(project) != en.CMH:
                en.setflowunits(project, en.CMH)
            en.setoption(project, en.PRESS_UNITS, en.METERS)
            en.settimeparam(project, en.DURATION, 0)
            if en.getdemandmodel(project)[0] != en.PDA:
                en.setdemandmodel(project, en.PDA, 0.0, _REQUIRED_M, 0.5)
        except Exception as e:  # the binding raises nothing narrower
            en.close(project)
            en.deleteproject(project)
            raise ConfigError(f"sim.network: EPANET refuses {path}: {_words(report, e)}") from e
        en.clearreport(project)
    return project


def _words(report: Path, error: Exception) -> str:
    """Return EPANET's first words about a mistake in the file; its exception knows only that."""
    if report.is_file():
        lines = report.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            if line.strip().startswith("Error") and "200" not in line:
                return line.strip().rstrip(":")
    return str(error)


def _zones(path: Path) -> dict[str, str]:
    """Read the [TAGS] of the network file, which the binding cannot hand out."""
    zones = {}
    section = ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.partition(";")[0].split()
        if fields and fields[0].startswith("["):
            section = fields[0].upper()
        elif section == "[TAGS]" and len(fields) == 3:
            zones[fields[1]] = fields[2]
    return zones
