"""Breaks of who a caller is: keys, users, contexts, overrides, hierarchy."""

from tests.isolation.breaks import Break

_FILE = "storage/snapshots.py"
_SNAPSHOTS = "tests/storage/test_snapshots.py::"
_NARROWING = "tests/isolation/test_narrowing.py::"
_IDENTITY = "tests/storage/test_identity.py::"
_WIDENS = f"{_NARROWING}test_contexts_bounds_and_scopes_never_widen"
_BELOW = f"{_NARROWING}test_overrides_stay_in_the_administered_subtree_and_need_a_free_key"
_ENDS = f"{_SNAPSHOTS}test_what_ends_a_key[sqlite]"
_OVERRIDE = "if holder.bound or not may or caller.override not in world.groups:"

BREAKS = [
    Break(
        "any known group may be the context",
        _FILE,
        "if caller.context not in effective:",
        "if caller.context not in world.groups:",
        (_WIDENS,),
    ),
    Break(
        "a key that is bound to groups may override",
        _FILE,
        _OVERRIDE,
        "if not may or caller.override not in world.groups:",
        (_BELOW,),
    ),
    Break(
        "any group may be the override",
        _FILE,
        _OVERRIDE,
        "if holder.bound or caller.override not in world.groups:",
        (_BELOW,),
        quick=True,
    ),
    Break(
        "a key's groups do not bind it",
        _FILE,
        "direct = holder.roles.keys() & holder.bound if holder.bound else set(holder.roles)",
        "direct = set(holder.roles)",
        (f"{_SNAPSHOTS}test_a_bound_key_narrows_but_denial_does_not[sqlite]",),
    ),
    Break(
        "narrowing loosens what denies",
        _FILE,
        "closure=tuple(sorted(closure)),",
        "closure=tuple(sorted(effective)),",
        (_WIDENS,),
    ),
    Break(
        "an override leaves the administrator's own denials behind",
        _FILE,
        "closure |= world.closure(direct)",
        "closure = world.closure(direct)",
        (_BELOW,),
    ),
    Break(
        "clearance is that of all memberships",
        _FILE,
        "for group in direct), key=_rank",
        "for group in holder.roles), key=_rank",
        (f"{_SNAPSHOTS}test_context_narrows_to_a_direct_group[sqlite]",),
    ),
    Break(
        "rights flow up like sight",
        _FILE,
        "for group in sorted(direct) for grant in world.grants(group)",
        "for group in sorted(effective) for grant in world.grants(group)",
        (f"{_SNAPSHOTS}test_sight_flows_up_and_rights_do_not[sqlite]",),
    ),
    Break(
        "a role below the group's admin level counts for nothing",
        "storage/hierarchy.py",
        "return self.admin_level if role is None else min(role, self.admin_level)",
        "return self.admin_level",
        (f"{_SNAPSHOTS}test_a_role_caps_the_groups_admin_level[sqlite]",),
    ),
    Break(
        "siblings of an administered group are administered",
        "storage/hierarchy.py",
        "due = [root for root in roots if root in self.groups]",
        "due = [self.groups[root].parent or root for root in roots if root in self.groups]",
        ("tests/isolation/test_hierarchy.py::test_what_is_below_is_what_the_others_are_above",),
    ),
    Break("an expired key is good", _FILE, "holder.expires_at <= now", "holder.expires_at <= now - 3600", (_ENDS,)),
    Break(
        "a revoked key is good",
        _FILE,
        "if holder.revoked_at is not None:",
        "if holder.revoked_at is not None and holder.revoked_at > now:",
        (_ENDS,),
        quick=True,
    ),
    Break(
        "a disabled user is let in",
        _FILE,
        "if holder.disabled_at is not None:",
        "if holder.disabled_at is not None and holder.disabled_at > now:",
        (_ENDS,),
    ),
    Break(
        "a key stands for whatever user the door names",
        _FILE,
        "if holder is None or holder.user_id != caller.user_id:",
        "if holder is None:",
        (_ENDS,),
    ),
    Break(
        "a key's secret is not compared",
        "storage/identity.py",
        "if not hmac.compare_digest(stored, key_digest(key.token, self._pepper)) or row is None:",
        "if row is None:",
        (f"{_IDENTITY}test_expired_revoked_and_disabled_are_told_only_to_the_holder[sqlite]",),
    ),
    Break(
        "a key is remembered by its id",
        "storage/identity.py",
        "asked = _Asked(hashlib.sha256(token.encode()).digest(), context, override)",
        "asked = _Asked(hashlib.sha256(key.id.encode()).digest(), context, override)",
        (f"{_IDENTITY}test_what_is_remembered_is_the_whole_token[sqlite]",),
    ),
    Break(
        "what narrows a call is not part of what is remembered of its key",
        "storage/identity.py",
        "asked = _Asked(hashlib.sha256(token.encode()).digest(), context, override)",
        "asked = _Asked(hashlib.sha256(token.encode()).digest(), None, None)",
        (f"{_IDENTITY}test_lanes[sqlite]",),
    ),
]
