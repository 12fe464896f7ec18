//! What an application may do compiles: the others are not refused for some other reason.

use vestibule::{
    BearerToken, Principal, SystemAccess, TenantSession, VerifiedToken, Vestibule,
    principal::Resolver,
};

pub async fn resolve(resolver: &Resolver, token: &VerifiedToken) -> Option<Principal> {
    resolver.principal(token).await.ok()
}

pub async fn verify(vestibule: &Vestibule, token: &BearerToken<'_>) -> Option<VerifiedToken> {
    vestibule
        .authenticator()
        .cached_verify_token(token)
        .await
        .ok()
}

pub async fn count(session: &TenantSession) -> Option<i64> {
    session
        .query("SELECT count(*) FROM notes")
        .fetch_scalar()
        .await
        .ok()
}

pub fn session(vestibule: &Vestibule, principal: &Principal) -> Option<TenantSession> {
    vestibule.get_tenant_session(principal).ok()
}

pub fn hand_over(access: SystemAccess) -> SystemAccess {
    access
}
