"""Breaks of what is handed out later: pages, repeated requests, jobs, groups; and of admission itself."""

from tests.isolation.breaks import Break

_PAGES, _ADMIT, _KEYS = "storage/pages.py", "activities/admit.py", "storage/idempotency.py"
_FOREIGN = "tests/storage/test_pages.py::test_another_callers_or_questions_token_is_refused"
_READINGS = "tests/isolation/test_second_readings.py::"

BREAKS = [
    Break("a page token is good for every user", _PAGES, '"user": self.user_id,', "", (_FOREIGN,), quick=True),
    Break("a page token is good in every context", _PAGES, '"context": self.context,', "", (_FOREIGN,)),
    Break("a page token is good under every override", _PAGES, '"override": self.override,', "", (_FOREIGN,)),
    Break("a page token is good for every question", _PAGES, '"question": self.question,', "", (_FOREIGN,)),
    Break(
        "a page token never ends",
        _PAGES,
        'if content["until"] <= (time.time() if now is None else now):',
        'if content["until"] < 0:',
        ("tests/storage/test_pages.py::test_an_old_token_and_another_servers_are_refused",),
    ),
    Break(
        "a page token may be spelt in several ways",
        _PAGES,
        ' or base64.urlsafe_b64encode(found).rstrip(b"=").decode() != token',
        "",
        ("tests/storage/test_pages.py::test_every_changed_digit_is_refused",),
    ),
    Break(
        "an idempotency key is everybody's",
        _KEYS,
        "return ask.user_id, ask.operation, ask.key",
        'return "", ask.operation, ask.key',
        (f"{_READINGS}test_a_key_is_its_users_and_its_requests",),
        also=(('"user_id": ask.user_id,', '"user_id": "",'),),
    ),
    Break(
        "an idempotency key answers any request",
        _KEYS,
        "if row.digest != ask.digest:",
        "if row.digest == ask.user_id:",
        (f"{_READINGS}test_a_key_is_its_users_and_its_requests",),
    ),
    Break(
        "context and override are not part of a request",
        _ADMIT,
        '{"input": call.input, "context": caller.context, "override": caller.override}',
        '{"input": call.input, "caller": caller.user_id}',
        (f"{_READINGS}test_a_key_is_its_users_and_its_requests",),
    ),
    Break(
        "a replayed answer is not authorised again",
        _ADMIT,
        "            if not allowed:",
        "            if not allowed and not claim.outcome.provenance:",
        (f"{_READINGS}test_a_replay_is_authorised_again",),
        quick=True,
    ),
    Break(
        "admission asks for no permission",
        _ADMIT,
        "if call.permission is not None and not principal.may(call.permission):",
        "if call.permission is not None and not principal.grants:",
        (f"{_READINGS}test_admission_asks_for_the_permission_in_force",),
    ),
    Break(
        "a job is everybody's",
        "storage/jobs.py",
        "if user_id == principal.user_id and target_group in principal.effective:",
        "if target_group:",
        ("tests/storage/test_records.py::test_jobs_are_their_callers_and_the_administrators[sqlite]",),
    ),
    Break(
        "a job stays its caller's outside its group",
        "storage/jobs.py",
        "if user_id == principal.user_id and target_group in principal.effective:",
        "if user_id == principal.user_id:",
        ("tests/storage/test_records.py::test_a_job_is_hidden_from_its_caller_outside_its_target_group[sqlite]",),
    ),
    Break(
        "every group's permissions are told",
        "storage/group_views.py",
        "if group_id not in world.groups or not mine:",
        "if group_id not in world.groups:",
        ("tests/storage/test_groups.py::test_hidden_groups_are_absent",),
    ),
]
