"""Find the passages that a completion is to rest on, among the documents that its caller may see."""

from temporalio import activity

from activities.inputs import input_of
from domain.completions import CompletionInput, CompletionJob, Source, Sources
from domain.policy import visibility
from storage import documents
from storage.chunks import headings_of
from storage.embeddings import Embedder
from storage.questions import searchable
from storage.sql import Database
from storage.vectors import Passage, Vectors
from workflows import ports

PER_DOCUMENT = 2
"""Passages of one document at most, so that one long document does not crowd out all others."""
DEPTH = 100
HEADINGS = 300
"""Characters of a passage's headings that a citation shows."""


class RetrieveDocuments:
    """Hybrid search under the caller's filter; SQL then decides what of it is current and visible."""

    def __init__(self, database: Database, vectors: Vectors, embedder: Embedder) -> None:
        self._database = database
        self._vectors = vectors
        self._embedder = embedder

    @activity.defn(name=ports.retrieve_documents.name)
    async def run(self, job: CompletionJob) -> Sources:
        """The best passages, best first; none where the call switched retrieval off."""
        asked = input_of(job.admitted.call, CompletionInput)
        text, principal = searchable(asked.question()), job.admitted.principal
        if not asked.retrieval.enabled or not text:
            return Sources()
        [vector] = await self._embedder.embed_queries([text])
        found = await self._vectors.search_passages(visibility(principal), text, vector, depth=DEPTH)
        async with self._database.read() as tx:
            heads = await documents.recheck(tx, principal, [passage.ref for passage in found])
        current = {(head.owner_group, head.id): head for head in heads}
        # A passage of another version is text that SQL no longer has, or has under other rules.
        fresh = [one for one in found if one.ref in current and current[one.ref].version == one.version]
        return Sources(
            items=tuple(
                Source(
                    kind="document",
                    owner_group=one.ref.owner_group,
                    id=one.ref.id,
                    version=one.version,
                    title=current[one.ref].title,
                    passage=_place(current[one.ref].title, one),
                    source=current[one.ref].source,
                    text=one.text,
                    rank=rank,
                )
                for rank, one in enumerate(_spread(fresh)[: asked.retrieval.top_k], 1)
            )
        )


def _place(title: str, passage: Passage) -> str | None:
    """Where in its document a passage stands, in words: its headings, and its number where there are several."""
    headings = headings_of(title, passage.text)[:HEADINGS]
    number = f"part {passage.chunk + 1} of {passage.chunks}" if passage.chunks > 1 else ""
    return ", ".join(filter(None, (headings, number))) or None


def _spread(passages: list[Passage]) -> list[Passage]:
    taken: dict[tuple[str, str], int] = {}
    kept: list[Passage] = []
    for passage in passages:
        taken[passage.ref] = taken.get(passage.ref, 0) + 1
        if taken[passage.ref] <= PER_DOCUMENT:
            kept.append(passage)
    return kept
