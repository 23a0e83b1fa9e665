"""Net inflows of zones side by side: what each meter says, with its sign."""

import numpy as np

from server.engine.detectors.grid import Bools, Floats, Ints

Meters = tuple[tuple[int, int], ...]
"""The columns of a zone's meters and their signs; none where its inflow is not known."""


class Nets:
    """The net inflows of zones side by side, each summed meter by meter in its zone's order."""

    def __init__(self, zones: list[Meters]) -> None:
        self._count = len(zones)
        self._is_unknown = np.array([not meters for meters in zones], dtype=np.bool_)
        self._nth: list[tuple[Ints, Ints, Floats]] = []
        for n in range(max((len(meters) for meters in zones), default=0)):
            having = [z for z, meters in enumerate(zones) if len(meters) > n]
            columns = np.array([zones[z][n][0] for z in having], dtype=np.int64)
            signs = np.array([zones[z][n][1] for z in having], dtype=np.float64)
            self._nth.append((np.array(having, dtype=np.int64), columns, signs))

    def of(self, values: Floats, said: Bools) -> tuple[Floats, Bools]:
        """Return the net inflow of each bin and whether every meter spoke, (bins, zones).

        NaN where a meter has said nothing, or where not all are known.
        """
        net = np.zeros((len(values), self._count))
        is_fresh = np.ones(net.shape, dtype=np.bool_)
        for zones, columns, signs in self._nth:
            net[:, zones] += signs * values[:, columns]
            is_fresh[:, zones] &= said[:, columns]
        net[:, self._is_unknown], is_fresh[:, self._is_unknown] = np.nan, False
        return net, is_fresh
