"""Contracts of completions: what is asked, what the model is given, what is answered."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from domain.base import Contract
from domain.calls import AdmittedCall, Provenance, Usage
from domain.flat import Lift

Role = Literal["system", "user", "assistant"]


class Message(Contract):
    """One turn of a conversation."""

    role: Role
    content: str = Field(max_length=200_000)


class Retrieval(Contract):
    """Whether documents are looked up for the prompt, and how many passages the model is given."""

    enabled: bool = Field(default=True, description="Whether documents are looked up for the prompt.")
    top_k: int = Field(default=4, ge=1, le=20, description="How many document passages to give the model.")


class ProductLookup(Contract):
    """Whether products are looked up for the prompt, and how many the model is given."""

    enabled: bool = Field(default=True, description="Whether products are looked up for the prompt.")
    limit: int = Field(default=3, ge=1, le=20, description="How many products to give the model.")


class JsonSchemaFormat(Contract):
    """A JSON Schema that the text must satisfy."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Contract):
    """`text`, any JSON object, or JSON of a given schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _schema_with_its_type(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("give jsonSchema with type json_schema, and only with it")
        return self


class CompletionInput(Contract):
    """Ask for a completion that is grounded in the documents and products which your groups may see."""

    prompt: str | None = Field(
        default=None, min_length=1, max_length=200_000, description="The question. Give this or messages, not both."
    )
    messages: list[Message] | None = Field(
        default=None, min_length=1, max_length=200, description="A conversation whose last turn is the question."
    )
    model: str = Field(default="auto", max_length=128, description="A model's name, or auto for your group's choice.")
    max_tokens: int = Field(default=256, ge=1, le=32_768, description="The longest answer, in tokens.")
    temperature: float = Field(default=0.2, ge=0, le=2, description="0 keeps to the likeliest words; 2 varies most.")
    stop: list[str] = Field(default=[], max_length=4, description="Texts that end the answer where they appear.")
    response_format: ResponseFormat = ResponseFormat()
    retrieval: Annotated[Retrieval, Lift("retrieval_")] = Retrieval()
    products: Annotated[ProductLookup, Lift("products_")] = ProductLookup()
    cache: Literal["use", "refresh", "off"] = Field(
        default="use", description="use a cached answer, refresh it, or keep out of the cache."
    )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages, not both and not neither")
        if self.messages is not None and self.messages[-1].role != "user":
            raise ValueError("the last of messages must have the role user")
        if not self.question().strip():
            raise ValueError("prompt must not be blank" if self.prompt is not None else "the last of messages is blank")
        return self

    def conversation(self) -> list[Message]:
        """The turns, whichever way they were given."""
        return list(self.messages) if self.messages else [Message(role="user", content=self.prompt or "")]

    def question(self) -> str:
        """The last user turn: what retrieval looks for."""
        return self.conversation()[-1].content


class Citation(Contract):
    """One source that the model was given, numbered as in the prompt; `cited` where the text refers to `[index]`.

    `passage` says which part of a document it is, as two parts of one may be given.
    """

    index: int
    kind: Literal["document", "product"]
    id: str
    title: str
    passage: str | None = None
    source: str
    rank: int
    cited: bool


class CompletionUsage(Contract):
    """Tokens as the provider counted them."""

    prompt_tokens: int
    completion_tokens: int


class CompletionOutput(Contract):
    """A completion with its sources."""

    id: str
    text: str
    finish_reason: str
    citations: list[Citation]
    usage: CompletionUsage


class Source(Contract):
    """A retrieved passage or product, as it goes into the prompt. `rank` is its place in its own search, from 1.

    `passage` tells the passages of one document apart: the headings above it and its place.
    """

    kind: Literal["document", "product"]
    owner_group: str
    id: str
    version: int
    title: str
    passage: str | None = None
    source: str
    text: str
    rank: int

    def provenance(self) -> Provenance:
        """What an answer that used this source rests on."""
        return Provenance(kind=self.kind, owner_group=self.owner_group, id=self.id, version=self.version)


class Sources(Contract):
    """What one look-up found."""

    items: tuple[Source, ...] = ()


class Route(Contract):
    """One provider that can answer, without its credentials: `name` is looked up by the worker that calls it."""

    name: str
    provider: str
    model: str
    timeout: float
    context_tokens: int


class Routes(Contract):
    """The routes to try, best first, and why in words for the workflow's details."""

    items: tuple[Route, ...]
    reason: str


class CompletionTask(Contract):
    """What the provider activity takes."""

    call_id: str
    input: CompletionInput
    sources: tuple[Source, ...]
    route: Route
    traceparent: str | None = None


class ProviderAnswer(Contract):
    """What a provider said. `given` is how many sources fitted into the prompt: the first so many were numbered."""

    text: str
    finish_reason: str
    usage: Usage
    given: tuple[Source, ...]


class CompletionJob(Contract):
    """The input of the `Completion` workflow (id `completion-` and the call's id).

    One call that the cache could not answer, and its place in the cache (None keeps it out of the cache).
    """

    admitted: AdmittedCall
    cache_key: str | None


class CompletionSettlement(Contract):
    """What the end of a completion writes: ledger, audit, idempotency, and the cache if nothing moved meanwhile."""

    job: CompletionJob
    output: CompletionOutput
    usage: Usage
    provenance: tuple[Provenance, ...]
