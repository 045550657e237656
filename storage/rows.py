"""Lines of an upload as rows, or the reason in plain words why one is none."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from domain.ids import OBJECT_ID
from domain.ingestion import Reject
from storage.upload_lines import Line

Model = TypeVar("Model", bound=BaseModel)


class RowError(Exception):
    """Why one row is not taken: the field, where one is to blame, and what is wrong with it."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason

    def reject(self, line: int, object_id: str | None) -> Reject:
        """The refusal as the uploader reads it."""
        return Reject(line=line, id=object_id, field=self.field, reason=self.reason)


@dataclass(frozen=True)
class Deletion:
    """A row `{"id": …, "deleted": true}`."""

    id: str


def columns_of(line: Line) -> dict[str, Any]:
    """The JSON object on a line.

    Raises:
        RowError: it is too long, no valid UTF-8, no JSON, or no object.
    """
    if line.content is None:
        raise RowError(None, "the line is too long: shorten its texts")
    try:
        line.content.decode()
    except UnicodeDecodeError as error:
        raise RowError(
            None, f"the line is not valid UTF-8 at its byte {error.start + 1}: save the file as UTF-8"
        ) from None
    try:
        value: object = orjson.loads(line.content)
    except orjson.JSONDecodeError as error:
        raise RowError(None, f"the line is not valid JSON at its character {error.pos + 1}: {_why(error)}") from None
    if not isinstance(value, dict):
        raise RowError(None, 'the line must be a JSON object, such as {"id": "lamp", …}')
    return cast(dict[str, Any], value)


def shown_id(columns: Mapping[str, Any], field: str = "id") -> str | None:
    """The row's id for a refusal, as far as it has one worth showing."""
    given = columns.get(field)
    return given[:128] if isinstance(given, str) and given else None


def deletion_of(columns: Mapping[str, Any]) -> bool:
    """Whether the row deletes.

    Raises:
        RowError: `deleted` is neither true nor false.
    """
    deleted = columns.get("deleted", False)
    if not isinstance(deleted, bool):
        raise RowError("deleted", "must be true or false")
    return deleted


def object_id(given: object) -> str:
    """A well-formed id.

    Raises:
        RowError: it is missing or has another shape.
    """
    if given is None:
        raise RowError("id", "is missing")
    if not isinstance(given, str) or OBJECT_ID.fullmatch(given) is None:
        raise RowError("id", "must begin with a letter or digit and hold only letters, digits and . _ ~ -, 128 at most")
    return given


def check_columns(given: Iterable[str], model: type[BaseModel], extra: Iterable[str] = ()) -> None:
    """Refuse columns that the model does not have, with the one that was probably meant.

    Raises:
        RowError: there is one.
    """
    fields = model.model_fields
    known = {*fields, *extra}
    known_too = {info.alias for info in fields.values() if info.alias}
    for name in given:
        if name not in known and name not in known_too:
            near = difflib.get_close_matches(name.lower(), sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(sorted(known))}"
            raise RowError(name[:64], f"there is no such column; {hint}")


def validated(model: type[Model], columns: Mapping[str, Any], *, strict: bool = True) -> Model:
    """The row as `model`; strictly, no text passes for a number and no true for 1.

    Raises:
        RowError: for the first field that is wrong.
    """
    try:
        if strict:  # in JSON mode, which takes a Level from its text
            return model.model_validate_json(orjson.dumps(columns), strict=True)
        return model.model_validate(columns)
    except ValidationError as error:
        raise _in_words(error.errors(include_url=False, include_input=False)[0], model) from None


def _in_words(error: ErrorDetails, model: type[BaseModel]) -> RowError:
    place = [str(part) for part in error["loc"]]
    names = {info.alias: name for name, info in model.model_fields.items() if info.alias}
    field = names.get(place[0], place[0]) if place else None
    if field == "attributes" and len(place) > 1:
        return RowError(f"attributes.{place[1][:64]}", "must be a text, a number, true or false")
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            reason = "is missing"
        case "greater_than_equal":
            reason = f"must be {context['ge']:g} or more"
        case "less_than_equal":
            reason = f"must be {context['le']:g} or less"
        case "string_too_short":
            reason = "must not be empty"
        case "string_too_long" | "too_long":
            reason = f"must have {context['max_length']} characters or entries at most"
        case "float_parsing" | "float_type" | "finite_number":
            reason = "must be a number, written without quotes"
        case "string_type":
            reason = "must be a text"
        case "bool_type" | "bool_parsing":
            reason = "must be true or false"
        case "list_type":
            reason = "must be a list"
        case "enum":
            reason = f"must be one of {context['expected']}"
        case "string_pattern_mismatch" if field == "id":
            reason = "must begin with a letter or digit and hold only letters, digits and . _ ~ -, 128 at most"
        case "string_pattern_mismatch" if field == "currency":
            reason = "must be three capital letters, such as USD"
        case _:
            reason = re.sub(r"^Input should be ", "must be ", error["msg"])
    return RowError(field, reason)


def _why(error: orjson.JSONDecodeError) -> str:
    return error.msg.split(":")[0]
