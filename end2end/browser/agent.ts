// examples/agent, started as its comment describes, on a free port.

import { once } from 'node:events';
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

import { type Server } from './server.ts';

const PROGRAM = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../examples/agent/agent.mjs');

/** Runs `use` with the URL of an agent that writes a word every `wordMs`. */
export async function withAgent(server: Server, wordMs: number, use: (url: string) => Promise<void>): Promise<void> {
  const env = { ...process.env, FANFARE_URL: server.url, PORT: '0', WORD_MS: `${wordMs}` };
  const agent = spawn('node', [PROGRAM], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [url] = await once(readline.createInterface({ input: agent.stdout }), 'line');
    await use(url);
  } finally {
    agent.kill();
  }
}
