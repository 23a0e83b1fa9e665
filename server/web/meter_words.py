"""The engine's sentences on meters, as patterns: `N` is a number (see `because.py`)."""

METER_SENTENCES = {
    "fact.meter_never_zero": (
        r"(?P<point>\S+) has not been below (?P<value>N) m3/h for (?P<hours>N) hours"
    ),
    "fact.meter_stood_still": r"before that it stood still on (?P<still>N) of (?P<days>N) days",
    "fact.meter_far_above": (
        r"(?P<point>\S+) has been at (?P<value>N) m3/h for (?P<minutes>N) minutes,"
        r" (?P<times>N) times its most of 28 days, which is (?P<limit>N) m3/h"
    ),
    "fact.meter_burst": r"it looks like a burst behind the meter",
    "fact.meter_scale": r"so much more at once is the meter's scale, not water",
    "fact.meter_stopped": (
        r"(?P<point>\S+) has stood still for (?P<hours>N) hours; its longest pause of 28 days was"
        r" (?P<pause>N) hours"
    ),
    "fact.meter_pressures": (
        r"the pressures beside it are at (?P<value>N) (?P<unit>kPa), usually (?P<limit>N) kPa"
    ),
    "fact.meter_backwards": (
        r"(?P<point>\S+) has run backwards at (?P<value>N) m3/h for (?P<minutes>N)"
        r" minutes; it never did before"
    ),
    "fact.meter_reversed": (r"reversed: the meter is the wrong way round, or water flows back"),
    "fact.meter_too_little": (
        r"(?P<point>\S+) has been at (?P<value>N) m3/h for (?P<hours>N) hours, below a"
        r" third of its least hour of 28 days, which is (?P<limit>N) m3/h"
    ),
    "fact.meter_disagrees": (
        r"(?P<point>\S+) says (?P<value>N) m3/h, its total (?P<limit>N) m3/h, for"
        r" (?P<hours>N) hours"
    ),
    "fact.meter_one_of_two": (r"one of the two has another scale than before, or stands still"),
    "fact.meter_fell": (
        r"the total of (?P<point>\S+) fell from (?P<before>N) m3 to (?P<after>N) m3 and"
        r" goes on from there"
    ),
    "fact.meter_rose": (
        r"the total of (?P<point>\S+) rose by (?P<change>N) m3 at once, more than a day at its most"
        r" of (?P<limit>N) m3/h"
    ),
    "fact.meter_anew": r"the counter was reset or replaced",
    "fact.meter_gateway_anew": (r"the gateway says that the counter of (?P<point>\S+) began anew"),
    "fact.meter_net": (
        r"by its meters zone (?P<zone>\S+) gave (?P<value>N) m3/h more than it got, for 2"
        r" days: (?P<names>.+)"
    ),
    "fact.meter_sign": r"one of them has the wrong sign, or is the wrong way round",
}
