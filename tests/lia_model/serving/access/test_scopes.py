import pytest

from lia_model.serving.access.scopes import ENVIRONMENT_OWNER, LOCAL_OWNER, Caller, Scope, required_scope
from lia_model.serving.access.token_file import TokenFile


def test_each_scope_includes_those_before_it():
    scopes = [Scope.READ, Scope.SUBMIT, Scope.ADMIN]
    for place, scope in enumerate(scopes):
        assert [scope.includes(other) for other in scopes] == [place >= other for other in range(3)]


def test_only_reading_is_allowed_by_the_scope_read():
    assert {required_scope(method) for method in ("GET", "HEAD", "OPTIONS")} == {Scope.READ}
    assert {required_scope(method) for method in ("POST", "DELETE", "PUT", "TRACE")} == {Scope.SUBMIT}


def test_only_an_admin_sees_the_jobs_of_others():
    seen = {scope: Caller("alice", scope).visible_owner for scope in Scope}
    assert seen == {Scope.READ: "alice", Scope.SUBMIT: "alice", Scope.ADMIN: None}


@pytest.mark.parametrize("owner", [ENVIRONMENT_OWNER, LOCAL_OWNER])
def test_no_token_can_be_named_like_an_owner_of_ours(tmp_path, owner):
    with pytest.raises(ValueError, match="choose another"):
        TokenFile(tmp_path / "tokens.json").create(Scope.READ, owner)
