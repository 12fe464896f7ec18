-- A directory with $ACCOUNTS accounts and $USERS users, spread over them, a service client for
-- every account, and what else comes together in a directory that is in use, at $NOW
-- (milliseconds) and later. Run by a superuser.
INSERT INTO vestibule.accounts (id, name, authress_tenant_id, status, created_at)
SELECT lpad(to_hex(n + 1), 32, '0')::uuid, 'Account ' || n, 'tenant_' || n, 'active', n
FROM generate_series(0, $ACCOUNTS - 1) n;

INSERT INTO vestibule.users
    (id, account_id, provider, subject, email, name, role, status, created_at)
SELECT lpad(to_hex(n + 1), 32, '0')::uuid, lpad(to_hex(n % $ACCOUNTS + 1), 32, '0')::uuid,
    'authress', 'user_' || n, 'one_' || n || '@acme.example', 'One', 'member', 'active', n
FROM generate_series(0, $USERS - 1) n;

INSERT INTO vestibule.service_clients
    (id, account_id, client_id, name, scopes, status, created_at)
SELECT lpad(to_hex(n + 1), 32, '0')::uuid, lpad(to_hex(n + 1), 32, '0')::uuid, 'sc_' || n, 'Robot',
    '', 'active', n
FROM generate_series(0, $ACCOUNTS - 1) n;

INSERT INTO vestibule.kept_facts (kind, key, body, fetched_at, proof)
SELECT 'user', 'user_' || n, '\x00', $NOW + n, '\x00' FROM generate_series(0, $USERS - 1) n;

-- An hour of changes, or as many.
ALTER TABLE vestibule.changes DISABLE TRIGGER number_change;
INSERT INTO vestibule.changes (seq, at, kind, key, provider)
SELECT n + 1, $NOW + n, 'user', 'user_' || n, 'authress'
FROM generate_series(0, LEAST($USERS, 100000) - 1) n;
SELECT setval('vestibule.changes_seq', LEAST($USERS, 100000));
ALTER TABLE vestibule.changes ENABLE TRIGGER number_change;

INSERT INTO vestibule.placements (account_id, cluster)
SELECT id, 'eu' FROM vestibule.accounts WHERE created_at % 2 = 1;

-- A bad day: far from any that is used here.
INSERT INTO vestibule.cut_offs (kind, key, issued_before, ends_at)
SELECT 'token', lpad(to_hex(n), 32, '0'), $NOW, $NOW + 86400000 + n
FROM generate_series(0, LEAST($USERS, 100000) - 1) n;

INSERT INTO vestibule_tenants.vestibule_account (account_id, step, created_at)
SELECT id, 1, created_at FROM vestibule.accounts;

INSERT INTO vestibule_tenants.vestibule_activity (account_id, id, at, kind)
SELECT id, gen_random_uuid(), n, 'sign_in' FROM vestibule.accounts, generate_series(1, 3) n;
