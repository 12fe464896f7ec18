"""The same workflow written by hand: FastAPI, the official SDK and SQLAlchemy.

As a good team writes it: nothing blocks the event loop, tokens that were verified and users that were
asked for are both remembered, each for a time bucket; a token is never used past its `exp`, parallel
first visits make one user, and every failure of authentication is a 401. The local user is looked up on
each request, by an index: he may have been suspended.
"""

import os
import time
from functools import lru_cache
from typing import Annotated
from uuid import UUID, uuid4

from authress import AuthressClient
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import ForeignKey, create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship

TOKEN_CACHE_TTL, TOKEN_CACHE_SIZE = 300, 10_000
USER_CACHE_TTL, USER_CACHE_SIZE = 60, 10_000

engine = create_engine(os.environ["DATABASE"])
authress = AuthressClient(
    authress_api_url=os.environ["AUTHRESS_API_URL"], service_client_access_key=os.environ["AUTHRESS_ACCESS_KEY"]
)
app = FastAPI()


@event.listens_for(engine, "connect")
def readers_do_not_wait_for_writers(connection, _):
    connection.execute("PRAGMA journal_mode = WAL")


# The local tables.


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str]
    authress_tenant_id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default="active")


class User(Base):
    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    authress_user_id: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None]
    name: Mapped[str | None]
    picture: Mapped[str | None]
    role: Mapped[str] = mapped_column(default="member")
    status: Mapped[str] = mapped_column(default="active")
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    account: Mapped[Account] = relationship()


class ServiceClient(Base):
    __tablename__ = "service_clients"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    client_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    account: Mapped[Account] = relationship()


Base.metadata.create_all(engine)
with Session(engine) as session, session.begin():
    for tenant, _, called in (pair.partition("=") for pair in os.environ.get("ACCOUNTS", "").split(",") if pair):
        if session.scalar(select(Account).where(Account.authress_tenant_id == tenant)) is None:
            session.add(Account(name=called, authress_tenant_id=tenant))


def get_session():
    with Session(engine) as session:
        yield session


Database = Annotated[Session, Depends(get_session)]


# Who calls.


class AccountOut(BaseModel, from_attributes=True):
    id: UUID
    name: str
    authress_tenant_id: str
    status: str


class UserWithAccount(BaseModel, from_attributes=True):
    id: UUID
    authress_user_id: str
    email: str | None
    name: str | None
    picture: str | None
    role: str
    status: str
    account: AccountOut


class Refused(Exception):
    pass


def bucket(ttl):
    return int(time.time() // ttl)


@lru_cache(TOKEN_CACHE_SIZE)
def cached_verify_token(token: str, bucket: int):
    return authress.verify_token(token)


@lru_cache(USER_CACHE_SIZE)
def cached_get_user(user_id: str, bucket: int):
    return authress.users.get_user(user_id)


def validate_token(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())], session: Database):
    try:
        claims = cached_verify_token(credentials.credentials, bucket(TOKEN_CACHE_TTL))
        if claims["exp"] <= time.time():
            raise Refused("expired")
        if claims["client_id"].startswith("sc_"):
            return validate_machine_token(claims, session)
        return validate_user_token(claims, session)
    except Exception as error:
        # The SDK raises nothing more special than this, for a bad token and for an outage.
        raise HTTPException(401, "unauthorized", {"WWW-Authenticate": "Bearer"}) from error


def validate_user_token(claims, session):
    known = cached_get_user(claims["sub"], bucket(USER_CACHE_TTL))
    user = find_user(session, known.user_id)
    if user is None:
        user = create_user(session, known, claims)
    (tenant,) = claims["aud"]
    if user.account.authress_tenant_id != tenant or "active" != user.status or "active" != user.account.status:
        raise Refused("suspended, or of another tenant")
    said = (known.name, known.email, known.picture)
    if said != (user.name, user.email, user.picture):
        user.name, user.email, user.picture = said
        session.commit()
    return UserWithAccount.model_validate(user)


def find_user(session, authress_user_id):
    found = select(User).options(joinedload(User.account)).where(User.authress_user_id == authress_user_id)
    return session.scalar(found)


def create_user(session, known, claims):
    (tenant_id,) = claims["aud"]
    tenant = authress.tenants.get_tenant(tenant_id)
    if tenant.connection.connection_id != claims["azp"]:
        raise Refused("the tenant does not vouch for this connection")
    account = session.scalar(select(Account).where(Account.authress_tenant_id == tenant.tenant_id))
    if account is None:
        raise Refused("unknown tenant")
    session.add(
        User(authress_user_id=known.user_id, email=known.email, name=known.name, picture=known.picture, account=account)
    )
    try:
        session.commit()
    except IntegrityError:
        # Somebody else was quicker.
        session.rollback()
    return find_user(session, known.user_id)


def validate_machine_token(claims, session):
    found = select(ServiceClient).options(joinedload(ServiceClient.account))
    client = session.scalar(found.where(ServiceClient.client_id == claims["client_id"]))
    if client is None or claims["sub"] != client.client_id:
        raise Refused("unknown service client")
    return UserWithAccount(
        id=client.id, authress_user_id=client.client_id, email=None, name=client.name, picture=None,
        role="service_client", status="active", account=AccountOut.model_validate(client.account),
    )  # fmt: skip


# `def`, not `async def`: the SDK and the session block, and so they run on FastAPI's threads.
@app.get("/v1/me")
def me(caller: Annotated[UserWithAccount, Depends(validate_token)]) -> UserWithAccount:
    return caller
