"""The official Python SDK, unmodified, against the sandbox over TLS.

Reads AUTHRESS_API_URL, AUTHRESS_ACCESS_KEY and SSL_CERT_FILE from the environment.
"""

import json
import os
import sys
import unittest
import urllib.request

from authress import AuthressClient
from authress.exceptions import ForbiddenException, NotFoundException
from authress.models import Tenant, TenantData, TenantUser

URL = os.environ["AUTHRESS_API_URL"]
ACCESS_KEY = os.environ["AUTHRESS_ACCESS_KEY"]
AUDIENCE = "sandbox.accounts.authress.io"

# No proxy of the environment may come between two programs on one machine.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def control(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{URL}/_sandbox{path}", data=data, method=method)
    with DIRECT.open(request, timeout=10) as response:
        text = response.read()
        return json.loads(text) if text else None


def token(**recipe):
    return control("POST", "/tokens", recipe)["token"]


def sdk(access_key=ACCESS_KEY):
    # A new client each time: its key cache must not decide what a check sees.
    return AuthressClient(authress_api_url=URL, service_client_access_key=access_key)


class Tokens(unittest.TestCase):
    def refused(self, bad):
        with self.assertRaises(Exception) as raised:
            sdk().verify_token(bad)
        self.assertEqual(raised.exception.args[0], "Unauthorized")

    def test_a_users_token_verifies(self):
        claims = sdk().verify_token(token(user="user_ada"))
        self.assertEqual(claims["iss"], URL)
        self.assertEqual(claims["sub"], "user_ada")
        self.assertEqual(claims["aud"], ["tenant_acme"])
        self.assertEqual(claims["azp"], "con_acme")
        self.assertEqual(claims["exp"] - claims["iat"], 86400)

    def test_a_machines_token_verifies(self):
        claims = sdk().verify_token(token(client="sc_robot01"))
        self.assertEqual(claims["iss"], f"{URL}/v1/clients/sc_robot01")
        self.assertEqual(claims["sub"], "sc_robot01")
        self.assertEqual(claims["client_id"], "sc_robot01")
        self.assertEqual(claims["aud"], AUDIENCE)

    def test_a_token_that_the_sdk_makes_verifies(self):
        key = sdk().service_clients.request_access_key("sc_robot02")
        try:
            robot = sdk(key.access_key)
            claims = sdk().verify_token(robot.get_client_token())
            self.assertEqual(claims["sub"], "sc_robot02")
            self.assertEqual(claims["iss"], f"{URL}/v1/clients/sc_robot02")
            self.assertEqual(claims["aud"], AUDIENCE)
            # Known to the API, but not granted anything.
            with self.assertRaises(ForbiddenException):
                robot.users.get_user("user_ada")
        finally:
            sdk().service_clients.delete_access_key("sc_robot02", key.key_id)

    def test_a_key_that_was_withdrawn_verifies_nothing(self):
        key = sdk().service_clients.request_access_key("sc_robot02")
        made = sdk(key.access_key).get_client_token()
        sdk().verify_token(made)
        sdk().service_clients.delete_access_key("sc_robot02", key.key_id)
        self.refused(made)

    def test_a_tampered_token_is_refused(self):
        self.refused(token(user="user_ada", tamperSignature=True))
        self.refused(token(client="sc_robot01", tamperSignature=True))

    def test_a_forged_token_is_refused(self):
        self.refused(token(user="user_ada", signWith="stranger"))
        self.refused(token(user="user_ada", signWith="sc_robot01"))

    def test_an_expired_token_is_refused(self):
        self.refused(token(user="user_ada", expiresIn=-1))

    def test_an_unsigned_token_is_refused(self):
        self.refused(token(user="user_ada", unsigned=True))

    def test_another_issuers_token_is_refused(self):
        self.refused(token(user="user_ada", claims={"iss": "https://elsewhere.example"}))

    def test_rotated_keys_verify_side_by_side(self):
        before = token(user="user_ada")
        control("POST", "/keys/rotate")
        after = token(user="user_ada")
        for each in (before, after):
            self.assertEqual(sdk().verify_token(each)["sub"], "user_ada")


class Users(unittest.TestCase):
    def test_a_user_is_read(self):
        ada = sdk().users.get_user("user_ada")
        self.assertEqual(ada.user_id, "user_ada")
        self.assertEqual(ada.name, "Ada")
        self.assertEqual(ada.email, "ada@acme.example")

    def test_any_id_reaches_its_user(self):
        strange = "saml|a/b c%2Fd"
        control("POST", "/users", {"userId": strange, "name": "Strange"})
        self.assertEqual(sdk().users.get_user(strange).name, "Strange")
        sdk().users.delete_user(strange)
        with self.assertRaises(NotFoundException):
            sdk().users.get_user(strange)

    def test_an_unknown_user_is_404(self):
        with self.assertRaises(NotFoundException) as raised:
            sdk().users.get_user("user_nobody")
        self.assertEqual(raised.exception.status, 404)
        self.assertEqual(json.loads(raised.exception.body)["errorCode"], "NotFound")

    def test_users_are_listed_in_pages(self):
        first = sdk().users.get_users(limit=1, tenant_id="tenant_acme")
        self.assertEqual([user.user_id for user in first.users], ["user_ada"])
        cursor = first.pagination.next.cursor
        second = sdk().users.get_users(limit=1, cursor=cursor, tenant_id="tenant_acme")
        self.assertEqual([user.user_id for user in second.users], ["user_alan"])
        self.assertIsNone(second.pagination)

    def test_permissions_are_200_or_404(self):
        def ask():
            return sdk().user_permissions.authorize_user("user_ada", "notes/1", "notes:read")

        grant = {"userId": "user_ada", "resourceUri": "notes/1", "permission": "notes:read"}
        with self.assertRaises(NotFoundException):
            ask()
        control("POST", "/permissions", grant)
        ask()
        control("DELETE", "/permissions", grant)
        with self.assertRaises(NotFoundException):
            ask()


class Tenants(unittest.TestCase):
    def test_a_tenant_is_read(self):
        acme = sdk().tenants.get_tenant("tenant_acme")
        self.assertEqual(acme.tenant_id, "tenant_acme")
        self.assertEqual(acme.data.name, "Acme")
        self.assertEqual(acme.connection.connection_id, "con_acme")

    def test_tenants_are_listed(self):
        tenants = sdk().tenants.get_tenants().tenants
        names = {tenant.tenant_id: tenant.data.name for tenant in tenants}
        self.assertEqual(names["tenant_acme"], "Acme")
        self.assertEqual(names["tenant_globex"], "Globex")

    def test_an_unknown_tenant_is_404(self):
        with self.assertRaises(NotFoundException):
            sdk().tenants.get_tenant("tenant_nobody")

    def test_a_tenant_is_made_changed_linked_and_deleted(self):
        tenants = sdk().tenants
        made = tenants.create_tenant(
            Tenant(tenantId="tenant_python", data=TenantData(name="Python"))
        )
        self.assertEqual(made.tenant_id, "tenant_python")
        tenants.update_tenant("tenant_python", Tenant(data=TenantData(name="Renamed")))
        self.assertEqual(tenants.get_tenant("tenant_python").data.name, "Renamed")
        control("POST", "/users", {"userId": "user_python"})
        tenants.link_tenant_user("tenant_python", TenantUser(userId="user_python"))
        listed = sdk().users.get_users(tenant_id="tenant_python").users
        self.assertEqual([user.user_id for user in listed], ["user_python"])
        tenants.delete_tenant("tenant_python")
        with self.assertRaises(NotFoundException):
            tenants.get_tenant("tenant_python")
        control("DELETE", "/users/user_python")


class Clients(unittest.TestCase):
    def test_a_client_is_read(self):
        robot = sdk().service_clients.get_client("sc_robot01")
        self.assertEqual(robot.client_id, "sc_robot01")
        self.assertEqual(robot.name, "Acme's robot")
        self.assertFalse(robot.options.grant_token_generation)

    def test_clients_are_listed(self):
        clients = sdk().service_clients.get_clients().clients
        self.assertIn("sc_robot01", [client.client_id for client in clients])


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    print(f"{result.testsRun} checks")
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
