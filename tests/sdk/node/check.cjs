// Does Cloudflare's TypeScript client, unmodified, work against the simulator?
'use strict';

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { Cloudflare } = require('cloudflare');

const baseURL = process.env.CFSHARE_BASE_URL;
const controlURL = process.env.CFSHARE_CONTROL_URL;
const id = () => randomUUID().replaceAll('-', '');
const [owner, first, second, ruleset, policy] = [id(), id(), id(), id(), randomUUID()];

const client = new Cloudflare({ apiToken: 'node-token', apiEmail: null, apiKey: null, baseURL });
const byKey = new Cloudflare({ apiToken: null, apiEmail: 'team@example.com', apiKey: 'node-key', baseURL });
const shares = client.resourceSharing;

async function control(path, body) {
  const answer = await fetch(`${controlURL}/${path}`, { method: 'POST', body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.text());
}

async function until(fits, read) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const found = await read();
    if (fits(found)) return found;
    assert.ok(Date.now() < deadline, `never as expected: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function all(pages) {
  const rows = [];
  for await (const row of pages) rows.push(row);
  return rows;
}

const resource = (type, resourceId) => ({
  meta: { note: 'x' },
  resource_account_id: owner,
  resource_id: resourceId,
  resource_type: type,
});

const newShare = (name, account = owner) =>
  shares.create({
    account_id: account,
    name,
    recipients: [{ recipient_account_id: first }],
    resources: [resource('custom-ruleset', ruleset)],
  });

// The client only declares its types, so the fields that they require are checked here.
const kinds = {
  share: {
    id: 'string', account_id: 'string', account_name: 'string', organization_id: 'string', name: 'string',
    status: ['active', 'deleting', 'deleted'], target_type: ['account', 'organization'],
    created: 'time', modified: 'time', kind: ['sent', 'received'],
  },
  recipient: {
    id: 'string', account_id: 'string', created: 'time', modified: 'time',
    association_status: ['associating', 'associated', 'disassociating', 'disassociated'],
  },
  resource: {
    id: 'string', resource_account_id: 'string', resource_id: 'string', resource_type: 'string',
    resource_version: 'number', meta: 'object', status: ['active', 'deleting', 'deleted'],
    created: 'time', modified: 'time',
  },
};

function typed(kind, value) {
  for (const [field, type] of Object.entries(kinds[kind])) {
    const found = value[field];
    if (Array.isArray(type)) assert.ok(type.includes(found), `${kind}.${field}: ${found}`);
    else if (type === 'time') assert.match(found, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, `${kind}.${field}`);
    else assert.equal(typeof found, type, `${kind}.${field}`);
  }
  return value;
}

const checks = {
  async 'a share is created, read, renamed and deleted'() {
    const made = typed('share', await newShare('life'));
    assert.deepEqual([made.name, made.status, made.target_type], ['life', 'active', 'account']);
    const read = typed('share', await shares.get(made.id, {
      account_id: owner, include_resources: true, include_recipient_counts: true,
    }));
    assert.deepEqual(read.resources.map((r) => typed('resource', r).resource_id), [ruleset]);
    assert.equal(read.associating_recipient_count + read.associated_recipient_count, 1);
    const renamed = typed('share', await shares.update(made.id, { account_id: owner, name: 'renamed' }));
    assert.equal(renamed.name, 'renamed');
    const deleted = typed('share', await shares.delete(made.id, { account_id: owner }));
    assert.equal(deleted.status, 'deleting');
    await until((found) => found === 'gone', () =>
      shares.get(made.id, { account_id: owner }).then((share) => share.status, (error) => {
        assert.ok(error instanceof Cloudflare.NotFoundError);
        assert.equal(error.errors[0].code, 1004);
        return 'gone';
      }));
  },

  async 'shares are listed page by page, filtered and ordered'() {
    const account = id();
    await control('seed', { account, shares: 25, recipients: 2, resources: 2 });
    const page = await shares.list({
      account_id: account, page: 1, per_page: 10, include_resources: true, include_recipient_counts: true,
      kind: 'sent', status: 'active', order: 'created', direction: 'desc', target_type: 'account',
      resource_types: ['custom-ruleset', 'gateway-policy'],
    });
    assert.equal(page.result.length, 10);
    assert.equal(typed('share', page.result[0]).associated_recipient_count, 2);
    const found = await all(page);
    assert.equal(found.length, 25);
    assert.equal(found[0].name, 'share-24');
  },

  async 'a list without page and per_page repeats rows'() {
    const account = id();
    await control('seed', { account, shares: 25, recipients: 1, resources: 1 });
    // The first answer is the whole list, the second one is page 2 of 20.
    assert.equal((await all(shares.list({ account_id: account }))).length, 30);
  },

  async 'recipients are added, read, listed and removed'() {
    const made = await newShare('recipients');
    const within = { account_id: owner, share_id: made.id };
    const row = typed('recipient', await shares.recipients.create(made.id, {
      path_account_id: owner, recipient_account_id: second,
    }));
    assert.deepEqual([row.account_id, row.association_status], [second, 'associating']);
    const read = () => shares.recipients.get(row.id, { ...within, include_resources: true });
    const associated = await until((row) => row.association_status === 'associated', read);
    assert.deepEqual(typed('recipient', associated).resources, []);
    const rows = await all(shares.recipients.list(made.id, { account_id: owner, page: 1, per_page: 1 }));
    assert.deepEqual(rows.map((row) => typed('recipient', row).account_id), [first, second]);
    const removed = typed('recipient', await shares.recipients.delete(row.id, within));
    assert.equal(removed.association_status, 'disassociating');
    await until((row) => row.association_status === 'disassociated', read);
  },

  async 'a missing entitlement is an error entry'() {
    const poor = id();
    await control(`accounts/${poor}`, { entitled: false });
    const made = await newShare('errors');
    const row = await shares.recipients.create(made.id, { path_account_id: owner, recipient_account_id: poor });
    const read = () => shares.recipients.get(row.id, { account_id: owner, share_id: made.id, include_resources: true });
    const { resources: [error] } = await until((row) => row.resources.length > 0, read);
    assert.deepEqual(error, {
      resource_id: ruleset, resource_version: 1, terminal: true,
      error: 'Recipient is missing necessary entitlement',
    });
  },

  async 'resources are added, read, listed, updated and removed'() {
    const made = await newShare('resources');
    const within = { account_id: owner, share_id: made.id };
    const added = typed('resource', await shares.resources.create(made.id, {
      account_id: owner, ...resource('gateway-policy', policy),
    }));
    assert.deepEqual([added.resource_id, added.status, added.meta], [policy, 'active', { note: 'x' }]);
    const updated = typed('resource', await shares.resources.update(added.id, { ...within, meta: { note: 'y' } }));
    assert.deepEqual([updated.meta, updated.resource_version], [{ note: 'y' }, 2]);
    const read = typed('resource', await shares.resources.get(added.id, within));
    assert.deepEqual(read.meta, { note: 'y' });
    const rows = await all(shares.resources.list(made.id, {
      account_id: owner, page: 1, per_page: 100, resource_type: 'gateway-policy', status: 'active',
    }));
    assert.deepEqual(rows.map((row) => typed('resource', row).id), [added.id]);
    const removed = typed('resource', await shares.resources.delete(added.id, within));
    assert.equal(removed.status, 'deleting');
    await until((ids) => ids.length === 1 && ids[0] === ruleset, async () =>
      (await all(shares.resources.list(made.id, { account_id: owner, page: 1, per_page: 100 })))
        .map((row) => row.resource_id));
  },

  async 'an e-mail address and a key work like a token'() {
    const account = id();
    const made = await byKey.resourceSharing.create({
      account_id: account, name: 'by key', recipients: [{ recipient_account_id: first }],
      resources: [resource('custom-ruleset', ruleset)],
    });
    const found = await byKey.resourceSharing.get(made.id, { account_id: account });
    assert.equal(found.name, 'by key');
  },

  async 'refusals are the client\'s own errors'() {
    await assert.rejects(shares.get(id(), { account_id: owner }), Cloudflare.NotFoundError);
    await assert.rejects(shares.get('x', { account_id: 'not-an-account' }), Cloudflare.BadRequestError);
    await assert.rejects(
      shares.create({ account_id: owner, name: 'x', recipients: [], resources: [] }),
      (error) => error instanceof Cloudflare.BadRequestError && error.errors[0].code === 1001,
    );
  },

  async 'a lost answer makes a second share'() {
    const account = id();
    await control('faults', {
      method: 'POST', path: '/accounts/*/shares', account, action: { do: 'apply_drop' },
    });
    await newShare('lost', account);
    // The client sends the POST again on its own: one call, two shares.
    const found = await all(shares.list({ account_id: account, page: 1, per_page: 100 }));
    assert.deepEqual(found.map((share) => share.name), ['lost', 'lost']);
  },
};

(async () => {
  let failures = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok node: ${name}`);
    } catch (error) {
      failures += 1;
      console.error(error);
      console.log(`not ok node: ${name}`);
    }
  }
  process.exit(failures ? 1 : 0);
})();
