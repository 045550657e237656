"""`cohort`: the command line. Commands for operations are made from the table; the rest start processes or send files.

Nothing heavy is imported before a command needs it, so that `cohort --help` is quick.
"""

import json
import os
import sys
from typing import Annotated

import typer

from mcp_server import cli_made

ABOUT = "Cohort: group-aware completions, products and groups. COHORT_URL and COHORT_API_KEY say whom to ask."
EXITS = "Exit codes: 0 it worked, 1 the call failed, 2 wrong usage or settings, 3 rows of a file were rejected."
EXAMPLES = """
Examples:

  cohort up

  cohort complete "Which of our jackets are waterproof?"

  cohort products search "trail shoes" --max-price 120 --json

  cohort ingest products catalogue.jsonl --group acme-sales

  cohort ingest documents handbook/ --group acme-research --access-level confidential
"""

app = typer.Typer(
    name="cohort",
    help=f"{ABOUT}\n\n{EXITS}",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from mcp_server.version import version

        typer.echo(f"cohort {version()}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What every command line may begin with."""


ingest_app = typer.Typer(help="Take your own files in.", no_args_is_help=True)


UP_EXITS = """Exit codes: 0 stopped by Ctrl-C or SIGTERM; 1 a process did not become ready, and everything was stopped
again; 2 something stood in the way (a setting, a port, a missing program, the state folder), and nothing was started.
"""


@app.command(epilog=UP_EXITS)
def up() -> None:
    """Run the whole stack until Ctrl-C: Temporal, Redis, local model, worker, front door."""
    from stack.up import main as run_stack

    run_stack()


@app.command()
def serve() -> None:
    """Run one front door (REST at /api/v1, MCP at /mcp, docs at /docs) until SIGTERM."""
    from mcp_server.app import main as serve_door

    serve_door()


@app.command()
def worker() -> None:
    """Run one worker until SIGTERM."""
    os.execv(sys.executable, [sys.executable, "-m", "activities.worker"])


@app.command()
def llm(
    port: Annotated[int, typer.Option(help="Where to listen.")] = 8090,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
) -> None:
    """Run the small local model until SIGTERM; callers must show COHORT_LOCAL_LLM_KEY."""
    from stack.local_llm import run

    run(port, host)


@app.command()
def migrate(as_json: cli_made.AsJson = False) -> None:
    """Bring the tables of COHORT_DATABASE_URL up to date. Safe to run again, and by several at once."""
    with cli_made.settings_errors():
        from stack.install import migrate_tables

        changed = migrate_tables()
    said = "The database's tables are now up to date." if changed else "The database's tables were up to date already."
    typer.echo(json.dumps({"changed": changed}) if as_json else said)


@app.command()
def bootstrap(as_json: cli_made.AsJson = False) -> None:
    """Make a first administrator (user `admin` of group `platform`) in the database, and print a key for him.

    It needs COHORT_DATABASE_URL and the master secret, not a running front door. Earlier keys stay valid.
    """
    with cli_made.settings_errors():
        from stack.install import first_administrator

        first = first_administrator()
    if as_json:
        typer.echo(json.dumps({"user": first.user, "group": first.group, "key": first.token, "made": first.made}))
        return
    typer.echo(f"{' and '.join(first.made)} made.\n" if first.made else "", nl=False)
    typer.echo(f"A key for {first.user}, an administrator of every group. It is shown only now:\n\n  {first.token}\n")
    typer.echo("Give it to the command line with: export COHORT_API_KEY=…")


@app.command()
def mcp() -> None:
    """Serve MCP on standard input and output, as a client of the front door at COHORT_URL with COHORT_API_KEY."""
    from mcp_server.stdio import run

    raise typer.Exit(run(cli_made.settings()))


@app.command()
def health(
    group: cli_made.Group = None,
    as_json: cli_made.AsJson = False,
) -> None:
    """Show whether Cohort works. Without a key only that the front door answers."""
    cli_made.health(group, as_json)


Target = Annotated[str | None, typer.Option("--group", "-g", help="The group that is to own it; yours by default.")]
AccessLevel = Annotated[
    str | None, typer.Option("--access-level", "-l", help="public, internal or confidential; the group's if left out.")
]


@ingest_app.command("products")
def ingest_products(
    file: Annotated[str, typer.Argument(help="A JSON Lines file with one product a line.")],
    group: Target = None,
    access_level: AccessLevel = None,
    as_json: cli_made.AsJson = False,
) -> None:
    """Take a file of products in. Exit code 3 when rows were rejected: each is listed with its line and the reason."""
    from mcp_server.cli_ingest import run

    raise typer.Exit(run("products", file, group, access_level, as_json))


@ingest_app.command("documents")
def ingest_documents(
    path: Annotated[str, typer.Argument(help="A Markdown or text file, or a folder of them.")],
    group: Target = None,
    access_level: AccessLevel = None,
    as_json: cli_made.AsJson = False,
) -> None:
    """Take documents in. Exit code 3 when some were rejected: each is listed with its file and the reason."""
    from mcp_server.cli_ingest import run

    raise typer.Exit(run("documents", path, group, access_level, as_json))


cli_made.add_commands(app)
app.add_typer(ingest_app, name="ingest")


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
