"""Who calls, and a session on the caller's own data. Copy this file; nothing in it is about notes."""

import os
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from uuid import UUID

import jwt
from fastapi import Depends, HTTPException, Request
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.schema import CreateTable

JWKS = os.environ.get("JWKS", "http://127.0.0.1:8080/.well-known/jwks.json")
AUDIENCE = os.environ.get("AUDIENCE", "orders")
DATA = Path(os.environ.get("DATA", "data"))

keys = jwt.PyJWKClient(JWKS)


class Base(DeclarativeBase):
    """The application's tables, written as if there were one account."""


@dataclass(frozen=True)
class UserWithAccount:
    """A person, or a service client with role `service_client`, and the account that it acts for."""

    id: UUID
    kind: str
    role: str
    name: str | None
    email: str | None
    authress_user_id: str
    account_id: UUID
    tenant_id: str


def validate_token(request: Request) -> UserWithAccount:
    """The caller, as vestibule has signed it; everything else is a 401."""
    try:
        (assertion,) = request.headers.getlist("X-Vestibule-Assertion")
        if jwt.get_unverified_header(assertion).get("typ") != "vestibule-assertion+jwt":
            raise jwt.InvalidTokenError("no assertion")
        key = keys.get_signing_key_from_jwt(assertion)
        claims = jwt.decode(assertion, key, algorithms=["EdDSA"], issuer="vestibule", audience=AUDIENCE,
                            options={"require": ["exp", "iss", "aud", "sub"]})
        return UserWithAccount(
            id=UUID(claims["sub"]),
            kind=claims["kind"],
            role=claims["role"],
            name=claims.get("name"),
            email=claims.get("email"),
            authress_user_id=claims["authress_user_id"],
            account_id=UUID(claims["account_id"]),
            tenant_id=claims["tenant_id"],
        )
    except (jwt.PyJWTError, ValueError, KeyError) as error:
        raise HTTPException(401, "nobody I know", {"WWW-Authenticate": "Bearer"}) from error


Caller = Annotated[UserWithAccount, Depends(validate_token)]


@lru_cache(maxsize=256)
def database(account: UUID) -> Engine:
    """One file per account. Its name comes from the UUID alone, never from anything a caller can choose."""
    DATA.mkdir(mode=0o700, exist_ok=True)
    engine = create_engine(f"sqlite:///{DATA / str(account)}.db")

    @event.listens_for(engine, "connect")
    def alone(connection: sqlite3.Connection, _) -> None:
        # Else SQL could open another account's file.
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)

    with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
    return engine


def get_tenant_session(caller: Caller):
    """One transaction per request. It commits before the answer leaves, and rolls back on any exception."""
    with Session(database(caller.account_id)) as session, session.begin():
        yield session


# `function`: FastAPI would otherwise end the session after the answer, too late to say that it failed.
TenantSession = Annotated[Session, Depends(get_tenant_session, scope="function")]


def get_repository(repository):
    """`Depends(get_repository(NotesRepository))`: the repository, on the request's session."""

    def dependency(session: TenantSession):
        return repository(session)

    return dependency


def get_service(service):
    """`Depends(get_service(NotesService))`: the service, which makes its repositories of the same session."""

    def dependency(session: TenantSession):
        return service(session)

    return dependency
