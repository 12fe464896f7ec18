// An application behind a door, on port 3000, that believes nothing but the signed identity.
//
//   npm install jose
//   node app.mjs

import { createServer } from "node:http";
import { createRemoteJWKSet, jwtVerify } from "jose";

const JWKS = process.env.JWKS ?? "http://127.0.0.1:8080/.well-known/jwks.json";

const keys = createRemoteJWKSet(new URL(JWKS));

async function identity(request) {
  const token = request.headers["x-vestibule-assertion"];
  const { payload } = await jwtVerify(token, keys, {
    algorithms: ["EdDSA"], typ: "vestibule-assertion+jwt", issuer: "vestibule", audience: "orders",
    requiredClaims: ["exp", "sub"],
  });
  return payload;
}

createServer(async (request, response) => {
  let status = 200;
  const answer = await identity(request).catch(() => {
    status = 401;
    return { error: "nobody I know" };
  });
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
}).listen(process.env.PORT ?? 3000, "127.0.0.1");
