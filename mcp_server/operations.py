"""The one table of operations: REST routes, MCP tools, OpenAPI, the CLI and the docs are made from it."""

from domain.completions import CompletionInput, CompletionOutput
from domain.groups import GroupPermissionsInput, GroupPermissionsOutput, GroupsListInput, GroupsListOutput
from domain.health import HealthInput, HealthOutput
from domain.ingestion import IngestInput, JobGetInput, JobOutput
from domain.products import ProductGetInput, ProductOutput, ProductSearchInput, ProductSearchOutput
from mcp_server.administration import ADMINISTRATION
from mcp_server.operation import READS, Hints, Operation

__all__ = ["OPERATIONS", "READS", "Hints", "Operation", "table", "tools"]


def table(*operations: Operation) -> dict[str, Operation]:
    """Operations by name; a name or a route given twice is a mistake of ours."""
    named = {operation.name: operation for operation in operations}
    routes = {(operation.method, operation.path) for operation in operations}
    if not len(named) == len(routes) == len(operations):
        raise ValueError("two operations share a name or a route")
    return named


OPERATIONS = table(
    Operation(
        name="completions_create",
        title="Create a completion",
        summary="Answer a question from the documents and products that your groups may see, with citations.",
        description=(
            "Ask a question and get an answer grounded in the documents and products that your groups may see. The "
            "answer cites its sources by number, and each source is listed with its title and id. Use this for "
            "questions that need the organisation's own knowledge; use products_search to browse the catalogue. The "
            "call costs tokens and is written to the group's ledger. Give idempotency_key to make a retry safe."
        ),
        input=CompletionInput,
        output=CompletionOutput,
        permission="completions:create",
        family="completions",
        method="POST",
        path="/api/v1/completions",
        hints=Hints(read_only=False, destructive=False, idempotent=False, open_world=True),
        effect=True,
        deadline=120,
        command="complete [PROMPT]",
        example={"prompt": "Which of our jackets are waterproof, and what do we promise on returns?", "maxTokens": 200},
    ),
    Operation(
        name="products_search",
        title="Search products",
        summary="Search the products that your groups may see, by meaning and by words, with filters and facets.",
        description=(
            "Search the product catalogue by meaning and by words, filter by category, price and attributes, or list "
            "everything by leaving query empty. Returns a page with facets (counts per category and attribute); pass "
            "next_token of one page to get the next. Use products_get for everything about one product."
        ),
        input=ProductSearchInput,
        output=ProductSearchOutput,
        permission="products:read",
        family="products",
        method="GET",
        path="/api/v1/products",
        hints=READS,
        paginated=True,
        command="products search [QUERY]",
        example={"query": "waterproof jacket", "limit": 5, "maxPrice": 200},
    ),
    Operation(
        name="products_get",
        title="Get a product",
        summary="Everything about one product that you may see.",
        description=(
            "Look one product up by the id that products_search or a citation gave. Returns its description, price, "
            "attributes, owner group and version. Give owner_group only where two groups use the same id."
        ),
        input=ProductGetInput,
        output=ProductOutput,
        permission="products:read",
        family="products",
        method="GET",
        path="/api/v1/products/{id}",
        hints=READS,
        command="products get ID",
        example={"id": "tarn-3-backpacking-tent"},
    ),
    Operation(
        name="groups_list",
        title="List your groups",
        summary="The groups that you are in, directly or through a parent, and what each lets you do.",
        description=(
            "List the groups that this key acts for: which are direct memberships, their access level, and the "
            "permissions that each brings. Use it to find out why something is not visible or not allowed."
        ),
        input=GroupsListInput,
        output=GroupsListOutput,
        permission=None,
        family="groups",
        method="GET",
        path="/api/v1/groups",
        hints=READS,
        command="groups list",
    ),
    Operation(
        name="groups_permissions",
        title="Show a group's permissions",
        summary="Which permissions a group gives its members, and where each comes from.",
        description=(
            "Show the effective permissions of one group's direct members, and which group wrote each of them down. "
            "Works for groups that you are a member of or administer; take the id from groups_list."
        ),
        input=GroupPermissionsInput,
        output=GroupPermissionsOutput,
        permission=None,
        family="groups",
        method="GET",
        path="/api/v1/groups/{id}/permissions",
        hints=READS,
        command="groups permissions ID",
        example={"id": "acme"},
    ),
    Operation(
        name="health_check",
        title="Check health",
        summary="Whether Cohort works: every part with its state and latency, and your groups' limits and backlog.",
        description=(
            "Show the state and latency of each part of Cohort, in words what does not work meanwhile, and the "
            "limits, spending and backlog of your groups. Use it when calls fail or are slow."
        ),
        input=HealthInput,
        output=HealthOutput,
        permission=None,
        family="health",
        method="GET",
        path="/api/v1/health/detailed",
        hints=READS,
        deadline=5,
        command="health",
    ),
    Operation(
        name="products_ingest",
        title="Ingest products",
        summary="Take an uploaded JSON Lines file of products in for a group; answers with a job to follow.",
        description=(
            "Take the products of an upload in for one group. Upload the file first; the answer is a job that tells "
            "how many rows were accepted, unchanged and rejected, with the line and the reason of each."
        ),
        input=IngestInput,
        output=JobOutput,
        permission="products:write",
        family="ingestion",
        method="POST",
        path="/api/v1/admin/products",
        effect=True,
        deadline=30,
        status=202,
        example={"uploadId": "0123456789abcdef0123", "group": "acme-sales", "accessLevel": "internal"},
    ),
    Operation(
        name="documents_ingest",
        title="Ingest documents",
        summary="Take an upload of Markdown or text documents in for a group; answers with a job to follow.",
        description=(
            "Take the documents of an upload in for one group: JSON Lines of {name, text}. Upload the file first; the "
            "answer is a job that tells how many documents were accepted, unchanged and rejected, and why."
        ),
        input=IngestInput,
        output=JobOutput,
        permission="documents:write",
        family="ingestion",
        method="POST",
        path="/api/v1/admin/documents",
        effect=True,
        deadline=30,
        status=202,
        example={"uploadId": "0123456789abcdef0123", "group": "acme-research", "accessLevel": "confidential"},
    ),
    Operation(
        name="jobs_get",
        title="Follow a job",
        summary="How far a long-running call is, and what it has done.",
        description="Follow a long-running call of yours by the jobId that its start answered.",
        input=JobGetInput,
        output=JobOutput,
        permission=None,
        family="jobs",
        method="GET",
        path="/api/v1/jobs/{id}",
        command="jobs get ID",
        example={"id": "0123456789abcdef0123"},
    ),
    *ADMINISTRATION,
)


def tools(operations: dict[str, Operation] = OPERATIONS) -> list[Operation]:
    """The operations that agents get a tool for, in the order of the table."""
    return [operation for operation in operations.values() if operation.hints is not None]
