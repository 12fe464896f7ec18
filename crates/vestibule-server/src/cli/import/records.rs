//! What a line says: an account, a user, or a service client.
//!
//! A field of CSV is read as the text of the same name in JSON, so both forms have one set of rules.
//! No problem repeats what stands in an id's place: it may be an access key or a token.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, error::Category};
use uuid::Uuid;
use vestibule::store::{
    ImportedClient, ImportedUser, Profile, Status, check_account, check_tenant,
};

use super::{Form, Kind, lines::Line};
use crate::{
    admin::api::{SERVICE_CLIENT_ROLE, check_client_id},
    cli::output::shown,
};

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Account(NewAccount),
    User(Owner, ImportedUser),
    Client(Owner, ImportedClient),
    /// A row of an account's data, in what `account export` writes.
    Row,
}

/// An account that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewAccount {
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) status: Option<Status>,
    pub(super) cluster: Option<String>,
}

/// Whose it is: one of the two, or both, which then must mean the same account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) tenant: Option<String>,
    pub(super) account_id: Option<Uuid>,
}

/// Why nothing can be made of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The text says why.
    Line(String),
    /// Nor of any line after it.
    Rest(String),
}

/// Reads lines one after another.
#[derive(Debug)]
pub(super) struct Reader {
    form: Form,
    columns: Option<Vec<String>>,
    /// The last account of an export, by its id there and its tenant.
    exported: Option<(String, String)>,
}

/// As a line of JSON says it; `value` is the form of `account export`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum JsonLine {
    Account(AccountLine),
    User(UserLine),
    #[serde(alias = "service_client")]
    Client(ClientLine),
    Row {},
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct AccountLine {
    id: Option<String>,
    name: Option<String>,
    #[serde(alias = "authress_tenant_id")]
    tenant: Option<String>,
    status: Option<String>,
    cluster: Option<String>,
    value: Option<Box<AccountLine>>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct UserLine {
    id: Option<String>,
    tenant: Option<String>,
    account_id: Option<String>,
    authress_user_id: Option<String>,
    email: Option<String>,
    name: Option<String>,
    picture: Option<String>,
    role: Option<String>,
    status: Option<String>,
    value: Option<Box<UserLine>>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ClientLine {
    id: Option<String>,
    tenant: Option<String>,
    account_id: Option<String>,
    client_id: Option<String>,
    name: Option<String>,
    scopes: Option<Scopes>,
    status: Option<String>,
    value: Option<Box<ClientLine>>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(
    untagged,
    expecting = "`scopes` is a list of texts, or one text with spaces between them"
)]
enum Scopes {
    Text(String),
    List(Vec<String>),
}

type Read<T> = Result<T, String>;

impl Reader {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            columns: None,
            exported: None,
        }
    }

    /// What the line says; none for an empty one, and for the heading of CSV.
    pub(super) fn read(&mut self, line: &Line<'_>) -> Result<Option<Record>, Wrong> {
        if line.cut {
            return self.read_cut(line).map(Some);
        }
        let text = std::str::from_utf8(line.bytes)
            .map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to() + 1));
        let text = match (text, self.form, &self.columns) {
            (Ok(text), _, _) => text,
            (Err(wrong), Form::Csv(_), None) => return Err(Wrong::Rest(wrong)),
            (Err(wrong), _, _) => return Err(Wrong::Line(wrong)),
        };
        if text.trim().is_empty() {
            return Ok(None);
        }
        match (self.form, &self.columns) {
            (Form::Jsonl, _) => self.read_json(text).map(Some).map_err(Wrong::Line),
            (Form::Csv(kind), None) => {
                self.columns = Some(heading(kind, text).map_err(Wrong::Rest)?);
                Ok(None)
            }
            (Form::Csv(kind), Some(columns)) => {
                let record = read_csv(kind, columns, text);
                record.map(Some).map_err(Wrong::Line)
            }
        }
    }

    /// Rows of an account's data may be of any length; nothing else is so long.
    fn read_cut(&self, line: &Line<'_>) -> Result<Record, Wrong> {
        const ROW: &[u8] = br#"{"kind":"row","#;
        if self.form == Form::Jsonl && line.bytes.starts_with(ROW) {
            return Ok(Record::Row);
        }
        let wrong = format!("is longer than {} KiB", super::lines::LONGEST / 1024);
        match (self.form, &self.columns) {
            (Form::Csv(_), None) => Err(Wrong::Rest(wrong)),
            _ => Err(Wrong::Line(wrong)),
        }
    }

    fn read_json(&mut self, text: &str) -> Read<Record> {
        match serde_json::from_str(text).map_err(|error| not_json(&error))? {
            JsonLine::Account(line) => {
                let (line, exported) = unwrapped(line, |line| line.value.take())?;
                if exported {
                    let AccountLine { id, tenant, .. } = &line;
                    self.exported = id.clone().zip(tenant.clone());
                } else {
                    no_id(&line.id)?;
                }
                account(line)
            }
            JsonLine::User(line) => {
                let (line, exported) = unwrapped(line, |line| line.value.take())?;
                if exported {
                    return user(line, Some(self.owner_of_exported(None)?));
                }
                no_id(&line.id)?;
                user(line, None)
            }
            JsonLine::Client(line) => {
                let (line, exported) = unwrapped(line, |line| line.value.take())?;
                if exported {
                    let owner = self.owner_of_exported(line.account_id.as_deref())?;
                    return client(line, Some(owner));
                }
                no_id(&line.id)?;
                client(line, None)
            }
            JsonLine::Row {} => Ok(Record::Row),
        }
    }

    /// Ids are those of the database that was exported: what counts is the account's tenant.
    fn owner_of_exported(&self, account_id: Option<&str>) -> Read<Owner> {
        match &self.exported {
            Some((id, tenant)) if account_id.is_none_or(|wanted| wanted == id) => {
                check_tenant(tenant).map_err(|error| error.to_string())?;
                Ok(Owner {
                    tenant: Some(tenant.clone()),
                    account_id: None,
                })
            }
            _ => Err("is part of an export, and its account is on no line before it".to_owned()),
        }
    }
}

impl Kind {
    /// The columns that there may be.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Accounts => &["name", "tenant", "status", "cluster"],
            Self::Users => &[
                "tenant",
                "account_id",
                "authress_user_id",
                "email",
                "name",
                "picture",
                "role",
                "status",
            ],
            Self::Clients => &[
                "tenant",
                "account_id",
                "client_id",
                "name",
                "scopes",
                "status",
            ],
        }
    }
}

/// The line within an exported one, or the line itself; and which it was.
fn unwrapped<T: Default + PartialEq>(
    mut line: T,
    value: impl Fn(&mut T) -> Option<Box<T>>,
) -> Read<(T, bool)> {
    let Some(mut inner) = value(&mut line) else {
        return Ok((line, false));
    };
    if line == T::default() && value(&mut inner).is_none() {
        Ok((*inner, true))
    } else {
        Err("has something beside `value`".to_owned())
    }
}

fn no_id(id: &Option<String>) -> Read<()> {
    match id {
        None => Ok(()),
        Some(_) => Err("`id` is given by this database: leave it out".to_owned()),
    }
}

fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(what, _)| what);
    match error.classify() {
        // It would repeat the text, which may be anything.
        Category::Data if what.starts_with("invalid type: string") => {
            "has a text where an object belongs".to_owned()
        }
        Category::Data => shown(what),
        _ => format!("is not JSON: {what}, at column {}", error.column()),
    }
}

/// The names of the columns.
fn heading(kind: Kind, line: &str) -> Read<Vec<String>> {
    let columns = fields(line)?;
    let known = kind.columns();
    // Without a heading this is the first record, and its texts may be anything.
    let unknown = columns
        .iter()
        .position(|name| !known.contains(&name.as_str()));
    if let Some(at) = unknown {
        return Err(format!(
            "column {} is none of {}: the first line names the columns, separated by commas",
            at + 1,
            known.join(", ")
        ));
    }
    let twice = known
        .iter()
        .find(|name| columns.iter().filter(|column| column == name).count() > 1);
    match twice {
        Some(name) => Err(format!("the column `{name}` is there twice")),
        None => Ok(columns),
    }
}

fn read_csv(kind: Kind, columns: &[String], line: &str) -> Read<Record> {
    let fields = fields(line)?;
    if fields.len() != columns.len() {
        let (here, wanted) = (fields.len(), columns.len());
        return Err(format!("has {here} fields, and the first line {wanted}"));
    }
    let members: Map<String, Value> = columns
        .iter()
        .cloned()
        .zip(fields.into_iter().map(Value::String))
        // An empty field says nothing.
        .filter(|(_, value)| value.as_str() != Some(""))
        .collect();
    match kind {
        Kind::Accounts => account(line_of(members)?),
        Kind::Users => user(line_of(members)?, None),
        Kind::Clients => client(line_of(members)?, None),
    }
}

fn line_of<T: DeserializeOwned>(members: Map<String, Value>) -> Read<T> {
    serde_json::from_value(Value::Object(members)).map_err(|error| not_json(&error))
}

/// The fields of one line of CSV (RFC 4180). No value that is taken has a line's end in it, so a line
/// is a record, and a quote that is missing spoils one line and not all that follow.
fn fields(line: &str) -> Read<Vec<String>> {
    if let Some(at) = line.find(char::is_control) {
        return Err(format!("has a control character at byte {}", at + 1));
    }
    check_quotes(line)?;
    // The reader takes a byte order mark away from where it begins: one of ours, and none of the line's.
    let marked = format!("\u{feff}{line}");
    let mut record = csv::StringRecord::new();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(marked.len())
        .from_reader(marked.as_bytes());
    match reader.read_record(&mut record) {
        Ok(true) => Ok(record.iter().map(str::to_owned).collect()),
        Ok(false) => Err("has no fields".to_owned()),
        Err(_) => Err("is not CSV".to_owned()),
    }
}

/// The reader makes something of every text; a quote in a wrong place would change values unseen.
fn check_quotes(line: &str) -> Read<()> {
    #[derive(Clone, Copy)]
    enum At {
        Beginning,
        Plain,
        Quoted,
        Closed,
    }
    let mut at = At::Beginning;
    for byte in line.bytes() {
        at = match (at, byte) {
            (At::Beginning, b'"') | (At::Closed, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) => At::Quoted,
            (_, b',') => At::Beginning,
            (At::Beginning | At::Plain, byte) if byte != b'"' => At::Plain,
            _ => {
                return Err(
                    "has a quote in the middle of a field: quotes stand around the whole \
                            field, and within it each is doubled"
                        .to_owned(),
                );
            }
        };
    }
    match at {
        At::Quoted => Err("has a quote that is not closed".to_owned()),
        _ => Ok(()),
    }
}

fn account(line: AccountLine) -> Read<Record> {
    let account = NewAccount {
        name: required("name", line.name)?,
        tenant: required("tenant", line.tenant)?,
        status: status(line.status)?,
        cluster: said(line.cluster),
    };
    check_account(&account.name, &account.tenant).map_err(|error| error.to_string())?;
    Ok(Record::Account(account))
}

fn user(line: UserLine, owner: Option<Owner>) -> Read<Record> {
    let owner = match owner {
        Some(owner) => owner,
        None => owner_of(line.tenant, line.account_id)?,
    };
    let user = ImportedUser {
        subject: required("authress_user_id", line.authress_user_id)?,
        profile: Profile {
            email: said(line.email),
            name: said(line.name),
            picture: said(line.picture),
        },
        role: said(line.role),
        status: status(line.status)?,
    };
    user.check().map_err(|error| error.to_string())?;
    if user.role.as_deref() == Some(SERVICE_CLIENT_ROLE) {
        return Err(format!(
            "`{SERVICE_CLIENT_ROLE}` is the role of service clients, and no user's"
        ));
    }
    Ok(Record::User(owner, user))
}

fn client(line: ClientLine, owner: Option<Owner>) -> Read<Record> {
    let owner = match owner {
        Some(owner) => owner,
        None => owner_of(line.tenant, line.account_id)?,
    };
    let client = ImportedClient {
        client_id: required("client_id", line.client_id)?,
        name: required("name", line.name)?,
        scopes: line.scopes.map(|scopes| match scopes {
            Scopes::Text(text) => text
                .split(' ')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
            Scopes::List(list) => list,
        }),
        status: status(line.status)?,
    };
    check_client_id(&client.client_id)?;
    let client = client.checked().map_err(|error| error.to_string())?;
    Ok(Record::Client(owner, client))
}

fn owner_of(tenant: Option<String>, account_id: Option<String>) -> Read<Owner> {
    let (tenant, account_id) = (said(tenant), said(account_id));
    if tenant.is_none() && account_id.is_none() {
        return Err("`tenant` or `account_id` is missing".to_owned());
    }
    if let Some(tenant) = &tenant {
        check_tenant(tenant).map_err(|error| error.to_string())?;
    }
    let account_id = account_id
        .map(|id| {
            id.parse()
                .map_err(|_| "`account_id` is not an account's id")
        })
        .transpose()?;
    Ok(Owner { tenant, account_id })
}

fn status(text: Option<String>) -> Read<Option<Status>> {
    match said(text).as_deref() {
        None => Ok(None),
        Some("active") => Ok(Some(Status::Active)),
        Some("suspended") => Ok(Some(Status::Suspended)),
        Some(_) => Err("a status is `active` or `suspended`".to_owned()),
    }
}

fn required(name: &str, text: Option<String>) -> Read<String> {
    said(text).ok_or_else(|| format!("`{name}` is missing"))
}

/// An empty text says as little as none.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(bytes: &[u8]) -> Line<'_> {
        Line {
            number: 1,
            bytes,
            cut: false,
        }
    }

    #[test]
    fn fields_of_a_line() {
        let read = |line: &str| fields(line).map(|it| it.join("|"));
        for (line, expected) in [
            ("a,b", "a|b"),
            (",", "|"),
            ("\"\"", ""),
            ("\"a,b\",c", "a,b|c"),
            ("\"a \"\"b\"\"\",c", "a \"b\"|c"),
            (" a , b ", " a | b "),
            ("a;b", "a;b"),
            ("é,名", "é|名"),
        ] {
            assert_eq!(read(line).as_deref(), Ok(expected), "{line}");
        }
        for line in [
            "\"a", "a\"", "a\"b\"", "\"a\"b", "\"a\" ,b", "\"a\"\"", "a\rb", "a\0", "a\tb",
        ] {
            assert!(read(line).is_err(), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_as_csv_is_read_back(
            given in prop::collection::vec("[^\\p{Cc}]{0,12}", 1..6)
        ) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(&given).unwrap();
            let written = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(fields(written.trim_end_matches('\n')), Ok(given));
        }

        #[test]
        fn any_line_is_read_or_refused(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
            heading in any::<bool>(),
        ) {
            for form in [Form::Jsonl, Form::Csv(Kind::Users), Form::Csv(Kind::Clients)] {
                let mut reader = Reader::new(form);
                if heading && form != Form::Jsonl {
                    prop_assert_eq!(reader.read(&line(b"tenant,name")), Ok(None));
                }
                for bytes in &lines {
                    let read = reader.read(&line(bytes));
                    prop_assert!(!matches!(read, Ok(Some(_))), "{read:?}");
                }
            }
        }
    }

    #[test]
    fn an_export_names_its_account_first() {
        let mut reader = Reader::new(Form::Jsonl);
        let mut read = |text: &str| reader.read(&line(text.as_bytes()));
        let user = r#"{"kind":"user","value":{"id":"u","authress_user_id":"a"}}"#;
        assert!(matches!(read(user), Err(Wrong::Line(_))));
        let account = |id: &str, tenant: &str| {
            format!(
                r#"{{"kind":"account","value":{{"id":"{id}","name":"A","authress_tenant_id":"{tenant}","status":"active"}}}}"#
            )
        };
        let client = |account: &str| {
            format!(
                r#"{{"kind":"service_client","value":{{"client_id":"sc_1","name":"A","account_id":"{account}"}}}}"#
            )
        };
        for (id, tenant) in [("1", "t1"), ("2", "t2")] {
            assert!(matches!(
                read(&account(id, tenant)),
                Ok(Some(Record::Account(_)))
            ));
            let owner = Owner {
                tenant: Some(tenant.to_owned()),
                account_id: None,
            };
            assert!(matches!(read(user), Ok(Some(Record::User(of, _))) if of == owner));
            let read = read(&client(id));
            assert!(matches!(read, Ok(Some(Record::Client(of, _))) if of == owner));
        }
        assert!(matches!(read(&client("1")), Err(Wrong::Line(_))));
        // Both forms in one.
        let both = r#"{"kind":"user","tenant":"t2","value":{"authress_user_id":"a"}}"#;
        assert!(matches!(read(both), Err(Wrong::Line(_))));
    }
}
