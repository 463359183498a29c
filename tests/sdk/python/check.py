"""Does Cloudflare's Python client, unmodified, work against the simulator?

Every answer is validated strictly by the client's own models.
"""

import json
import os
import sys
import time
import traceback
import urllib.request
import uuid
from datetime import datetime

import cloudflare
from cloudflare import Cloudflare
from cloudflare.types import resource_sharing as types

BASE_URL = os.environ["CFSHARE_BASE_URL"]
CONTROL_URL = os.environ["CFSHARE_CONTROL_URL"]
OWNER, FIRST, SECOND = (uuid.uuid4().hex for _ in range(3))
RULESET, POLICY = uuid.uuid4().hex, str(uuid.uuid4())

client = Cloudflare(
    api_token="python-token",
    base_url=BASE_URL,
    _strict_response_validation=True,
)
by_key = Cloudflare(
    api_email="team@example.com",
    api_key="python-key",
    base_url=BASE_URL,
    _strict_response_validation=True,
)
shares = client.resource_sharing
failures = 0


def check(name, run):
    global failures
    try:
        run()
    except Exception:
        failures += 1
        traceback.print_exc()
        print(f"not ok python: {name}", flush=True)
    else:
        print(f"ok python: {name}", flush=True)


def control(path, body):
    data = json.dumps(body).encode()
    with urllib.request.urlopen(f"{CONTROL_URL}/{path}", data=data) as answer:
        return json.load(answer)


def until(fits, read):
    deadline = time.monotonic() + 10
    while not fits(found := read()):
        assert time.monotonic() < deadline, f"never as expected: {found}"
        time.sleep(0.02)
    return found


def resource(kind, id):
    return {
        "meta": {"note": "x"},
        "resource_account_id": OWNER,
        "resource_id": id,
        "resource_type": kind,
    }


def new_share(name, account=OWNER):
    return shares.create(
        account_id=account,
        name=name,
        recipients=[{"recipient_account_id": FIRST}],
        resources=[resource("custom-ruleset", RULESET)],
    )


def share_life():
    made = new_share("life")
    assert type(made) is types.ResourceSharingCreateResponse
    assert (made.name, made.status, made.target_type, made.kind) == ("life", "active", "account", "sent")
    assert isinstance(made.created, datetime) and made.created.tzinfo is not None
    assert made.account_id == OWNER and len(made.id) == 32

    read = shares.get(made.id, account_id=OWNER, include_resources=True, include_recipient_counts=True)
    assert type(read) is types.ResourceSharingGetResponse
    assert [r.resource_id for r in read.resources] == [RULESET]
    counts = read.associating_recipient_count, read.associated_recipient_count
    assert sum(counts) == 1, counts

    renamed = shares.update(made.id, account_id=OWNER, name="renamed")
    assert type(renamed) is types.ResourceSharingUpdateResponse and renamed.name == "renamed"

    deleted = shares.delete(made.id, account_id=OWNER)
    assert type(deleted) is types.ResourceSharingDeleteResponse and deleted.status == "deleting"

    def gone():
        try:
            return shares.get(made.id, account_id=OWNER).status
        except cloudflare.NotFoundError as error:
            assert error.errors[0].code == 1004
            return "gone"

    until(lambda found: found == "gone", gone)


def share_list():
    account = uuid.uuid4().hex
    control("seed", {"account": account, "shares": 25, "recipients": 2, "resources": 2})
    page = shares.list(account_id=account, page=1, per_page=10, include_resources=True, kind="sent",
                       status="active", order="created", direction="desc", target_type="account",
                       resource_types=["custom-ruleset"], include_recipient_counts=True)
    assert len(page.result) == 10 and page.result_info.page == 1
    first = page.result[0]
    assert type(first) is types.ResourceSharingListResponse
    assert len(first.resources) == 2 and first.associated_recipient_count == 2
    found = [share.name for share in page]
    assert len(found) == 25 and found[0] == "share-24", found
    none = shares.list(account_id=account, page=1, per_page=10, resource_types=["trust-grant"])
    assert none.result == []


def rows_twice():
    account = uuid.uuid4().hex
    control("seed", {"account": account, "shares": 25, "recipients": 1, "resources": 1})
    # The first answer is the whole list, the second one is page 2 of 20.
    assert len(list(shares.list(account_id=account))) == 30


def recipients():
    made = new_share("recipients")
    within = {"share_id": made.id, "account_id": OWNER}
    row = shares.recipients.create(made.id, path_account_id=OWNER, recipient_account_id=SECOND)
    assert type(row) is types.RecipientCreateResponse
    assert (row.account_id, row.association_status) == (SECOND, "associating")

    def read():
        return shares.recipients.get(row.id, include_resources=True, **within)

    associated = until(lambda row: row.association_status == "associated", read)
    assert type(associated) is types.RecipientGetResponse and associated.resources == []
    rows = list(shares.recipients.list(made.id, account_id=OWNER, page=1, per_page=1))
    assert [row.account_id for row in rows] == [FIRST, SECOND]
    assert type(rows[0]) is types.RecipientListResponse

    removed = shares.recipients.delete(row.id, **within)
    assert type(removed) is types.RecipientDeleteResponse
    assert removed.association_status == "disassociating"
    until(lambda row: row.association_status == "disassociated", read)
    rows = list(shares.recipients.list(made.id, account_id=OWNER, page=1, per_page=100))
    assert len(rows) == 2, "a removed recipient stays in the list"


def recipient_errors():
    control(f"accounts/{SECOND}", {"entitled": False})
    made = new_share("errors")
    row = shares.recipients.create(made.id, path_account_id=OWNER, recipient_account_id=SECOND)

    def read():
        return shares.recipients.get(row.id, share_id=made.id, account_id=OWNER, include_resources=True)

    [error] = until(lambda row: row.resources, read).resources
    assert error.error == "Recipient is missing necessary entitlement" and error.terminal is True
    assert error.resource_id == RULESET and error.resource_version == 1
    control(f"accounts/{SECOND}", {"entitled": True})


def resources():
    made = new_share("resources")
    within = {"share_id": made.id, "account_id": OWNER}
    added = shares.resources.create(made.id, account_id=OWNER, **resource("gateway-policy", POLICY))
    assert type(added) is types.ResourceCreateResponse
    assert (added.resource_id, added.status, added.meta) == (POLICY, "active", {"note": "x"})
    assert added.resource_version == 1

    updated = shares.resources.update(added.id, meta={"note": "y"}, **within)
    assert type(updated) is types.ResourceUpdateResponse
    assert updated.meta == {"note": "y"} and updated.resource_version == 2

    read = shares.resources.get(added.id, **within)
    assert type(read) is types.ResourceGetResponse and read.meta == {"note": "y"}
    rows = list(shares.resources.list(made.id, account_id=OWNER, page=1, per_page=100,
                                      resource_type="gateway-policy", status="active"))
    assert [row.id for row in rows] == [added.id]
    assert type(rows[0]) is types.ResourceListResponse

    removed = shares.resources.delete(added.id, **within)
    assert type(removed) is types.ResourceDeleteResponse and removed.status == "deleting"

    def left():
        rows = shares.resources.list(made.id, account_id=OWNER, page=1, per_page=100)
        return [row.resource_id for row in rows]

    until(lambda ids: ids == [RULESET], left)


def key_and_email():
    account = uuid.uuid4().hex
    made = by_key.resource_sharing.create(
        account_id=account,
        name="by key",
        recipients=[{"recipient_account_id": FIRST}],
        resources=[resource("custom-ruleset", RULESET)],
    )
    found = by_key.resource_sharing.get(made.id, account_id=account)
    assert found.name == "by key"


def refusals():
    for call, expected, code in [
        (lambda: shares.get(uuid.uuid4().hex, account_id=OWNER), cloudflare.NotFoundError, 1004),
        (lambda: shares.get("x", account_id="not-an-account"), cloudflare.BadRequestError, 7003),
        (lambda: shares.create(account_id=OWNER, name="x", recipients=[], resources=[]),
         cloudflare.BadRequestError, 1001),
    ]:
        try:
            call()
        except expected as error:
            assert error.errors[0].code == code, error.errors
        else:
            raise AssertionError(f"no {expected.__name__}")


def lost_answer():
    account = uuid.uuid4().hex
    control("faults", {"method": "POST", "path": "/accounts/*/shares", "account": account,
                       "action": {"do": "apply_drop"}})
    new_share("lost", account)
    # The client sends the POST again on its own: one call, two shares.
    found = list(shares.list(account_id=account, page=1, per_page=100))
    assert [share.name for share in found] == ["lost", "lost"]


check("a share is created, read, renamed and deleted", share_life)
check("shares are listed page by page, filtered and ordered", share_list)
check("a list without page and per_page repeats rows", rows_twice)
check("recipients are added, read, listed and removed", recipients)
check("a missing entitlement is an error entry", recipient_errors)
check("resources are added, read, listed, updated and removed", resources)
check("an e-mail address and a key work like a token", key_and_email)
check("refusals are the client's own errors", refusals)
check("a lost answer makes a second share", lost_answer)
sys.exit(1 if failures else 0)
