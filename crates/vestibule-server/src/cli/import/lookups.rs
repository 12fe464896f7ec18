//! Whether Authress knows new service clients as harmless: a client that can obtain tokens of any user
//! would make its owner everybody.

use std::sync::Arc;

use vestibule::{
    clock::SystemClock,
    provider::{AuthressApi, Found},
    settings::ProviderSettings,
};

/// Asks Authress, as long as it answers.
#[derive(Debug)]
pub(super) struct LookUps<'a> {
    api: Result<AuthressApi, String>,
    allowed: &'a [String],
    unseen: u64,
    gone: u64,
    dangerous: u64,
}

impl<'a> LookUps<'a> {
    /// Without settings nobody is asked.
    pub(super) fn new(provider: Option<ProviderSettings>, allowed: &'a [String]) -> Self {
        let api = match provider {
            None => Err("AUTHRESS_API_URL and AUTHRESS_ACCESS_KEY are not set".to_owned()),
            Some(provider) => AuthressApi::new(&provider, Arc::new(SystemClock))
                .map_err(|error| error.to_string()),
        };
        Self {
            api,
            allowed,
            unseen: 0,
            gone: 0,
            dangerous: 0,
        }
    }

    /// Why the service client may not be let in.
    pub(super) async fn look_at(&mut self, client_id: &str) -> Result<(), String> {
        let Ok(api) = &self.api else {
            self.unseen += 1;
            return Ok(());
        };
        match api.get_client(client_id).await {
            Ok(Found::Present(client)) if !client.grant_token_generation => {}
            Ok(Found::Present(_)) if self.allowed.iter().any(|it| it == client_id) => {
                self.dangerous += 1;
            }
            Ok(Found::Present(_)) => {
                return Err(
                    "can obtain tokens of any user (options.grantTokenGeneration at Authress): \
                     turn that off there, or add --allow-token-generation with its id"
                        .to_owned(),
                );
            }
            Ok(Found::Gone) => self.gone += 1,
            // Each further one would wait as long.
            Err(error) => {
                self.api = Err(error.to_string());
                self.unseen += 1;
            }
        }
        Ok(())
    }

    /// What is to be said of those that may be let in.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let (1.., Err(why)) = (self.unseen, &self.api) {
            warnings.push(format!(
                "new service clients that were not looked up at Authress: {} ({why}); `vestibule \
                 doctor` looks them up later",
                self.unseen
            ));
        }
        if self.gone > 0 {
            warnings.push(format!(
                "new service clients that Authress does not know, so that their tokens will be \
                 refused: {}",
                self.gone
            ));
        }
        if self.dangerous > 0 {
            warnings.push(format!(
                "new service clients that can obtain tokens of any user (grantTokenGeneration): {}",
                self.dangerous
            ));
        }
        warnings
    }
}
