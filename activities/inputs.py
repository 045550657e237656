"""A call's input as its model. The door has checked it already; this is for doors of another version."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from domain.calls import Call
from domain.errors import invalid

Model = TypeVar("Model", bound=BaseModel)


def input_of(call: Call, model: type[Model]) -> Model:
    """The input of a call.

    Raises:
        CohortError: `invalid_argument` that names each field.
    """
    try:
        return model.model_validate(call.input)
    except ValidationError as error:
        fields = {".".join(str(part) for part in problem["loc"]) for problem in error.errors()}
        raise invalid(*((field, "is not what the operation takes") for field in sorted(fields))) from None
