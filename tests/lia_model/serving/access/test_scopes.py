from lia_model.serving.access.scopes import Caller, Scope, required_scope


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


def test_a_caller_sees_its_own_jobs_and_an_admin_everybodys():
    for scope in Scope:
        caller = Caller("alice", scope)
        assert [caller.sees(owner) for owner in ("alice", "bob", None)] == [True, *[scope is Scope.ADMIN] * 2]
