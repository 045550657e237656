"""The embedded Temporal server: its command, and how to tell that it is ready."""

from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.service import RPCError

from stack.programs import temporal
from workflows import attributes

SEARCH_ATTRIBUTES = {
    key.name: "KeywordList" if key.indexed_value_type is SearchAttributeIndexedValueType.KEYWORD_LIST else "Keyword"
    for key in attributes.ALL
}
"""By name, the type as the dev server's command line spells it."""

DYNAMIC_CONFIG = {
    # 20 polls a second are the default, which makes every hop cost 50 ms
    "history.transferProcessorMaxPollRPS": "1000",
    "history.timerProcessorMaxPollRPS": "1000",
    # fairness between groups needs a single partition
    "matching.enableFairness": "true",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    # a batch carries the ids of 64 calls and of their requests
    "frontend.searchAttributesSizeOfValueLimit": "32768",
    "frontend.searchAttributesTotalSizeLimit": "65536",
}


def command(
    *,
    port: int,
    ui_port: int | None,
    database: Path | None,
    namespace: str = "default",
    codec_endpoint: str | None = None,
) -> list[str]:
    """The dev server on loopback, tuned; without `database` it keeps nothing, without `ui_port` it has no UI."""
    parts = [str(temporal()), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "warn"]
    parts += ["--namespace", namespace, "--ui-disable-news-fetch"]
    parts += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port)]
    if database is not None:
        # without WAL a server with a file is ten times slower
        parts += ["--db-filename", str(database)]
        parts += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
    if codec_endpoint is not None:
        parts += ["--ui-codec-endpoint", codec_endpoint]
    for key, value in DYNAMIC_CONFIG.items():
        parts += ["--dynamic-config-value", f"{key}={value}"]
    for name, kind in SEARCH_ATTRIBUTES.items():
        parts += ["--search-attribute", f"{name}={kind}"]
    return parts


async def is_ready(address: str, namespace: str = "default") -> bool:
    """Whether the server answers for its namespace."""
    try:
        client = await Client.connect(address, namespace=namespace)
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    except (RPCError, RuntimeError):
        return False
    return True
