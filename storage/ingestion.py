"""One slice of an upload into SQL: parse, check, store, count. The vector copy follows (`storage.indexing`)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import CohortError
from domain.ingestion import DocumentFile, IngestCounts, IngestJob, Kind, Reject
from domain.policy import Level, ObjectAccess, visible
from domain.products import ProductRow
from storage import documents, ingest_rows, objects, products, snapshots
from storage.document_files import DocumentRow, document_id, document_of
from storage.documents import NewDocument
from storage.ingest_rights import Rights, check_owner, level_for, levels_of, nameable
from storage.ingest_rows import Dealt
from storage.objects import Upserted
from storage.policy_sql import ObjectKind
from storage.rows import RowError, check_columns, columns_of, deletion_of, object_id, shown_id, validated
from storage.upload_lines import Line

UNSEEN = "you may not store a row that you could not see: use another id, or access rules that let you see it"
"""The one reason for two causes: the row's own rules would hide it, or its id is that of an object hidden already.

An id whose object stays as it is cannot be answered as free, so it shows that something stands in the way; whether that
is an object, and what is in it, does not. Deleting a hidden object is answered exactly as deleting an absent one.
"""

_DELETED = ("deleted",)
_KINDS: dict[Kind, ObjectKind] = {"products": "product", "documents": "document"}


@dataclass(frozen=True)
class Parsed:
    """A line as a row to store (`row`) or to delete (None)."""

    line: int
    id: str
    row: ProductRow | DocumentRow | None


@dataclass(frozen=True)
class Parsing:
    """What a slice's lines say: rows, and those that are none."""

    rows: tuple[Parsed, ...]
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class Taken:
    """What a slice did, and the objects whose vector copy is to follow."""

    counts: IngestCounts
    ids: tuple[str, ...]


def parse(kind: Kind, lines: Sequence[Line]) -> Parsing:
    """Each line as a row, or why it is none."""
    rows: list[Parsed] = []
    rejects: list[Reject] = []
    for line in lines:
        shown: str | None = None
        try:
            columns = columns_of(line)
            shown = shown_id(columns, "id" if kind == "products" else "name")
            rows.append(_product(line, columns) if kind == "products" else _document(line, columns))
        except RowError as error:
            rejects.append(error.reject(line.number, shown))
    return Parsing(tuple(rows), tuple(rejects))


async def take(tx: AsyncConnection, job: IngestJob, parsing: Parsing) -> Taken:
    """Store and delete what the slice says, in the caller's transaction. Running it again changes and counts the same.

    Raises:
        CohortError: the uploader has lost his key or his right to this group since the upload was accepted.
    """
    rights = await _rights(tx, job, parsing.rows)
    before = await ingest_rows.known(tx, job.admitted.call.id, [parsed.id for parsed in parsing.rows])
    unknown = [parsed.id for parsed in parsing.rows if parsed.id not in before]
    hidden = await objects.hidden(tx, _KINDS[job.kind], job.input.group, rights.principal, unknown)
    dealt = dict(before)
    rejects = list(parsing.rejects)
    fresh: list[Parsed] = []
    for parsed in parsing.rows:
        try:
            if parsed.row is not None:
                rights.check(parsed.row)
            _once(parsed, dealt)
            if parsed.row is not None:
                _check_seen(rights, parsed.row, hidden)
        except RowError as error:
            rejects.append(error.reject(parsed.line, parsed.id))
            continue
        if parsed.id not in before:
            fresh.append(parsed)
            dealt[parsed.id] = Dealt(parsed.line, "unchanged")
    new = await _store(tx, job, fresh, rights.default, hidden)
    await ingest_rows.record(tx, job.admitted.call.id, new)
    lines = {parsed.line for parsed in parsing.rows}
    mine = [one for one in {**before, **new}.values() if one.line in lines]
    counts = IngestCounts(
        accepted=sum(one.outcome == "accepted" for one in mine),
        unchanged=sum(one.outcome == "unchanged" for one in mine),
        deleted=sum(one.outcome == "deleted" for one in mine),
        rejected=len(rejects),
        rejects=tuple(sorted(rejects, key=lambda reject: reject.line)),
    )
    return Taken(counts, tuple(sorted({parsed.id for parsed in parsing.rows} & {*before, *new})))


def _product(line: Line, columns: dict[str, object]) -> Parsed:
    check_columns(columns, ProductRow, _DELETED)
    identity = object_id(columns.get("id"))
    if deletion_of(columns):
        return Parsed(line.number, identity, None)
    row = validated(ProductRow, {name: value for name, value in columns.items() if name != "deleted"})
    return Parsed(line.number, identity, row)


def _document(line: Line, columns: dict[str, object]) -> Parsed:
    check_columns(columns, DocumentFile, ("id", *_DELETED))
    if deletion_of(columns):
        name = columns.get("name")
        return Parsed(line.number, document_id(name) if isinstance(name, str) else object_id(columns.get("id")), None)
    row = document_of(validated(DocumentFile, {name: value for name, value in columns.items() if name != "deleted"}))
    return Parsed(line.number, row.id, row)


async def _rights(tx: AsyncConnection, job: IngestJob, rows: Sequence[Parsed]) -> Rights:
    """The uploader's rights as they are now, not as they were when the upload was accepted."""
    [now] = await snapshots.take(tx, [job.admitted.call.caller])
    if isinstance(now, CohortError):
        raise now
    group = job.input.group
    check_owner(now, job.kind, group)
    own = (await levels_of(tx, [group]))[group]
    named = {
        name
        for parsed in rows
        if parsed.row is not None
        for name in (*(parsed.row.allowed_groups or ()), *(parsed.row.restricted_groups or ()))
    }
    default = level_for(now, group, own, job.input.access_level)
    return Rights(now, group, default, await nameable(tx, now, named))


def _check_seen(rights: Rights, row: ProductRow | DocumentRow, hidden: Collection[str]) -> None:
    """Refuse a row that would replace what its uploader may not see, or that he could not see himself.

    The second also keeps him from locking himself out of a row, and has the same file answered alike each time.
    """
    if row.id in hidden or not visible(rights.principal, _access(rights, row)):
        raise RowError(None, UNSEEN)


def _access(rights: Rights, row: ProductRow | DocumentRow) -> ObjectAccess:
    if isinstance(row, ProductRow):
        return products.access_of(rights.group, row, rights.default)
    return _new(row, rights.default).access(rights.group)


def _once(parsed: Parsed, dealt: dict[str, Dealt]) -> None:
    earlier = dealt.get(parsed.id)
    if earlier is not None and earlier.line != parsed.line:
        raise RowError("id", f"line {earlier.line} has this id already: the first row of an id counts")


async def _store(
    tx: AsyncConnection, job: IngestJob, fresh: Sequence[Parsed], default: Level, hidden: Collection[str]
) -> dict[str, Dealt]:
    lines = {parsed.id: parsed.line for parsed in fresh}
    group = job.input.group
    stored = await _upsert(tx, group, fresh, default)
    new = {
        row.id: Dealt(lines[row.id], "unchanged" if row.change == "unchanged" else "accepted") for row in stored.rows
    }
    doomed = [parsed.id for parsed in fresh if parsed.row is None]
    if doomed:
        remove = products.delete if job.kind == "products" else documents.delete
        gone = set(await remove(tx, group, [one for one in doomed if one not in hidden]))
        new |= {one: Dealt(lines[one], "deleted" if one in gone else "unchanged") for one in doomed}
    return new


async def _upsert(tx: AsyncConnection, group: str, fresh: Sequence[Parsed], default: Level) -> Upserted:
    goods = [parsed.row for parsed in fresh if isinstance(parsed.row, ProductRow)]
    if goods:
        return await products.upsert(tx, group, goods, default_level=default)
    files = [parsed.row for parsed in fresh if isinstance(parsed.row, DocumentRow)]
    if files:
        return await documents.upsert(tx, group, [_new(row, default) for row in files])
    return Upserted(())


def _new(row: DocumentRow, default: Level) -> NewDocument:
    return NewDocument(
        id=row.id,
        title=row.title,
        source=row.source,
        text=row.text,
        access_level=row.access_level or default,
        allowed_groups=frozenset(row.allowed_groups),
        restricted_groups=frozenset(row.restricted_groups),
        sensitive=row.sensitive,
    )
