//! The functions through which the application's login reaches the directory: one for each
//! [`Operation`], made of the very text that SQLite runs. Each demands a proof that only a server
//! with the key can make (`signature.rs`); nothing else of the directory can be reached.

use std::fmt::Write as _;

use super::{SCHEMA, quoted};
use crate::store::{Kind, Operation};

/// The statement that calls the operation's function: its arguments, then minute and proof.
pub(crate) fn call(operation: &Operation) -> String {
    let from = if operation.gives.is_empty() {
        ""
    } else {
        "* FROM "
    };
    let mut text = format!("SELECT {from}{SCHEMA}.{}(", operation.name);
    for number in 1..=operation.takes.len() + 2 {
        let comma = if number == 1 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}${number}");
    }
    text.push(')');
    text
}

/// Takes the functions of an older version away, makes those of this one, and lets `login` call
/// them.
pub(super) fn definitions(operations: &[&Operation], login: &str) -> String {
    let mut script = DROP_OLD.to_owned();
    for operation in operations {
        let types: Vec<_> = operation.takes.iter().map(|kind| kind.sql()).collect();
        let signature = format!(
            "{SCHEMA}.{}({})",
            operation.name,
            [types, vec!["bigint", "bytea"]].concat().join(", ")
        );
        let _ = write!(
            script,
            "CREATE FUNCTION {signature} RETURNS {} LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = {SCHEMA}, pg_temp AS $operation$
             #variable_conflict use_column
             {}
             $operation$;
             COMMENT ON FUNCTION {signature} IS '{MARK}';
             REVOKE ALL ON FUNCTION {signature} FROM PUBLIC;
             GRANT EXECUTE ON FUNCTION {signature} TO {};
             ",
            result(operation),
            body(operation),
            quoted(login),
        );
    }
    script
}

/// Tells the functions of operations from others.
const MARK: &str = "an operation of the directory";

const DROP_OLD: &str = "DO $drop$
DECLARE old regprocedure;
BEGIN
    FOR old IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'vestibule'::regnamespace
          AND pg_catalog.obj_description(p.oid, 'pg_proc') = 'an operation of the directory'
    LOOP
        EXECUTE format('DROP FUNCTION %s', old);
    END LOOP;
END $drop$;
";

fn result(operation: &Operation) -> String {
    if operation.gives.is_empty() {
        // How many rows it touched.
        return "bigint".to_owned();
    }
    let columns: Vec<_> = operation
        .gives
        .iter()
        .map(|(name, kind)| format!("{name} {}", kind.sql()))
        .collect();
    format!("TABLE ({})", columns.join(", "))
}

fn body(operation: &Operation) -> String {
    let arguments: Vec<_> = operation
        .takes
        .iter()
        .enumerate()
        .map(|(index, kind)| match kind {
            Kind::Bytes => format!("pg_catalog.encode(${}, 'hex')", index + 1),
            _ => format!("${}::text", index + 1),
        })
        .collect();
    let (name, sql, number) = (operation.name, operation.sql, operation.takes.len());
    let proof = format!(
        "PERFORM {SCHEMA}.require_proof('{name}', ARRAY[{}]::text[], ${}, ${});",
        arguments.join(", "),
        number + 1,
        number + 2,
    );
    if operation.gives.is_empty() {
        format!(
            "DECLARE touched bigint;
             BEGIN {proof} {sql}; GET DIAGNOSTICS touched = ROW_COUNT; RETURN touched; END"
        )
    } else {
        format!("BEGIN {proof} RETURN QUERY {sql}; END")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_carry_minute_and_proof() {
        let mut operation = Operation {
            name: "find",
            takes: &[Kind::Text],
            gives: &[("id", Kind::Uuid)],
            sql: "SELECT id FROM a WHERE b = $1",
        };
        assert_eq!(call(&operation), "SELECT * FROM vestibule.find($1, $2, $3)");
        operation.gives = &[];
        operation.takes = &[];
        assert_eq!(call(&operation), "SELECT vestibule.find($1, $2)");
    }

    #[test]
    fn the_mark_is_what_old_functions_are_found_by() {
        assert!(DROP_OLD.contains(MARK) && DROP_OLD.contains(SCHEMA));
    }
}
