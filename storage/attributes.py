"""Product attributes as filters and facets meet them: canonical tokens, `name=json value`."""

import hashlib
import json
import math

import rfc8785

from domain.products import AttributeValue
from storage.texts import storable

_LONGEST = 256
"""Characters; PostgreSQL cannot index values above 2,704 bytes."""


def token_of(name: str, value: AttributeValue) -> str:
    """The token of one attribute: equal exactly where name and value are (1 and 1.0 are, 1 and true are not).

    A very long one is replaced by its digest, which filters find and facets leave out.
    """
    said = f"{storable(name)}={_json(value)}"
    return said if len(said) <= _LONGEST else f"#{hashlib.sha256(said.encode()).hexdigest()}"


def value_in(token: str, name: str) -> str | None:
    """The value in a token, as facets show it: strings bare, anything else in JSON. None for a digest."""
    if not token.startswith(f"{name}="):
        return None
    said = token[len(name) + 1 :]
    return str(json.loads(said)) if said.startswith('"') else said


def _json(value: AttributeValue) -> str:
    if isinstance(value, str):
        return rfc8785.dumps(storable(value)).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return f"#{value}"  # which no stored attribute has
    # RFC 8785 writes numbers as JavaScript does, which cannot tell integers above 2^53 apart.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    return rfc8785.dumps(value).decode()
