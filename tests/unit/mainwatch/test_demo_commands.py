"""What the demo tells its programs on their command lines."""

from pathlib import Path

from mainwatch.demo import Plant, Wishes
from mainwatch.load import load
from server.config import ServerConfig

WISHES = Wishes(
    headless=True,
    seconds=1.0,
    burst_after_s=None,
    burst_pipe=None,
    burst_m3h=40.0,
    report=None,
    port=0,
    folder=None,
    broker=None,
    days=None,
)


def test_a_folder_of_any_name_reaches_the_program_as_it_is(tmp_path: Path):
    folder = str(tmp_path / '水 "😀" \\ main')
    command = Plant(tmp_path, WISHES)._program("server", {"server.data": folder}).command

    path, override = command[command.index("--config") + 1], command[-1]
    assert load(Path(path), ServerConfig, [override]).server.data == Path(folder)
