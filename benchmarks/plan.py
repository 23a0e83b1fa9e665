"""Is the plan of block reads the cheapest there is? `python -m benchmarks.plan --json`.

Random maps on random lines are planned, and every way of putting their registers into groups is
tried against the plan: `worse_than_optimum` counts maps where any is cheaper. `mixed` does the same
for maps with two periods, where our plan weighs whole classes only: `worst_ratio` is what it costs
at most against the best of all. `worst_extra_reads` is the most reads that finding one refused
register took, over every place in blocks of every length up to 125, with and without holes.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.core.isolation import Isolation
from gateway.core.line_timing import LineTiming
from gateway.core.poll_plan import Block, Costs, Wanted, load, plan, polls
from telemetry.register_map import Form, Register, Table

SEED = 7
MAPS = 200
MIXED = 100
FORMS = (Form.UINT16, Form.UINT16, Form.FLOAT32, Form.UINT32, Form.FLOAT64)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_args()
    chance = random.Random(SEED)
    figures: dict[str, Any] = {
        "seed": SEED,
        "maps": MAPS,
        "worse_than_optimum": sum(_is_worse(chance) for _ in range(MAPS)),
        "worst_extra_reads": max(_extra_reads(n, hole) for n in range(2, 126) for hole in (0, 3)),
        "mixed": _mixed(chance),
        "plan_100_registers_ms": _plan_ms(chance),
    }
    if options.json:
        print(json.dumps(figures))
        return
    for key, value in figures.items():
        print(f"  {key}: {value}")


def _costs(chance: random.Random) -> Costs:
    timing = LineTiming(
        baud=chance.choice((1200, 9600, 19200, 115200)), char_bits=11, has_gaps=True
    )
    return Costs(
        timing=timing,
        turnaround_s=chance.choice((0.0, 0.005, 0.03, 0.1)),
        pause_s=chance.choice((0.0, 0.0, 0.02)),
        count_max=chance.choice((8, 32, 125)),
        barred=frozenset(),
    )


def _registers(chance: random.Random, count: int) -> list[Register]:
    found, address = [], chance.randrange(50)
    for n in range(count):
        form = chance.choice(FORMS)
        found.append(Register(name=f"r{n}", address=address, form=form, unit=""))
        address += form.words + chance.choice((0, 0, 1, 5, 12, 25, 70))
    return found


def _partitions(items: Sequence[Any]) -> Iterator[list[list[Any]]]:
    if not items:
        yield []
        return
    first, *rest = items
    for groups in _partitions(rest):
        for n in range(len(groups)):
            yield [*groups[:n], [first, *groups[n]], *groups[n + 1 :]]
        yield [[first], *groups]


def _read_s(group: Sequence[Register], costs: Costs) -> float:
    count = max(r.end for r in group) - min(r.address for r in group)
    return costs.read_s(group[0].table, count) if count <= costs.count_max else float("inf")


def _is_worse(chance: random.Random) -> bool:
    registers, costs = _registers(chance, chance.randint(1, 8)), _costs(chance)
    ours = sum(map(costs.block_s, plan(registers, costs)))
    best = min(sum(_read_s(g, costs) for g in groups) for groups in _partitions(registers))
    return ours > best * (1 + 1e-9)


def _mixed(chance: random.Random) -> dict[str, Any]:
    """Compare with every grouping, each group read as often as its most frequent member."""
    worse, worst = 0, 1.0
    for _ in range(MIXED):
        costs = _costs(chance)
        wanted = [
            Wanted(register=r, period_ms=chance.choice((1_000, 1_000, 10_000)), is_low=False)
            for r in _registers(chance, chance.randint(2, 7))
        ]
        ours = load(polls(wanted, costs), costs)
        best = min(
            sum(
                _read_s([w.register for w in g], costs) * 1000 / min(w.period_ms for w in g)
                for g in groups
            )
            for groups in _partitions(wanted)
        )
        worse += ours > best * (1 + 1e-9)
        worst = max(worst, ours / best)
    return {"maps": MIXED, "worse_than_optimum": worse, "worst_ratio": round(worst, 4)}


def _extra_reads(count: int, hole: int) -> int:
    """Return the most reads that finding one refused register in a block takes."""
    registers = tuple(
        Register(name=f"r{n}", address=n, form=Form.UINT16, unit="")
        for n in range(count)
        if not hole or n % (hole + 1) == 0 or n == count - 1
    )
    block = Block(table=Table.HOLDING, address=0, count=count, registers=registers)
    worst = 0
    for bad in range(count):
        search, reads = Isolation(block), 0
        while search.verdict is None:
            asked = search.next
            search.told(refused=asked.address <= bad < asked.end)
            reads += 1
        refused = search.verdict.refused
        assert refused is not None
        assert bad in refused
        worst = max(worst, reads)
    return worst


def _plan_ms(chance: random.Random) -> float:
    registers, costs = _registers(chance, 100), _costs(chance)
    began = time.perf_counter()
    plan(registers, costs)
    return round(1000 * (time.perf_counter() - began), 2)


if __name__ == "__main__":
    main()
