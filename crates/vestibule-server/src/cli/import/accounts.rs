//! Accounts: those of the file, and those that its other lines mean.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;
use vestibule::{
    settings::DatabaseSettings,
    store::{Account, Difference, Directory, Imported, Status, StoreError},
};

use super::{Failure, Import, Kind, NewAccount, Owner, Progress, STAYS, broken_off};
use crate::{admin::api::MAIN, cli::output::shown};

/// Which accounts tenants and ids mean: looked up once.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    of_tenant: HashMap<String, Option<Uuid>>,
    with_id: HashMap<Uuid, bool>,
}

/// Where an account's data can lie.
#[derive(Debug)]
pub(super) struct Clusters {
    /// None on SQLite.
    names: Option<BTreeSet<String>>,
}

/// What is to be done about an account of the file.
#[derive(Debug)]
pub(super) enum Plan {
    Create(NewAccount),
    Change(Account, NewAccount),
}

impl Accounts {
    /// Looks up what these name and is not known yet.
    pub(super) async fn learn(
        &mut self,
        directory: &Directory,
        owners: impl Iterator<Item = &Owner>,
    ) -> Result<(), StoreError> {
        let (mut tenants, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for owner in owners {
            let tenant = owner.tenant.as_ref();
            tenants.extend(tenant.filter(|tenant| !self.of_tenant.contains_key(*tenant)));
            ids.extend(owner.account_id.filter(|id| !self.with_id.contains_key(id)));
        }
        let found = directory
            .accounts_of_tenants(tenants.iter().copied().cloned())
            .await?;
        let found_by_id = directory.accounts_with_ids(ids.iter().copied()).await?;
        let tenants: Vec<String> = tenants.into_iter().cloned().collect();
        self.of_tenant
            .extend(tenants.into_iter().map(|tenant| (tenant, None)));
        self.with_id.extend(ids.into_iter().map(|id| (id, false)));
        for account in found.into_iter().chain(found_by_id) {
            self.with_id.insert(account.id, true);
            self.of_tenant
                .insert(account.authress_tenant_id, Some(account.id));
        }
        Ok(())
    }

    /// From now on the tenant is this account.
    pub(super) fn set(&mut self, tenant: &str, account: Uuid) {
        self.of_tenant.insert(tenant.to_owned(), Some(account));
    }

    /// The account, or why there is none. Ids are not repeated: they may be anything.
    pub(super) fn of(&self, owner: &Owner) -> Result<Uuid, &'static str> {
        let of_tenant = owner.tenant.as_ref().map(|tenant| {
            let account = self.of_tenant.get(tenant).copied().flatten();
            account.ok_or("its tenant has no account, neither here nor in the file")
        });
        let with_id = owner.account_id.map(|id| match self.with_id.get(&id) {
            Some(true) => Ok(id),
            _ => Err("there is no account with its `account_id`"),
        });
        match (of_tenant, with_id) {
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) if one? == other? => one,
            (Some(_), Some(_)) => Err("its tenant has another account than `account_id`"),
            (None, None) => Err("`tenant` or `account_id` is missing"),
        }
    }
}

impl Clusters {
    pub(super) fn of(settings: &DatabaseSettings) -> Self {
        let names = settings.postgres().map(|servers| {
            let further = servers.clusters.keys().cloned();
            further.chain([MAIN.to_owned()]).collect()
        });
        Self { names }
    }

    /// Why an account cannot lie there.
    fn refuse(&self, cluster: &str) -> Option<String> {
        match &self.names {
            None => (cluster != MAIN).then(|| "there are clusters on PostgreSQL only".to_owned()),
            Some(names) => (!names.contains(cluster)).then(|| {
                format!(
                    "there is no cluster {}: VESTIBULE_CLUSTERS does not name it",
                    shown(cluster)
                )
            }),
        }
    }
}

/// The values that are others here.
fn differences(here: &Account, new: &NewAccount) -> Vec<Difference> {
    let status = new.status.unwrap_or(here.status);
    [
        Difference::between("name", &here.name, &new.name),
        Difference::between("status", here.status.as_str(), status.as_str()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Import<'_> {
    /// What is to be done about the accounts of the file; they count as there from now on.
    pub(super) async fn preview_accounts(
        &mut self,
        accounts: Vec<(u64, NewAccount)>,
    ) -> Result<Vec<(u64, Plan)>, Failure> {
        let tenants = accounts.iter().map(|(_, new)| new.tenant.clone());
        let here: HashMap<String, Account> = self
            .directory
            .accounts_of_tenants(tenants)
            .await?
            .into_iter()
            .map(|account| (account.authress_tenant_id.clone(), account))
            .collect();
        let placements = match accounts.iter().any(|(_, new)| new.cluster.is_some()) {
            true => self.spaces.placements().await?.unwrap_or_default(),
            false => BTreeMap::new(),
        };
        let mut plans = Vec::new();
        for (line, new) in accounts {
            let refused = new
                .cluster
                .as_deref()
                .and_then(|name| self.clusters.refuse(name));
            if let Some(problem) = refused {
                self.report.problem(line, &problem);
                continue;
            }
            let Some(account) = here.get(&new.tenant) else {
                self.report
                    .outcome(Kind::Accounts, line, &Imported::Created);
                // It has no id yet, and no user can have it for his account.
                self.accounts.set(&new.tenant, Uuid::new_v4());
                plans.push((line, Plan::Create(new)));
                continue;
            };
            let lies_on = placements.get(&account.id).map_or(MAIN, String::as_str);
            if let Some(cluster) = new.cluster.as_deref().filter(|name| *name != lies_on) {
                let problem = format!(
                    "its account lies on {lies_on}, not on {cluster}: see `vestibule account move`"
                );
                self.report.problem(line, &problem);
                continue;
            }
            if let Some(plan) = self.existing(line, account, new) {
                plans.push((line, plan));
            }
        }
        Ok(plans)
    }

    /// What is to be done about an account that is here.
    fn existing(&mut self, line: u64, here: &Account, new: NewAccount) -> Option<Plan> {
        let differences = differences(here, &new);
        let (outcome, plan) = if differences.is_empty() {
            (Imported::Unchanged, None)
        } else if self.arguments.update {
            (Imported::Changed, Some(Plan::Change(here.clone(), new)))
        } else {
            (Imported::Differs(differences), None)
        };
        self.report.outcome(Kind::Accounts, line, &outcome);
        plan
    }

    pub(super) async fn write_accounts(&mut self, plans: Vec<(u64, Plan)>) -> Result<(), Failure> {
        let mut progress = Progress::new("accounts written", plans.len() as u64, 100);
        for (line, plan) in plans {
            let (account, outcome) = match plan {
                Plan::Create(new) => self.create(line, &new).await?,
                Plan::Change(here, new) => {
                    let changed = change(self.directory, &here, &new).await;
                    (here.id, changed.map_err(broken_off)?)
                }
            };
            self.report.outcome(Kind::Accounts, line, &outcome);
            self.deeds.add(account, Kind::Accounts, &outcome);
            progress.add(1);
        }
        Ok(())
    }

    async fn create(&mut self, line: u64, new: &NewAccount) -> Result<(Uuid, Imported), Failure> {
        // The name of the cluster of DATABASE_URL.
        let cluster = new.cluster.as_deref().filter(|name| *name != MAIN);
        let status = new.status.unwrap_or_default();
        let created = self
            .spaces
            .create_account_as(status, cluster, &new.name, &new.tenant)
            .await;
        let (account, outcome) = match created {
            Ok(account) => (account.id, Imported::Created),
            // Somebody was faster.
            Err(error @ StoreError::AlreadyExists(_)) => {
                let found = self.directory.find_account_by_tenant(&new.tenant).await;
                let Some(found) = found.map_err(broken_off)? else {
                    return Err(broken_off(error));
                };
                let differences = differences(&found, new);
                let outcome = match differences.is_empty() {
                    true => Imported::Unchanged,
                    false => Imported::Differs(differences),
                };
                (found.id, outcome)
            }
            Err(error) => return Err(Failure::Failed(format!("line {line}: {error}{STAYS}"))),
        };
        self.accounts.set(&new.tenant, account);
        Ok((account, outcome))
    }
}

async fn change(
    directory: &Directory,
    here: &Account,
    new: &NewAccount,
) -> Result<Imported, StoreError> {
    if here.name != new.name {
        directory.rename_account(here.id, &new.name).await?;
    }
    match new.status.filter(|status| *status != here.status) {
        None => {}
        Some(Status::Active) => drop(directory.resume_account(here.id).await?),
        Some(Status::Suspended) => drop(directory.suspend_account(here.id).await?),
    }
    Ok(Imported::Changed)
}
