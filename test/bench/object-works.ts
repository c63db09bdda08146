/**
 * What programs do with a mounted bucket, as a program of its own: `node test/bench/object-works.ts WORK FOLDER NUMBER…`. Says
 * on standard output what it has measured, as JSON; seconds unless the name says otherwise. `Works` are called by name.
 */
import { closeSync, fsyncSync, lstatSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileName } from './object-server.ts';

const MIB = 1 << 20;
const SMALL = Buffer.alloc(4096, 7);
/** Seconds that a first round, which is not measured, may take. */
const WARM_S = 20;
/** Between looks at the clock. */
const STATS = 100;

/** 0 to below `count`, in an order that is the same in each run. */
const shuffled = (count: number): Uint32Array => {
  const order = Uint32Array.from({ length: count }, (_, n) => n);
  let state = 12_345;
  for (let n = count - 1; n > 0; n -= 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = Math.floor((state / 0x1_0000_0000) * (n + 1));
    const kept = order[n] ?? 0;
    order[n] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
};

const since = (started: number): number => (performance.now() - started) / 1000;

/** `work` for 0 to below `count`, so many at a time. */
async function each(count: number, atOnce: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) {
      const n = next;
      next += 1;
      await work(n);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

export type Measured = Readonly<Record<string, number>>;

export const WORKS = {
  /** Of a file `big`, from its beginning to its end. */
  read: (folder) => {
    const started = performance.now();
    const data = Buffer.alloc(MIB);
    const fd = openSync(path.join(folder, 'big'), 'r');
    let bytes = 0;
    for (let count = -1; count !== 0; bytes += count) count = readSync(fd, data, 0, MIB, null);
    closeSync(fd);
    return { seconds: since(started), bytes };
  },
  /** Of so many mebibytes, with fsync and close. */
  write: (folder, mebibytes = 0) => {
    const started = performance.now();
    const data = Buffer.alloc(MIB);
    for (let at = 0; at < MIB; at += 4) data.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);
    const fd = openSync(path.join(folder, 'written'), 'w');
    for (let n = 0; n < mebibytes; n += 1) {
      for (let put = 0; put < MIB; ) put += writeSync(fd, data, put);
    }
    fsyncSync(fd);
    closeSync(fd);
    return { seconds: since(started) };
  },
  /** So many files of 4 KiB, by so many writers at once. */
  create: async (folder, files = 0, writers = 1) => {
    const started = performance.now();
    await each(files, writers, async (n) => {
      const file = await open(path.join(folder, fileName(n)), 'w');
      await file.write(SMALL);
      await file.close();
    });
    return { seconds: since(started) };
  },
  /** What a name's attributes are, again and again for so many seconds. */
  stat: (folder, files = 0, seconds = 0) => {
    const paths = Array.from({ length: files }, (_, n) => path.join(folder, fileName(n)));
    const began = performance.now();
    for (const name of paths) {
      if (since(began) > WARM_S) break;
      lstatSync(name);
    }
    const started = performance.now();
    let count = 0;
    // Of a mount that keeps nothing one round may take minutes.
    for (let n = 0; since(started) < seconds; n = (n + STATS) % files) {
      for (const name of paths.slice(n, n + STATS)) {
        lstatSync(name);
        count += 1;
      }
    }
    return { per_second: count / since(started) };
  },
  /** 4 KiB anywhere in a file `big` of so many mebibytes, each of them once, for so many seconds at most. */
  random: (folder, mebibytes = 0, seconds = 0) => {
    const data = Buffer.alloc(4096);
    const pages = shuffled(mebibytes * 256);
    const fd = openSync(path.join(folder, 'big'), 'r');
    const started = performance.now();
    let [count, first] = [0, 0];
    for (const page of pages) {
      if (since(started) >= seconds) break;
      readSync(fd, data, 0, 4096, page * 4096);
      count += 1;
      if (since(started) < 1) first = count;
    }
    const per = count / since(started);
    closeSync(fd);
    return { per_second: per, first_second: first };
  },
  /** All of so many files by so many readers at once. */
  small: async (folder, files = 0, readers = 1) => {
    const started = performance.now();
    await each(files, readers, async (n) => {
      await readFile(path.join(folder, fileName(n)));
    });
    return { per_second: files / since(started) };
  },
  /** That the mount is there, at all. */
  look: (folder) => ({ bytes: readFileSync(path.join(folder, fileName(0))).length }),
} as const satisfies Readonly<
  Record<string, (folder: string, ...numbers: readonly number[]) => Measured | Promise<Measured>>
>;
export type Work = keyof typeof WORKS;

if (import.meta.main) {
  const [work = '', folder = '', ...numbers] = process.argv.slice(2);
  const found = Object.entries(WORKS).find(([name]) => name === work)?.[1];
  if (found === undefined) throw new Error(`there is no work ${work}`);
  const does: (folder: string, ...numbers: readonly number[]) => Measured | Promise<Measured> = found;
  console.log(JSON.stringify(await does(folder, ...numbers.map(Number))));
}
