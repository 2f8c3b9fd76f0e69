// An OpenID provider on 127.0.0.1, for the tests of keys at a URL: node provider.js PORT KEYS_FILE
//
// The client `backend` gets access tokens as JWTs by its secret. `resource=urn:chat:ALG` selects the audience and the
// algorithm. The keys are kept in KEYS_FILE, so that a restart does not change them. `POST /rotate` replaces them.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const [port, keysFile] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const kinds = [
  ['rsa', { modulusLength: 2048 }],
  ['ec', { namedCurve: 'P-256' }],
  ['ec', { namedCurve: 'P-384' }],
  ['ed25519', {}],
];

function newKeys() {
  const keys = kinds.map(([kind, options]) => ({
    ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
    kid: randomUUID(),
    use: 'sig',
  }));
  writeFileSync(keysFile, JSON.stringify(keys));
  return keys;
}

function newProvider(keys) {
  return new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'backend',
      client_secret: 'the secret of the backend',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: '',
          audience: 'chat',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: resource.split(':').pop() } },
        }),
      },
    },
    extraTokenClaims: () => ({ realm_access: { roles: ['lobby:rw', 'offline_access'] } }),
  });
}

let answer = newProvider(existsSync(keysFile) ? JSON.parse(readFileSync(keysFile)) : newKeys()).callback();

createServer((request, response) => {
  if (request.url === '/rotate') {
    answer = newProvider(newKeys()).callback();
    response.end();
  } else {
    answer(request, response);
  }
}).listen(Number(port), '127.0.0.1');
