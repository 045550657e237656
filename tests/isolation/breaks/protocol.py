"""Breaks of the cache protocol's order: who reads which epoch when.

They show only where filler, revoker and reader interleave, so the tests that catch them run those under a scheduler
of their own. This is the place for: an epoch read after the data, no check of retrieved candidates, an epoch raised
outside the transaction of its change, no comparison of epochs before an answer is stored.
"""

from tests.isolation.breaks import Break

BREAKS: list[Break] = []
