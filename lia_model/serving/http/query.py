"""Refuses query parameters that a path does not have, such as an option that belongs in the form."""

from fastapi import Request
from fastapi.routing import APIRoute

from lia_model.serving.errors import bad_field


def require_known_query(request: Request) -> None:
    """Refuse an unknown query parameter, which would be ignored.

    Raises:
        RefusalError: there is one.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = [parameter.alias for parameter in route.dependant.query_params]
    for name in request.query_params:
        if name not in known:
            allowed = f"allowed are {', '.join(known)}" if known else "none is allowed here"
            raise bad_field(name, f"there is no such query parameter; {allowed}")
