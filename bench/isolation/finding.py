"""What a probe found: one line of the table."""

import enum
from dataclasses import asdict, dataclass
from typing import Any


class Verdict(enum.StrEnum):
    """What the figure means."""

    HOLDS = "holds"
    LEAKS = "leaks"
    NOT_OFFERED = "not offered"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Finding:
    """`probe` and `case` name the line, `done` says what was done, `figure` what was measured."""

    probe: str
    case: str
    done: str
    figure: str
    verdict: Verdict

    def json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def verdict(leaks: bool) -> Verdict:
    """Of something that was measured."""
    return Verdict.LEAKS if leaks else Verdict.HOLDS
