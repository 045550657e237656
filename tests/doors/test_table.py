"""The table is the one place: an operation that is added to it appears at every door."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
import typer
from openapi_pydantic.v3.v3_1 import OpenAPI
from pydantic import Field
from typer.testing import CliRunner

from domain.base import Contract
from domain.errors import ERRORS
from mcp_server import cli_made, docs, rest
from mcp_server.flat import fields_of, nest
from mcp_server.openapi import document
from mcp_server.operations import OPERATIONS, READS, Operation, table, tools
from mcp_server.tools import tool_of
from tests.doors.conftest import House, open_house, settings_of


class WeatherInput(Contract):
    """Ask for the weather."""

    place: str = Field(min_length=1, description="Where.")


class WeatherOutput(Contract):
    """The weather."""

    sky: str


WEATHER = Operation(
    name="weather_get",
    title="Get the weather",
    summary="The weather at a place.",
    description="Tell the weather at a place.",
    input=WeatherInput,
    output=WeatherOutput,
    permission=None,
    family="weather",
    method="GET",
    path="/api/v1/weather",
    hints=READS,
    command="weather get PLACE",
)


async def test_an_operation_is_added_in_one_place(tmp_path: Path) -> None:
    operations = table(*OPERATIONS.values(), WEATHER)
    async with open_house(settings_of(tmp_path, "127.0.0.1:1"), operations) as house, house.rest() as client:
        assert (await client.get("/api/v1/weather")).json()["error"]["details"]["fields"][0]["field"] == "place"
        assert (await client.get("/api/v1/weather?place=here")).status_code == 503  # on its way to the workflows
        assert "weather_get" in (await client.get("/docs")).text
        made = (await client.get("/openapi.json")).json()
    assert made["paths"]["/api/v1/weather"]["get"]["operationId"] == "weather_get"
    assert WEATHER in tools(operations)
    assert tool_of(WEATHER).input_schema["required"] == ["place"]
    command = typer.Typer()
    cli_made.add_commands(command, operations)
    assert "Where." in CliRunner().invoke(command, ["weather", "get", "--help"]).output


def test_a_name_or_a_route_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        table(WEATHER, dataclasses.replace(WEATHER, name="other"))
    with pytest.raises(ValueError, match="share"):
        table(WEATHER, dataclasses.replace(WEATHER, path="/elsewhere"))


def test_agents_get_eight_tools_with_all_four_annotations_and_flat_arguments() -> None:
    offered = [tool_of(operation) for operation in tools()]
    assert [tool.name for tool in offered] == [
        "completions_create",
        "products_search",
        "products_get",
        "groups_list",
        "groups_permissions",
        "health_check",
        "groups_add_member",
        "groups_remove_member",
    ]
    for tool in offered:
        hints = tool.annotations
        assert hints is not None
        given = (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)
        assert None not in given
        assert tool.title
        assert tool.description
        properties = tool.input_schema["properties"]
        assert all(name == name.lower() for name in properties)
        assert "group_context" in properties
        assert "$ref" not in str(tool.input_schema)
        assert ("idempotency_key" in properties) == OPERATIONS[tool.name].effect
        assert len(str(tool.output_schema)) < 1_500


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_flat_arguments_find_their_place_in_the_model(operation: Operation) -> None:
    fields = fields_of(operation.input)
    assert len({field.name for field in fields}) == len({field.wire_name for field in fields}) == len(fields)
    for wire in (False, True):
        nested, strangers = nest(operation.input, {f.wire_name if wire else f.name: f.name for f in fields}, wire=wire)
        assert strangers == []
        for field in fields:
            here: Any = nested
            for step in field.wire_path:
                here = here[step]
            assert here == field.name


def test_the_openapi_document_is_valid_and_has_every_operation_and_error() -> None:
    made = document(OPERATIONS, "1")
    OpenAPI.model_validate(made)
    ids = {each["operationId"] for methods in made["paths"].values() for each in methods.values()}
    assert ids == {*OPERATIONS, "health_live", "uploads_create"}
    assert set(made["components"]["responses"]) == {*(code.value for code in ERRORS), "wrong_method", "wrong_host"}
    for methods in made["paths"].values():
        for each in methods.values():
            assert {"405", "421", "422"} <= set(each["responses"])
    names = set(made["components"]["schemas"])
    referred = {part.split('"')[0] for part in str(made).replace("'", '"').split("#/components/schemas/")[1:]}
    assert referred <= names


def test_generated_docs_are_current(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["docs", "--check"])
    docs.main()
    monkeypatch.setattr(docs, "reference", lambda: "something else")
    with pytest.raises(SystemExit):
        docs.main()
    assert "Out of date: docs/reference.md" in capsys.readouterr().err


def test_no_route_reads_the_table_by_hand() -> None:
    """A door has no business with single operations: their names appear in the table and in texts only."""
    assert not any(name in inspect.getsource(rest) for name in OPERATIONS)


async def test_the_docs_page_loads_nothing_from_elsewhere(lonely: House) -> None:
    async with lonely.rest(None) as client:
        page = await client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "src=" not in page.text
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    for name in OPERATIONS:
        assert f'id="{name}"' in page.text


async def test_the_docs_page_lists_errors_with_status_and_whether_a_retry_helps(lonely: House) -> None:
    async with lonely.rest(None) as client:
        page = (await client.get("/docs")).text
    errors = page[page.index("<summary>Errors</summary>") :]
    errors = errors[: errors.index("</details>")]
    assert "`" not in errors
    assert "404 Not Found: <code>not_found</code>." in errors
    assert "503 Service Unavailable: <code>provider_unavailable</code>. A retry can help." in errors
    assert "409 Conflict: <code>conflict</code>. A retry can help where <code>retryable</code> says so." in errors
    assert "405 Method Not Allowed" in errors


async def test_head_and_options(lonely: House) -> None:
    async with lonely.rest(None) as client:
        head = await client.head("/api/v1/health")
        assert (head.status_code, head.content) == (200, b"")
        options = await client.options("/api/v1/products")
        assert (options.status_code, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
