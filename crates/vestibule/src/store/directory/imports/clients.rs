//! Service clients.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::{
    Difference, Directory, Imported, ImportedClient, PATIENCE, ROUNDS, Step, Writing,
    require_batch, somebody_was_faster,
};
use crate::store::{
    Change, Status, StoreError,
    query::{Query, listed, rows},
};

/// A service client of any account.
#[derive(sqlx::FromRow)]
struct Here {
    id: Uuid,
    account_id: Uuid,
    client_id: String,
    name: String,
    scopes: String,
    status: Status,
}

/// What is written over a service client's row.
struct Becomes {
    row: Uuid,
    account: Uuid,
    name: String,
    scopes: String,
    status: Status,
}

impl Directory {
    /// Registers these service clients, each for its account, in one transaction; with `update`, gives
    /// those that are here other names, scopes and statuses where they differ. What became of each, in
    /// the order given.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for more than [`IMPORT_LIMIT`](super::IMPORT_LIMIT), or a value that no
    /// service client can have; others where the database fails. Nothing is changed then.
    pub async fn import_clients(
        &self,
        clients: Vec<(Uuid, ImportedClient)>,
        update: bool,
    ) -> Result<Vec<Imported>, StoreError> {
        require_batch(clients.len())?;
        if clients.is_empty() {
            return Ok(Vec::new());
        }
        let clients: Vec<_> = clients
            .into_iter()
            .map(|(account, client)| Ok((account, client.checked()?)))
            .collect::<Result<_, StoreError>>()?;
        self.write_within(PATIENCE, move |writing| {
            Box::pin(async move { writing.import_clients(&clients, update).await })
        })
        .await
    }

    /// What [`Directory::import_clients`] would come to. An account need not be there yet.
    ///
    /// # Errors
    /// As [`Directory::import_clients`].
    pub async fn preview_clients(
        &self,
        clients: &[(Uuid, ImportedClient)],
        update: bool,
    ) -> Result<Vec<Imported>, StoreError> {
        require_batch(clients.len())?;
        if clients.is_empty() {
            return Ok(Vec::new());
        }
        let ids = clients.iter().map(|(_, client)| client.client_id.as_str());
        let here = by_id(self.fetch_all(what_is_here(ids)).await?);
        let outcomes = clients.iter().map(|(account, client)| {
            match step(here.get(&client.client_id), *account, client, update) {
                Step::Insert => Imported::Created,
                Step::Change(_) => Imported::Changed,
                Step::Leave(outcome) => outcome,
            }
        });
        Ok(outcomes.collect())
    }
}

fn step(
    here: Option<&Here>,
    account: Uuid,
    client: &ImportedClient,
    update: bool,
) -> Step<Becomes> {
    let Some(here) = here else {
        return Step::Insert;
    };
    if here.account_id != account {
        return Step::Leave(Imported::Elsewhere(here.account_id));
    }
    let scopes = match &client.scopes {
        Some(scopes) => scopes.join(" "),
        None => here.scopes.clone(),
    };
    let status = client.status.unwrap_or(here.status);
    let set = |scopes: &str| -> BTreeSet<String> {
        scopes.split_ascii_whitespace().map(str::to_owned).collect()
    };
    let differences: Vec<_> = [
        Difference::between("name", &here.name, &client.name),
        // In whatever order: scopes are a set (RFC 6749 §3.3).
        Difference::between("scopes", &here.scopes, &scopes)
            .filter(|_| set(&here.scopes) != set(&scopes)),
        Difference::between("status", here.status.as_str(), status.as_str()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if differences.is_empty() {
        return Step::Leave(Imported::Unchanged);
    }
    if !update {
        return Step::Leave(Imported::Differs(differences));
    }
    Step::Change(Becomes {
        row: here.id,
        account,
        name: client.name.clone(),
        scopes,
        status,
    })
}

fn what_is_here<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Query {
    let sql = format!(
        "SELECT id, account_id, client_id, name, scopes, status FROM service_clients
         WHERE client_id IN ({})",
        listed(1, ids.len())
    );
    ids.fold(Query::once(sql), Query::bind)
}

fn by_id(rows: Vec<Here>) -> HashMap<String, Here> {
    rows.into_iter()
        .map(|row| (row.client_id.clone(), row))
        .collect()
}

type Numbered<'a> = (usize, &'a (Uuid, ImportedClient));

impl Writing {
    async fn import_clients(
        &mut self,
        clients: &[(Uuid, ImportedClient)],
        update: bool,
    ) -> Result<Vec<Imported>, StoreError> {
        let accounts = clients.iter().map(|(account, _)| *account);
        let accounts = self.accounts_among(accounts).await?;
        let mut done: Vec<(usize, Imported)> = Vec::with_capacity(clients.len());
        let (mut open, lost): (Vec<Numbered<'_>>, Vec<Numbered<'_>>) = clients
            .iter()
            .enumerate()
            .partition(|(_, (account, _))| accounts.contains(account));
        done.extend(
            lost.iter()
                .map(|(number, _)| (*number, Imported::NoAccount)),
        );
        for _ in 0..ROUNDS {
            if open.is_empty() {
                break;
            }
            let ids = open
                .iter()
                .map(|(_, (_, client))| client.client_id.as_str());
            let here = by_id(self.fetch_all(what_is_here(ids)).await?);
            let (mut new, mut late) = (Vec::new(), Vec::new());
            for one in open {
                let (number, (account, client)) = one;
                match step(here.get(&client.client_id), *account, client, update) {
                    Step::Insert => new.push(one),
                    Step::Leave(outcome) => done.push((number, outcome)),
                    Step::Change(becomes) => {
                        if self.change_imported_client(&becomes).await? {
                            self.announce(Change::Client(client.client_id.clone()));
                            done.push((number, Imported::Changed));
                        } else {
                            late.push(one);
                        }
                    }
                }
            }
            let mut made = self.insert_clients(&new).await?;
            for one in new {
                let (number, (_, client)) = one;
                // Each id once: whoever names it twice finds it here in the next round.
                if made.remove(&client.client_id) {
                    self.announce(Change::Client(client.client_id.clone()));
                    done.push((number, Imported::Created));
                } else {
                    late.push(one);
                }
            }
            open = late;
        }
        if !open.is_empty() {
            return Err(somebody_was_faster());
        }
        done.sort_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// Inserts those that are not there; their ids at the provider.
    async fn insert_clients(
        &mut self,
        new: &[Numbered<'_>],
    ) -> Result<HashSet<String>, StoreError> {
        const COLUMNS: usize = 7;
        if new.is_empty() {
            return Ok(HashSet::new());
        }
        // As with users.
        let mut new: Vec<_> = new
            .iter()
            .map(|(_, (account, client))| (self.new_id(), *account, client))
            .collect();
        new.sort_by(|(_, _, one), (_, _, other)| one.client_id.cmp(&other.client_id));
        let sql = format!(
            "INSERT INTO service_clients
                 (id, account_id, client_id, name, scopes, status, created_at)
             VALUES {}
             ON CONFLICT (client_id) DO NOTHING
             RETURNING client_id",
            rows(new.len(), COLUMNS)
        );
        let now = self.now();
        let query = new
            .into_iter()
            .fold(Query::once(sql), |query, (id, account, client)| {
                query
                    .bind(id)
                    .bind(account)
                    .bind(&client.client_id)
                    .bind(&client.name)
                    .bind(client.scopes.as_deref().unwrap_or_default().join(" "))
                    .bind(client.status.unwrap_or_default())
                    .bind(now)
            });
        let made: Vec<(String,)> = self.fetch_all(query).await?;
        Ok(made.into_iter().map(|(id,)| id).collect())
    }

    async fn change_imported_client(&mut self, becomes: &Becomes) -> Result<bool, StoreError> {
        let query = Query::new(
            "UPDATE service_clients SET name = $3, scopes = $4, status = $5
             WHERE id = $1 AND account_id = $2",
        )
        .bind(becomes.row)
        .bind(becomes.account)
        .bind(&becomes.name)
        .bind(&becomes.scopes)
        .bind(becomes.status);
        Ok(self.execute(query).await? == 1)
    }
}
