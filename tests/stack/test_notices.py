"""What the worker finds wrong with the providers is on the page of `cohort up`, and in the worker's log."""

import json
from pathlib import Path

from tests.support.stack import running_stack


def test_a_model_that_cannot_answer_is_said_before_anybody_asks(tmp_path: Path) -> None:
    routes = [{"name": "typo", "model": "gpt4o-mini-typo"}]
    keyless = {"COHORT_MODEL": "mistral/large", "MISTRAL_API_KEY": ""}
    with running_stack(tmp_path, COHORT_DEMO="false", COHORT_PROVIDERS=json.dumps(routes), **keyless) as stack:
        attention = [line for line in stack.output.splitlines() if line.startswith("Attention: ")]
        log = (tmp_path / "logs" / "worker.log").read_text()
    assert len(attention) == 2
    assert attention[0].startswith(
        "Attention: MISTRAL_API_KEY is not set, which the model mistral/large needs: set it in"
    )
    assert attention[1].startswith("Attention: LiteLLM knows no provider for the model gpt4o-mini-typo: write it as")
    assert all(line.removeprefix("Attention: ") in log for line in attention)
    assert stack.output.index("Cohort is ready") < stack.output.index("Attention: ")
