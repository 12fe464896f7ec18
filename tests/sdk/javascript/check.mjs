// The official JavaScript SDK, unmodified, against the sandbox over TLS.
//
// Reads AUTHRESS_API_URL and AUTHRESS_ACCESS_KEY from the environment; NODE_EXTRA_CA_CERTS names
// the sandbox's certificate authority (Node does not read SSL_CERT_FILE).

import assert from 'node:assert/strict';
import sdk from '@authress/sdk';

const { AuthressClient, TokenVerifier, UnauthorizedError } = sdk;
const url = process.env.AUTHRESS_API_URL;
const accessKey = process.env.AUTHRESS_ACCESS_KEY;
const audience = 'sandbox.accounts.authress.io';

async function control(method, path, body) {
  const response = await fetch(`${url}/_sandbox${path}`, {
    method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(10_000)
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

const token = async recipe => (await control('POST', '/tokens', recipe)).token;
const client = (key = accessKey) => new AuthressClient({ authressApiUrl: url }, key);
const refused = bad => assert.rejects(
  client().verifyToken(bad),
  error => error.constructor.name === 'TokenVerificationError'
);
const status = wanted => error => error.status === wanted;

const checks = {
  async 'a user token verifies'() {
    const claims = await client().verifyToken(await token({ user: 'user_ada' }));
    assert.equal(claims.iss, url);
    assert.equal(claims.sub, 'user_ada');
    assert.deepEqual(claims.aud, ['tenant_acme']);
    assert.equal(claims.azp, 'con_acme');
    assert.equal(claims.exp - claims.iat, 86400);
  },

  async 'a user token verifies without an access key'() {
    const claims = await TokenVerifier(url, await token({ user: 'user_grace' }));
    assert.equal(claims.sub, 'user_grace');
    assert.deepEqual(claims.aud, ['tenant_globex']);
  },

  async 'a machine token verifies'() {
    const claims = await client().verifyToken(await token({ client: 'sc_robot01' }));
    assert.equal(claims.iss, `${url}/v1/clients/sc_robot01`);
    assert.equal(claims.sub, 'sc_robot01');
    assert.equal(claims.client_id, 'sc_robot01');
    assert.equal(claims.aud, audience);
  },

  async 'a token that the SDK makes verifies'() {
    const { data: key } = await client().serviceClients.requestAccessKey('sc_robot02');
    try {
      const robot = client(key.accessKey);
      const claims = await client().verifyToken(await robot.tokenProvider.getToken(url));
      assert.equal(claims.sub, 'sc_robot02');
      assert.equal(claims.iss, `${url}/v1/clients/sc_robot02`);
      assert.equal(claims.aud, audience);
      // Known to the API, but not granted anything.
      await assert.rejects(robot.users.getUser('user_ada'), status(403));
    } finally {
      await client().serviceClients.deleteAccessKey('sc_robot02', key.keyId);
    }
  },

  async 'a tampered token is refused'() {
    await refused(await token({ user: 'user_ada', tamperSignature: true }));
    await refused(await token({ client: 'sc_robot01', tamperSignature: true }));
  },

  async 'a forged token is refused'() {
    await refused(await token({ user: 'user_ada', signWith: 'stranger' }));
    await refused(await token({ user: 'user_ada', signWith: 'sc_robot01' }));
  },

  async 'an expired token is refused'() {
    await refused(await token({ user: 'user_ada', expiresIn: -1 }));
  },

  async 'an unsigned token is refused'() {
    await refused(await token({ user: 'user_ada', unsigned: true }));
  },

  async 'the token of another issuer is refused'() {
    await refused(await token({ user: 'user_ada', claims: { iss: 'https://elsewhere.example' } }));
  },

  async 'rotated keys verify side by side'() {
    const before = await token({ user: 'user_ada' });
    await control('POST', '/keys/rotate');
    for (const each of [before, await token({ user: 'user_ada' })]) {
      assert.equal((await client().verifyToken(each)).sub, 'user_ada');
    }
  },

  async 'a user is read'() {
    const { data: ada } = await client().users.getUser('user_ada');
    assert.equal(ada.userId, 'user_ada');
    assert.equal(ada.name, 'Ada');
    assert.equal(ada.email, 'ada@acme.example');
  },

  async 'any id reaches its user'() {
    const strange = 'saml|a/b c%2Fd';
    await control('POST', '/users', { userId: strange, name: 'Strange' });
    assert.equal((await client().users.getUser(strange)).data.name, 'Strange');
    await control('DELETE', `/users/${encodeURIComponent(strange)}`);
  },

  async 'an unknown user is 404'() {
    await assert.rejects(client().users.getUser('user_nobody'), error =>
      error.status === 404 && error.data.errorCode === 'NotFound');
  },

  async 'tenants are read and listed'() {
    const { data: acme } = await client().tenants.getTenant('tenant_acme');
    assert.equal(acme.tenantId, 'tenant_acme');
    assert.equal(acme.data.name, 'Acme');
    assert.equal(acme.connection.connectionId, 'con_acme');
    const { data: { tenants } } = await client().tenants.getTenants();
    const ids = tenants.map(tenant => tenant.tenantId);
    assert.ok(ids.includes('tenant_acme') && ids.includes('tenant_globex'));
    await assert.rejects(client().tenants.getTenant('tenant_nobody'), status(404));
  },

  async 'a tenant is made, changed and deleted'() {
    const { tenants } = client();
    await tenants.createTenant({ tenantId: 'tenant_javascript', data: { name: 'JavaScript' } });
    await tenants.updateTenant('tenant_javascript', { data: { name: 'Renamed' } });
    const { data: tenant } = await tenants.getTenant('tenant_javascript');
    assert.equal(tenant.data.name, 'Renamed');
    await tenants.deleteTenant('tenant_javascript');
    await assert.rejects(tenants.getTenant('tenant_javascript'), status(404));
  },

  async 'clients are read and listed'() {
    const { data: robot } = await client().serviceClients.getClient('sc_robot01');
    assert.equal(robot.name, "Acme's robot");
    assert.equal(robot.options.grantTokenGeneration, false);
    const { data: { clients } } = await client().serviceClients.getClients();
    assert.ok(clients.some(each => each.clientId === 'sc_robot01'));
  },

  async 'permissions are 200 or 404'() {
    const ask = () => client().userPermissions.authorizeUser('user_alan', 'notes/1', 'notes:read');
    const grant = { userId: 'user_alan', resourceUri: 'notes/1', permission: 'notes:read' };
    const lacking = error => error instanceof UnauthorizedError;
    await assert.rejects(ask(), lacking);
    await control('POST', '/permissions', grant);
    await ask();
    await control('DELETE', '/permissions', grant);
    await assert.rejects(ask(), lacking);
  }
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}`, error);
  }
}
console.log(`${Object.keys(checks).length} checks`);
process.exitCode = failed ? 1 : 0;
