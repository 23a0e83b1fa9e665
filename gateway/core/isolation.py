"""Which register of a refused block is the one that cannot be read: found by halving.

The shortest beginning of the block that is refused ends with the culprit. It is then asked for
alone: if that works, the device minds the length and not the register.
"""

from dataclasses import dataclass

from gateway.core.poll_plan import Block
from telemetry.register_map import Register


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found: addresses that the device refuses, or the longest read that it allows."""

    refused: range | None
    longest: int | None


class Isolation:
    """The search in one block. Ask for `next`, say with `told` whether it could be read."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._items = _items(block)
        self._good, self._bad = 0, len(self._items)
        """Beginnings of so many items can, and cannot, be read."""

    @property
    def verdict(self) -> Verdict | None:
        """Return what was found, or None while there is more to ask."""
        return self._verdict

    _verdict: Verdict | None = None

    @property
    def next(self) -> Block:
        """Return what to ask for now."""
        assert self._verdict is None
        if self._bad - self._good > 1:
            end = self._items[(self._good + self._bad) // 2 - 1].stop
            return self._part(self._block.address, end)
        culprit = self._items[self._bad - 1]
        return self._part(culprit.start, culprit.stop)

    def told(self, *, refused: bool) -> None:
        """Take the answer to `next`."""
        if self._bad - self._good > 1:
            middle = (self._good + self._bad) // 2
            if refused:
                self._bad = middle
            else:
                self._good = middle
            if self._bad == 1:  # its beginning is itself, and has just been refused alone
                self._verdict = Verdict(refused=self._items[0], longest=None)
            return
        if refused:
            self._verdict = Verdict(refused=self._items[self._bad - 1], longest=None)
        else:
            longest = self._items[self._good - 1].stop - self._block.address if self._good else 1
            self._verdict = Verdict(refused=None, longest=longest)

    def _part(self, address: int, end: int) -> Block:
        inside = tuple(r for r in self._block.registers if address <= r.address and r.end <= end)
        return Block(
            table=self._block.table, address=address, count=end - address, registers=inside
        )


def _items(block: Block) -> list[range]:
    """Return the block cut into what can only be read whole: registers, and holes between them."""
    found: list[range] = []
    at = block.address
    for r in sorted(block.registers, key=lambda r: (r.address, -r.end)):
        if r.end <= at:
            continue  # a field of a word that another register covers
        if r.address > at:
            found.append(range(at, r.address))
        if r.address < at and found:  # they overlap: read as one
            found[-1] = range(found[-1].start, r.end)
        else:
            found.append(range(r.address, r.end))
        at = r.end
    return found


def unreadable(refused: range, block: Block) -> tuple[Register, ...]:
    """Return the registers of a block that lie among refused addresses."""
    return tuple(r for r in block.registers if r.address < refused.stop and refused.start < r.end)


def told(block: Block, verdict: Verdict) -> str:
    """Return a verdict as a sentence.

    >>> block = Block(table=Table.HOLDING, address=0, count=9, registers=())
    >>> told(block, Verdict(refused=range(3, 5), longest=None))
    'refuses holding 3 to 4; it is read without them'
    """
    if verdict.refused is None:
        return f"refuses long reads; asked for {verdict.longest} registers at most"
    last = verdict.refused.stop - 1
    return f"refuses {block.table} {verdict.refused.start} to {last}; it is read without them"
