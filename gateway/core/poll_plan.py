"""Which registers to ask for together: the block reads that hold the line for the shortest time.

The cost of a read is what the line needs for it: characters at its speed, the silences round the
frames, the device's turnaround and its pauses. So how long a hole is worth reading rather than
opening another request follows from the line, and nobody has to choose a number.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product

from gateway.core.line_timing import LineTiming
from telemetry.instant import SECOND_MS
from telemetry.register_map import BITS_PER_READ_MAX, Register, Table

CLASSES_MERGED_MAX = 4
"""Up to so many different periods on one device every way of reading them together is weighed."""

Address = tuple[Table, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One read request: `count` registers from `address` of `table`, for these registers."""

    table: Table
    address: int
    count: int
    registers: tuple[Register, ...]

    @property
    def end(self) -> int:
        """Return the first address after the block."""
        return self.address + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a read of one device costs its line, and what the device allows.

    `barred` are addresses that must not be read: the device has refused them.
    """

    timing: LineTiming
    turnaround_s: float
    pause_s: float
    count_max: int
    barred: frozenset[Address]

    def read_s(self, table: Table, count: int) -> float:
        """Return for how long one read holds the line."""
        waits_s = 2 * self.timing.gap_s + self.turnaround_s + self.pause_s
        return self.timing.wire_s(table, count) + waits_s

    def block_s(self, block: Block) -> float:
        """Return for how long a block holds the line."""
        return self.read_s(block.table, block.count)

    def longest(self, table: Table) -> int:
        """Return how much of a table one read may ask for."""
        return BITS_PER_READ_MAX if table.is_of_bits else self.count_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A register, how often it is wanted and whether it may wait while others cannot."""

    register: Register
    period_ms: int
    is_low: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What of one device is read together, and how often."""

    period_ms: int
    is_low: bool
    blocks: tuple[Block, ...]


def plan(registers: Iterable[Register], costs: Costs) -> tuple[Block, ...]:
    """Return the blocks that cover the registers at the lowest cost, by dynamic programming.

    Blocks are in order of table and address, and so are the registers within them. Among plans of
    equal cost it is the one with fewest blocks. Raises `ValueError` when one register alone is
    longer than a read may be.
    """
    ordered = sorted(registers, key=lambda r: (r.table.value, r.address, r.end, r.name))
    found: list[Block] = []
    for table, group in groupby(ordered, key=lambda r: r.table):
        found += _plan_table(table, tuple(group), costs)
    return tuple(found)


def polls(wanted: Sequence[Wanted], costs: Costs) -> tuple[Poll, ...]:
    """Return the polls of a device, those of high priority and short period first.

    A rarely wanted register may be read along with a faster poll where that is cheaper than a
    request of its own: whole classes of one priority are weighed against each other, and what lies
    within a faster poll's blocks, whatever its priority, comes with them for nothing.
    """
    classes: dict[tuple[bool, int], list[Register]] = {}
    for w in sorted(wanted, key=lambda w: (w.is_low, w.period_ms)):
        classes.setdefault((w.is_low, w.period_ms), []).append(w.register)
    keys = list(classes)
    hosts = [[k for k in keys if k[1] <= key[1] and k[0] == key[0]] for key in keys]
    if len(keys) > CLASSES_MERGED_MAX:
        hosts = [[key] for key in keys]
    best: tuple[float, int, tuple[Poll, ...]] | None = None
    for assignment in product(*hosts):
        if any(assignment[keys.index(host)] != host for host in assignment):
            continue  # nobody rides with a rider
        merged: dict[tuple[bool, int], list[Register]] = {}
        for key, host in zip(keys, assignment, strict=True):
            merged.setdefault(host, []).extend(classes[key])
        found = _with_riders({key: merged[key] for key in sorted(merged)}, costs)
        worth = (load(found, costs), -len(found), found)
        if best is None or worth[:2] < best[:2]:
            best = worth
    return best[2] if best is not None else ()


def load(planned: Iterable[Poll], costs: Costs) -> float:
    """Return what share of the line's time the polls of a device need."""
    return sum(
        costs.block_s(block) * SECOND_MS / poll.period_ms
        for poll in planned
        for block in poll.blocks
    )


def is_settled(planned: Sequence[Poll]) -> bool:
    """Say whether no turnaround could make another plan better.

    So it is where each table is one block without a hole: every other plan reads as much, and asks
    more often.
    """
    if len(planned) != 1:
        return False
    blocks = planned[0].blocks
    return len({b.table for b in blocks}) == len(blocks) and not any(map(_has_hole, blocks))


def _has_hole(block: Block) -> bool:
    end = block.address
    for r in sorted(block.registers, key=lambda r: r.address):
        if r.address > end:
            return True
        end = max(end, r.end)
    return False


def _plan_table(table: Table, ordered: tuple[Register, ...], costs: Costs) -> Iterator[Block]:
    longest = costs.longest(table)
    barred = sorted(a for t, a in costs.barred if t is table)
    # best[n]: cost and number of blocks for the first n registers, and where the last one begins.
    best: list[tuple[float, int, int]] = [(0.0, 0, 0)]
    for n, last in enumerate(ordered):
        if last.length > longest:
            raise ValueError(
                f"register {last.name!r}: expected at most {longest} words, was {last.length}"
            )
        found: tuple[float, int, int] | None = None
        end = last.end
        for first in range(n, -1, -1):
            address = ordered[first].address
            end = max(end, ordered[first].end)
            if first < n and (
                end - address > longest or _is_barred(barred, address, end, ordered[first : n + 1])
            ):
                break
            cost, blocks, _ = best[first]
            candidate = (cost + costs.read_s(table, end - address), blocks + 1, first)
            if found is None or candidate[:2] < found[:2]:
                found = candidate
        assert found is not None
        best.append(found)
    cuts: list[tuple[int, int]] = []
    n = len(ordered)
    while n:
        cuts.append((best[n][2], n))
        n = best[n][2]
    for begin, stop in reversed(cuts):
        members = ordered[begin:stop]
        address = members[0].address
        count = max(r.end for r in members) - address
        yield Block(table=table, address=address, count=count, registers=members)


def _is_barred(
    barred: Collection[int], address: int, end: int, members: Sequence[Register]
) -> bool:
    """Say whether a read would cross what the device refuses; a wanted register is worth a try."""
    return any(
        address <= a < end and not any(r.address <= a < r.end for r in members) for a in barred
    )


def _with_riders(classes: dict[tuple[bool, int], list[Register]], costs: Costs) -> tuple[Poll, ...]:
    """Plan class after class; a register within an earlier block is read with that one."""
    found: list[Poll] = []
    for (is_low, period_ms), registers in classes.items():
        left = []
        for r in registers:
            at = next(
                (
                    (p, b)
                    for p, poll in enumerate(found)
                    for b, block in enumerate(poll.blocks)
                    if poll.period_ms <= period_ms
                    and block.table is r.table
                    and block.address <= r.address
                    and r.end <= block.end
                ),
                None,
            )
            if at is None:
                left.append(r)
            else:
                found[at[0]] = _joined(found[at[0]], at[1], r)
        if left:
            blocks = plan(left, costs)
            found.append(Poll(period_ms=period_ms, is_low=is_low, blocks=blocks))
    return tuple(found)


def _joined(poll: Poll, n: int, rider: Register) -> Poll:
    block = poll.blocks[n]
    wider = Block(
        table=block.table,
        address=block.address,
        count=block.count,
        registers=(*block.registers, rider),
    )
    blocks = (*poll.blocks[:n], wider, *poll.blocks[n + 1 :])
    return Poll(period_ms=poll.period_ms, is_low=poll.is_low, blocks=blocks)
