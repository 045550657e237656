"""The breaks of `make mutants` fit the code as it is, and a break that nobody notices is told."""

import io

import pytest
from rich.console import Console

from tests.isolation import mutants
from tests.isolation.breaks import Break

QUIET = Console(file=io.StringIO())
EXPIRED = "tests/storage/test_pages.py::test_an_old_token_and_another_servers_are_refused"
CHANGED = "tests/storage/test_pages.py::test_every_changed_digit_is_refused"


def test_every_break_fits_the_code() -> None:
    mutants.check(mutants.EVERY)


def test_a_break_whose_text_is_gone_is_told() -> None:
    gone = Break("gone", "storage/pages.py", "no such text", "", (EXPIRED,))
    twice = Break("twice", "storage/pages.py", "self", "", (EXPIRED,))
    with pytest.raises(mutants.Stale, match=r"(?s)gone: storage/pages.py has this 0 times.*twice: .* not once: 'self'"):
        mutants.run([gone, twice], 1, QUIET)


def test_a_break_that_nobody_notices_survives() -> None:
    noticed = Break("noticed", "storage/pages.py", 'if content["until"] <= ', 'if content["until"] < ', (EXPIRED,))
    unnoticed = Break("unnoticed", "storage/pages.py", "LIFETIME = 24 * 3600", "LIFETIME = 25 * 3600", (EXPIRED,))
    no_module = Break("no module", "storage/pages.py", "LIFETIME = 24 * 3600", "LIFETIME = = 1", (CHANGED,))

    verdicts = mutants.run([noticed, unnoticed, no_module], 2, QUIET)

    assert [verdict.caught for verdict in verdicts] == [True, False, False]
    assert verdicts[0].by == EXPIRED
    assert "passed" in verdicts[1].by
    assert "pytest ended with" in verdicts[2].by, "what cannot be imported proves nothing"
