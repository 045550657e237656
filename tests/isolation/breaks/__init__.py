"""Deliberate breaks of what keeps groups apart, each with the tests that must notice it (`tests.isolation.mutants`)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Break:
    """One wrong edit: `old`, which stands exactly once in `file`, becomes `new`; `also` are more edits of that file.

    `tests` are the narrowest that must fail, and fail because of what they assert. `quick` ones are part of every
    `make isolation`; `make mutants` makes all.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    also: tuple[tuple[str, str], ...] = ()
    quick: bool = False

    def apply(self, source: str) -> str:
        """The broken source.

        Raises:
            ValueError: an old text is not there exactly once, so the break no longer means what it says.
        """
        for old, new in ((self.old, self.new), *self.also):
            if (times := source.count(old)) != 1:
                raise ValueError(f"{self.name}: {self.file} has this {times} times, not once: {old!r}")
            source = source.replace(old, new)
        return source
