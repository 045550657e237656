"""What the activity of a family answers: outcomes, and the work that goes on in workflows of its own."""

from domain.base import Contract
from domain.calls import Outcome
from domain.completions import CompletionJob
from domain.ingestion import IngestJob


class Answered(Contract):
    """One outcome a call, and the jobs that `Calls` starts as children and abandons.

    A completion that the cache could not answer has the outcome `deferred` to its workflow's id; an accepted
    ingestion is answered at once with its job.
    """

    outcomes: tuple[Outcome, ...]
    completions: tuple[CompletionJob, ...] = ()
    ingests: tuple[IngestJob, ...] = ()
