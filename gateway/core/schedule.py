"""When a device is due: on a fixed grid, whatever the polls themselves take."""


def next_due(due_ms: int, *, start_ms: int, period_ms: int, now_ms: int) -> tuple[int, int]:
    """Return the next instant of the grid after `now_ms`, and how many were missed since `due_ms`.

    >>> next_due(2000, start_ms=0, period_ms=1000, now_ms=2300)
    (3000, 0)
    >>> next_due(2000, start_ms=0, period_ms=1000, now_ms=4300)
    (5000, 2)
    """
    ahead = start_ms + ((now_ms - start_ms) // period_ms + 1) * period_ms
    return ahead, max(0, (ahead - due_ms) // period_ms - 1)
