/** A database in a container of a virtual machine: sqlite3 behind a port, one process for each connection. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { until } from '../../rig/command.ts';
import { IMAGE } from '../../rig/vm/guest.ts';
import type { VirtualMachine } from '../../rig/vm/machine.ts';
import { within } from '../../rig/vm/qmp.ts';

export const PORT = 5432;
const ANSWER_MS = 30_000;

/** Runs it on the volume, and waits until it answers. `-bail`: after an error nothing is confirmed any more. */
export async function startDatabase(machine: VirtualMachine, volume: string): Promise<void> {
  await machine.docker(['rm', '-f', 'database']);
  const serve = ['nc', '-ll', '-p', String(PORT), '-e', 'sqlite3', '-bail', '/data/rows.db'];
  const run = ['run', '-d', '--name', 'database', '--network', 'host', '-v', `${volume}:/data`, IMAGE, ...serve];
  await machine.dockerMust(run);
  await until(
    'the database answers',
    async () => {
      try {
        (await SqlSession.open(machine)).close();
        return true;
      } catch (error) {
        if (error instanceof Error) return false;
        throw error;
      }
    },
    { timeoutMs: 30_000, everyMs: 300 },
  );
}

export class SqlSession {
  readonly #client: ChildProcessWithoutNullStreams;
  readonly #rows: string[] = [];
  #waiting:
    | { readonly mark: string; readonly resolve: () => void; readonly reject: (reason: Error) => void }
    | undefined;
  #count = 0;
  #closed = false;

  private constructor(client: ChildProcessWithoutNullStreams) {
    this.#client = client;
    createInterface({ input: client.stdout }).on('line', (line) => this.#take(line));
    // What is sent to a connection that broke is lost, as is its answer.
    client.stdin.on('error', () => this.#end());
    client.on('close', () => this.#end());
  }

  /** Connects, with the settings under which a commit is durable. */
  static async open(machine: VirtualMachine): Promise<SqlSession> {
    const [file = '', ...args] = machine.inNetwork([machine.busybox, 'nc', machine.v4, String(PORT)]);
    const session = new SqlSession(spawn(file, args));
    await session.ask('PRAGMA busy_timeout = 30000');
    await session.ask('PRAGMA journal_mode = WAL');
    await session.ask('PRAGMA synchronous = FULL');
    return session;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Runs a statement. Resolves with its rows, a line each, once it is committed. @throws Error when the connection breaks. */
  async ask(sql: string): Promise<string[]> {
    if (this.#closed) throw new Error('the connection is closed');
    this.#count += 1;
    const mark = `done ${this.#count}`;
    const done = new Promise<void>((resolve, reject) => {
      this.#waiting = { mark, resolve, reject };
    });
    this.#client.stdin.write(`${sql};\nSELECT '${mark}';\n`);
    await within(ANSWER_MS, sql.slice(0, 60), done);
    return this.#rows.splice(0);
  }

  close(): void {
    this.#client.kill('SIGKILL');
    this.#end();
  }

  #take(line: string): void {
    if (line === this.#waiting?.mark) this.#waiting.resolve();
    else this.#rows.push(line);
  }

  #end(): void {
    this.#closed = true;
    this.#waiting?.reject(new Error('the connection is closed'));
  }
}
