import logging
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.ray_token import ensure_ray_token
from tests.conftest import CHECKOUT


def test_the_token_is_long_and_its_owners_alone(tmp_path):
    path = tmp_path / "ray" / "auth_token"
    ensure_ray_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    assert list(path.parent.iterdir()) == [path]


def test_a_token_stays_and_is_closed_to_others(tmp_path, caplog):
    path = tmp_path / "auth_token"
    path.write_text("kept")
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        ensure_ray_token(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("kept", 0o600)
    assert "could be read by other users" in caplog.text


def test_no_two_projects_have_the_same_token(tmp_path):
    for name in "ab":
        ensure_ray_token(tmp_path / name)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_all_who_ask_at_once_read_the_same_token(tmp_path):
    def ask(number):
        ensure_ray_token(tmp_path / str(number % 20))
        return number % 20, (tmp_path / str(number % 20)).read_text()

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(ask, range(320)))) == 20


def test_an_empty_file_is_no_token(tmp_path):
    (tmp_path / "auth_token").touch(0o600)
    with pytest.raises(ValueError, match="is empty, but must hold Ray's token: delete it"):
        ensure_ray_token(tmp_path / "auth_token")


def test_a_full_disk_leaves_no_file(tmp_path, run_on_small_disk):
    program = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
from pathlib import Path
from pipelines.ray_token import ensure_ray_token
disk = Path(sys.argv[1])
try:
    with (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
except OSError:
    pass
try:
    ensure_ray_token(disk / "auth_token")
except OSError as error:
    print(error.strerror, [path.name for path in disk.iterdir()])
"""
    disk = tmp_path / "small"
    (said,) = run_on_small_disk(program, disk, "64k", disk)
    assert said == "No space left on device ['filler']"
