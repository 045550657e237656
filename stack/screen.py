"""What `cohort up` shows: a line for each thing that happens, and a page of addresses and keys once all is ready."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from stack.resolved import Resolved

PEOPLE = {
    "admin": "platform administrator; sees what it owns, and may act as any group",
    "research": "Acme's laboratory: confidential documents and all of Acme's own",
    "sales": "Acme's sales team: internal documents and all of Acme's own",
    "partner": "another company: its own documents, and what is public",
}


class Screen:
    """A terminal with colour, or plain lines where the output goes elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        """Start the clock that the lines show."""
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._begun = time.monotonic()

    def say(self, sentence: str) -> None:
        """One line: seconds since the start, and what happened."""
        self._clear()
        since = f"{time.monotonic() - self._begun:6.1f} s"
        self._console.print(f"[dim]{since}[/dim]  {escape(sentence)}")
        sys.stdout.flush()

    def progress(self, title: str) -> Callable[[int, int], None]:
        """A line that follows something long: in place on a terminal, else one line at each quarter."""
        shown = -1

        def show(done: int, total: int) -> None:
            nonlocal shown
            quarter = 4 * done // total if total else 4
            if self._console.is_terminal:
                self._clear()
                self._console.print(f"{' ' * 8}  {escape(title)}: {done} of {total}", end="")
            elif quarter > shown:
                self.say(f"{title}: {done} of {total}")
            shown = max(quarter, shown)

        return show

    def _clear(self) -> None:
        """Take back a progress line that stands at the bottom of a terminal."""
        if self._console.is_terminal:
            self._console.file.write("\r\x1b[K")

    def page(self, where: Resolved, keys: Mapping[str, str], notices: Sequence[str] = ()) -> None:
        """What needs attention, addresses, keys, and configurations to paste."""
        out = self._console.print
        key = keys.get("research", "YOUR_KEY")
        out(f"\n[bold green]Cohort is ready[/bold green] after {time.monotonic() - self._begun:.1f} s.\n")
        for notice in notices:
            out(f"[bold red]Attention:[/bold red] {escape(notice)}\n")
        for title, url in (
            ("MCP", f"{where.url}/mcp"),
            ("REST", f"{where.url}/api/v1"),
            ("API documentation", f"{where.url}/docs"),
            ("Temporal UI", where.temporal_ui),
        ):
            out(f"  {title:<18} {url}")
        if keys:
            out("\n[bold]Demo keys[/bold] (also in " + escape(str(where.folder.demo)) + ")")
            for name, token in keys.items():
                out(f"  {name:<9} {token}   [dim]{PEOPLE.get(name, '')}[/dim]")
        out("\n[bold]MCP over HTTP[/bold]: paste into your client's configuration")
        out(_indented(http_configuration(where, key)), markup=False)
        out("\n[bold]MCP over stdio[/bold]")
        out(_indented(stdio_configuration(where, key)), markup=False)
        out("\n[bold]Try it[/bold]")
        out(_indented(sample_request(where, key)), markup=False)
        out("\nCtrl-C stops everything; the state stays in " + escape(str(where.folder.path)) + ".\n")
        sys.stdout.flush()


def http_configuration(where: Resolved, key: str) -> str:
    """An MCP client's configuration for streamable HTTP."""
    server = {"type": "http", "url": f"{where.url}/mcp", "headers": {"Authorization": f"Bearer {key}"}}
    return json.dumps({"mcpServers": {"cohort": server}}, indent=2)


def stdio_configuration(where: Resolved, key: str) -> str:
    """An MCP client's configuration for a process that it starts itself."""
    command = Path(sys.executable).with_name("cohort")
    environment = {"COHORT_URL": where.url, "COHORT_API_KEY": key}
    server = {"command": str(command), "args": ["mcp"], "env": environment}
    return json.dumps({"mcpServers": {"cohort": server}}, indent=2)


def sample_request(where: Resolved, key: str) -> str:
    """A completion with curl."""
    body = json.dumps({"data": {"prompt": "What did the Halcyon battery tests show?", "maxTokens": 80}})
    return (
        f"curl -s {where.url}/api/v1/completions \\\n"
        f"  -H 'X-API-Key: {key}' -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
