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
const READY = /^listening on http:\/\/([\d.]+:\d+)$/;
const START_WITHIN_MS = 20_000;

export class Server {
  private constructor(
    /** What outlasts a restart. */
    private readonly data: string,
    private readonly args: string[],
    /** `127.0.0.1:PORT`; the same after a restart. */
    readonly address: string,
    private child: ChildProcess,
  ) {}

  static async start(args: string[] = []): Promise<Server> {
    const data = await mkdtemp(path.join(tmpdir(), 'fanfare-'));
    const all = ['--data', data, ...args];
    const { address, child } = await launch('127.0.0.1:0', all);
    return new Server(data, all, address, child);
  }

  get url(): string {
    return `http://${this.address}`;
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
    this.child = (await launch(this.address, this.args)).child;
  }
}

async function launch(listen: string, extra: string[]): Promise<{ address: string; child: ChildProcess }> {
  const args = ['serve', '--listen', listen, '--ops-listen', 'off', '--site', SITE, ...extra];
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr!.on('data', (bytes: Buffer) => (said += bytes));
  // Also keeps the pipe empty for as long as the server lives.
  const lines = readline.createInterface({ input: child.stdout! });
  const address = await new Promise<string>((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${BINARY} ${args.join(' ')}: ${why}\n${said}`));
    const late = setTimeout(() => fail('said nothing about listening'), START_WITHIN_MS);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
    lines.on('line', (line) => {
      const ready = READY.exec(line);
      if (!ready) return;
      clearTimeout(late);
      resolve(ready[1]);
    });
  });
  return { address, child };
}
