"""Which registers to ask for together: the fewest block reads that cover a device."""

from collections.abc import Iterable
from dataclasses import dataclass

from telemetry.register_map import Register, Table

HOLE_MAX = 16
"""Registers that nobody asked for, read rather than opening another request. On a 9600-baud line
the break-even is 10 to 23; a plan by the cost of the line is a later step."""


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


def plan(
    registers: Iterable[Register], *, count_max: int, hole_max: int = HOLE_MAX
) -> tuple[Block, ...]:
    """Return the fewest blocks of at most `count_max` with no hole longer than `hole_max`.

    Blocks are in order of table and address, and so are the registers within them. Taking each
    block as long as the limits allow, from the lowest address on, leaves no shorter plan.
    Raises `ValueError` when one register alone is longer than a block may be.
    """
    blocks: list[Block] = []
    for register in sorted(registers, key=lambda r: (r.table.value, r.address, r.end, r.name)):
        if register.form.words > count_max:
            raise ValueError(
                f"register {register.name!r}: expected at most {count_max} words,"
                f" was {register.form.words}"
            )
        last = blocks[-1] if blocks else None
        if last is not None and _fits(last, register, count_max=count_max, hole_max=hole_max):
            blocks[-1] = Block(
                table=last.table,
                address=last.address,
                count=max(last.end, register.end) - last.address,
                registers=(*last.registers, register),
            )
        else:
            alone = (register,)
            blocks.append(
                Block(
                    table=register.table,
                    address=register.address,
                    count=register.form.words,
                    registers=alone,
                )
            )
    return tuple(blocks)


def has_holes(block: Block) -> bool:
    """Say whether a block reads registers that nobody asked for."""
    wanted = {a for r in block.registers for a in range(r.address, r.end)}
    return len(wanted) < block.count


def _fits(block: Block, register: Register, *, count_max: int, hole_max: int) -> bool:
    return (
        register.table is block.table
        and register.address - block.end <= hole_max
        and max(block.end, register.end) - block.address <= count_max
    )
