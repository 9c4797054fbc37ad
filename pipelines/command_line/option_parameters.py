"""The options of an animation as command-line options, made from `AnimationOptions`."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_origin

import typer

from lia_model.animation.options import AnimationOptions


def takes_animation_options(
    command: Callable[..., None], options: type[AnimationOptions] = AnimationOptions
) -> Callable[..., None]:
    """Return the command with one command-line option for each field in place of its `**fields`.

    Args:
        command: gets the values as keyword arguments, text for types that typer does not know.
        options: the model whose fields become options.
    """

    @functools.wraps(command)
    def run(**arguments: Any) -> None:  # noqa: ANN401 - one of each parameter's type
        command(**arguments)

    own = inspect.signature(command, eval_str=True).parameters.values()
    fixed = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own if one.kind != one.VAR_KEYWORD]
    fields = [_parameter(name, options) for name in options.model_fields]
    run.__signature__ = inspect.Signature([*fixed, *fields])  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {one.name: one.annotation for one in (*fixed, *fields)}
    return run


def _parameter(name: str, options: type[AnimationOptions]) -> inspect.Parameter:
    field = options.model_fields[name]
    kind = field.annotation
    is_known = kind in (bool, int, float) or get_origin(kind) is Literal
    # A switch that is off by default needs no --no- form.
    flags = [f"--{name.replace('_', '-')}"] if kind is bool and not field.default else []
    option = typer.Option(*flags, help=field.description)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default if is_known else str(field.default),
        annotation=Annotated[kind if is_known else str, option],
    )
