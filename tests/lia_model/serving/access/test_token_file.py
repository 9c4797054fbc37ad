import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile, TokenFileError


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / "home" / "tokens.json")


def test_the_file_keeps_hashes_of_long_tokens_for_its_owner_alone(file):
    tokens = [file.create(scope, "alice") for scope in Scope]
    content = file.path.read_text()
    assert len({token.secret for token in tokens}) == 3
    for token in tokens:
        assert token.secret not in content
        assert hashlib.sha256(token.secret.encode()).hexdigest() in content
        assert len(token.secret.removeprefix("lia_")) * 6 >= 256
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [(one.name, one.scope) for one in file.read()] == [("alice", scope) for scope in Scope]


def test_a_token_without_a_name_is_an_owner_of_its_own(file):
    first, second = file.create(Scope.READ).record, file.create(Scope.READ).record
    assert (first.name, second.name) == (first.id, second.id)
    assert first.id != second.id


def test_a_token_is_revoked_by_its_id_and_all_of_a_name_by_that(file):
    mine, other, of_bob = (file.create(Scope.READ, name).record for name in ("alice", "alice", "bob"))
    assert file.revoke(mine.id) == [mine]
    assert file.read() == (other, of_bob)
    file.create(Scope.ADMIN, "alice")
    assert len(file.revoke("alice")) == 2
    assert file.read() == (of_bob,)
    with pytest.raises(ValueError, match="lia token list"):
        file.revoke("alice")


def test_no_token_is_lost_when_several_are_created_at_once(file):
    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(lambda _: file.create(Scope.READ).record, range(16)))
    assert sorted(one.id for one in file.read()) == sorted(one.id for one in created)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 65, "\n"])
def test_a_name_that_is_no_word_is_refused(file, name):
    with pytest.raises(ValueError, match="at most 64 letters"):
        file.create(Scope.READ, name)
    assert not file.exists()


def test_a_file_that_others_may_read_is_closed_to_them(file, caplog):
    file.create(Scope.READ)
    file.path.chmod(0o644)
    assert len(file.read()) == 1
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert "other users" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 2, "tokens": []}', '{"tokens": [{}]}'])
def test_a_damaged_file_is_an_error_and_is_not_replaced(file, content):
    file.path.parent.mkdir()
    file.path.write_text(content)
    for call in (file.read, lambda: file.create(Scope.READ), lambda: file.revoke("a")):
        with pytest.raises(TokenFileError, match="it is damaged"):
            call()
    assert file.path.read_text() == content


def test_every_change_is_told_by_the_version(file):
    versions = [file.version()]
    for _ in range(3):
        file.create(Scope.READ)
        versions.append(file.version())
    assert len(set(versions)) == 4
