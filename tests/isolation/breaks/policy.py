"""Breaks of the rule itself."""

from tests.isolation.breaks import Break

_FILE = "domain/policy.py"
_SECOND = "tests/isolation/test_each_engine.py::test_the_rule_is_as_it_is_told_a_second_time"
_PROPERTIES = "tests/isolation/test_properties.py::"
_DENY = 'Not(Meets("restricted_groups", frozenset(principal.closure))),'

BREAKS = [
    Break(
        "restrictions are not asked",
        _FILE,
        _DENY,
        "",
        (f"{_PROPERTIES}test_denial_overrides_everything",),
        quick=True,
    ),
    Break(
        "restrictions meet only the groups in force",
        _FILE,
        _DENY,
        'Not(Meets("restricted_groups", effective)),',
        (_SECOND,),
    ),
    Break(
        "public objects pass restrictions",
        _FILE,
        _DENY,
        f"Any((LevelIn(frozenset({{Level.PUBLIC}})), {_DENY})),",
        (f"{_PROPERTIES}test_denial_overrides_everything",),
    ),
    Break(
        "administrators pass restrictions",
        _FILE,
        _DENY,
        'Not(Meets("restricted_groups", frozenset(() if principal.administers else principal.closure))),',
        (f"{_PROPERTIES}test_administrators_of_everything_do_not_pass_a_restriction",),
    ),
    Break(
        "administering a group is seeing what it owns",
        _FILE,
        "effective = frozenset(principal.effective)",
        "effective = frozenset((*principal.effective, *principal.administers))",
        (_SECOND,),
    ),
    Break(
        "only the first group counts",
        _FILE,
        "effective = frozenset(principal.effective)",
        "effective = frozenset(principal.effective[:1])",
        (_SECOND,),
    ),
    Break(
        "owners see sensitive objects",
        _FILE,
        "All((Owned(effective), Not(Sensitive()))),",
        "Owned(effective),",
        (_SECOND,),
    ),
    Break(
        "sensitive objects are for all effective groups",
        _FILE,
        'Meets("allowed_groups", frozenset(principal.direct))',
        'Meets("allowed_groups", effective)',
        (_SECOND,),
    ),
    Break(
        "allowed groups need no clearance",
        _FILE,
        'All((Meets("allowed_groups", effective), Not(Sensitive()), cleared)),',
        'All((Meets("allowed_groups", effective), Not(Sensitive()))),',
        (_SECOND,),
    ),
    Break(
        "clearance reaches one level too high",
        _FILE,
        "level.rank <= highest.rank",
        "level.rank <= highest.rank + 1",
        (_SECOND,),
    ),
    Break(
        "public objects are for members only",
        _FILE,
        "LevelIn(frozenset({Level.PUBLIC})),",
        "All((LevelIn(frozenset({Level.PUBLIC})), Owned(effective))),",
        (f"{_PROPERTIES}test_public_is_every_caller_who_is_not_denied",),
    ),
    Break(
        "a key's scopes are not asked",
        _FILE,
        "return granted and (not self.scopes or any(covers(scope, permission) for scope in self.scopes))",
        "return granted",
        ("tests/isolation/test_hierarchy.py::test_scopes_only_take_away_and_are_told_as_they_are",),
    ),
    Break(
        "a permission covers every action",
        _FILE,
        'return resource in ("*", wanted_resource) and action in ("*", wanted_action)',
        'return resource in ("*", wanted_resource)',
        ("tests/isolation/test_hierarchy.py::test_two_patterns_meet_in_what_both_cover",),
    ),
]
