// Servers that require tokens, and tokens for them.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { BINARY } from './server.ts';

/** For `--auth-key-file`. */
export const KEY = path.join(mkdtempSync(path.join(tmpdir(), 'fanfare-key-')), 'key');
writeFileSync(KEY, 'a secret of these tests, long enough for a server', { mode: 0o600 });

/** Returns a token for the user `sub` with `grant`, like `lobby:rw`. */
export function token(sub: string, grant: string, expires = '1h'): string {
  const args = ['token', '--auth-key-file', KEY, '--sub', sub, '--room', grant, '--expires', expires];
  return execFileSync(BINARY, args, { encoding: 'utf8' }).trim();
}
