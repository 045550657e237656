"""AES-256-GCM for values that lie outside the process: a fresh nonce each, bound to the name they are stored under."""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


def seal(cipher: AESGCM, content: bytes, name: bytes) -> bytes:
    """Nonce and sealed content; it opens only under the same name."""
    nonce = os.urandom(_NONCE)
    return nonce + cipher.encrypt(nonce, content, name)


def open_sealed(cipher: AESGCM, sealed: bytes, name: bytes) -> bytes:
    """The content.

    Raises:
        InvalidTag: it was sealed under another key or name, or was changed.
    """
    return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name)
