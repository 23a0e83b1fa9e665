"""Are the historian's tables, files and packed columns those that others have learnt to read?"""

from contextlib import closing
from pathlib import Path

import numpy as np

from server.history.columns import KINDS, Columns
from server.history.day_file import SCHEMA
from server.history.historian import Historian
from server.history.packing import expand, join, split, squeeze
from server.history.rollups import KINDS as ROLLUP_KINDS

HERE = Path(__file__).parent / "historian"

YOUNG = (
    "e803000000000000e703000000000000d007000000000000d10700000000000000000000000000000100000000000000"
    "0000000000807140000000000000f87f0300000004000000010000000100000001000200c000"
)


def test_the_tables_are_those_of_the_document(tmp_path: Path, golden):
    Historian(tmp_path / "historian.db").close()
    with closing(Historian(tmp_path / "historian.db")) as historian:
        tables = historian._db.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
            " ORDER BY type DESC, name"
        ).fetchall()
        (version,) = historian._db.execute("PRAGMA user_version").fetchone()

    golden(HERE / "schema.sql", "\n".join(f"{sql};" for (sql,) in tables) + f"\n-- {version}\n")


def test_a_sealed_day_has_the_columns_of_the_document(golden):
    lines = [f"{f.name}: {f.type}{'' if f.nullable else ' not null'}" for f in SCHEMA]

    golden(HERE / "day.txt", "\n".join(lines) + "\n")


def test_packed_columns_have_the_golden_bytes(golden):
    samples = Columns.of(split(bytes.fromhex(YOUNG), list(KINDS.values()), 2))

    assert samples.at.tolist() == [1000, 999]
    assert samples.point.tolist() == [3, 4]
    assert samples.value.tolist()[0] == 280.0
    assert np.isnan(samples.value[1])
    assert join(samples.arrays()).hex() == YOUNG

    tidy = expand(squeeze(samples.arrays()), list(KINDS.values()), 2)

    assert join(tidy).hex() == YOUNG
    kinds = [f"{n} {kind}" for kinds in (KINDS, ROLLUP_KINDS) for n, kind in kinds.items()]
    golden(HERE / "packed.txt", "\n".join(kinds) + "\n")
