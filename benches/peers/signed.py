"""signed.py ES256|RS256 COUNT ISSUER KEY TOKENS: a key, and so many tokens that it signed, all different."""

import base64
import json
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

algorithm, count, issuer, key_file, tokens_file = sys.argv[1:]


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def text(value):
    return encoded(json.dumps(value, separators=(",", ":")).encode())


if algorithm == "ES256":
    key = ec.generate_private_key(ec.SECP256R1())

    def sign(message):
        # A JWS has the two numbers side by side (RFC 7518 §3.4), not in DER.
        pair = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in pair)

else:
    key = rsa.generate_private_key(65537, 2048)

    def sign(message):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def token(number):
    now = int(time.time())
    claims = {
        "iss": issuer, "sub": "user_ada", "iat": now, "exp": now + 3600 + number, "scope": "openid profile email",
        "azp": "con_acme", "client_id": "app_web", "aud": ["tenant_acme"],
    }  # fmt: skip
    message = text({"alg": algorithm, "typ": "at+jwt", "kid": "k1"}) + b"." + text(claims)
    return (message + b"." + encoded(sign(message))).decode()


form = serialization.PublicFormat.SubjectPublicKeyInfo
Path(key_file).write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
Path(tokens_file).write_text("\n".join(token(number) for number in range(int(count))) + "\n")
