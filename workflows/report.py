"""What operators read of an execution in the Temporal UI: plain words, as Markdown. Sealed like every payload."""

from collections.abc import Mapping, Sequence

from domain.calls import Call, CallBatch, Outcome, Usage
from domain.completions import ProviderAnswer, Route, Routes, Source

_LONGEST = 120


def batch_summary(batch: CallBatch) -> str:
    """One line: how many calls of which family, and of which group."""
    many = "1 call" if len(batch.calls) == 1 else f"{len(batch.calls)} calls"
    return f"{many} of {batch.lane}: {batch.family}"[:_LONGEST]


def child_summary(kind: str, call: Call, group: str) -> str:
    """One line of an execution that serves one call: whose it is."""
    return f"{kind} for {call.caller.user_id} of {group}"[:_LONGEST]


def batch_details(batch: CallBatch, ended: Mapping[str, Outcome]) -> str:
    """Whose calls, and how each ended."""
    rows = [
        f"| `{call.id}` | {cell(call.caller.user_id)} | {cell(_as(call))} | {call.operation} "
        f"| {ending(ended.get(call.id))} |"
        for call in batch.calls
    ]
    return "\n".join(
        [
            f"**{batch_summary(batch)}**",
            "",
            "| call | user | acting as | operation | how it ended |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def ending(outcome: Outcome | None) -> str:
    """How one call ended, in plain words."""
    match outcome:
        case None:
            return "under way"
        case Outcome(error=error) if error is not None:
            return f"not answered ({error.code}): {cell(error.message)}"
        case Outcome(deferred=workflow_id) if workflow_id is not None:
            return f"goes on as `{workflow_id}`"
        case Outcome(ask_after=workflow_id) if workflow_id is not None:
            return f"repeats a call that goes on as `{workflow_id}`, and is asked again once that has ended"
        case Outcome(usage=Usage(cached=True, cache_age=age)):
            return f"answered from the cache, {age or 0:.0f} s old"
        case Outcome(stored=True):
            return "answered; the answer was too large to travel and lies in the database"
        case _:
            return "answered"


class CompletionReport:
    """The running account of one completion."""

    def __init__(self, call: Call, group: str) -> None:
        self._head = f"**{child_summary('Completion', call, group)}** (call `{call.id}`, operation {call.operation})"
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join([self._head, "", *self._lines])

    def found(self, sources: Sequence[Source]) -> None:
        """What retrieval found, by id; titles and text stay out."""
        self._lines.append(f"- {len(sources)} sources found")
        self._lines += [f"- {one.kind} `{one.id}` of {one.owner_group}, version {one.version}" for one in sources]

    def chose(self, routes: Routes) -> None:
        """Which routes are tried, and why."""
        names = ", then ".join(f"`{route.name}` ({route.model})" for route in routes.items)
        self._lines.append(f"- routes: {names}. {cell(routes.reason)}")

    def fell_back(self, route: Route, why: str) -> None:
        """A route did not answer."""
        self._lines.append(f"- `{route.name}` did not answer: {cell(why)}")

    def answered(self, route: Route, answer: ProviderAnswer) -> None:
        """Which route answered, with what, at which price."""
        usage = answer.usage
        self._lines.append(
            f"- `{route.name}` answered: {usage.prompt_tokens} tokens in, {usage.completion_tokens} out, "
            f"{usage.cost:.6f} USD, not from the cache; {len(answer.given)} sources were in the prompt"
        )

    def ended(self, outcome: Outcome) -> None:
        """How it ended."""
        self._lines.append(f"- ended: {ending(outcome)}")


def cell(text: str) -> str:
    """Text that can't break out of a line or a table cell."""
    return " ".join(text.replace("|", "\\|").split())


def _as(call: Call) -> str:
    return call.caller.override or call.caller.context or ""
