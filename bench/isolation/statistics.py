"""Whether two sets of response times can be told apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CERTAIN = 0.001
"""A difference that chance gives less often than this is one."""
USEFUL = 0.1
"""How much more often than by a coin's toss one call must tell the two apart for it to help anybody."""


@dataclass(frozen=True)
class Comparison:
    """`told_apart`: how often the slower of one call each is the one that is slower on the whole; 0.5 is chance.

    `p` is the two-sided probability of the Mann-Whitney U test, normal approximation.
    """

    median_difference: float
    told_apart: float
    p: float

    @property
    def differs(self) -> bool:
        """Certain, and large enough to be used."""
        return self.p < CERTAIN and self.told_apart - 0.5 > USEFUL


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two samples, neither of them empty; the difference is the first's median less the second's."""
    n, m = len(first), len(second)
    u, ties = _u_and_ties(first, second)
    size = n + m
    spread = math.sqrt(n * m / 12 * (size + 1 - ties / (size * (size - 1))))
    z = (u - n * m / 2) / spread if spread else 0.0
    share = u / (n * m)
    return Comparison(median(first) - median(second), max(share, 1 - share), math.erfc(abs(z) / math.sqrt(2)))


def median(values: Sequence[float]) -> float:
    """The middle value."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _u_and_ties(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """U of the first sample from the ranks of both, equal values sharing theirs; and the correction for those."""
    both = sorted([(value, True) for value in first] + [(value, False) for value in second])
    rank_sum, ties, start = 0.0, 0.0, 0
    while start < len(both):
        end = start
        while end < len(both) and both[end][0] == both[start][0]:
            end += 1
        shared = (start + 1 + end) / 2
        rank_sum += shared * sum(of_first for _, of_first in both[start:end])
        ties += (end - start) ** 3 - (end - start)
        start = end
    return rank_sum - len(first) * (len(first) + 1) / 2, ties
