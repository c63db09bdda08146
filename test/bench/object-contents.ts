/**
 * How fast the contents of files are, without a kernel between: `node test/bench/object-contents.ts [--mib N] [--rounds N]
 * [--latency MS,…] [--cache 0|1]`. Over a store in memory, and over the S3 simulator in a process of its own; rounds of all
 * cases are interleaved, medians are printed: reads in sequence of a fresh engine, writes until they are in the store, random
 * reads, small files; with the CPU of this process and the memory that it has had at most.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { newContext } from '../../shared/context.ts';
import { silentLogger } from '../../shared/log.ts';
import { openStore } from '../../volume-plugin/object/registry.ts';
import type { ObjectStore } from '../../volume-plugin/object/store.ts';
import type { FileHome } from '../../volume-plugin/objectfs/content.ts';
import { openContents } from '../../volume-plugin/objectfs/content-set.ts';
import { FileStateLog } from '../../volume-plugin/objectfs/file-state-log.ts';
import { median } from './statistics.ts';

const MIB = 1 << 20;
const { values } = parseArgs({
  options: {
    mib: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '3' },
    latency: { type: 'string', default: '0,15' },
    cache: { type: 'string', default: '0' },
    one: { type: 'string' },
    store: { type: 'string' },
  },
});
const size = Number(values.mib) * MIB;
const piece = Buffer.alloc(MIB, 'drayage');

const homeOf = (node: number, key: string): FileHome => ({
  node,
  key: () => key,
  replaces: () => undefined,
  description: () => ({ meta: { mode: '33188' } }),
  stored: () => undefined,
  conflictKey: () => `${key}.conflict`,
  conflicted: () => undefined,
  changed: () => undefined,
});

interface Figures {
  readonly [name: string]: number;
}

/** One case in this process. */
const measure = async (what: string, store: ObjectStore): Promise<Figures> => {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-bench-contents-'));
  const c = newContext(silentLogger, 600_000);
  const log = new FileStateLog(join(folder, 'state.log'));
  const options = { cache: values.cache === '1' ? 2 ** 31 : 0 };
  const contents = await openContents({ store, folder, log, logger: silentLogger, context: c, options });
  const cpu = process.cpuUsage();
  const began = performance.now();
  let done = 0;
  try {
    if (what === 'write') {
      const file = contents.of(homeOf(1, 'bench-written'), await baseOf(store, 'bench-written'));
      file.truncate(0, c);
      for (let at = 0; at < size; at += MIB) {
        await file.write(at, piece, c);
        // As requests of a kernel come: one after the other, with turns between them.
        await new Promise(setImmediate);
      }
      await file.flush(c);
      done = size / MIB;
    } else if (what === 'read') {
      const file = contents.of(homeOf(1, 'bench'), await baseOf(store, 'bench'));
      let at = 0;
      const reader = async (): Promise<void> => {
        while (at < size) {
          const mine = at;
          at += MIB;
          const found = file.read(mine, MIB, c);
          for (const one of found instanceof Promise ? await found : found) done += one.length / MIB;
          await new Promise(setImmediate);
        }
      };
      await Promise.all([reader(), reader(), reader(), reader()]);
    } else if (what === 'random') {
      const file = contents.of(homeOf(1, 'bench'), await baseOf(store, 'bench'));
      for (; performance.now() - began < 2_000; done += 1) {
        await file.read(Math.floor(Math.random() * (size / 4096 - 1)) * 4096, 4096, c);
      }
    } else {
      const write = async (node: number): Promise<void> => {
        const file = contents.of(homeOf(node, `small/${node}-${process.pid}`), undefined);
        await file.write(0, piece.subarray(0, 4096), c);
        await file.flush(c);
        file.release();
        done += 1;
      };
      let next = 0;
      const writer = async (): Promise<void> => {
        while (next < 1000) {
          next += 1;
          await write(next);
        }
      };
      await Promise.all(Array.from({ length: 64 }, writer));
    }
    const seconds = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return { rate: done / seconds, cpu: (user + system) / 1e6, rss: process.resourceUsage().maxRSS / 1024 };
  } finally {
    await contents.close();
    log.close();
    rmSync(folder, { recursive: true, force: true });
  }
};

const baseOf = async (store: ObjectStore, key: string) => {
  const found = await store.head(key, newContext(silentLogger, 60_000));
  return found === undefined ? undefined : { key, etag: found.etag, size: found.size };
};

const UNITS: Readonly<Record<string, string>> = {
  read: 'MiB/s',
  write: 'MiB/s',
  random: '4 KiB reads/s',
  small: 'files/s',
};

if (values.one !== undefined && values.store !== undefined) {
  const store = openStore(JSON.parse(values.store));
  console.log(JSON.stringify(await measure(values.one, store)));
  await store.close();
} else {
  const children: ChildProcess[] = [];
  const end = (): void => {
    for (const one of children) one.kill('SIGKILL');
  };
  process.once('exit', end);
  const sim = async (latency: string): Promise<string> => {
    const args = ['../sim/s3/main.ts', '--child', '--json', '--bucket', 'b', '--key', 'AK:SK', '--fast-etags'];
    const [program = '', ...rest] = args;
    const path = join(import.meta.dirname, program);
    const child = spawn(process.execPath, [path, ...rest, '--latency', latency], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    const [line] = (await child.stdout.take(1).toArray()) as Buffer[];
    const { endpoint } = JSON.parse(String(line)) as { endpoint: string };
    const description = {
      ...{ kind: 's3', bucket: 'b', endpoint, region: 'us-east-1', addressing: 'path' },
      credentials: { accessKeyId: 'AK', accessKeySecret: 'SK' },
    };
    const store = openStore({ ...description, kind: 's3', addressing: 'path' });
    const c = newContext(silentLogger, 120_000);
    const id = await store.beginUpload('bench', { meta: {} }, c);
    const parts = [];
    for (let at = 0; at < size; at += 8 * MIB) {
      const body = Array.from({ length: Math.min(8 * MIB, size - at) / MIB }, () => piece);
      parts.push(await store.uploadPart('bench', id, at / (8 * MIB) + 1, body, c));
    }
    await store.completeUpload('bench', id, parts, undefined, c);
    await store.close();
    return JSON.stringify(description);
  };
  const latencies = values.latency.split(',');
  const stores = await Promise.all(latencies.map(sim));
  const figures = new Map<string, Figures[]>();
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const [i, store] of stores.entries()) {
      for (const what of Object.keys(UNITS)) {
        const args = [
          import.meta.filename,
          '--one',
          what,
          '--store',
          store,
          '--mib',
          values.mib,
          '--cache',
          values.cache,
        ];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        const text = Buffer.concat((await child.stdout.toArray()) as Buffer[]).toString();
        const name = `${what} at ${latencies[i]} ms`;
        figures.set(name, [...(figures.get(name) ?? []), JSON.parse(text) as Figures]);
      }
    }
  }
  for (const [name, all] of figures) {
    const of = (field: string): string => median(all.map((one) => one[field] ?? 0)).toFixed(field === 'cpu' ? 2 : 0);
    console.log(
      `${name}: ${of('rate')} ${UNITS[name.split(' ')[0] ?? '']}, ${of('cpu')} s of CPU, ${of('rss')} MiB at most`,
    );
  }
  end();
}
