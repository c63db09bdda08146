// A client of a mount that goes wrong: `fuse-client.ts KIND FOLDER STOP`. It works in FOLDER until the file STOP is there, with no
// mercy for any error, and then prints what came of it as JSON.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../../shared/error-code.ts';

export interface ClientOutcome {
  readonly operations: number;
  /** What was wrong: an operation and the error's code, or what was read instead of what was written. */
  readonly errors: readonly string[];
  /** Of one operation, in milliseconds. */
  readonly longestMs: number;
}

const [kind = '', folder = '', stop = ''] = process.argv.slice(2);
const errors: string[] = [];
let operations = 0;
let longestMs = 0;

const timed = <T>(what: string, call: () => T): T | undefined => {
  const began = performance.now();
  try {
    return call();
  } catch (error) {
    errors.push(`${what}: ${codeOf(error) ?? String(error)}`);
    return undefined;
  } finally {
    operations += 1;
    longestMs = Math.max(longestMs, performance.now() - began);
  }
};

const expect = (what: string, holds: boolean | undefined): void => {
  if (holds !== true) errors.push(`${what} is not so`);
};

const PIECE = 256 * 1024;
/** Read past the page cache into memory that is where the kernel wants it. */
const direct = Buffer.allocUnsafeSlow(PIECE).fill(0);

const pattern = (seed: number, size: number): Buffer => {
  const bytes = Buffer.alloc(size, seed & 0xff);
  for (let at = 0; at + 4 <= size; at += 4096) bytes.writeUInt32LE((seed * 7919 + at) >>> 0, at);
  return bytes;
};

const readBack = (path: string): Buffer | undefined =>
  timed('read', () => {
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
    try {
      const parts: Buffer[] = [];
      for (let at = 0; ; ) {
        const got = readSync(fd, direct, 0, PIECE, at);
        if (got === 0) return Buffer.concat(parts);
        parts.push(Buffer.from(direct.subarray(0, got)));
        at += got;
      }
    } finally {
      closeSync(fd);
    }
  });

/** Files are written, made durable, put in the place of others, and read. */
const write = (round: number): void => {
  const path = join(folder, `file-${round % 5}`);
  const pieces = Array.from({ length: 1 + (round % 4) }, (_, at) =>
    pattern(round * 11 + at, 1 + ((round * 37_111 + at * 99_991) % (PIECE * 2))),
  );
  const fd = timed('create', () => openSync(`${path}.new`, 'w'));
  if (fd === undefined) return;
  for (const piece of pieces) expect('a whole write', timed('write', () => writeSync(fd, piece)) === piece.length);
  timed('fsync', () => fsyncSync(fd));
  timed('close', () => closeSync(fd));
  timed('rename', () => renameSync(`${path}.new`, path));
  const wanted = Buffer.concat(pieces);
  expect('the size', timed('stat', () => statSync(path).size) === wanted.length);
  expect('what was written', readBack(path)?.equals(wanted));
};

let held: number | undefined;
/** A file that stays open over all lives of the engine is read at random. */
const read = (round: number): void => {
  const path = join(folder, 'static');
  const wanted = pattern(4711, 4 * PIECE);
  if (held === undefined) {
    const fd = openSync(path, 'w');
    writeSync(fd, wanted);
    closeSync(fd);
    held = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
  }
  const fd = held;
  const at = ((round * 7919) % 128) * 4096;
  const got = timed('read', () => readSync(fd, direct, 0, PIECE, at)) ?? 0;
  expect('what was read', direct.subarray(0, got).equals(wanted.subarray(at, at + PIECE)));
  expect('the size', timed('fstat', () => fstatSync(fd).size) === wanted.length);
};

/** Each name is made once and removed once: what is done twice would be refused. */
const name = (round: number): void => {
  const base = join(folder, `names-${round}`);
  timed('mkdir', () => mkdirSync(base));
  const fd = timed('create', () => openSync(join(base, 'one'), 'wx'));
  if (fd !== undefined) timed('close', () => closeSync(fd));
  timed('link', () => linkSync(join(base, 'one'), join(base, 'two')));
  timed('symlink', () => symlinkSync(`target-${round}`, join(base, 'three')));
  timed('rename', () => renameSync(join(base, 'two'), join(base, 'four')));
  expect('the target', timed('readlink', () => readlinkSync(join(base, 'three'))) === `target-${round}`);
  expect('the names', timed('readdir', () => readdirSync(base).sort().join()) === 'four,one,three');
  for (const left of ['one', 'three', 'four']) timed('unlink', () => unlinkSync(join(base, left)));
  expect('no names', timed('readdir', () => readdirSync(base).length) === 0);
  timed('rmdir', () => rmdirSync(base));
  expect('nothing there', timed('exists', () => existsSync(base)) === false);
  expect(
    'this program',
    timed('look', () => readFileSync('/proc/self/comm').length > 0),
  );
};

const work = { write, read, name }[kind];
if (work === undefined) throw new Error(`there is no client of the kind ${kind}`);
mkdirSync(folder);
for (let round = 0; !existsSync(stop); round += 1) {
  work(round);
  // The machine is others' as well.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
}
if (held !== undefined) closeSync(held);
process.stdout.write(JSON.stringify({ operations, errors: errors.slice(0, 20), longestMs } satisfies ClientOutcome));
