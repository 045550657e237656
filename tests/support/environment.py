"""The environment in which tests start processes."""

import os

CACHED_WORKFLOWS = "COHORT_MAX_CACHED_WORKFLOWS"
"""The one setting that a whole test run may be given: 0 makes workflows replay their history with every task."""


def clean_environment() -> dict[str, str]:
    """This process's environment without the settings of another stack."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("COHORT_") or name == CACHED_WORKFLOWS
    }


def cached_workflows() -> int:
    """How many workflows the workers of this test run keep in memory."""
    return int(os.environ.get(CACHED_WORKFLOWS, "1000"))
