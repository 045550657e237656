"""The sentences in which a caller is refused, each with what to do next. None tells what exists elsewhere."""

from domain.errors import CohortError, ErrorCode

MISSING = "No API key was given. Send yours in the X-API-Key header, or as Authorization: Bearer."
MALFORMED = (
    "This is not a whole API key: its length or its check digits are wrong. "
    "Copy it again in full, from cohort_ to its last digit."
)
WRONG = "This API key is not valid here. Check that it belongs to this server, or ask an administrator for a new one."
EXPIRED = "This API key has expired. Ask an administrator for a new one."
REVOKED = "This API key was revoked. Ask an administrator for a new one."
DISABLED = "The user of this API key is disabled. Ask an administrator of your group to enable it again."
NO_GROUP = "This API key is in no group. Ask an administrator to add its user to one, or use another key."
CONTEXT = (
    "You cannot work in the group that the group context names. Use groups_list to see your groups, "
    "or leave the group context out."
)
OVERRIDE = (
    "You cannot act as the group that the group override names: that takes a key without group bounds and a user "
    "who administers the group. Leave the group override out."
)


def unauthenticated(sentence: str) -> CohortError:
    """The refusal of a key."""
    return CohortError(ErrorCode.UNAUTHENTICATED, sentence)


def forbidden(sentence: str) -> CohortError:
    """The refusal of a known caller."""
    return CohortError(ErrorCode.FORBIDDEN, sentence)
