// A nats-server of a test's own: on a free port, with a folder of its own, ended by its process.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const START_WITHIN_MS = 20_000;
const LOOK_EVERY_MS = 10;

export class Nats {
  private constructor(
    /** What outlasts a restart. */
    private readonly folder: string,
    /** The same after a restart. */
    private readonly port: string,
    private child: ChildProcess,
  ) {}

  static async start(): Promise<Nats> {
    const folder = await mkdtemp(path.join(tmpdir(), 'fanfare-nats-'));
    const child = launch(folder, '-1');
    for (const began = Date.now(); Date.now() - began < START_WITHIN_MS; await pause(LOOK_EVERY_MS)) {
      const port = await publishedPort(folder);
      if (port) return new Nats(folder, port, child);
    }
    throw new Error('nats-server did not report its port: scripts/setup.sh test installs it');
  }

  /** For `--store`. */
  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** As a power cut would. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
  }

  /** Starts again where it was. */
  restart(): void {
    this.child = launch(this.folder, this.port);
  }

  /** Ends for good. */
  async end(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

function launch(folder: string, port: string): ChildProcess {
  const args = ['-js', '-a', '127.0.0.1', '-p', port, '-sd', folder, '--ports_file_dir', folder];
  return spawn('nats-server', args, { stdio: 'ignore' });
}

/** Returns the port that the server has written to `folder`, once it has. */
async function publishedPort(folder: string): Promise<string | undefined> {
  const file = (await readdir(folder)).find((name) => name.endsWith('.ports'));
  if (!file) return undefined;
  // Empty while it is being written.
  return /:(\d+)"/.exec(await readFile(path.join(folder, file), 'utf8'))?.[1];
}
