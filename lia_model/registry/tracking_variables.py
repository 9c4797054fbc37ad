"""MLflow's variables: where its store is, and the account there.

MLflow prints a server's address, and Ray shows the runtime environment of a process in its state API, its
dashboard and its logs. So user and password are taken out of the address into variables of their own, and
processes of Ray get the variables as an argument, which Ray does not show, and set them when they start.
"""

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

URI = "MLFLOW_TRACKING_URI"
_USERNAME, _PASSWORD, _TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"


def tracking_variables(uri: str) -> dict[str, str]:
    """Return the variables for a store; the address of a server is without user and password.

    The URI of a database keeps them, since MLflow has no variables for these.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or parts.username is None:
        return {URI: uri}
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    account = {_USERNAME: unquote(parts.username), _PASSWORD: unquote(parts.password or "")}
    return {URI: address, **account}


def passed_on(uri: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what another process needs to use the store at `uri` as this one does.

    Args:
        uri: of the store; an account in it counts more than one in `variables`.
        variables: this process's own.
    """
    own = {name: variables[name] for name in (_USERNAME, _PASSWORD, _TOKEN) if name in variables}
    return own | tracking_variables(uri)
