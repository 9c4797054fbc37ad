"""The options of an animation as form fields of an upload, made from `AnimationOptions`."""

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import Form
from pydantic import TypeAdapter, WithJsonSchema

from lia_model.animation.options import AnimationOptions


def form_fields(options: type[AnimationOptions] = AnimationOptions) -> Callable[..., dict[str, Any]]:
    """Return a FastAPI dependency that returns the submitted fields; fields left out are not in the dict.

    Every field is read as text, which `read_options` validates: FastAPI would read a missing boolean as False
    whatever its default, and report a wrong value without the allowed ones. The schema shows the field's type
    and default.
    """

    def read(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - one of each option's type
        return {name: value for name, value in fields.items() if value is not None}

    parameters = []
    for name, field in options.model_fields.items():
        form = Form(description=field.description, json_schema_extra={"default": field.default})
        schema = TypeAdapter(field.rebuild_annotation()).json_schema()
        annotation = Annotated[Annotated[str, WithJsonSchema(schema)] | None, form]
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    read.__signature__ = Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return read
