/**
 * The server that `bench:object` measures against: the simulated S3 in a process of its own, whose objects are put into its
 * memory at once and not over HTTP. Started by `ObjectServer`, with which it talks in messages.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { startS3Sim } from '../sim/s3/sim.ts';

export const BUCKET = 'bench';
const KEY = { id: 'AKIABENCHBENCHBENCH0', secret: 'benchbenchbenchbenchbenchbenchbenchbench' };
/** Objects are made of this over and over; a server's memory is not what is measured. */
const BLOCK = 8 << 20;
const CHILD = 'serve-objects';

/** What is stored below a prefix. */
export interface Stored {
  readonly count: number;
  readonly bytes: number;
}

type Asked =
  | { readonly op: 'seed'; readonly prefix: string; readonly files: number; readonly bytes: number }
  | { readonly op: 'stored' | 'drop'; readonly prefix: string }
  | { readonly op: 'latency'; readonly ms: number }
  | { readonly op: 'counts' };
interface Answered {
  readonly id: number;
  readonly result: unknown;
}

/** Name of file `n` of a folder with many. */
export const fileName = (n: number): string => `f${String(n).padStart(5, '0')}`;

export class ObjectServer {
  readonly endpoint: string;
  readonly bucket = BUCKET;
  readonly key = KEY;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #last = 0;

  private constructor(child: ChildProcess, endpoint: string) {
    this.#child = child;
    this.endpoint = endpoint;
    child.on('message', ({ id, result }: Answered) => {
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  static async start(): Promise<ObjectServer> {
    const child = fork(import.meta.filename, [CHILD], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    return await new Promise((resolve, reject) => {
      child.once('message', (endpoint: string) => resolve(new ObjectServer(child, endpoint)));
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`the server has ended with ${code}`)));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** So many objects `PREFIX/f00000`… of so many bytes each, with the marker of their folder; one: `PREFIX/big`. */
  async seed(prefix: string, files: number, bytes: number): Promise<void> {
    await this.#ask({ op: 'seed', prefix, files, bytes });
  }

  /** Without markers of folders, what is hidden from users, and uploads that are not complete. */
  async stored(prefix: string): Promise<Stored> {
    return (await this.#ask({ op: 'stored', prefix })) as Stored;
  }

  /** Removes all that is below a prefix. */
  async drop(prefix: string): Promise<void> {
    await this.#ask({ op: 'drop', prefix });
  }

  /** Milliseconds that are added to each answer. */
  async latency(ms: number): Promise<void> {
    await this.#ask({ op: 'latency', ms });
  }

  /** Requests by kind since the last time. */
  async counts(): Promise<Readonly<Record<string, number>>> {
    return (await this.#ask({ op: 'counts' })) as Readonly<Record<string, number>>;
  }

  close(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGTERM');
  }

  #ask(asked: Asked): Promise<unknown> {
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, resolve);
      this.#child.send({ id, ...asked }, (error) => error && reject(error));
    });
  }
}

async function serve(): Promise<void> {
  const sim = await startS3Sim({ fastEtags: true, buckets: [BUCKET], key: KEY, kept: 10 });
  const bucket = sim.bucket(BUCKET);
  const block = randomBytes(BLOCK);
  const modified = Math.floor(Date.now() / 1000) * 1000 - 3_600_000;
  const put = (key: string, size: number, type = 'application/octet-stream'): void => {
    const body = Array.from({ length: Math.ceil(size / BLOCK) }, (_, n) => block.subarray(0, size - n * BLOCK));
    // Of the form that is no MD5: clients check those that are.
    const etag = `${randomBytes(16).toString('hex')}-1`;
    bucket.put({
      ...{ key, body, size, etag, modified, meta: {}, checksums: {} },
      ...{ headers: { 'content-type': type }, storageClass: 'STANDARD' },
    });
  };
  const does = (asked: Asked): unknown => {
    switch (asked.op) {
      case 'seed': {
        const { prefix, files, bytes } = asked;
        put(`${prefix}/`, 0, 'application/x-directory');
        for (let n = 0; n < files; n += 1) put(`${prefix}/${files === 1 ? 'big' : fileName(n)}`, bytes);
        return null;
      }
      case 'stored': {
        const found = bucket.all().filter(({ key }) => key.startsWith(asked.prefix) && !/\/$|\/\.drayage\//.test(key));
        return { count: found.length, bytes: found.reduce((sum, { size }) => sum + size, 0) };
      }
      case 'drop':
        for (const { key } of bucket.all()) if (key.startsWith(`${asked.prefix}/`)) bucket.remove(key);
        return null;
      case 'latency':
        sim.latency(asked.ms);
        return null;
      case 'counts': {
        const counts = sim.counts();
        sim.clearCalls();
        return counts;
      }
    }
  };
  process.on('message', (asked: Asked & { readonly id: number }) => {
    process.send?.({ id: asked.id, result: does(asked) } satisfies Answered);
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.(sim.endpoint);
}

if (process.argv[2] === CHILD) await serve();
