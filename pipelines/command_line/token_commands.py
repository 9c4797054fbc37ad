"""Commands on the tokens of the animation service; a running one knows of a change at once."""

from typing import Annotated, Any

import typer

from lia_model.serving.access.scopes import Scope
from lia_model.serving.access.token_file import TokenFile, TokenRecord
from pipelines.command_line.arguments import AsJson
from pipelines.command_line.startup import activate_environment
from pipelines.local.reports import print_report


def token_create(
    scope: Annotated[
        Scope,
        typer.Option(help="read: jobs and results; submit: also submit and delete; admin: everybody's jobs."),
    ] = Scope.SUBMIT,
    name: Annotated[
        str | None,
        typer.Option(help="Owner of the token's jobs; tokens of one name share them. Default: a new owner."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it once; only its hash is stored."""
    created = _token_file().create(scope, name)
    record = created.record
    if not as_json:
        typer.echo(
            f"token {record.id} of {record.name}, scope {record.scope}; it is not shown again",
            err=True,
        )
    print_report([(created.secret,)], {**_document(record), "token": created.secret}, as_json)


def token_list(as_json: AsJson = False) -> None:
    """List the tokens: id, name, scope and day of creation."""
    tokens = _token_file().read()
    rows = [(one.id, one.name, str(one.scope), f"{one.created:%Y-%m-%d}") for one in tokens]
    print_report([("ID", "NAME", "SCOPE", "CREATED"), *rows], [_document(one) for one in tokens], as_json)


def token_revoke(
    token: Annotated[str, typer.Argument(metavar="ID|NAME", help="A token's id, or a name: all its tokens.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a token, or all tokens of a name; their jobs go on."""
    file = _token_file()
    revoked = file.revoke(token)
    rows = [("revoked", one.id, one.name, str(one.scope)) for one in revoked]
    print_report(rows, [_document(one) for one in revoked], as_json)
    if not file.read():
        typer.echo(
            f"no token is left: the service accepts LIA_API_TOKEN alone; delete {file.path} to let this "
            "machine use it without a token again",
            err=True,
        )


def _token_file() -> TokenFile:
    return TokenFile(activate_environment().paths.service_tokens)


def _document(record: TokenRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude={"sha256"})
