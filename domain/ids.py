"""Random ids, and the shape that caller-supplied ids must have."""

import re
import secrets

GROUP_ID = re.compile(r"[a-z0-9_-]{1,64}")
OBJECT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
TRACE_ID = re.compile(r"[A-Za-z0-9._:~-]{1,128}")


def new_id() -> str:
    """80 random bits as 20 hexadecimal digits: short enough that 64 of them fit a Temporal search attribute."""
    return secrets.token_hex(10)
