"""The master secret and the keys derived from it."""

import hashlib
import hmac


class Secrets:
    """Derives one key for each purpose, so that no two uses share one: a leak of one does not open the others."""

    def __init__(self, master: bytes) -> None:
        """Takes the master secret of 32 bytes.

        Raises:
            ValueError: the master secret has another length.
        """
        if len(master) != 32:
            raise ValueError(f"the master secret must be 32 bytes, not {len(master)}: restore it or make a new one")
        self._master = master

    def __repr__(self) -> str:
        return "Secrets()"

    def key(self, purpose: str) -> bytes:
        """32 bytes for `purpose` (`api-keys`, `payloads`, `pages`, `answers`, `cache`, `codec`)."""
        return hmac.new(self._master, purpose.encode(), hashlib.sha256).digest()
