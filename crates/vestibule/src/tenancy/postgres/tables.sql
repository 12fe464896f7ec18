-- What makes an application's plain tables safe on PostgreSQL.
--
-- An application writes its migrations as if there were one account. After each of them, in the
-- same transaction, the owner calls secure_rows, secure_space or secure_database. What they
-- promise of a space, once they have returned:
--
--   row       every table has account_id, filled and checked by the database; a session bound to
--             one account reads and writes that account's rows only, a session that is not bound
--             none; every unique, primary, exclusion and foreign key holds within an account, so
--             that neither an error nor a cascade tells of another one's rows.
--   schema    the tables of one account's schema open for a session bound to this account only,
--             whatever name they are called by.
--   database  the application's login has what it needs there, and no more.
--
-- In all of them the login may read and write rows and use sequences, and read our own tables; it
-- owns nothing and may not truncate, reference or attach triggers. What a migration made that would go around this is refused (SQLSTATE VB002) with the name
-- of the thing and what to write instead, and the transaction is to be rolled back. Calling them
-- again changes nothing.
--
-- They do not defend against the owner: whoever has DATABASE_ADMIN_URL can undo all of it. They do
-- not see what a migration made in another schema, but for what reaches into the space.
--
-- Run by the owner's login. PostgreSQL 14 or later.

-- Refuses: one sentence, the thing and what to do.
CREATE OR REPLACE FUNCTION vestibule.refuse(why text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'VB002', MESSAGE = why;
END
$function$;

-- The objects of a kind in a schema. pg_class and pg_proc have no index that leads with the
-- schema; pg_depend has, and thousands of schemas make the difference.
CREATE OR REPLACE FUNCTION vestibule.objects_in(space oid, kind regclass) RETURNS oid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN coalesce(
        (SELECT array_agg(d.objid) FROM pg_depend d
         WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = space
           AND d.classid = kind),
        '{}'
    );
END
$function$;

-- The space's schema; refuses a schema or a login with which nothing below would hold.
CREATE OR REPLACE FUNCTION vestibule.require_space(space name, login name) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    schema_oid oid;
    schema_owner oid;
    app record;
BEGIN
    SELECT n.oid, n.nspowner INTO schema_oid, schema_owner
    FROM pg_namespace n WHERE n.nspname = space;
    IF schema_oid IS NULL THEN
        PERFORM vestibule.refuse(format('there is no schema %I', space));
    END IF;
    IF schema_owner <> current_user::regrole THEN
        PERFORM vestibule.refuse(format(
            'the schema %I belongs to %s: it must belong to %I, which runs the migrations',
            space, schema_owner::regrole, current_user));
    END IF;
    SELECT r.oid, r.rolsuper, r.rolbypassrls INTO app FROM pg_roles r WHERE r.rolname = login;
    IF app.oid IS NULL THEN
        PERFORM vestibule.refuse(format('there is no login %I: create it first', login));
    END IF;
    IF app.rolsuper OR app.rolbypassrls THEN
        PERFORM vestibule.refuse(format(
            'the application''s login %I is a superuser or has BYPASSRLS, and would see the rows '
            'of all accounts: give DATABASE_URL a plain login', login));
    END IF;
    IF pg_has_role(app.oid, schema_owner, 'MEMBER') THEN
        PERFORM vestibule.refuse(format(
            'the application''s login %I is, or is a member of, %I, which owns the tables: give '
            'DATABASE_URL a login that owns nothing', login, current_user));
    END IF;
    RETURN schema_oid;
END
$function$;

-- What a space may not hold, by name, with one sentence for whoever wrote it. `tenancy` is row,
-- schema or database.
CREATE OR REPLACE FUNCTION vestibule.refusals(
    space oid, relations oid[], functions oid[], tenancy text
) RETURNS TABLE (finding text, object text, why text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    me oid := current_user::regrole;
    version int := current_setting('server_version_num')::int;
    -- The owner's rights would show the rows of all accounts.
    i_bypass boolean := (SELECT r.rolsuper OR r.rolbypassrls FROM pg_roles r WHERE r.oid = me);
BEGIN
    RETURN QUERY
    SELECT f.finding, c.relname::text, f.why
    FROM pg_class c
    LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.objsubid = 0 AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
    CROSS JOIN LATERAL (
        SELECT 'extension', format(
            '%I belongs to the extension %I: create the extension in a schema of its own',
            c.relname, e.extname)
        WHERE e.extname IS NOT NULL AND tenancy <> 'database'
        UNION ALL
        SELECT 'not_owned', format(
            '%I belongs to %s: leave what migrations make to %s, which runs them',
            c.relname, c.relowner::regrole, me::regrole)
        WHERE e.extname IS NULL AND c.relowner <> me
        UNION ALL
        SELECT 'materialized_view', format(
            'the materialized view %I holds rows that no policy protects: write a view, or a '
            'table that the application fills', c.relname)
        WHERE c.relkind = 'm' AND tenancy <> 'database'
        UNION ALL
        SELECT 'foreign_table', format(
            'the foreign table %I reaches outside of the account''s space: leave it out',
            c.relname)
        WHERE c.relkind = 'f' AND tenancy <> 'database'
        UNION ALL
        SELECT 'typed_table', format(
            'the table %I is of a type, and can be given no column account_id: write its '
            'columns out', c.relname)
        WHERE c.reloftype <> 0 AND tenancy = 'row'
    ) f (finding, why)
    WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND (c.relowner <> me OR c.relkind IN ('m', 'f') OR c.reloftype <> 0
          OR d.objid IS NOT NULL);

    RETURN QUERY
    SELECT CASE WHEN p.prosecdef THEN 'security_definer' ELSE 'not_owned' END,
        p.oid::regprocedure::text,
        CASE WHEN p.prosecdef AND tenancy <> 'database' THEN format(
            'the function %I is SECURITY DEFINER, and would run with the rights of the tables'' '
            'owner: write SECURITY INVOKER', p.proname)
        ELSE format(
            'the function %I belongs to %s: leave what migrations make to %s, which runs them',
            p.proname, p.proowner::regrole, me::regrole) END
    FROM pg_proc p
    WHERE p.oid = ANY (functions)
      AND (p.prosecdef AND tenancy <> 'database' OR p.proowner <> me AND NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
            AND d.deptype = 'e'));

    -- Of what follows, nothing matters in a database of the account's own.
    IF tenancy = 'database' THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT 'extension', e.extname::text, format(
        'the extension %I was created in the account''s schema, and there can be one in the '
        'database only: create it beforehand in a schema of its own, and name things in it with '
        'that schema', e.extname)
    FROM pg_depend d JOIN pg_extension e ON e.oid = d.objid
    WHERE tenancy = 'schema' AND d.refclassid = 'pg_namespace'::regclass
      AND d.refobjid = space AND d.classid = 'pg_extension'::regclass;

    RETURN QUERY
    SELECT 'rule', c.relname::text, format(
        'the rule %I of %I runs with the rights of the table''s owner: write a trigger',
        r.rulename, c.relname)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE r.ev_class = ANY (relations) AND r.rulename <> '_RETURN';

    RETURN QUERY
    SELECT 'trigger_outside', c.relname::text, format(
        'the trigger %I of %I calls %s, which is not in the account''s space: create the function '
        'in the migration, without a schema''s name', t.tgname, c.relname, t.tgfoid::regproc)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = ANY (relations) AND NOT t.tgisinternal
      AND p.pronamespace NOT IN (space, 'pg_catalog'::regnamespace)
      AND (p.prosecdef OR NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
            AND d.deptype = 'e'));

    RETURN QUERY
    SELECT 'foreign_key_outside', c.relname::text, format(
        'the foreign key %I of %I references %s, which is not in the account''s space: reference '
        'a table that a migration made, or leave the key out',
        k.conname, c.relname, k.confrelid::regclass)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.conrelid = ANY (relations) AND k.contype = 'f' AND k.confrelid <> ALL (relations);

    RETURN QUERY
    SELECT 'inherits_outside', i.inhrelid::regclass::text, format(
        'the table %s inherits from, or is a partition of, %s, and only one of them is in the '
        'account''s space: keep both there', i.inhrelid::regclass, i.inhparent::regclass)
    FROM pg_inherits i
    WHERE i.inhrelid = ANY (relations) AND i.inhparent <> ALL (relations)
       OR i.inhparent = ANY (relations) AND i.inhrelid <> ALL (relations);

    RETURN QUERY
    SELECT 'policy_open', c.relname::text, format(
        'the policy %I of %I is permissive, and would open the table to other accounts: write AS '
        'RESTRICTIVE', p.polname, c.relname)
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polrelid = ANY (relations) AND p.polpermissive AND p.polname <> 'vestibule_account';

    IF tenancy = 'row' THEN
        -- What a foreign key does by itself, it does with the rights of the tables' owner and
        -- past the policies, and so do the triggers that run before it: they would read and write
        -- all accounts' rows. Since 18 those that run after it have the owner's rights too, but
        -- not past policies that bind him.
        RETURN QUERY
        SELECT 'trigger_in_cascade', c.relname::text, format(
            'the trigger %I of %I is run by ON %s of the foreign key %I too, and its function %I '
            'would see the rows of all accounts then: write it AFTER, or without reading or '
            'writing tables and without calling functions', t.tgname, c.relname,
            CASE WHEN t.tgtype & 8 = 8 AND k.confdeltype = 'c' OR k.confdeltype IN ('n', 'd')
                THEN 'DELETE' ELSE 'UPDATE' END,
            k.conname, p.proname)
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_proc p ON p.oid = t.tgfoid
        JOIN pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c')
        JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f'
            AND (t.tgtype & 8 = 8 AND k.confdeltype = 'c'
                OR t.tgtype & 16 = 16
                    AND (k.confdeltype IN ('n', 'd') OR k.confupdtype IN ('c', 'n', 'd')))
        CROSS JOIN LATERAL (
            -- Without what reads like a statement and is none.
            SELECT regexp_replace(regexp_replace(p.prosrc, '^\s*--.*$', '', 'gn'),
                '''(INSERT|UPDATE|DELETE)''|\mDISTINCT\s+FROM\M', '', 'gi') AS text
        ) body
        WHERE t.tgrelid = ANY (relations) AND NOT t.tgisinternal
          AND (t.tgtype & 2 = 2 OR version >= 180000 AND i_bypass)
          AND (l.lanname <> 'plpgsql'
              OR body.text ~* ('\m(SELECT|INSERT|UPDATE|DELETE|MERGE|FROM|TABLE|PERFORM|EXECUTE'
                  '|CALL|COPY|TRUNCATE)\M|[.]\s*\w+\s*[(]|"\s*[(]')
              OR EXISTS (SELECT FROM pg_proc o WHERE o.oid = ANY (functions) AND o.oid <> p.oid
                  AND body.text ~* ('\m' || regexp_replace(o.proname, '\W', '.', 'g') || '\M')));
    END IF;

    -- Before 15 a view always reads with the rights of its owner.
    IF version < 150000 AND i_bypass THEN
        RETURN QUERY
        SELECT 'view_bypasses', c.relname::text, format(
            'the view %I would show the rows of all accounts, as %s is a superuser or has '
            'BYPASSRLS: run migrations as a plain login, or use PostgreSQL 15',
            c.relname, me::regrole)
        FROM pg_class c WHERE c.oid = ANY (relations) AND c.relkind = 'v';
    ELSIF version < 150000 THEN
        RETURN QUERY
        SELECT 'view_bypasses', c.relname::text, format(
            'the view %I reads %s, which is not in the account''s space: read tables that '
            'migrations made, or use PostgreSQL 15', c.relname, d.refobjid::regclass)
        FROM pg_class c
        JOIN pg_rewrite r ON r.ev_class = c.oid
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> ALL (relations)
        JOIN pg_class o ON o.oid = d.refobjid
            AND o.relnamespace NOT IN (
                'pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        WHERE c.oid = ANY (relations) AND c.relkind = 'v';
    END IF;
END
$function$;

-- Refuses what a space may not hold.
CREATE OR REPLACE FUNCTION vestibule.refuse_what_opens(
    space oid, relations oid[], tenancy text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    why text;
BEGIN
    SELECT r.why INTO why
    FROM vestibule.refusals(
        space, relations, vestibule.objects_in(space, 'pg_proc'), tenancy) r
    LIMIT 1;
    IF why IS NOT NULL THEN
        PERFORM vestibule.refuse(why);
    END IF;
END
$function$;

-- Gives the login what it needs on the space's relations, and takes the rest from it and from
-- PUBLIC. Touches what is not so yet only.
CREATE OR REPLACE FUNCTION vestibule.grant_login(
    space name, relations oid[], login name, tenancy text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    app oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = login);
    batch record;
    why text;
BEGIN
    IF (SELECT NOT coalesce(bool_or(a.grantee = app), false)
            OR bool_or(a.grantee = 0
                OR a.grantee = app AND (a.privilege_type <> 'USAGE' OR a.is_grantable))
        FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a
        WHERE n.nspname = space) THEN
        EXECUTE format('REVOKE ALL ON SCHEMA %1$I FROM PUBLIC, %2$I', space, login);
        EXECUTE format('GRANT USAGE ON SCHEMA %1$I TO %2$I', space, login);
    END IF;
    FOR batch IN
        SELECT r.kind, r.wanted, bool_or(r.too_much) AS too_much,
            string_agg(format('%I.%I', space, r.relname), ', ') AS names
        FROM (
            SELECT c.relname, w.kind, w.wanted, h.held,
                coalesce(h.open, false) OR NOT coalesce(h.held <@ w.wanted, true)
                    OR EXISTS (SELECT FROM pg_attribute t
                        CROSS JOIN LATERAL aclexplode(t.attacl) a
                        WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL
                          AND a.grantee IN (0, app)) AS too_much
            FROM pg_class c
            CROSS JOIN LATERAL (
                SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
                    CASE
                        WHEN c.relkind = 'S' THEN '{USAGE}'
                        WHEN c.relkind = 'm' OR c.relkind = 'r'
                            -- Entries of activity come and go by functions (activity.sql).
                            AND c.relname IN ('vestibule_account', 'vestibule_activity',
                                'vestibule_migrations')
                            THEN '{SELECT}'
                        -- The bits of the commands: 4 for UPDATE, 8 for INSERT, 16 for DELETE.
                        WHEN c.relkind = 'v' THEN array_remove(ARRAY[
                            CASE WHEN pg_relation_is_updatable(c.oid, true) & 16 > 0
                                THEN 'DELETE' END,
                            CASE WHEN pg_relation_is_updatable(c.oid, true) & 8 > 0
                                THEN 'INSERT' END,
                            'SELECT',
                            CASE WHEN pg_relation_is_updatable(c.oid, true) & 4 > 0
                                THEN 'UPDATE' END], NULL)
                        ELSE '{DELETE,INSERT,SELECT,UPDATE}'
                    END::text[] AS wanted
            ) w
            CROSS JOIN LATERAL (
                SELECT array_agg(a.privilege_type ORDER BY a.privilege_type)
                        FILTER (WHERE a.grantee = app) AS held,
                    bool_or(a.grantee = 0 OR a.grantee = app AND a.is_grantable) AS open
                FROM aclexplode(c.relacl) a
            ) h
            WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
              AND c.relowner = current_user::regrole
        ) r
        WHERE r.too_much OR r.held IS DISTINCT FROM r.wanted
        GROUP BY r.kind, r.wanted
    LOOP
        IF batch.too_much THEN
            EXECUTE format('REVOKE ALL ON %s %s FROM PUBLIC, %I',
                batch.kind, batch.names, login);
        END IF;
        EXECUTE format('GRANT %s ON %s %s TO %I',
            array_to_string(batch.wanted, ', '), batch.kind, batch.names, login);
    END LOOP;
    -- What was granted by others, or to a role that the login is a member of.
    SELECT format(
        'the login %I may %s %I because of what was granted to %s: take that back',
        login, a.privilege_type, c.relname, a.grantee::regrole) INTO why
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
    WHERE c.oid = ANY (relations) AND a.grantee NOT IN (0, c.relowner)
      AND (a.privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
          OR c.relname = 'vestibule_activity' AND a.privilege_type <> 'SELECT')
      AND pg_has_role(app, a.grantee, 'MEMBER')
    LIMIT 1;
    IF why IS NOT NULL THEN
        PERFORM vestibule.refuse(why);
    END IF;
END
$function$;

-- Views read with the rights of whoever asks, so that the policies are his.
CREATE OR REPLACE FUNCTION vestibule.secure_views(space name, relations oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    view name;
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RETURN;
    END IF;
    FOR view IN
        SELECT c.relname FROM pg_class c
        WHERE c.oid = ANY (relations) AND c.relkind = 'v'
          AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)
    LOOP
        EXECUTE format('ALTER VIEW %I.%I SET (security_invoker = true)', space, view);
    END LOOP;
END
$function$;

-- Puts the one policy of ours on every table that lacks it or has it in another form, and makes
-- it bind the tables' owner too. `condition` is the policy, `printed` is how PostgreSQL prints it.
CREATE OR REPLACE FUNCTION vestibule.secure_with_policy(
    space name, tables oid[], condition text, printed text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,
            p.oid IS NOT NULL AS known,
            coalesce(p.polcmd = '*' AND p.polpermissive AND p.polroles = '{0}'
                AND pg_get_expr(p.polqual, p.polrelid) = printed
                AND pg_get_expr(p.polwithcheck, p.polrelid) = printed, false) AS right_policy
        FROM pg_class c
        LEFT JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'vestibule_account'
        WHERE c.oid = ANY (tables)
    LOOP
        IF NOT one.forced THEN
            EXECUTE format(
                'ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY',
                space, one.relname);
        END IF;
        IF one.right_policy THEN
            CONTINUE;
        END IF;
        IF one.known THEN
            EXECUTE format('DROP POLICY vestibule_account ON %I.%I', space, one.relname);
        END IF;
        EXECUTE format(
            'CREATE POLICY vestibule_account ON %1$I.%2$I FOR ALL TO PUBLIC '
            'USING (%3$s) WITH CHECK (%3$s)', space, one.relname, condition);
    END LOOP;
END
$function$;

-- Checks what deferred constraints have still to check, or it would stop ALTER TABLE; those that
-- are deferred of themselves are so again for the next migration of the transaction.
CREATE OR REPLACE FUNCTION vestibule.check_deferred(space name, relations oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    deferred text := (
        SELECT string_agg(DISTINCT format('%I.%I', space, k.conname), ', ') FROM pg_constraint k
        WHERE k.conrelid = ANY (relations) AND k.condeferred
    );
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    IF deferred IS NOT NULL THEN
        EXECUTE format('SET CONSTRAINTS %s DEFERRED', deferred);
    END IF;
END
$function$;

-- row: before migrations, in their transaction. The owner's migrations see all accounts' rows
-- until secure_rows.
CREATE OR REPLACE FUNCTION vestibule.open_rows(space name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    one name;
BEGIN
    FOR one IN
        SELECT c.relname FROM pg_class c
        WHERE c.oid = ANY (vestibule.objects_in(
                (SELECT n.oid FROM pg_namespace n WHERE n.nspname = space), 'pg_class'))
          AND c.relkind IN ('r', 'p') AND c.relforcerowsecurity
        ORDER BY c.oid
    LOOP
        EXECUTE format('ALTER TABLE %I.%I NO FORCE ROW LEVEL SECURITY', space, one);
    END LOOP;
END
$function$;

-- The pieces of a text of statements, whose concatenation is the text: a piece is a word, a quoted
-- name, a string, a comment, blank space, or one other character.
CREATE OR REPLACE FUNCTION vestibule.pieces_of(statements text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    rest text := statements;
    pieces text[] := '{}';
    piece text;
    depth int;
    at int;
    -- A letter, an underscore or anything beyond ASCII; then digits and $ too.
    word constant text := '[^\u0001-\u0040\u005b-\u005e\u0060\u007b-\u007f]'
        '[^\u0001-\u0023\u0025-\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u007f]*';
    -- Of these the longest is taken. A string goes on after a doubled quote, and with E before it
    -- after a backslash and a quote.
    pattern constant text := '^(?:\s+|--[^\n]*|[eE]''(?:[^''\\]|\\.|'''')*''|''(?:[^'']|'''')*'''
        '|"(?:[^"]|"")*"|' || word || '|[0-9]+|.)';
BEGIN
    WHILE rest <> '' LOOP
        IF starts_with(rest, '/*') THEN
            -- Comments nest.
            depth := 0;
            at := 1;
            LOOP
                IF substr(rest, at, 2) = '/*' THEN
                    depth := depth + 1;
                    at := at + 2;
                ELSIF substr(rest, at, 2) = '*/' THEN
                    depth := depth - 1;
                    at := at + 2;
                ELSE
                    at := at + 1;
                END IF;
                EXIT WHEN depth = 0 OR at > length(rest);
            END LOOP;
            piece := left(rest, at - 1);
        ELSIF rest ~ ('^[$](?:' || word || ')?[$]') THEN
            -- In a tag there is no $.
            piece := substring(rest FROM '^[$][^$]*[$]');
            at := strpos(substr(rest, length(piece) + 1), piece);
            piece := CASE at WHEN 0 THEN rest ELSE left(rest, at - 1 + 2 * length(piece)) END;
        ELSE
            -- Most pieces are short, and a text is converted for each match.
            piece := substring(left(rest, 300) FROM pattern);
            IF length(piece) >= 299 OR piece IN ('''', '"') OR piece ~ '^[eE]?''' THEN
                piece := substring(rest FROM pattern);
            END IF;
        END IF;
        pieces := pieces || piece;
        rest := substr(rest, length(piece) + 1);
    END LOOP;
    RETURN pieces;
END
$function$;

-- What a word or a quoted name names; NULL of anything else.
CREATE OR REPLACE FUNCTION vestibule.name_in(piece text) RETURNS name
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN CASE
        WHEN piece ~ '^".+"$' THEN replace(substr(piece, 2, length(piece) - 2), '""', '"')
        WHEN piece ~ '^[^\u0001-\u0040\u005b-\u005e\u0060\u007b-\u007f]' AND piece !~ '''' THEN
            lower(piece)
    END;
END
$function$;

-- What a key whose list of columns begins at a place would be called without account_id; NULL
-- where that is not plain. `sense` are the pieces that are neither blank nor comment.
CREATE OR REPLACE FUNCTION vestibule.name_of_key(
    space name, on_table name, sense text[], opening int, label text
) RETURNS name
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    result text := on_table;
    depth int := 0;
    begins boolean := true;
    named name;
BEGIN
    FOR i IN opening .. cardinality(sense) LOOP
        IF depth = 1 AND begins THEN
            named := vestibule.name_in(sense[i]);
            -- A column, or a call, after whose name an index is called too.
            IF named IS NULL OR sense[i + 1] !~ '^[,()"[:alpha:]]' THEN
                RETURN NULL;
            END IF;
            result := result || '_' || named;
            begins := false;
        END IF;
        IF sense[i] = '(' THEN
            depth := depth + 1;
        ELSIF sense[i] = ')' THEN
            depth := depth - 1;
            EXIT WHEN depth = 0;
        ELSIF sense[i] = ',' AND depth = 1 THEN
            begins := true;
        END IF;
    END LOOP;
    result := result || '_' || label;
    IF octet_length(result) > 63 OR EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = result AND n.nspname = space) THEN
        RETURN NULL;
    END IF;
    RETURN result;
END
$function$;

-- row: a stand-in for a key of a table: the columns that are referenced, once each,
-- of all accounts. secure_rows drops it. NULL where the table has no such key within an account.
CREATE OR REPLACE FUNCTION vestibule.stand_in_for(space name, target oid, columns name[])
RETURNS name
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    target_name name := (SELECT c.relname FROM pg_class c WHERE c.oid = target);
    key_columns name[];
    list text;
    stand_in name;
BEGIN
    SELECT k.names INTO key_columns
    FROM pg_index x
    CROSS JOIN LATERAL (
        SELECT array_agg(a.attname ORDER BY u.place)
                FILTER (WHERE a.attname <> 'account_id') AS names,
            bool_or(a.attname = 'account_id') AS within
        FROM unnest((x.indkey::int2[])[0:x.indnkeyatts - 1]) WITH ORDINALITY u (number, place)
        LEFT JOIN pg_attribute a ON a.attrelid = target AND a.attnum = u.number
    ) k
    WHERE x.indrelid = target AND x.indisunique AND x.indimmediate AND x.indpred IS NULL
      AND x.indexprs IS NULL AND k.within AND k.names IS NOT NULL
      AND CASE WHEN columns IS NULL THEN x.indisprimary
          ELSE k.names <@ columns AND columns <@ k.names END
    LIMIT 1;
    IF key_columns IS NULL THEN
        RETURN NULL;
    END IF;
    list := (SELECT string_agg(quote_ident(u.name), ', ' ORDER BY u.place)
        FROM unnest(key_columns) WITH ORDINALITY u (name, place));
    -- The owner must see the rows of all accounts.
    PERFORM vestibule.open_rows(space);
    FOR n IN 1 .. 1000 LOOP
        stand_in := format('vestibule_key_%s_%s', target, n);
        EXIT WHEN to_regclass(format('%I.%I', space, stand_in)) IS NULL;
    END LOOP;
    EXECUTE format('CREATE TABLE %1$I.%2$I AS SELECT DISTINCT %3$s FROM %1$I.%4$I '
        'WHERE (%3$s) IS NOT NULL', space, stand_in, list, target_name);
    EXECUTE format('ALTER TABLE %I.%I ADD PRIMARY KEY (%s)', space, stand_in, list);
    EXECUTE format('COMMENT ON TABLE %I.%I IS %L', space, stand_in, target_name);
    RETURN stand_in;
END
$function$;

-- The table that a stand-in stands in for: by then it may have another name, or may have been made
-- anew.
CREATE OR REPLACE FUNCTION vestibule.stands_in_for(stand_in oid) RETURNS name
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    was oid := (SELECT split_part(c.relname, '_', 3)::oid FROM pg_class c WHERE c.oid = stand_in);
BEGIN
    RETURN coalesce(
        (SELECT c.relname FROM pg_class c WHERE c.oid = was),
        obj_description(stand_in, 'pg_class')::name
    );
END
$function$;

-- row: after open_rows, before a migration: its text as it can be run where the keys of the tables
-- that are there hold within an account already. What it says of tables that it makes itself stays
-- as it is, and so does all that is in quotes (functions, DO).
--
--   REFERENCES notes (id)           names a stand-in with that key, until secure_rows
--   ALTER TABLE notes ADD UNIQUE …  gets account_id, as do PRIMARY KEY, EXCLUDE and
--   CREATE UNIQUE INDEX ON notes …  two accounts may hold what only one of them may hold twice
CREATE OR REPLACE FUNCTION vestibule.migration_for_rows(space name, migration text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    space_oid oid := (SELECT n.oid FROM pg_namespace n WHERE n.nspname = space);
    pieces text[];
    -- The pieces that are neither blank nor comment: unquoted words are in lower case.
    sense text[];
    places int[];
    -- By name, the tables that were there before: {"notes": oid}. A name that the migration makes
    -- anew, or drops, is none of them.
    old jsonb;
    altered name;
    target name;
    stand_in name;
    columns name[];
    new_name name;
    depth int := 0;
    at int;
    named_at int;
BEGIN
    IF migration !~* '\m(references|unique|primary|exclude)\M' THEN
        RETURN migration;
    END IF;
    SELECT coalesce(jsonb_object_agg(c.relname, c.oid), '{}') INTO old
    FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'vestibule_account'
    WHERE c.oid = ANY (vestibule.objects_in(space_oid, 'pg_class'));
    pieces := vestibule.pieces_of(migration);
    SELECT array_agg(CASE WHEN u.piece ~ '^"' THEN u.piece ELSE lower(u.piece) END
            ORDER BY u.place),
        array_agg(u.place ORDER BY u.place)
    INTO sense, places
    FROM unnest(pieces) WITH ORDINALITY u (piece, place)
    WHERE u.piece !~ '^(\s|--|/[*])';
    -- Beyond the end nothing is NULL, which no comparison below would survive.
    sense := coalesce(sense, '{}') || array_fill(''::text, ARRAY[12]);

    FOR i IN 1 .. cardinality(sense) - 12 LOOP
        IF sense[i] = ';' THEN
            altered := NULL;
            depth := 0;
        ELSIF sense[i] = '(' THEN
            depth := depth + 1;
        ELSIF sense[i] = ')' THEN
            depth := depth - 1;

        ELSIF sense[i] = 'create' AND 'table' IN (sense[i + 1], sense[i + 2]) THEN
            at := i + CASE sense[i + 1] WHEN 'table' THEN 2 ELSE 3 END;
            IF sense[at:at + 2] = '{if,not,exists}' THEN
                at := at + 3;
                CONTINUE WHEN old ? vestibule.name_in(sense[at]);
            END IF;
            old := old - coalesce(vestibule.name_in(sense[at])::text, '');
        ELSIF sense[i] = 'drop' AND sense[i + 1] = 'table' THEN
            at := i + 2;
            WHILE sense[at] NOT IN ('', ';') LOOP
                old := old - coalesce(vestibule.name_in(sense[at])::text, '');
                at := at + 1;
            END LOOP;

        ELSIF sense[i] = 'alter' AND sense[i + 1] = 'table' THEN
            at := i + 2;
            IF sense[at] = 'if' THEN
                at := at + 2;
            END IF;
            IF sense[at] = 'only' THEN
                at := at + 1;
            END IF;
            IF sense[at + 1] = '.' THEN
                CONTINUE WHEN vestibule.name_in(sense[at]) <> space;
                at := at + 2;
            END IF;
            altered := vestibule.name_in(sense[at]);
            IF NOT old ? altered THEN
                altered := NULL;
            ELSIF sense[at + 1] = 'rename' AND sense[at + 2] = 'to' THEN
                old := old - altered::text
                    || jsonb_build_object(vestibule.name_in(sense[at + 3]), old -> altered);
                altered := NULL;
            END IF;
        ELSIF sense[i] = 'add' AND depth = 0 AND altered IS NOT NULL THEN
            at := i + 1;
            named_at := NULL;
            IF sense[at] = 'constraint' THEN
                named_at := at + 1;
                at := at + 2;
            END IF;
            IF sense[at] = 'unique' THEN
                at := at + CASE
                    WHEN sense[at + 1] = 'nulls' AND sense[at + 2] = 'not' THEN 4
                    WHEN sense[at + 1] = 'nulls' THEN 3
                    ELSE 1 END;
                new_name := vestibule.name_of_key(space, altered, sense, at, 'key');
            ELSIF sense[at] = 'primary' THEN
                at := at + 2;
                -- It is called after the table alone.
                new_name := NULL;
            ELSIF sense[at] = 'exclude' THEN
                at := at + CASE sense[at + 1] WHEN 'using' THEN 3 ELSE 1 END;
                new_name := vestibule.name_of_key(space, altered, sense, at, 'excl');
            ELSE
                CONTINUE;
            END IF;
            CONTINUE WHEN sense[at] <> '(' OR sense[at + 1] = 'account_id';
            pieces[places[at]] := CASE WHEN 'exclude' = ANY (sense[i:at])
                THEN '(account_id WITH =, ' ELSE '(account_id, ' END;
            IF named_at IS NULL AND new_name IS NOT NULL THEN
                pieces[places[i]] := pieces[places[i]] || format(' CONSTRAINT %I', new_name);
            END IF;

        ELSIF sense[i] = 'create' AND sense[i + 1] = 'unique' AND sense[i + 2] = 'index' THEN
            at := i + 3;
            IF sense[at] = 'concurrently' THEN
                at := at + 1;
            END IF;
            IF sense[at:at + 2] = '{if,not,exists}' THEN
                at := at + 3;
            END IF;
            named_at := NULL;
            IF sense[at] <> 'on' THEN
                named_at := at;
                at := at + 1;
            END IF;
            CONTINUE WHEN sense[at] <> 'on';
            depth := 0;
            at := at + CASE sense[at + 1] WHEN 'only' THEN 2 ELSE 1 END;
            IF sense[at + 1] = '.' THEN
                CONTINUE WHEN vestibule.name_in(sense[at]) <> space;
                at := at + 2;
            END IF;
            target := vestibule.name_in(sense[at]);
            CONTINUE WHEN target IS NULL OR NOT old ? target;
            at := at + CASE sense[at + 1] WHEN 'using' THEN 3 ELSE 1 END;
            CONTINUE WHEN sense[at] <> '(' OR sense[at + 1] = 'account_id';
            pieces[places[at]] := '(account_id, ';
            new_name := vestibule.name_of_key(space, target, sense, at, 'idx');
            IF named_at IS NULL AND new_name IS NOT NULL THEN
                pieces[places[i + 2]] := pieces[places[i + 2]] || format(' %I', new_name);
            END IF;

        ELSIF sense[i] = 'references' THEN
            at := i + 1;
            IF sense[at + 1] = '.' THEN
                CONTINUE WHEN vestibule.name_in(sense[at]) <> space;
                at := at + 2;
            END IF;
            target := vestibule.name_in(sense[at]);
            CONTINUE WHEN target IS NULL OR NOT old ? target;
            columns := NULL;
            named_at := at + 1;
            IF sense[named_at] = '(' THEN
                LOOP
                    columns := columns || vestibule.name_in(sense[named_at + 1]);
                    named_at := named_at + 2;
                    EXIT WHEN sense[named_at] <> ',';
                END LOOP;
            END IF;
            CONTINUE WHEN 'account_id' = ANY (columns);
            stand_in := vestibule.stand_in_for(space, (old ->> target)::oid, columns);
            CONTINUE WHEN stand_in IS NULL;
            -- With its schema, if the migration gave one.
            pieces[places[at]] := quote_ident(stand_in);
        END IF;
    END LOOP;
    RETURN array_to_string(pieces, '');
END
$function$;

-- row: gives account_id to the tables that lack it.
CREATE OR REPLACE FUNCTION vestibule.add_account_columns(space name, tables oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    one record;
    filled boolean;
BEGIN
    FOR one IN
        SELECT c.relname, c.relforcerowsecurity FROM pg_class c
        WHERE c.oid = ANY (tables)
          AND NOT EXISTS (SELECT FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = 'account_id')
          -- What inherits gets the column with its parent.
          AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
        ORDER BY c.oid
    LOOP
        IF one.relforcerowsecurity THEN
            EXECUTE format('ALTER TABLE %I.%I NO FORCE ROW LEVEL SECURITY', space, one.relname);
        END IF;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I)', space, one.relname) INTO filled;
        IF filled THEN
            PERFORM vestibule.refuse(format(
                'the new table %I holds rows, and in a table that all accounts share they would '
                'be nobody''s: fill it from the application', one.relname));
        END IF;
        -- The default comes second, or it would be asked for the rows that are there.
        EXECUTE format(
            'ALTER TABLE %I.%I ADD COLUMN account_id uuid NOT NULL, '
            'ALTER COLUMN account_id SET DEFAULT vestibule.bound_account()', space, one.relname);
    END LOOP;
    FOR one IN
        SELECT c.relname, a.attnotnull, a.atttypid = 'uuid'::regtype
                AND a.attgenerated = '' AND a.attidentity = '' AS usable,
            coalesce(pg_get_expr(d.adbin, d.adrelid) = 'vestibule.bound_account()', false)
                AS filled,
            c.relname = 'vestibule_account' OR a.attinhcount > 0 OR EXISTS (
                SELECT FROM pg_policy p
                WHERE p.polrelid = c.oid AND p.polname = 'vestibule_account') AS known
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'account_id'
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.oid = ANY (tables)
    LOOP
        IF NOT one.known AND NOT (one.usable AND one.filled AND one.attnotnull) THEN
            PERFORM vestibule.refuse(format(
                'the table %I has a column account_id of its own, which is the name of the column '
                'that says whose a row is: name it otherwise', one.relname));
        END IF;
        IF NOT one.usable THEN
            PERFORM vestibule.refuse(format(
                'a migration changed the column account_id of the table %I, which says whose a '
                'row is: leave it as it was', one.relname));
        END IF;
        IF NOT one.attnotnull THEN
            EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN account_id SET NOT NULL',
                space, one.relname);
        END IF;
        IF NOT one.filled THEN
            EXECUTE format('ALTER TABLE %I.%I ALTER COLUMN account_id '
                'SET DEFAULT vestibule.bound_account()', space, one.relname);
        END IF;
    END LOOP;
END
$function$;

-- row: puts account_id first in every unique, primary and exclusion key, and in both sides of
-- every foreign key.
CREATE OR REPLACE FUNCTION vestibule.rebuild_keys(space name, tables oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    version int := current_setting('server_version_num')::int;
    foreign_keys text[] := '{}';
    actions jsonb := '{"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL",
        "d": "SET DEFAULT"}';
    one record;
    head text;
    new_head text;
    rest text;
    drop_it text;
BEGIN
    -- A foreign key needs the unique key that it references: it goes first and comes last.
    FOR one IN
        SELECT k.conname, c.relname,
            CASE WHEN f.relname ~ '^vestibule_key_'
                THEN vestibule.stands_in_for(f.oid) ELSE f.relname END AS target, k.confupdtype, k.confdeltype,
            k.confmatchtype, k.condeferrable, k.condeferred, k.convalidated,
            side.columns, side.target_columns, side.all_filled, side.has_account,
            side.count,
            -- These columns are newer than 14.
            coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) AS period,
            coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true) AS enforced,
            (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY s.place)
             FROM jsonb_array_elements_text(nullif(to_jsonb(k) -> 'confdelsetcols', 'null'))
                 WITH ORDINALITY s (number, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = s.number::int2
            ) AS cleared
        FROM pg_constraint k
        JOIN pg_class c ON c.oid = k.conrelid
        JOIN pg_class f ON f.oid = k.confrelid
        CROSS JOIN LATERAL (
            SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.place) AS columns,
                string_agg(quote_ident(b.attname), ', ' ORDER BY u.place) AS target_columns,
                bool_and(a.attnotnull) AS all_filled, count(*) AS count,
                bool_or(a.attname = 'account_id' AND b.attname = 'account_id') AS paired,
                bool_or(a.attname = 'account_id' OR b.attname = 'account_id') AS has_account
            FROM unnest(k.conkey, k.confkey) WITH ORDINALITY u (here, there, place)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.here
            JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.there
        ) side
        WHERE k.contype = 'f' AND k.conrelid = ANY (tables) AND k.conparentid = 0
          AND NOT side.paired
        ORDER BY k.oid
    LOOP
        head := format('the foreign key %I of %I', one.conname, one.relname);
        IF one.has_account THEN
            PERFORM vestibule.refuse(head || ' mixes account_id with another column: leave '
                'account_id out, it is added');
        END IF;
        IF one.period THEN
            PERFORM vestibule.refuse(head || ' is over a PERIOD, which cannot be kept within an '
                'account: leave it out');
        END IF;
        IF one.confupdtype IN ('n', 'd') THEN
            PERFORM vestibule.refuse(head || format(' says ON UPDATE %s, which would also clear '
                'account_id: write ON UPDATE CASCADE or NO ACTION', actions ->> one.confupdtype));
        END IF;
        IF one.confdeltype IN ('n', 'd') AND version < 150000 THEN
            PERFORM vestibule.refuse(head || format(' says ON DELETE %s, which before PostgreSQL '
                '15 would also clear account_id: write ON DELETE CASCADE or NO ACTION, or use '
                'PostgreSQL 15', actions ->> one.confdeltype));
        END IF;
        -- account_id is never empty: MATCH FULL would then refuse rows where all else is. Of one
        -- column, or of columns that are never empty, MATCH SIMPLE says the same.
        IF one.confmatchtype = 'f' AND one.count > 1 AND NOT one.all_filled THEN
            PERFORM vestibule.refuse(head || ' says MATCH FULL over columns that may be empty: '
                'write MATCH SIMPLE, and a CHECK that all or none of them are empty');
        END IF;
        foreign_keys := foreign_keys || (format(
            'ALTER TABLE %I.%I ADD CONSTRAINT %I FOREIGN KEY (account_id, %s) '
            'REFERENCES %I.%I (account_id, %s) ON UPDATE %s ON DELETE %s',
            space, one.relname, one.conname, one.columns, space, one.target, one.target_columns,
            actions ->> one.confupdtype, actions ->> one.confdeltype)
            || CASE WHEN one.confdeltype IN ('n', 'd')
                THEN format(' (%s)', coalesce(one.cleared, one.columns)) ELSE '' END
            || CASE WHEN one.condeferrable THEN ' DEFERRABLE' ELSE '' END
            || CASE WHEN one.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END
            || CASE WHEN NOT one.enforced THEN ' NOT ENFORCED'
                WHEN NOT one.convalidated THEN ' NOT VALID' ELSE '' END);
        EXECUTE format('ALTER TABLE %I.%I DROP CONSTRAINT %I',
            space, one.relname, one.conname);
    END LOOP;

    FOR one IN
        SELECT c.relname, i.relname AS index, x.indisreplident, x.indisclustered,
            k.conname, k.contype, am.amname,
            coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) AS period,
            i.relkind = 'I' AS partitioned,
            pg_get_indexdef(i.oid) AS definition, pg_get_constraintdef(k.oid) AS constraint,
            EXISTS (SELECT FROM pg_opclass o WHERE o.opcmethod = i.relam
                AND o.opcintype = 'uuid'::regtype AND o.opcdefault) AS can
        FROM pg_index x
        JOIN pg_class c ON c.oid = x.indrelid
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_am am ON am.oid = i.relam
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'account_id'
        LEFT JOIN pg_constraint k ON k.conindid = i.oid AND k.conrelid = c.oid
            AND k.contype IN ('p', 'u', 'x')
        WHERE x.indrelid = ANY (tables) AND (x.indisunique OR x.indisexclusion)
          AND NOT i.relispartition
          AND a.attnum <> ALL ((x.indkey::int2[])[0:x.indnkeyatts - 1])
        ORDER BY i.oid
    LOOP
        IF one.period THEN
            PERFORM vestibule.refuse(format('the key %I of %I is WITHOUT OVERLAPS, which cannot '
                'be kept within an account: leave it out', one.index, one.relname));
        END IF;
        IF NOT one.can THEN
            PERFORM vestibule.refuse(format('the exclusion constraint %I of %I would hold across '
                'accounts: create the extension btree_gist beforehand, write a unique key, or '
                'leave it out', one.index, one.relname));
        END IF;
        -- Where the columns begin: nothing but fixed words and names stands before it.
        IF one.conname IS NOT NULL THEN
            rest := one.constraint;
            head := CASE
                WHEN one.contype = 'p' THEN 'PRIMARY KEY ('
                WHEN one.contype = 'x' THEN format('EXCLUDE USING %I (', one.amname)
                WHEN starts_with(rest, 'UNIQUE NULLS') THEN 'UNIQUE NULLS NOT DISTINCT ('
                ELSE 'UNIQUE ('
            END;
            new_head := format('ALTER TABLE %I.%I ADD CONSTRAINT %I ',
                space, one.relname, one.conname) || head;
            drop_it := format('ALTER TABLE %I.%I DROP CONSTRAINT %I',
                space, one.relname, one.conname);
        ELSE
            rest := one.definition;
            new_head := format('CREATE UNIQUE INDEX %I ON %I.%I USING %I (',
                one.index, space, one.relname, one.amname);
            -- On a partitioned table it is printed with ONLY, and means its partitions too.
            head := CASE WHEN one.partitioned
                THEN format('CREATE UNIQUE INDEX %I ON ONLY %I.%I USING %I (',
                    one.index, space, one.relname, one.amname)
                ELSE new_head END;
            drop_it := format('DROP INDEX %I.%I', space, one.index);
        END IF;
        IF NOT starts_with(rest, head) THEN
            PERFORM vestibule.refuse(format('the key %I of %I is of a form that is not known '
                'here: %s', one.index, one.relname, rest));
        END IF;
        rest := new_head
            || CASE WHEN one.contype = 'x' THEN 'account_id WITH =, ' ELSE 'account_id, ' END
            || substr(rest, length(head) + 1);
        BEGIN
            EXECUTE drop_it;
            EXECUTE rest;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            PERFORM vestibule.refuse(format('something depends on the key %I of %I, which is to '
                'be kept within each account (a foreign key from elsewhere, or a view that groups '
                'by it alone: name all its columns in GROUP BY)', one.index, one.relname));
        END;
        IF one.indisreplident THEN
            EXECUTE format('ALTER TABLE %I.%I REPLICA IDENTITY USING INDEX %I',
                space, one.relname, one.index);
        END IF;
        IF one.indisclustered THEN
            EXECUTE format('ALTER TABLE %I.%I CLUSTER ON %I', space, one.relname, one.index);
        END IF;
    END LOOP;

    FOR one IN
        SELECT c.relname FROM pg_class c
        WHERE c.oid = ANY (vestibule.objects_in(
                (SELECT n.oid FROM pg_namespace n WHERE n.nspname = space), 'pg_class'))
          AND c.relname ~ '^vestibule_key_' AND c.relkind = 'r'
    LOOP
        EXECUTE format('DROP TABLE %I.%I', space, one.relname);
    END LOOP;

    -- The rows that are there are checked as the owner sees them: all accounts'.
    IF foreign_keys <> '{}' THEN
        PERFORM vestibule.open_rows(space);
    END IF;
    FOREACH rest IN ARRAY foreign_keys LOOP
        EXECUTE rest;
    END LOOP;

    FOR one IN
        SELECT c.relname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'account_id'
        WHERE c.oid = ANY (tables) AND NOT EXISTS (
            SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indkey[0] = a.attnum
              AND x.indpred IS NULL AND x.indisvalid)
        -- Parents first: an index of theirs comes to their partitions too.
        ORDER BY c.relkind = 'r', c.oid
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'account_id'
            WHERE c.relname = one.relname AND n.nspname = space
              AND x.indkey[0] = a.attnum AND x.indpred IS NULL AND x.indisvalid) THEN
            EXECUTE format('CREATE INDEX ON %I.%I (account_id)', space, one.relname);
        END IF;
    END LOOP;
END
$function$;

-- row: after a migration, in its transaction.
CREATE OR REPLACE FUNCTION vestibule.secure_rows(space name, login name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    schema_oid oid := vestibule.require_space(space, login);
    relations oid[];
    tables oid[];
    why text;
BEGIN
    relations := vestibule.objects_in(schema_oid, 'pg_class');
    PERFORM vestibule.check_deferred(space, relations);
    PERFORM vestibule.refuse_what_opens(schema_oid, relations, 'row');
    tables := coalesce(
        (SELECT array_agg(c.oid) FROM pg_class c
         WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p')
           AND c.relname <> 'vestibule_migrations' AND c.relname !~ '^vestibule_key_'),
        '{}');
    PERFORM vestibule.add_account_columns(space, tables);
    PERFORM vestibule.rebuild_keys(space, tables);
    relations := vestibule.objects_in(schema_oid, 'pg_class');
    PERFORM vestibule.secure_with_policy(space, tables,
        'account_id = (SELECT vestibule.bound_account())',
        '(account_id = ( SELECT vestibule.bound_account() AS bound_account))');
    PERFORM vestibule.secure_views(space, relations);
    PERFORM vestibule.grant_login(space, relations, login, 'row');
    -- What no line above thought of.
    SELECT format('%s, %s: %s', f.object, f.finding, f.detail) INTO why
    FROM vestibule.audit_tables(space, login, 'row', NULL) f
    -- These need not be a migration's.
    WHERE f.finding NOT IN ('security_definer_outside', 'granted_outside') LIMIT 1;
    IF why IS NOT NULL THEN
        PERFORM vestibule.refuse(why);
    END IF;
END
$function$;

-- schema: after a migration of one account, in its transaction.
CREATE OR REPLACE FUNCTION vestibule.secure_space(space name, account uuid, login name)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    schema_oid oid := vestibule.require_space(space, login);
    relations oid[] := vestibule.objects_in(schema_oid, 'pg_class');
BEGIN
    PERFORM vestibule.check_deferred(space, relations);
    PERFORM vestibule.refuse_what_opens(schema_oid, relations, 'schema');
    PERFORM vestibule.secure_with_policy(space,
        (SELECT array_agg(c.oid) FROM pg_class c
         WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p')),
        format('%L::uuid = (SELECT vestibule.bound_account())', account),
        format('(%L::uuid = ( SELECT vestibule.bound_account() AS bound_account))', account));
    PERFORM vestibule.secure_views(space, relations);
    PERFORM vestibule.grant_login(space, relations, login, 'schema');
END
$function$;

-- schema, on a Citus cluster, where policies are left out: what holds there is search_path.
CREATE OR REPLACE FUNCTION vestibule.secure_space_without_policies(space name, login name)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    schema_oid oid := vestibule.require_space(space, login);
    relations oid[] := vestibule.objects_in(schema_oid, 'pg_class');
BEGIN
    PERFORM vestibule.refuse_what_opens(schema_oid, relations, 'schema');
    PERFORM vestibule.secure_views(space, relations);
    PERFORM vestibule.grant_login(space, relations, login, 'schema');
END
$function$;

-- database: after a migration of one account, in its transaction.
CREATE OR REPLACE FUNCTION vestibule.secure_database(space name, login name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    schema_oid oid := vestibule.require_space(space, login);
    relations oid[] := vestibule.objects_in(schema_oid, 'pg_class');
BEGIN
    PERFORM vestibule.refuse_what_opens(schema_oid, relations, 'database');
    PERFORM vestibule.grant_login(space, relations, login, 'database');
END
$function$;

-- For `doctor`: what is not as secure_rows, secure_space or secure_database leave it. Changes
-- nothing. `account` is whose schema it is; without one, in schema, no policies are expected
-- (Citus).
CREATE OR REPLACE FUNCTION vestibule.audit_tables(
    space name, login name, tenancy text, account uuid
) RETURNS TABLE (finding text, object text, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    space_oid oid := (SELECT n.oid FROM pg_namespace n WHERE n.nspname = space);
    app oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = login);
    relations oid[] := vestibule.objects_in(space_oid, 'pg_class');
    tables oid[];
    -- How PostgreSQL prints our policy; of another account, all but the account is the same.
    printed text := CASE
        WHEN tenancy = 'row' THEN
            '(account_id = ( SELECT vestibule.bound_account() AS bound_account))'
        WHEN tenancy = 'schema' THEN format(
            '(%L::uuid = ( SELECT vestibule.bound_account() AS bound_account))', account)
    END;
    other_account text := '^[(]''[-0-9a-f]{36}''::uuid = '
        '[(] SELECT vestibule[.]bound_account[(][)] AS bound_account[)][)]$';
BEGIN
    IF space_oid IS NULL THEN
        PERFORM vestibule.refuse(format('there is no schema %I', space));
    END IF;
    IF app IS NULL THEN
        PERFORM vestibule.refuse(format('there is no login %I', login));
    END IF;
    IF tenancy NOT IN ('row', 'schema', 'database') THEN
        PERFORM vestibule.refuse(format('there is no tenancy %I', tenancy));
    END IF;

    RETURN QUERY
    SELECT 'login_owns_table', o.name, format('belongs to %s, and %I is a member of it or is it',
        o.owner::regrole, login)
    FROM (
        SELECT c.relname::text AS name, c.relowner AS owner FROM pg_class c
        WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        SELECT n.nspname, n.nspowner FROM pg_namespace n WHERE n.oid = space_oid
        UNION ALL
        SELECT p.oid::regprocedure::text, p.proowner FROM pg_proc p
        WHERE p.oid = ANY (vestibule.objects_in(space_oid, 'pg_proc'))
    ) o
    WHERE pg_has_role(app, o.owner, 'MEMBER');

    RETURN QUERY
    SELECT r.finding, r.object, r.why
    FROM vestibule.refusals(
        space_oid, relations, vestibule.objects_in(space_oid, 'pg_proc'), tenancy) r
    WHERE r.finding <> 'not_owned'
       OR NOT EXISTS (SELECT FROM pg_class c WHERE c.relname = r.object
            AND c.oid = ANY (relations) AND pg_has_role(app, c.relowner, 'MEMBER'));

    -- Rights, however the login came by them.
    RETURN QUERY
    SELECT g.finding, o.name, format('%s may %s%s',
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
        a.privilege_type, o.of_column)
    FROM (
        SELECT c.oid, c.relname::text AS name, c.relkind AS kind, c.relowner AS owner,
            c.relacl AS acl, '' AS of_column
        FROM pg_class c
        WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        SELECT c.oid, c.relname, c.relkind, c.relowner, t.attacl, format(' (%I)', t.attname)
        FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid
        WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND t.attacl IS NOT NULL
        UNION ALL
        SELECT n.oid, n.nspname, 'n', n.nspowner, n.nspacl, ''
        FROM pg_namespace n WHERE n.oid = space_oid
    ) o
    CROSS JOIN LATERAL aclexplode(o.acl) a
    CROSS JOIN LATERAL (
        SELECT 'grant_to_public' WHERE a.grantee = 0
        UNION ALL
        SELECT CASE
            WHEN o.kind = 'n' THEN
                CASE a.privilege_type WHEN 'CREATE' THEN 'login_may_create' END
            WHEN o.kind = 'S' THEN
                CASE WHEN a.privilege_type <> 'USAGE' THEN 'login_may_set_sequence' END
            WHEN a.privilege_type IN ('TRUNCATE', 'MAINTAIN') THEN 'login_may_truncate'
            WHEN a.privilege_type IN ('TRIGGER', 'REFERENCES') THEN
                'login_may_trigger_or_reference'
            WHEN o.name IN ('vestibule_account', 'vestibule_migrations')
                AND a.privilege_type <> 'SELECT' THEN 'login_may_change_ours'
            WHEN o.name = 'vestibule_activity' AND a.privilege_type <> 'SELECT'
                THEN 'login_may_change_activity'
        END
        UNION ALL
        SELECT 'login_may_grant' WHERE a.is_grantable
    ) g (finding)
    WHERE g.finding IS NOT NULL AND a.grantee <> o.owner
      AND (a.grantee = 0 OR pg_has_role(app, a.grantee, 'MEMBER'));

    IF tenancy = 'database' THEN
        RETURN;
    END IF;

    -- What the owner's hands, or a migration, made elsewhere. Other accounts' schemas are looked
    -- at on their own.
    RETURN QUERY
    SELECT 'security_definer_outside', p.oid::regprocedure::text,
        'runs with the rights of the tables'' owner, and PUBLIC or the login may call it'
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.prosecdef AND p.proowner = current_user::regrole
      AND n.oid <> space_oid AND n.nspname NOT IN ('vestibule', 'pg_catalog')
      AND n.nspname !~ '^account_[0-9a-f]{32}$'
      AND (a.grantee = 0 OR a.grantee <> p.proowner AND pg_has_role(app, a.grantee, 'MEMBER'));
    IF tenancy = 'row' THEN
        RETURN QUERY
        SELECT 'granted_outside', c.oid::regclass::text,
            format('%I has rights on it, and no policy of ours is there', login)
        FROM pg_shdepend d JOIN pg_class c ON c.oid = d.objid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = app AND d.deptype = 'a'
          AND d.classid = 'pg_class'::regclass AND d.objsubid = 0
          AND d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
          AND n.oid <> space_oid AND n.nspname <> 'vestibule';
    END IF;

    RETURN QUERY
    SELECT 'view_bypasses', c.relname::text,
        'reads with the rights of its owner: security_invoker is not on'
    FROM pg_class c
    WHERE c.oid = ANY (relations) AND c.relkind = 'v'
      AND current_setting('server_version_num')::int >= 150000
      AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false);

    IF tenancy = 'schema' AND account IS NULL THEN
        RETURN;
    END IF;
    tables := coalesce(
        (SELECT array_agg(c.oid) FROM pg_class c
         WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p')
           AND (tenancy <> 'row' OR c.relname <> 'vestibule_migrations')),
        '{}');

    RETURN QUERY
    SELECT f.finding, c.relname::text, f.detail
    FROM pg_class c
    LEFT JOIN pg_policy p ON p.polrelid = c.oid AND p.polname = 'vestibule_account'
    CROSS JOIN LATERAL (
        SELECT pg_get_expr(p.polqual, p.polrelid) AS reads,
            pg_get_expr(p.polwithcheck, p.polrelid) AS writes
    ) e
    CROSS JOIN LATERAL (
        SELECT 'rls_missing', 'row-level security is not enabled' WHERE NOT c.relrowsecurity
        UNION ALL
        SELECT 'rls_not_forced', 'row-level security does not bind the table''s owner'
        WHERE NOT c.relforcerowsecurity
        UNION ALL
        SELECT 'policy_missing', 'there is no policy vestibule_account' WHERE p.oid IS NULL
        UNION ALL
        SELECT 'policy_missing',
            'the policy vestibule_account is not permissive, or not for all commands and roles'
        WHERE NOT p.polpermissive OR p.polcmd <> '*' OR p.polroles <> '{0}'
        UNION ALL
        SELECT 'policy_without_check', 'the policy vestibule_account has no WITH CHECK'
        WHERE p.oid IS NOT NULL AND e.writes IS NULL
        UNION ALL
        SELECT CASE WHEN tenancy = 'schema' AND coalesce(e.reads ~ other_account, true)
                AND coalesce(e.writes ~ other_account, true)
                THEN 'policy_other_account' ELSE 'policy_open' END,
            format('the policy vestibule_account is USING %s WITH CHECK %s', e.reads, e.writes)
        WHERE p.oid IS NOT NULL
          AND (e.reads IS DISTINCT FROM printed OR coalesce(e.writes <> printed, false))
    ) f (finding, detail)
    WHERE c.oid = ANY (tables);

    IF tenancy = 'schema' THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT f.finding, c.relname::text, f.detail
    FROM pg_class c
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'account_id'
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    CROSS JOIN LATERAL (SELECT pg_get_expr(d.adbin, d.adrelid) AS text) def
    CROSS JOIN LATERAL (
        SELECT 'account_column_missing', 'there is no column account_id of the type uuid'
        WHERE a.attnum IS NULL OR a.atttypid <> 'uuid'::regtype
        UNION ALL
        SELECT 'account_column_nullable', 'account_id is not NOT NULL' WHERE NOT a.attnotnull
        UNION ALL
        SELECT 'account_default_wrong', format('account_id has the default %s', def.text)
        WHERE a.attnum IS NOT NULL AND def.text IS DISTINCT FROM 'vestibule.bound_account()'
        UNION ALL
        SELECT 'account_index_missing', 'no index leads with account_id'
        WHERE a.attnum IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indkey[0] = a.attnum
              AND x.indpred IS NULL AND x.indisvalid)
        UNION ALL
        SELECT 'key_without_account', format('the key %I holds across accounts', i.relname)
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND (x.indisunique OR x.indisexclusion)
          AND coalesce(a.attnum <> ALL ((x.indkey::int2[])[0:x.indnkeyatts - 1]), true)
        UNION ALL
        SELECT 'foreign_key_without_account', format('the foreign key %I holds across accounts',
            k.conname)
        FROM pg_constraint k
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND NOT EXISTS (
            SELECT FROM unnest(k.conkey, k.confkey) u (here, there)
            JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.there
            WHERE u.here = a.attnum AND b.attname = 'account_id')
    ) f (finding, detail)
    WHERE c.oid = ANY (tables);
END
$function$;

-- Only the owner calls these.
DO $block$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'vestibule'::pg_catalog.regnamespace
          AND p.proname IN ('refuse', 'objects_in', 'require_space', 'refusals',
              'refuse_what_opens', 'grant_login', 'secure_views', 'secure_with_policy', 'check_deferred', 'open_rows',
              'add_account_columns', 'rebuild_keys',
              'pieces_of', 'name_in', 'name_of_key', 'stand_in_for', 'stands_in_for',
              'migration_for_rows', 'secure_rows', 'secure_space',
              'secure_space_without_policies', 'secure_database', 'audit_tables')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
    END LOOP;
END
$block$;
