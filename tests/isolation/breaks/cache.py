"""Breaks of the response cache: what its keys hold, what a hit rests on, what makes entries unreachable."""

from tests.isolation.breaks import Break

_FILE = "storage/cache.py"
_KEYS = "tests/storage/test_cache.py::test_whoever_may_see_or_do_something_else_has_another_key"
_READINGS = "tests/isolation/test_second_readings.py::"
_MOVES = f"{_READINGS}test_what_moves_a_scope_makes_its_answers_unreachable"
_NOTE_LEAVING = '        await _note(tx, by, "groups_remove_member"'
_PROVENANCE = "return version == item.version and visible(principal, access)"


def _left_out(what: str, line: str, *, quick: bool = False) -> Break:
    return Break(f"the scope leaves out {what}", _FILE, line, "", (_KEYS,), quick=quick)


BREAKS = [
    _left_out("the direct groups", '"direct": frozenset(principal.direct),'),
    _left_out("the effective groups", '"effective": frozenset(principal.effective),'),
    _left_out("the groups that deny", '"closure": frozenset(principal.closure),'),
    _left_out("the clearance", '"clearance": principal.clearance.value,'),
    _left_out("the permissions", '"permissions": frozenset(principal.permissions()),'),
    _left_out("the epochs", '"epochs": principal.epochs,', quick=True),
    Break(
        "a key holds no scope",
        _FILE,
        "'scope': scope, 'parts': parts",
        "'parts': parts",
        (_KEYS,),
    ),
    Break(
        "a value is good under any key",
        "storage/sealing.py",
        "cipher.encrypt(nonce, content, name)",
        "cipher.encrypt(nonce, content, None)",
        ("tests/storage/test_pages.py::test_another_callers_or_questions_token_is_refused",),
        also=(("sealed[_NONCE:], name)", "sealed[_NONCE:], None)"),),
    ),
    Break(
        "values run together in an encoding",
        "domain/canonical.py",
        'return tag + len(content).to_bytes(8, "big") + content',
        "return tag + content",
        ("tests/isolation/test_encoding.py::test_what_could_run_together_does_not",),
        quick=True,
    ),
    Break(
        "a hit's provenance is read and passed over",
        "activities/look_up.py",
        "            if may:",
        "            if may or entry.provenance:",
        (f"{_READINGS}test_a_hit_is_authorised_again_for_each_caller",),
        quick=True,
    ),
    Break(
        "a prompt is not part of the place",
        "activities/look_up.py",
        '"conversation": [turn.model_dump(mode="json") for turn in asked.conversation()],',
        "",
        (f"{_READINGS}test_colleagues_share_an_answer_and_nobody_else_has_it",),
    ),
    Break(
        "provenance may be of any version",
        "storage/provenance.py",
        _PROVENANCE,
        "return visible(principal, access)",
        (f"{_READINGS}test_a_hit_rests_on_the_version_that_was_read",),
    ),
    Break(
        "provenance need not be visible",
        "storage/provenance.py",
        _PROVENANCE,
        "return version == item.version",
        (f"{_READINGS}test_a_hit_is_authorised_again_for_each_caller",),
    ),
    Break(
        "epochs that are due are not written",
        "storage/sql.py",
        "            await epochs.flush(tx)\n",
        "",
        (_MOVES,),
    ),
    Break(
        "leaving a group moves nothing",
        "storage/groups.py",
        f"        await epochs.bump(tx, [epochs.of_group(group_id)])\n{_NOTE_LEAVING}",
        _NOTE_LEAVING,
        (_MOVES,),
    ),
    Break(
        "a change moves only its owner's group",
        "storage/objects.py",
        "groups |= access.allowed_groups | access.restricted_groups",
        "pass",
        (_MOVES,),
    ),
    Break(
        "a change moves only groups that are listed now",
        "storage/objects.py",
        "groups, levels = {owner, *named.scalars()}, set(levels_before)",
        "groups, levels = {owner}, set(levels_before)",
        (_MOVES,),
    ),
    Break(
        "publishing moves only the groups that are named",
        "storage/objects.py",
        "        scopes.add(epochs.PUBLIC)",
        "        pass",
        (_MOVES,),
    ),
    Break(
        "routes are open to all groups",
        "activities/providers/routes.py",
        "return not self.groups or not set(self.groups).isdisjoint(principal.effective)",
        "return True",
        (f"{_READINGS}test_a_route_is_open_to_its_groups_only",),
    ),
]
