"""What a message of a log says, one row for each of its offsets; and runs of rows as effects."""

from collections.abc import Sequence

from server.engine.effects import Accepted, Effect
from server.engine.nodes import Device
from server.engine.opening import AHEAD_MAX_MS, TEXT_MAX, sample_of
from server.engine.samples import Samples
from telemetry import extension
from telemetry.errors import ContractError
from telemetry.instant import Instant
from telemetry.ranges import OFFSET_MAX as EPOCH_MAX
from telemetry.sample import Reason, Sample
from telemetry.sparkplug import Metric, Payload

OFFSET_MAX = 2**63 - 1
"""The wire has 64 bits for an offset, databases 63: what is above is refused at the door."""

Row = tuple[Sample | None, bool]
"""One offset of a log: its sample, if it is kept, and whether it is historical."""


def row_of(metric: Metric, device: Device, payload: Payload, *, at: Instant, name: str = "") -> Row:
    """Return the sample of one offset, or none where its point is refused or its instant absurd."""
    read_at = metric.timestamp if metric.timestamp is not None else payload.timestamp
    binding = device.metrics.get(name or metric.name)
    if binding is None or binding.is_refused:
        return None, metric.is_historical
    if read_at is None:
        return Sample.bad(binding.point, at, Reason.UNKNOWN), metric.is_historical
    if read_at > at + AHEAD_MAX_MS:
        return None, metric.is_historical
    return sample_of(metric, binding, at=read_at), metric.is_historical


def accepted(at: Instant, gateway: str, epoch: int, first: int, rows: list[Row]) -> list[Effect]:
    """Return one effect for each unbroken run of kept samples, historical ones apart."""
    effects: list[Effect] = []
    run: list[Sample] = []
    was_historical = False
    for n, (sample, is_historical) in enumerate([*rows, (None, False)]):
        if run and (sample is None or is_historical != was_historical):
            effects.append(
                Accepted(
                    at=at,
                    gateway=gateway,
                    epoch=epoch,
                    first_offset=first + n - len(run),
                    samples=Samples.of(run),
                    is_historical=was_historical,
                )
            )
            run = []
        if sample is not None:
            run.append(sample)
            was_historical = is_historical
    return effects


def place_and_scan(payload: Payload) -> tuple[int, int, list[Metric]]:
    """Return the epoch and the first offset of a message, and the samples in it."""
    epoch = first = None
    scan = []
    for metric in payload.metrics:
        if metric.name == extension.EPOCH:
            epoch = offset_of(metric, highest=EPOCH_MAX)
        elif metric.name == extension.OFFSET:
            first = offset_of(metric)
        elif not metric.name.startswith(extension.PREFIX):
            scan.append(metric)
    if epoch is None or first is None:
        raise ContractError("expected mw/epoch and mw/offset before the samples, one is absent")
    if first + len(scan) > OFFSET_MAX:
        raise ContractError(f"expected offsets up to {OFFSET_MAX}, was {first}")
    return epoch, first, scan


def undated_in(payload: Payload, scan: Sequence[Metric]) -> ContractError | None:
    """Return what is wrong when a metric has no instant of its own and none of its message."""
    if payload.timestamp is not None:
        return None
    names = [m.name for m in scan if m.timestamp is None]
    if not names:
        return None
    return ContractError(f"expected an instant with {names[0][:TEXT_MAX]!r}, was none")


def offset_in(metrics: dict[str, Metric], name: str, *, highest: int = OFFSET_MAX) -> int | None:
    """Return the number that a metric of that name carries, if it is there and not null."""
    metric = metrics.get(name)
    return None if metric is None or metric.value is None else offset_of(metric, highest=highest)


def offset_of(metric: Metric, *, highest: int = OFFSET_MAX) -> int:
    """Return the number that a metric carries. Raises `ContractError`."""
    value = metric.value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
        because = f"expected 0 to {highest} in {metric.name}, was {value!r}"
        raise ContractError(because[:TEXT_MAX])
    return value


def bd_seq_in(metrics: dict[str, Metric]) -> int | None:
    """Return the number of a birth or a death, if it says one."""
    metric = metrics.get(extension.BDSEQ)
    return metric.value if metric is not None and isinstance(metric.value, int) else None
