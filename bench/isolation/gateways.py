"""The gateways that can be measured, and how each is started."""

import contextlib
import warnings
from collections.abc import Callable, Generator

from bench.isolation.cohort_gateway import CohortGateway
from bench.isolation.gateway import Gateway
from bench.isolation.http import Http
from bench.isolation.provider import Provider

Connect = Callable[[Http], Gateway]
"""Makes the adapter inside the event loop that uses it."""


@contextlib.contextmanager
def cohort(provider: Provider) -> Generator[Connect]:
    """Cohort as it stands in this work tree."""
    from bench.isolation.cohort_stack import started
    from mcp_server.app import version

    with started(provider) as running:
        yield lambda http: CohortGateway(running, http, version())


@contextlib.contextmanager
def litellm(provider: Provider) -> Generator[Connect]:
    """The LiteLLM proxy of `requirements/litellm-proxy.txt`."""
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")  # platformdirs, without a login session
    # Here, as PostgreSQL's package is one for development, which measuring Cohort alone does not need.
    from bench.isolation.litellm_gateway import LiteLlm
    from bench.isolation.litellm_proxy import running

    with running(provider) as proxy:
        yield lambda http: LiteLlm(proxy, http)


GATEWAYS: dict[str, Callable[[Provider], contextlib.AbstractContextManager[Connect]]] = {
    "cohort": cohort,
    "litellm": litellm,
}
