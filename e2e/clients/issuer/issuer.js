// A certified OpenID provider in the part of a company's own issuer.
// A job obtains its token with the client-credentials grant: a JWT for the resource that it names, with its groups.
// `node issuer.js ALGORITHM` prints one line `{"issuer": URL}` when it listens.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import process from 'node:process';
import { Provider } from 'oidc-provider';

const [algorithm] = process.argv.slice(2);
const groups = { 'nightly-report': ['drivers'], 'intern-laptop': ['visitors'] };

const server = http.createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const { privateKey } = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
}[algorithm]();
const key = { ...privateKey.export({ format: 'jwk' }), kid: `company-${algorithm}`, use: 'sig', alg: algorithm };

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  clients: Object.keys(groups).map((name) => ({
    client_id: name,
    client_secret: `${name}-secret`,
    grant_types: ['client_credentials'],
    id_token_signed_response_alg: algorithm,
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_basic',
  })),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, identifier) => ({
        audience: identifier,
        scope: '',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: algorithm } },
      }),
    },
  },
  extraTokenClaims: (_context, token) => ({
    groups: groups[token.clientId],
    repository: 'example/reports',
  }),
});

server.on('request', provider.callback());
console.log(JSON.stringify({ issuer }));
