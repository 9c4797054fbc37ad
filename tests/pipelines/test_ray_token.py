import logging
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.ray_token import ensure_ray_token


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
