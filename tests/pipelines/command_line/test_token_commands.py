import json

from lia_model.serving.access.scopes import Caller, Scope
from lia_model.serving.access.token_file import TokenFile
from lia_model.serving.access.tokens import Tokens
from pipelines.project_paths import ProjectPaths


def caller_of(root, secret):
    return Tokens(TokenFile(ProjectPaths(root).service_tokens)).caller(f"Bearer {secret}")


def test_a_created_token_is_printed_alone_for_the_shell(lia, root):
    done = lia("token", "create", "--scope", "read", "--name", "alice")
    assert done.code == 0
    assert caller_of(root, done.out.strip()) == Caller("alice", Scope.READ)
    assert "not shown again" in done.err


def test_a_token_submits_by_default(lia, root):
    document = json.loads(lia("token", "create", "--json").out)
    assert caller_of(root, document["token"]) == Caller(document["name"], Scope.SUBMIT)


def test_the_list_shows_no_secret_and_no_hash(lia):
    created = json.loads(lia("token", "create", "--name", "alice", "--json").out)
    (listed,) = json.loads(lia("token", "list", "--json").out)
    assert listed == {name: created[name] for name in ("id", "name", "scope", "created")}
    lines = lia("token", "list").out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "SCOPE", "CREATED"]
    assert lines[1].split()[:3] == [created["id"], "alice", "submit"]


def test_a_revoked_token_is_gone_and_the_last_one_leaves_a_word(lia, root):
    first, second = (json.loads(lia("token", "create", "--json").out) for _ in range(2))
    done = lia("token", "revoke", first["id"])
    assert done.out.split()[:2] == ["revoked", first["id"]]
    assert "no token is left" not in done.err
    assert caller_of(root, first["token"]) is None
    assert "no token is left" in lia("token", "revoke", second["id"]).err
    assert "lia token list" in lia("token", "revoke", second["id"]).error


def test_an_unknown_scope_is_wrong_use(lia):
    assert lia("token", "create", "--scope", "root").code == 2
