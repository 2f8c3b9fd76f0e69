// The real binary, started as a user would, on a port that the system chooses.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const REPO = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const BINARY = process.env.FANFARE_BIN ?? path.join(REPO, 'target/debug/fanfare');
const SITE = process.env.FANFARE_SITE ?? path.join(REPO, 'target/site');
const READY = /^(listening|ops) on http:\/\/([\d.]+:\d+)$/;
const ANY_PORT = { listening: '127.0.0.1:0', ops: '127.0.0.1:0' };
const START_WITHIN_MS = 20_000;

/** Where a server is: for everyone, and for operators. */
type Addresses = { listening: string; ops: string };

export class Server {
  private constructor(
    /** What outlasts a restart. */
    private readonly data: string,
    private readonly args: string[],
    /** `127.0.0.1:PORT` each; the same after a restart. */
    private readonly addresses: Addresses,
    private child: ChildProcess,
  ) {}

  static async start(args: string[] = []): Promise<Server> {
    const data = await mkdtemp(path.join(tmpdir(), 'fanfare-'));
    const all = ['--data', data, ...args];
    const { addresses, child } = await launch(ANY_PORT, all);
    return new Server(data, all, addresses, child);
  }

  get address(): string {
    return this.addresses.listening;
  }

  get url(): string {
    return `http://${this.address}`;
  }

  /** The URL of the operators' listener. */
  get ops(): string {
    return `http://${this.addresses.ops}`;
  }

  /** As a power cut would: no goodbye to anyone. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
  }

  /** Ends for good. */
  async end(): Promise<void> {
    await this.kill();
    await rm(this.data, { recursive: true, force: true });
  }

  /** Starts again where it was. */
  async restart(): Promise<void> {
    await this.kill();
    this.child = (await launch(this.addresses, this.args)).child;
  }
}

async function launch({ listening, ops }: Addresses, extra: string[]): Promise<{ addresses: Addresses; child: ChildProcess }> {
  const args = ['serve', '--listen', listening, '--ops-listen', ops, '--site', SITE, ...extra];
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stderr!.on('data', (bytes: Buffer) => (output += bytes));
  // Also keeps the pipe empty for as long as the server lives.
  const lines = readline.createInterface({ input: child.stdout! });
  const found: Partial<Addresses> = {};
  const addresses = await new Promise<Addresses>((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${BINARY} ${args.join(' ')}: ${why}\n${output}`));
    const late = setTimeout(() => fail('did not report its addresses'), START_WITHIN_MS);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
    lines.on('line', (line) => {
      const ready = READY.exec(line);
      if (!ready) return;
      found[ready[1] as keyof Addresses] = ready[2];
      if (!found.listening || !found.ops) return;
      clearTimeout(late);
      resolve(found as Addresses);
    });
  });
  return { addresses, child };
}
