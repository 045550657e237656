"""Administration at both doors and on the command line of the whole running stack."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from domain.ids import new_id
from tests.doors.live import http2, mcp, rest, tool
from tests.doors.test_cli import as_json, cohort
from tests.support.stack import Stack

Json = dict[str, Any]


def send(client: httpx.Client, method: str, path: str, data: Json | None = None) -> Json:
    """The data of a call that must succeed."""
    answer = client.request(method, path, json={"data": data}) if data is not None else client.request(method, path)
    assert answer.is_success, answer.text
    return answer.json()["data"]


@pytest.fixture
def group(running: Stack) -> Iterator[str]:
    """A group below acme, gone at the end."""
    name = f"g-{new_id()}"
    given = {"id": name, "name": "Novelties", "parent": "acme", "permissions": ["products:read"]}
    with rest(running, "admin") as client:
        answer = client.post("/api/v1/admin/groups", json={"data": given})
        assert answer.status_code == 201, answer.text
        yield name
        assert client.delete(f"/api/v1/admin/groups/{name}").status_code in (200, 404)


def test_a_group_lives_from_its_creation_to_its_deletion(running: Stack, group: str) -> None:
    user = f"u-{new_id()}"
    with rest(running, "admin") as client:
        made = send(client, "POST", "/api/v1/admin/users", {"id": user, "primaryGroup": group})
        assert made == {**made, "id": user, "primaryGroup": group, "groups": [group], "disabled": False}
        key = send(client, "POST", "/api/v1/admin/keys", {"userId": user, "name": "laptop"})
        with httpx.Client(base_url=running.url, headers={"X-API-Key": key["token"]}, timeout=60) as newcomer:
            listed = newcomer.get("/api/v1/groups").json()["data"]["groups"]
            assert [each["id"] for each in listed] == [group, "acme"]
            path = f"/api/v1/admin/keys/{key['key']['id']}/rotate"
            newer = send(client, "POST", path, {"overlapSeconds": 600})
            assert newcomer.get("/api/v1/groups").status_code == 200
            newcomer.headers["X-API-Key"] = newer["token"]
            assert newcomer.get("/api/v1/groups").status_code == 200
            send(client, "DELETE", f"/api/v1/admin/keys/{newer['key']['id']}")
            assert newcomer.get("/api/v1/groups").json()["error"]["code"] == "unauthenticated"
        keys = client.get("/api/v1/admin/keys", params={"userId": user}).json()
        assert {each["id"]: each["state"] for each in keys["data"]["keys"]} == {
            key["key"]["id"]: "active",
            newer["key"]["id"]: "revoked",
        }
        assert keys["pagination"]["total"] == 2
        refused = client.delete(f"/api/v1/admin/groups/{group}")
        assert (refused.status_code, refused.json()["error"]["details"]) == (409, {"members": 1})
        moved = send(client, "PATCH", f"/api/v1/admin/groups/{group}", {"parent": "acme-sales", "monthlyBudget": 12.5})
        assert (moved["parent"], moved["monthlyBudget"], moved["name"]) == ("acme-sales", 12.5, "Novelties")
        gone = send(client, "DELETE", f"/api/v1/admin/users/{user}")
        assert gone == {"id": user, "deleted": True, "keys": 2}
        done = send(client, "DELETE", f"/api/v1/admin/groups/{group}")
        assert (done["deleted"], done["members"]) == (True, 0)
        again = client.post("/api/v1/admin/groups", json={"data": {"id": group, "name": "Again"}})
        assert again.json()["error"]["code"] == "conflict"


def test_members_are_listed_page_by_page(running: Stack, group: str) -> None:
    users = sorted(f"u-{new_id()}" for _ in range(3))
    with rest(running, "admin") as client:
        for user in users:
            send(client, "POST", "/api/v1/admin/users", {"id": user, "primaryGroup": group, "role": 0})
        found: list[str] = []
        asked: Json = {"limit": 2}
        while True:
            page = client.get(f"/api/v1/groups/{group}/members", params=asked).json()
            found += [each["userId"] for each in page["data"]["members"]]
            assert page["pagination"]["total"] == 3
            if not page["pagination"]["hasNext"]:
                break
            asked["nextToken"] = page["pagination"]["nextToken"]
        assert found == users
        foreign = client.get("/api/v1/groups/acme/members", params=asked)
        assert foreign.json()["error"]["details"]["fields"][0]["field"] == "nextToken"
        for user in users:
            send(client, "DELETE", f"/api/v1/admin/users/{user}")


async def test_agents_add_and_remove_members_and_both_doors_agree(running: Stack, group: str) -> None:
    added = await tool(running, "admin", "groups_add_member", {"id": group, "user_id": "sales", "role": 0})
    assert added["data"] == {"groupId": group, "userId": "sales", "role": 0, "adminLevel": 0, "changed": True}
    with rest(running, "admin") as client:
        over_rest = send(client, "POST", f"/api/v1/groups/{group}/members", {"userId": "sales", "role": 0})
        assert over_rest == {**added["data"], "changed": False}
        with rest(running, "sales") as sales:
            assert group in sales.get("/api/v1/groups").json()["metadata"]["userGroups"]
        removed = await tool(running, "admin", "groups_remove_member", {"id": group, "user_id": "sales"})
        assert removed["data"] == {"groupId": group, "userId": "sales", "removed": True}
        with rest(running, "sales") as sales:
            assert group not in sales.get("/api/v1/groups").json()["metadata"]["userGroups"]
        absent = await tool(running, "admin", "groups_remove_member", {"id": group, "user_id": "nobody"})
        assert absent["error"] == client.delete(f"/api/v1/groups/{group}/members/nobody").json()["error"]
        assert absent["error"]["code"] == "not_found"


async def test_who_may_not_administer_is_offered_no_tool_and_no_route(running: Stack) -> None:
    offered: dict[str, set[str]] = {}
    for user in ("admin", "sales"):
        async with http2(running, user) as http, mcp(running, http) as client:
            offered[user] = {each.name for each in (await client.list_tools()).tools}
    assert offered["admin"] - offered["sales"] == {"groups_add_member", "groups_remove_member"}
    with rest(running, "sales") as client:
        said = {
            client.request(method, path, json=None if data is None else {"data": data}).text.partition('"metadata"')[0]
            for method, path, data in [
                ("GET", "/api/v1/groups/acme-sales/members", None),
                ("GET", "/api/v1/groups/no-such-group/members", None),
                ("DELETE", "/api/v1/admin/groups/partner", None),
                ("DELETE", "/api/v1/admin/users/admin", None),
                ("POST", "/api/v1/admin/users", {"id": "x", "primaryGroup": "partner"}),
            ]
        }
    assert len(said) == 1
    assert "groups:admin" in said.pop()


@pytest.mark.parametrize(
    ("method", "path", "data", "field"),
    [
        ("POST", "/api/v1/groups/acme/members", {"userId": "sales", "role": 9}, "role"),
        ("POST", "/api/v1/groups/acme/members", {}, "userId"),
        ("POST", "/api/v1/groups/acme/members", {"userId": "sales", "id": "acme"}, "id"),
        ("POST", "/api/v1/admin/groups", {"id": "Not Good", "name": "x"}, "id"),
        ("POST", "/api/v1/admin/groups", {"id": "good", "name": "x", "permissions": ["everything"]}, "permissions.0"),
        ("PATCH", "/api/v1/admin/groups/acme", {"clear": ["name"]}, "clear.0"),
        ("PATCH", "/api/v1/admin/groups/acme", {}, "data"),
        ("PATCH", "/api/v1/admin/groups/acme", {"parent": "acme-sales"}, "parent"),
        ("POST", "/api/v1/admin/keys/0123456789abcdef/rotate", {"overlapSeconds": -1}, "overlapSeconds"),
        ("PATCH", "/api/v1/admin/products/x/access", {"accessLevel": "secret"}, "accessLevel"),
    ],
)
def test_bad_input_names_its_field(running: Stack, method: str, path: str, data: Json, field: str) -> None:
    with rest(running, "admin") as client:
        answer = client.request(method, path, json={"data": data})
    assert answer.status_code == 422, answer.text
    assert [each["field"] for each in answer.json()["error"]["details"]["fields"]] == [field]


def test_a_change_of_access_is_seen_in_search_at_once(running: Stack) -> None:
    """By the writer of the owner group; the product goes back to what it was."""
    with rest(running, "sales") as owner, rest(running, "research") as reader:
        mine = owner.get("/api/v1/products", params={"limit": 100}).json()["data"]["items"]
        own = [each for each in mine if each["ownerGroup"] == "acme-sales"]
        product = next(each for each in own if reader.get(f"/api/v1/products/{each['id']}").status_code == 404)
        path = f"/api/v1/admin/products/{product['id']}/access"

        def found() -> bool:
            page = reader.get("/api/v1/products", params={"query": product["title"], "limit": 100}).json()
            return product["id"] in [each["id"] for each in page["data"]["items"]]

        assert not found()
        before = send(owner, "PATCH", path, {"restrictedGroups": []})
        opened = send(owner, "PATCH", path, {"allowedGroups": ["acme"]})
        assert (opened["changed"], opened["version"]) == (True, before["version"] + 1)
        assert found()
        send(owner, "PATCH", path, {"allowedGroups": before["allowedGroups"]})
        assert not found()
        hidden = reader.patch(path, json={"data": {"sensitive": True}})
        absent = reader.patch("/api/v1/admin/products/no-such-thing/access", json={"data": {"sensitive": True}})
        assert hidden.json()["error"] == absent.json()["error"]
        assert hidden.status_code == 404


def test_the_command_line_administers(running: Stack) -> None:
    group, user = f"g-{new_id()}", f"u-{new_id()}"

    def run(*arguments: str, code: int = 0) -> Json:
        ended = cohort(*arguments, "--json", url=running.url, key=running.keys["admin"])
        assert ended.returncode == code, ended.stderr + ended.stdout
        return as_json(ended)

    made = run("groups", "create", group, "--name", "Novelties", "--parent", "acme", "--permissions", "products:read")
    assert made["data"]["permissions"] == ["products:read"]
    assert run("groups", "update", group, "--permissions", "")["data"]["permissions"] == []
    assert run("groups", "move", group, "acme-sales")["data"]["parent"] == "acme-sales"
    assert run("users", "create", user, "--primary-group", group)["data"]["groups"] == [group]
    assert run("groups", "add-member", "acme-sales", user, "--role", "0")["data"]["changed"]
    members = run("groups", "members", group)["data"]["members"]
    assert [each["userId"] for each in members] == [user]
    assert run("groups", "remove-member", "acme-sales", user)["data"]["removed"]
    key = run("keys", "create", "--user-id", user, "--scopes", "products:read")["data"]
    assert key["key"]["scopes"] == ["products:read"]
    newer = run("keys", "rotate", key["key"]["id"], "--overlap-seconds", "60")["data"]
    assert newer["replaces"]["id"] == key["key"]["id"]
    listed = run("keys", "list", "--user-id", user)["data"]["keys"]
    assert {each["id"] for each in listed} == {key["key"]["id"], newer["key"]["id"]}
    assert run("keys", "revoke", newer["key"]["id"])["data"]["state"] == "revoked"
    assert run("users", "disable", user)["data"]["disabled"]
    assert not run("users", "enable", user)["data"]["disabled"]
    assert run("groups", "delete", group, code=1)["error"]["details"] == {"members": 1}
    assert run("groups", "delete", group, "--transfer-to", "acme-sales")["data"]["members"] == 1
    assert run("users", "delete", user)["data"]["deleted"]
    assert run("documents", "access", "no-such-thing", "--sensitive", code=1)["error"]["code"] == "not_found"
    assert run("products", "access", "no-such-thing", "--no-sensitive", code=1)["error"]["code"] == "not_found"


@pytest.mark.parametrize("words", ["groups create", "groups move", "users create", "keys rotate", "products access"])
def test_every_command_shows_an_example(words: str) -> None:
    assert f"Example: cohort {words}" in cohort(*words.split(), "--help").stdout
