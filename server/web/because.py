"""The engine's reasons in the reader's language, units and names.

The engine tells its reasons in English with house units and ids, as they are part of the record.
Those known here are said anew from the catalogue; any other is shown as it was told, never hidden.
"""

import re
from datetime import datetime

from server.web.meter_words import METER_SENTENCES
from server.web.rise_words import RISE_SENTENCES
from server.web.screen import Screen
from telemetry.units import quantity_of

_NUMBER = r"-?\d+(?:\.\d+)?"
_OPERATION = r"(?P<operation>works|valve|pump|prv|flushing|hydrant) (?P<id>\S+)"
_INFLOW = (
    r"zone (?P<zone>\S+) inflow {verb} (?P<change>N) (?P<unit>m3/h), from (?P<before>N) to"
    r" (?P<after>N) m3/h, (?P<times>N) times its usual change"
)
_LIMIT = r"(?P<point>\S+) is (?P<value>N) (?P<unit>\S+), {word} (?P<limit>N) \S+"
_BAND = r"(?P<point>\S+) has been {word} what it has kept for (?P<days>N) days for (?P<hours>N) h"

_HABIT = (
    r"(?P<point>\S+) has been (?P<change>N) (?P<unit>kPa) {word} its habit for (?P<hours>N) h,"
    r" its zone has not"
)

_SENTENCES = {
    "fact.inflow_rose": _INFLOW.replace("{verb}", "rose"),
    "fact.inflow_fell": _INFLOW.replace("{verb}", "fell"),
    "fact.inflow_changed": _INFLOW.replace("{verb}", "changed"),
    "fact.inflow_unknown": r"zone (?P<zone>\S+) inflow is not measured now",
    "fact.fell": (
        r"(?P<point>\S+) fell (?P<change>N) (?P<unit>kPa), from (?P<before>N) to (?P<after>N) kPa,"
        r" (?P<times>N) times its usual change"
    ),
    "fact.fell_together": (
        r"(?P<count>N) of (?P<known>N) points of zone (?P<zone>\S+) fell together"
    ),
    "fact.fell_alone": r"no other evidence of a leak",
    "fact.below": _LIMIT.replace("{word}", "below its limit of"),
    "fact.above": _LIMIT.replace("{word}", "above its limit of"),
    "fact.below_promise": _LIMIT.replace("{word}", "below the promise of"),
    "fact.promised_by": r"promised by policy (?P<policy>\S+): (?P<policy_key>\S+)",
    "fact.below_statute": _LIMIT.replace("{word}", "below the statutory"),
    "fact.below_band": _BAND.replace("{word}", "below"),
    "fact.above_band": _BAND.replace("{word}", "above"),
    "fact.band": (
        r"last hour (?P<value>N) (?P<unit>\S+); it has kept (?P<before>N) to (?P<after>N) \S+"
    ),
    "fact.below_habit": _HABIT.replace("{word}", "below"),
    "fact.above_habit": _HABIT.replace("{word}", "above"),
    "fact.usual": r"last hour (?P<value>N) (?P<unit>kPa), usual (?P<before>N) kPa",
    "fact.own_noise": r"its own noise would bring (?P<count>N) such alarms a year",
    "fact.habit_back": (
        r"(?P<point>\S+) was (?P<change>N) (?P<unit>kPa) off its habit over the last day"
    ),
    "fact.habit_new": r"(?P<point>\S+) has kept its new level for (?P<days>N) days",
    "fact.gateway_silent": r"gateway (?P<gateway>\S+) has sent nothing for (?P<seconds>N) s",
    "fact.gateway_lost": r"its connection to the broker is lost",
    "fact.zone_silent": (
        r"(?P<count>N) points of zone (?P<zone>\S+) have sent nothing for (?P<seconds>N) s or more"
    ),
    "fact.point_silent": r"(?P<point>\S+) has sent nothing for (?P<seconds>N) s",
    "fact.never_heard": r"(?P<point>\S+) has never been heard",
    "fact.link_down": (r"the server's own link to the broker has been down for (?P<seconds>N) s"),
    "fact.zone_bad": r"(?P<count>N) points of zone (?P<zone>\S+) give only bad readings",
    "fact.point_bad": (
        r"(?P<point>\S+) gives only bad readings \((?P<reason>\w+)\) for (?P<seconds>N) s"
    ),
    "fact.clock_slow": (
        r"the samples of gateway (?P<gateway>\S+) come (?P<seconds>N) s late: its clock or its link"
        r" is slow; they are kept, and not judged"
    ),
    "fact.clock_fast": (
        r"the samples of gateway (?P<gateway>\S+) are dated (?P<seconds>N) s ahead: its clock is"
        r" fast; they are kept, and not judged"
    ),
    "fact.explained": r"explained by OPERATION",
    "fact.overdue": (
        r"OPERATION should have ended at"
        r" (?P<at>\S+Z)"
    ),
    "fact.called_off": (r"OPERATION was called off"),
    "fact.not_back_kpa": (
        r"(?P<point>\S+) is (?P<change>N) (?P<unit>kPa) (?P<way>lower|higher) than is usual at"
        r" this time after what it was before"
    ),
    "fact.not_back_flow": (
        r"zone (?P<zone>\S+) inflow is (?P<change>N) (?P<unit>m3/h) (?P<way>lower|higher) than is"
        r" usual at this time after what it was before"
    ),
    "fact.left_shut": r"a valve may have been left as it was in OPERATION",
    "fact.no_alarm": r"there is no alarm (?P<subject>\S+) to acknowledge",
    "fact.no_incident": r"there is no open incident (?P<subject>\S+)",
    "fact.alarm_silent": r"(?P<subject>\S+) has no data",
    "fact.alarm_active": r"(?P<subject>\S+) is active",
    "fact.alarm_restless": r"(?P<subject>\S+) is not calm for long enough",
    "fact.still_active": r"(?P<subject>\S+) cannot be closed while (?P<alarms>.+) is active",
    **METER_SENTENCES,
    **RISE_SENTENCES,
}

_KNOWN = {
    key: re.compile(
        re.sub(r"\bN\b", _NUMBER.replace("\\", r"\\"), text.replace("OPERATION", _OPERATION))
    )
    for key, text in _SENTENCES.items()
}
_MEASURED = ("change", "before", "after", "value", "limit")


def reason(screen: Screen, text: str) -> str:
    """Return one reason of the engine as the screen's reader should see it."""
    for key, pattern in _KNOWN.items():
        found = pattern.fullmatch(text)
        if found:
            return screen.viewer.words.say(key, **_outward(screen, found.groupdict()))
    return text


def reasons(screen: Screen, texts: list[str]) -> list[str]:
    """Return several reasons, in the order the engine told them."""
    return [reason(screen, text) for text in texts]


def _outward(screen: Screen, facts: dict[str, str]) -> dict[str, str]:
    shown = dict(facts)
    if "unit" in facts:
        quantity = quantity_of(facts["unit"])
        shown["unit"] = screen.unit(quantity)
        for name in _MEASURED:
            if name in facts:
                shown[name] = screen.value(quantity, float(facts[name]))
    if "point" in facts:
        shown["point"] = screen.point(facts["point"])
    if "zone" in facts:
        shown["zone"] = screen.zone(facts["zone"])
    say = screen.viewer.words.say
    if "operation" in facts:
        shown["operation"] = say(f"operation.{facts['operation']}")
    if "way" in facts:
        shown["way"] = say(f"way.{facts['way']}")
    if "at" in facts:
        shown["at"] = screen.minute(round(datetime.fromisoformat(facts["at"]).timestamp() * 1000))
    if "reason" in facts:
        shown["reason"] = screen.viewer.words.reasons().get(facts["reason"], facts["reason"])
    return shown
