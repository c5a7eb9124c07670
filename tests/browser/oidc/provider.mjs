// node provider.mjs PORT REDIRECT: an OpenID provider whose users are whoever they say, with one public client, `console`.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, redirect] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: "console",
    application_type: "native",
    token_endpoint_auth_method: "none",
    redirect_uris: [redirect],
    response_types: ["code"],
    grant_types: ["authorization_code"],
  }],
  pkce: { required: () => true, methods: ["S256"] },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  cookies: { keys: ["a test"] },
});
createServer(provider.callback()).listen(Number(port), "127.0.0.1", () => console.log("listening"));
