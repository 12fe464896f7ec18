//! Two companies, three people and two robots: the world of the first steps.

use crate::records::{Client, Tenant, User};
use crate::sandbox::Sandbox;

/// A customer of the demo world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoTenant {
    /// Its tenant id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The connection through which its users sign in.
    pub connection: &'static str,
    /// Its people.
    pub users: &'static [DemoUser],
    /// Its programs.
    pub clients: &'static [DemoClient],
}

/// A person of the demo world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoUser {
    /// The user id.
    pub id: &'static str,
    /// The display name.
    pub name: &'static str,
    /// The e-mail address.
    pub email: &'static str,
}

/// A service client of the demo world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoClient {
    /// The client id.
    pub id: &'static str,
    /// The display name.
    pub name: &'static str,
}

/// What [`Sandbox::add_demo_world`] adds.
pub static DEMO_WORLD: [DemoTenant; 2] = [
    DemoTenant {
        id: "tenant_acme",
        name: "Acme",
        connection: "con_acme",
        users: &[
            DemoUser {
                id: "user_ada",
                name: "Ada",
                email: "ada@acme.example",
            },
            DemoUser {
                id: "user_alan",
                name: "Alan",
                email: "alan@acme.example",
            },
        ],
        clients: &[DemoClient {
            id: "sc_robot01",
            name: "Acme's robot",
        }],
    },
    DemoTenant {
        id: "tenant_globex",
        name: "Globex",
        connection: "con_globex",
        users: &[DemoUser {
            id: "user_grace",
            name: "Grace",
            email: "grace@globex.example",
        }],
        clients: &[DemoClient {
            id: "sc_robot02",
            name: "Globex's robot",
        }],
    },
];

impl Sandbox {
    /// Adds the demo world: tenants Acme and Globex, Ada and Alan of Acme, Grace of Globex, and a
    /// service client of each. Returns it, so that a server's own side can be set up alike.
    pub fn add_demo_world(&self) -> &'static [DemoTenant] {
        for tenant in &DEMO_WORLD {
            self.add_tenant(
                Tenant::new(tenant.id)
                    .name(tenant.name)
                    .connection(tenant.connection),
            );
            for user in tenant.users {
                self.add_user(
                    User::new(user.id)
                        .name(user.name)
                        .email(user.email)
                        .tenant(tenant.id),
                );
            }
            for client in tenant.clients {
                self.add_client(Client::new(client.id).name(client.name));
            }
        }
        &DEMO_WORLD
    }
}
