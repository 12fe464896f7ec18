"""An application behind a door, on port 3000, that believes nothing but the signed identity.

    pip install 'pyjwt[crypto]'
    python3 app.py
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

JWKS = os.environ.get("JWKS", "http://127.0.0.1:8080/.well-known/jwks.json")
PORT = int(os.environ.get("PORT", "3000"))

keys = jwt.PyJWKClient(JWKS)

def identity(request):
    token = request.headers["X-Vestibule-Assertion"]
    if jwt.get_unverified_header(token).get("typ") != "vestibule-assertion+jwt":
        raise jwt.InvalidTokenError("no assertion")
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["EdDSA"], issuer="vestibule", audience="orders",
                      options={"require": ["exp", "iss", "aud", "sub"]})


class Application(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, answer = 200, identity(self)
        except (jwt.PyJWTError, KeyError, AttributeError):
            status, answer = 401, {"error": "nobody I know"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Application).serve_forever()
