// An application behind a door, on port 3000, that believes the identity headers. So nobody but the
// door may reach it: by itself it listens on loopback only. app.mjs checks a signature instead.
//
//   node who.mjs

import { createServer } from "node:http";

createServer((request, response) => {
  const told = (name) => decodeURIComponent(request.headers[`x-vestibule-${name}`] ?? "");
  if (!told("kind")) return response.writeHead(401).end();
  const who = { kind: told("kind"), user: told("authress-user-id"), role: told("role"), account: told("account-id") };
  response.setHeader("content-type", "application/json").end(`${JSON.stringify(who)}\n`);
}).listen(process.env.PORT ?? 3000, process.env.HOST ?? "127.0.0.1");
