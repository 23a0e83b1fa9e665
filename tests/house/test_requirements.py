"""Does docs/requirements.md have every row, each held by tests that passed?"""

import re

from tests.house.tree import read, sources
from tests.support.requirements import HEAD, rows

LINE = re.compile(r"^\| (R\d+) \| (.+) \| (\d+) \| (\d+) \|$")


def marked() -> set[str]:
    """Return every row that some test names in the arguments of a mark."""
    text = "\n".join(s.text for s in sources() if s.path.startswith("tests/unit"))
    return set(re.findall(r'"(R\d{2,3})"', text))


def test_the_page_of_requirements_has_every_row_with_tests_that_passed():
    page = read("docs/requirements.md")
    lines = [LINE.match(line) for line in page.removeprefix(HEAD).splitlines()]

    found = {m[1]: (m[2], int(m[3]), int(m[4])) for m in lines if m}

    assert page.startswith(HEAD)
    assert {row: text for row, (text, _, _) in found.items()} == rows()
    assert {row for row, (_, tests, passed) in found.items() if not tests or tests != passed} == (
        set()
    )


def test_every_requirement_is_named_by_a_test():
    assert set(rows()) - marked() == set()
