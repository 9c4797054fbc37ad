import pytest

from lia_model.serving.access.scopes import OPERATOR, Caller, Scope
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.access.tokens import Tokens


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / "tokens.json")


def test_a_caller_is_known_by_the_token_of_its_name_and_scope(file):
    tokens = Tokens(file)
    for name, scope in (("alice", Scope.SUBMIT), ("alice", Scope.READ), ("bob", Scope.ADMIN)):
        secret = file.create(scope, name).secret
        assert tokens.caller(f"Bearer {secret}") == Caller(name, scope)
        assert tokens.caller(f"Bearer {secret[:-1]}") is None


def test_what_the_file_keeps_is_no_token(file):
    record = file.create(Scope.ADMIN).record
    for word in (record.sha256, record.id, record.name):
        assert Tokens(file).caller(f"Bearer {word}") is None


def test_the_token_of_the_environment_is_an_admin(file):
    assert Tokens(file, "s3cret").caller("Bearer s3cret") == OPERATOR


def test_a_token_of_the_file_gains_no_scope_in_the_environment_of_the_service(file):
    """As in a shell whose LIA_API_TOKEN is meant for its clients."""
    secret = file.create(Scope.READ, "alice").secret
    assert Tokens(file, secret).caller(f"Bearer {secret}") == Caller("alice", Scope.READ)


def test_a_token_is_required_once_there_is_one(file):
    assert not Tokens(None).is_required
    assert not Tokens(file).is_required
    assert Tokens(file, "s3cret").is_required
    file.create(Scope.READ)
    assert Tokens(file).is_required
