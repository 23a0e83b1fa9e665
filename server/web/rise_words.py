"""The engine's sentences on slow rises of a zone's inflow, as patterns: `N` is a number."""

_RISE = (
    r"net inflow of (?P<zone>\S+) has stood (?P<value>N) m³/h \((?P<share>N) %\) above its habit"
    r" for (?P<hours>N) h, "
)

RISE_SENTENCES = {
    "fact.rise_quick": _RISE + r"at every hour alike",
    "fact.rise_slow": _RISE + r"on the mean of its last hours",
    "fact.rise_hour": r"last hour (?P<value>N) m³/h, usual (?P<before>N) m³/h",
    "fact.rise_past": r"the zone's own past would bring (?P<count>N) such alarms a year",
    "fact.rise_grown": r"it has grown to (?P<value>N) m³/h",
    "fact.rise_felt": r"pressure stands below its last days: (?P<names>.+)",
    "fact.rise_over": (
        r"a day's level of net inflow is (?P<value>N) m³/h again; before the leak it was"
        r" (?P<before>N)"
    ),
    "fact.rise_habit": (r"nothing more was seen of it for (?P<days>N) days: it is habit now"),
}
