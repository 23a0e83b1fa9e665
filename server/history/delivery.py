"""How one batch of lines is delivered: what an answer means, what to send next, how long to wait.

Pure: the caller posts `Delivery.piece` and says what came back, until no piece is left.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

LINES_MAX = 5_000
"""Lines per request that InfluxDB's documents recommend at most."""

SINGLES_MAX = 64
"""Lines of one batch that may be refused one by one; where it is more, all are wrong alike, and a
person must look instead of the quarantine filling up."""

PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 60.0
RETRY_AFTER_MAX_S = 3_600.0
"""A server may ask for a longer rest than ours, but not for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request: an HTTP status, or 0 where none came, and why."""

    status: int
    text: str = ""
    retry_after_s: float | None = None

    @property
    def words(self) -> str:
        """Return what is told of it."""
        return f"{self.status or 'no answer'}: {self.text}".rstrip(": ")


class Meaning(StrEnum):
    """What an answer asks of us."""

    TAKEN = "taken"
    EXPIRED = "expired"
    WRONG_LINES = "wrong_lines"
    TOO_LARGE = "too_large"
    AGAIN = "again"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A line that the server takes under no circumstances, and why."""

    line: bytes
    because: str


def meaning(answer: Answer) -> Meaning:
    """Say what an answer means.

    Whatever is neither taken nor a matter of lines or of patience needs a person: a wrong token,
    organisation, bucket or address, and a 200 or a redirection, which no InfluxDB gives.
    """
    match answer.status:
        case 204 | 201:
            return Meaning.TAKEN
        case 400 | 422:
            is_old = "beyond retention" in answer.text or "outside retention" in answer.text
            return Meaning.EXPIRED if is_old else Meaning.WRONG_LINES
        case 413:
            return Meaning.TOO_LARGE
        case 0 | 408 | 425 | 429:
            return Meaning.AGAIN
        case status if status >= 500:
            return Meaning.AGAIN
        case _:
            return Meaning.STOP


@dataclass(slots=True)
class Delivery:
    """One batch on its way; its lines leave in their order, in pieces of at most `limit`.

    A piece with wrong lines is halved until each of them stands alone: the server may have stored
    its other lines already, and storing them again changes nothing.
    """

    lines: Sequence[bytes]
    limit: int
    taken: int = 0
    expired: int = 0
    refused: list[Refused] = field(default_factory=list)
    _next: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = [(0, len(self.lines))] if self.lines else []
        self._cut()

    @property
    def piece(self) -> Sequence[bytes]:
        """Return what to send now; nothing when the batch is done."""
        if not self._next:
            return ()
        start, end = self._next[-1]
        return self.lines[start:end]

    def answered(self, answer: Answer) -> Meaning:
        """Take in the answer to `piece` and say what it meant: after AGAIN and STOP it stays."""
        said = meaning(answer)
        start, end = self._next[-1]
        match said:
            case Meaning.TAKEN:
                self._next.pop()
                self.taken += end - start
            case Meaning.EXPIRED:
                self._next.pop()
                dropped = min(_dropped(answer.text, end - start), end - start)
                self.expired += dropped
                self.taken += end - start - dropped
            case Meaning.TOO_LARGE if end - start > 1:
                self.limit = (end - start + 1) // 2
                self._cut()
            case Meaning.WRONG_LINES if end - start > 1:
                middle = (start + end) // 2
                self._next[-1:] = [(middle, end), (start, middle)]
            case Meaning.WRONG_LINES | Meaning.TOO_LARGE:
                if len(self.refused) >= SINGLES_MAX:
                    return Meaning.STOP
                self._next.pop()
                self.refused.append(Refused(line=self.lines[start], because=answer.text))
            case Meaning.AGAIN | Meaning.STOP:
                pass
        self._cut()
        return said

    def _cut(self) -> None:
        """Make the piece in front no longer than the limit."""
        if self._next and self._next[-1][1] - self._next[-1][0] > self.limit:
            start, end = self._next[-1]
            self._next[-1:] = [(start + self.limit, end), (start, start + self.limit)]


def _dropped(text: str, all_of_them: int) -> int:
    found = re.search(r"dropped[=: ]+(\d+)", text)
    return int(found[1]) if found else all_of_them


class Backoff:
    """How long to wait after a failure: twice as long each time, never quite the same, bounded."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._failures = 0

    def failed(self, retry_after_s: float | None) -> float:
        """Return the seconds to wait now; what the server asks for, where it asks for more."""
        ceiling = min(PAUSE_MAX_S, PAUSE_FIRST_S * (1 << min(self._failures, 16)))
        self._failures += 1
        pause = ceiling * self._chance.uniform(0.5, 1.0)
        return max(pause, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S))

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0
