"""What an operation is: an entry of the one table in `operations.py`."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from domain.base import Contract


@dataclass(frozen=True)
class Hints:
    """What an MCP client may assume of a tool; all four are always sent."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


READS = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)


@dataclass(frozen=True)
class Operation:
    """One thing that a caller can ask for.

    `permission` None means that any member may call it. `family` names the activity that answers it. `hints` None
    means that agents get no tool for it. `effect` says that an idempotency key is honoured. `deadline` is how many
    seconds a door waits. `command` is the CLI's spelling, positional arguments in capitals; None where the CLI has a
    command of its own. `also` is a second command, which takes no fields but those that it names. `example` is an input
    in its REST form.
    """

    name: str
    title: str
    summary: str
    description: str
    input: type[Contract]
    output: type[Contract]
    permission: str | None
    family: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    hints: Hints | None = None
    effect: bool = False
    deadline: float = 20
    paginated: bool = False
    status: int = 200
    command: str | None = None
    also: str | None = None
    example: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def path_fields(self) -> tuple[str, ...]:
        """The input fields that are part of the path, as the wire spells them (`/groups/{id}/members/{userId}`)."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    @property
    def has_body(self) -> bool:
        """Whether the input travels as `{data, metadata?}`; otherwise its fields are in the query string."""
        return self.method in ("POST", "PUT", "PATCH")

    @property
    def body_example(self) -> dict[str, Any]:
        """The part of the example that travels in the body."""
        return {name: value for name, value in self.example.items() if name not in self.path_fields}
