"""The words that Mainwatch adds to Sparkplug: `mw/...` metrics and properties, always declared.

A foreign host may ignore them all, a foreign edge node need not send any (docs/wire-contract.md).

Offsets count samples. Every sample of a gateway's log (its epoch) has the next offset, from 0. A
DDATA carries `mw/epoch` and, in `mw/offset`, the offset of its first sample; its other metrics, in
order, have the following ones. `mw/ack` is the offset up to which, itself excluded, the server has
committed everything: a gateway may forget exactly the samples below it.
"""

EPOCH = "mw/epoch"
"""UInt64, every birth and every DDATA: the identity of the gateway's log."""

OFFSET = "mw/offset"
"""UInt64, DDATA (declared null in DBIRTH): offset of the first sample in this message."""

HEAD = "mw/head"
"""UInt64, NBIRTH and NDATA: the offset that the next sample will get."""

TAIL = "mw/tail"
"""UInt64, NBIRTH and NDATA: the lowest offset that the gateway still holds or has had committed."""

ACK_EPOCH = "mw/ack_epoch"
"""UInt64, NCMD (declared null in NBIRTH): the epoch that an acknowledgement speaks of."""

ACK = "mw/ack"
"""UInt64, NCMD (declared null in NBIRTH): every offset below it is committed."""

SACK = "mw/sack"
"""Bytes, NCMD (declared null in NBIRTH): ranges committed above `mw/ack` (`telemetry.ranges`)."""

HEALTH = "mw/health/"
"""Prefix of Doubles, in births and, when changed, in data: how the node or a device is, or null."""

REASON = "mw/reason"
"""Property of a sample that is not good: why (`telemetry.sample.Reason`)."""

TIME_QUALITY = "mw/time"
"""Property of a sample whose instant is not synchronised (`telemetry.sample.TimeQuality`)."""

POINT = "mw/point"
"""DBIRTH property: the point id that a metric reports."""

QUANTITY = "mw/quantity"
"""DBIRTH property: what it measures (`telemetry.units.Quantity`)."""

UNIT = "engUnit"
"""DBIRTH property: the house unit, under the name that common Sparkplug hosts show."""

ZONE = "mw/zone"
"""DBIRTH property: the zone that the fitter proposes."""

PLACE = "mw/place"
"""DBIRTH property: where the instrument is, for people."""

PERIOD_MS = "mw/period_ms"
"""DBIRTH property: how often the point is read or, by exception, how long it is silent at most."""

MINIMUM = "engLow"
"""DBIRTH property: the lowest value the instrument can say, in the house unit."""

MAXIMUM = "engHigh"
"""DBIRTH property: the highest value the instrument can say, in the house unit."""

RESOLUTION = "mw/resolution"
"""DBIRTH property: the smallest step, in the house unit."""

QUALITY = "Quality"
"""Sparkplug's own property of a metric, sent only when not good: 0 bad, 500 stale.

The specification allows 0, 192 and 500 only, so our UNCERTAIN travels as 500."""

PREFIX = "mw/"
BDSEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
NAMESPACE = "spBv1.0"

PAYLOAD_MAX = 131_072
"""Bytes. A broker may silently drop a larger QoS 0 message, so a gateway never sends one."""

PAYLOAD_TARGET = 65_536
"""Bytes. Batches are cut here."""
