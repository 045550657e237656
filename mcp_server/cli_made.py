"""Commands made from the table of operations: an option for every field of the input."""

import contextlib
import inspect
import json
import shlex
import shutil
import sys
from collections.abc import Generator
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer

from mcp_server.flat import FlatField, fields_of
from mcp_server.markup import Plain
from mcp_server.operations import OPERATIONS, Operation
from stack.settings import BadSettings, Settings

Json = dict[str, Any]

FAILED, USAGE = 1, 2

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Group = Annotated[str | None, typer.Option("--as-group", help="Narrow the call to one of your groups.")]
Idempotency = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", help="A key of your choice: a retry with it gets the first answer. Else a new one."
    ),
]

_TYPES: dict[str, type] = {"integer": int, "number": float, "boolean": bool}
_HELP = {
    "products": "Search the catalogue, and say who may see what of it.",
    "documents": "Say who may see a document.",
    "groups": "Your groups and what they let you do; groups and members that you administer.",
    "users": "Users whom you administer.",
    "keys": "Your API keys and those that you administer.",
    "jobs": "Follow long-running calls.",
}


def add_commands(app: typer.Typer, operations: dict[str, Operation] = OPERATIONS) -> None:
    """A command for every operation that has a spelling for one (`products search [QUERY]`)."""
    groups: dict[str, typer.Typer] = {}
    spelt = [(operation, each) for operation in operations.values() for each in (operation.command, operation.also)]
    for operation, spelling in spelt:
        words = spelling.split() if spelling else []
        names = [word for word in words if word.islower()]
        if not names or names == ["health"]:
            continue
        target = app
        if len(names) == 2:
            if names[0] not in groups:
                groups[names[0]] = typer.Typer(help=_HELP.get(names[0]), no_args_is_help=True)
                app.add_typer(groups[names[0]], name=names[0])
            target = groups[names[0]]
        fields = [field for field in fields_of(operation.input) if spelling != operation.also or _named(field, words)]
        target.command(names[-1], help=operation.summary, epilog=_example(operation, words, fields))(
            _command(operation, words, fields)
        )


def settings() -> Settings:
    """This process's settings, or the end of it with a sentence."""
    with settings_errors():
        return Settings.load()


@contextlib.contextmanager
def settings_errors() -> Generator[None]:
    """End the process with a sentence where a setting does not fit."""
    try:
        yield
    except BadSettings as error:
        fail(str(error), USAGE)


def key_of(loaded: Settings) -> str:
    """The caller's key, or the end of the process."""
    if loaded.api_key is None or not loaded.api_key.get_secret_value():
        fail("Set COHORT_API_KEY to your key first. `cohort up` prints the demo keys.", USAGE)
    return loaded.api_key.get_secret_value()


def fail(message: str, code: int) -> NoReturn:
    """End with a sentence on standard error."""
    sys.stderr.write(f"cohort: {message}\n")
    raise typer.Exit(code)


def show(operation: str, body: Json, as_json: bool) -> None:
    """An envelope, for people or for programs."""
    if as_json:
        print_json(body)
        return
    from mcp_server.texts import render

    stream = sys.stdout if body["success"] else sys.stderr
    stream.write(render(operation, body, style_for(stream)) + "\n")


def style_for(stream: TextIO) -> Plain:
    """Plain text for one of the standard streams, in tables as wide as the terminal if it is one."""
    return Plain(shutil.get_terminal_size().columns if stream.isatty() else None)


def print_json(value: Any) -> None:
    """JSON on standard output."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def health(group: str | None, as_json: bool) -> None:
    """`cohort health`: what the key may know, or without one that the front door answers."""
    loaded = settings()
    if loaded.api_key is not None:
        _run(OPERATIONS["health_check"], {}, group, None, as_json)
        return
    from mcp_server.client import DoorAway, FrontDoor

    try:
        with FrontDoor(loaded.url, None) as door:
            show("health_live", door.alive(), as_json)
    except DoorAway as away:
        fail(str(away), FAILED)


def _run(operation: Operation, given: Json, group: str | None, key: str | None, as_json: bool) -> None:
    from mcp_server.client import CallFailed, DoorAway, FrontDoor

    loaded = settings()
    try:
        with FrontDoor(loaded.url, key_of(loaded), context=group) as door:
            show(operation.name, door.call(operation, given, idempotency_key=key), as_json)
    except CallFailed as failed:
        show(operation.name, failed.body, as_json)
        raise typer.Exit(FAILED) from None
    except DoorAway as away:
        fail(str(away), FAILED)


def _named(field: FlatField, words: list[str]) -> bool:
    """Whether a spelling has the field as a positional argument."""
    return field.name.upper() in (word.strip("[]") for word in words)


def _example(operation: Operation, words: list[str], fields: list[FlatField]) -> str | None:
    """The operation's example, as one types it."""
    if not operation.example:
        return None
    given = [(field, operation.example[field.wire_name]) for field in fields if field.wire_name in operation.example]
    values = {field.name.upper(): value for field, value in given}
    typed = [word if word.islower() else _typed(values.get(word.strip("[]"), word)) for word in words]
    for field, value in given:
        if not _named(field, words):
            option = f"--{field.name.replace('_', '-')}"
            typed += [f"{option} {_typed(each)}" for each in (value if _repeats(field) else [value])]
    return f"Example: cohort {' '.join(typed)}"


def _typed(value: Any) -> str:
    """A value as a shell takes it."""
    return shlex.quote(json.dumps(value) if isinstance(value, dict | list | bool) else str(value))


def _command(operation: Operation, words: list[str], fields: list[FlatField]) -> Any:
    """A function whose signature Typer reads its arguments and options from."""
    positional = {word.strip("[]").lower(): word.startswith("[") for word in words if not word.islower()}

    def command(**given: Any) -> None:
        own = {field.name: _read(field, given[field.name]) for field in fields}
        _run(operation, own, given["as_group"], given.get("idempotency_key"), given["as_json"])

    parameters = [_parameter(field, positional) for field in fields]
    parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    common = [("as_group", None, Group), *([("idempotency_key", None, Idempotency)] if operation.effect else [])]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (*common, ("as_json", False, AsJson))
    ]
    command.__name__ = operation.name
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(command)["__signature__"] = inspect.Signature(parameters)
    return command


def _parameter(field: FlatField, positional: dict[str, bool]) -> inspect.Parameter:
    said = field.schema.get("description") or None
    kind: Any = _TYPES.get(str(field.schema.get("type")), str)
    if _repeats(field):
        kind, said = list[str], f"{said or ''} Repeat it for several, '' for none.".strip()
    elif field.schema.get("type") in ("object", "array"):
        said = f"{said or ''} As JSON.".strip()
    if choices := field.schema.get("enum"):
        said = f"{said or ''} One of {', '.join(choices)}.".strip()
    if field.name in positional:
        default = None if positional[field.name] else inspect.Parameter.empty
        kind = kind if default is inspect.Parameter.empty else kind | None
        annotation: Any = Annotated[kind, typer.Argument(help=said)]
        return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    annotation = Annotated[kind | None, typer.Option(help=said)]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _repeats(field: FlatField) -> bool:
    """Whether the option is given once a value: lists of texts are, and everything else that is nested is JSON."""
    return field.schema.get("type") == "array" and field.schema.get("items", {}).get("type") == "string"


def _read(field: FlatField, value: Any) -> Any:
    if isinstance(value, list):
        return [] if value == [""] else cast(list[str], value) or None
    if not isinstance(value, str) or field.schema.get("type") not in ("object", "array"):
        return value
    import orjson

    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        example = '[{"role": "user", "content": "…"}]' if field.schema["type"] == "array" else '{"colour": "red"}'
        fail(f"--{field.name.replace('_', '-')} must be JSON, such as '{example}'.", USAGE)
