"""What is wrong with bad input, in plain sentences that name the field as the caller spelled it."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import orjson
from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_snake
from pydantic_core import ErrorDetails

from domain.errors import CohortError, invalid
from mcp_server.flat import FlatField, fields_of

MOST_PROBLEMS = 20
"""Problems named in one answer; a caller who mends these is told the next."""

_SENTENCES: dict[str, str] = {
    "missing": "is required",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_pattern_mismatch": "does not have the right form (it must match {pattern})",
    "string_too_long": "must have {max_length:,} characters or fewer",
    "too_short": "must have {min_length:,} entries or more",
    "too_long": "must have {max_length:,} entries or fewer",
    "greater_than_equal": "must be {ge:,} or more",
    "greater_than": "must be more than {gt:,}",
    "less_than_equal": "must be {le:,} or less",
    "less_than": "must be less than {lt:,}",
}


@dataclass(frozen=True)
class Spelling:
    """How a door names fields. `whole` stands for the input itself where no single field is at fault."""

    whole: str
    flat: bool
    snake: bool


BODY = Spelling(whole="data", flat=False, snake=False)
QUERY = Spelling(whole="query", flat=True, snake=False)
TOOL = Spelling(whole="arguments", flat=True, snake=True)


def validate(model: type[BaseModel], given: object, spelling: Spelling, *, prefix: str = "") -> Any:
    """An instance of `model`, strictly as JSON has it: no text for a number, no unknown field.

    `given` has the wire's nesting; `prefix` stands before each field's name (`metadata.`).

    Raises:
        CohortError: invalid_argument naming every field at fault (the first 20).
    """
    try:
        # JSON mode takes a Level from its text where Python mode, strictly, asks for the enum.
        return model.model_validate_json(orjson.dumps(given), strict=True, by_alias=True, by_name=spelling.snake)
    except ValidationError as error:
        raise refusal(model, given, error, spelling, prefix) from None


def refusal(
    model: type[BaseModel], given: object, error: ValidationError, spelling: Spelling, prefix: str = ""
) -> CohortError:
    """The `invalid_argument` that a pydantic error stands for. No input value is repeated."""
    named: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        path = _path(detail, given)
        problem = _sentence(detail, path, model, spelling)
        field = _name(model, path, problem, spelling)
        if named.get(field, problem) != problem:
            # One field, several complaints: the branches of a union, none of which fitted.
            problem = "must be text, a number, or true or false" if "must be" in problem else problem
        named[field] = problem
    return invalid(*((prefix + field, problem) for field, problem in list(named.items())[:MOST_PROBLEMS]))


def in_tool_words(error: CohortError, model: type[BaseModel]) -> CohortError:
    """An error from behind the door, which names fields as REST has them, with the names of tool arguments."""
    names = {".".join(field.wire_path): field.name for field in fields_of(model)}
    names |= {field.wire_name: field.name for field in fields_of(model)}
    other = sorted((wire for wire, name in names.items() if wire != name), key=len, reverse=True)
    if not other:
        return error
    spelt = re.compile(rf"\b(?:{'|'.join(map(re.escape, other))})\b")

    def said(text: str) -> str:
        return spelt.sub(lambda found: names[found[0]], text)

    details = dict(error.details)
    if "fields" in details:
        details["fields"] = [{name: said(each) for name, each in one.items()} for one in details["fields"]]
    return CohortError(error.code, said(error.message), details=details, retryable=error.retryable)


def unknown(names: Iterable[str], known: Iterable[str], prefix: str = "") -> CohortError:
    """The `invalid_argument` for arguments that no field has."""
    candidates = list(known)
    return invalid(*((prefix + name[:64], _not_known(name, candidates)) for name in list(names)[:MOST_PROBLEMS]))


def _path(detail: ErrorDetails, given: object) -> list[str | int]:
    """The place of a problem within the input; what pydantic adds for the branches of a union is left out."""
    path: list[str | int] = []
    here = given
    for step in detail["loc"]:
        if isinstance(here, dict):
            if step not in here:
                if detail["type"] == "missing":
                    path.append(step)
                break
            here = cast(dict[str | int, Any], here)[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(cast(list[Any], here)):
            here = cast(list[Any], here)[step]
        else:
            break
        path.append(step)
    return path


def _sentence(detail: ErrorDetails, path: list[str | int], model: type[BaseModel], spelling: Spelling) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _not_known(str(path[-1]), _siblings(model, path[:-1], spelling))
    if kind in ("literal_error", "enum"):
        return "must be " + str(context.get("expected", "one of the known values")).replace("'", "")
    if kind == "string_too_short":
        least = context.get("min_length", 1)
        return "must not be empty" if least == 1 else f"must have {least:,} characters or more"
    if kind == "value_error":
        said = str(context.get("error", detail["msg"]))
        return _respell(said) if spelling.snake else said
    sentence = _SENTENCES.get(kind)
    if sentence is None:
        return detail["msg"][:1].lower() + detail["msg"][1:]
    return sentence.format(**{name: _whole(value) for name, value in context.items()})


def _name(model: type[BaseModel], path: list[str | int], problem: str, spelling: Spelling) -> str:
    """The field's name as this door spells it."""
    fields = fields_of(model)
    steps = [str(step) for step in path]
    if spelling.flat:
        for field in fields:
            if _starts(steps, field.wire_path) or _starts(steps, field.path):
                rest = steps[len(field.wire_path) :]
                name = field.name if spelling.snake else field.wire_name
                return ".".join([name, *(map(to_snake, rest) if spelling.snake else rest)])
    inside = [field for field in fields if not steps or _starts(list(field.wire_path), steps)]
    mentioned = sorted((place, field) for field in inside if (place := _mention(field, problem, spelling)) >= 0)
    if mentioned and len(inside) > 1:
        return _spelled(mentioned[0][1], spelling)
    return ".".join(steps) or spelling.whole


def _spelled(field: FlatField, spelling: Spelling) -> str:
    if not spelling.flat:
        return ".".join(field.wire_path)
    return field.name if spelling.snake else field.wire_name


def _mention(field: FlatField, problem: str, spelling: Spelling) -> int:
    """Where a rule over several fields speaks of this one; such a problem is filed under the first it names."""
    last = field.path[-1] if spelling.snake else field.wire_path[-1]
    found = re.search(rf"\b{re.escape(last)}\b", problem)
    return found.start() if found else -1


def _siblings(model: type[BaseModel], parent: list[str | int], spelling: Spelling) -> list[str]:
    """The names that would have been right at one place of the input."""
    if not parent and spelling.flat:
        return [_spelled(field, spelling) for field in fields_of(model)]
    here: type[BaseModel] | None = model
    for step in parent:
        if isinstance(step, int) or here is None:
            continue
        info = next((i for n, i in here.model_fields.items() if step in (n, i.alias)), None)
        here = _model_in(info.annotation if info else None)
    return [info.alias or name for name, info in here.model_fields.items()] if here else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is or holds (`list[Message]`, `Retrieval | None`)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return next((found for each in inner if (found := _model_in(each))), None)


def _not_known(name: str, candidates: list[str]) -> str:
    near = difflib.get_close_matches(name, candidates, n=1)
    return f"is not known here; did you mean {near[0]}?" if near else "is not known here; leave it out"


def _whole(value: Any) -> Any:
    """2.0 as 2, so that a bound reads as it was meant."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _starts(steps: list[str], beginning: Iterable[str]) -> bool:
    start = list(beginning)
    return bool(start) and steps[: len(start)] == start


_CAMEL = re.compile(r"\b[a-z]+(?:[A-Z][a-z]+)+\b")


def _respell(said: str) -> str:
    return _CAMEL.sub(lambda word: to_snake(word[0]), said)
