"""A Markdown file with its front matter as a document."""

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Any, cast

import yaml
from pydantic import Field, field_validator

from domain.base import Contract
from domain.ingestion import DocumentFile
from domain.policy import Level
from storage.chunks import first_heading
from storage.rows import RowError, check_columns, validated

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)(?:^|\n)(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FRONT_BYTES = 8_192


class FrontMatter(Contract):
    """What a file may say about itself between two lines of `---`, in YAML."""

    title: str | None = Field(default=None, min_length=1, max_length=300)
    source: str | None = Field(default=None, min_length=1, max_length=300)
    access_level: Level | None = None
    allowed_groups: list[str] | None = Field(default=None, max_length=64)
    restricted_groups: list[str] | None = Field(default=None, max_length=64)
    sensitive: bool = False

    @field_validator("title", "source", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """YAML reads a title such as 2026 as a number and 2026-01-01 as a date."""
        return value if value is None or isinstance(value, (str, list, dict, bool)) else str(value)


class DocumentRow(Contract):
    """A document as a file described it. `id` comes from the file's name."""

    id: str
    title: str
    source: str
    text: str
    access_level: Level | None
    allowed_groups: list[str]
    restricted_groups: list[str]
    sensitive: bool


def document_of(file: DocumentFile) -> DocumentRow:
    """The document in a file.

    Raises:
        RowError: its front matter is broken, too long, or says something that no document has; or it is empty.
    """
    front, body = _front_matter(file.text)
    if not body.strip():
        raise RowError("text", "the file is empty below its front matter")
    name = PurePosixPath(file.name.replace("\\", "/"))
    return DocumentRow(
        id=document_id(file.name),
        title=front.title or (first_heading(body) or name.stem.replace("-", " "))[:300],
        source=front.source or str(name)[:300],
        text=body.strip("\r\n"),
        access_level=front.access_level,
        allowed_groups=front.allowed_groups or [],
        restricted_groups=front.restricted_groups or [],
        sensitive=front.sensitive,
    )


def document_id(name: str) -> str:
    """The id of the document in a file: its path below the folder, as a slug, such as `public-care-of-down`.

    Where the slug would lose letters, a digest of the name keeps two files apart.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    stem = str(path.with_suffix("") if path.suffix.lower() in (".md", ".markdown", ".txt") else path)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9._~]+", "-", plain.lower()).strip("-._~")
    if slug and len(slug) <= 128 and plain == stem:
        return slug
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{slug[:100].strip('-._~') or 'document'}-{mark}"


def _front_matter(text: str) -> tuple[FrontMatter, str]:
    found = _FRONT.match(text[: _FRONT_BYTES * 2])
    if found is None:
        return FrontMatter(), text.removeprefix("\ufeff")
    if len(found[1]) > _FRONT_BYTES:
        raise RowError("text", f"the front matter must be {_FRONT_BYTES} characters or less")
    try:
        said: object = yaml.safe_load(found[1])
    except (yaml.YAMLError, RecursionError, ValueError):
        raise RowError("text", "the front matter between the two lines of --- is not valid YAML") from None
    if said is None:
        return FrontMatter(), text[found.end() :]
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in cast(dict[Any, Any], said)):
        raise RowError("text", "the front matter must be lines of name: value, such as title: Care of down")
    columns = cast(dict[str, Any], said)
    check_columns(columns, FrontMatter)
    return validated(FrontMatter, columns, strict=False), text[found.end() :]
