/**
 * What fsx does: random reads, writes, mapped reads and writes, truncations, holes, copies within the file, closings and
 * openings of one file, each compared with a copy in memory. There is no Debian package of fsx; this is written after what
 * its manual says that it does.
 *
 *     node test/suites/exerciser.ts FILE [--seed 1] [--operations 1000] [--length 262144] [--without punch,copy,…]
 *
 * Says on standard output how many of each it did, as JSON. With a difference it ends with 1, and says on its error output
 * where it is and what was done last. Offsets are such as fsx chooses: any, of any length.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { parseArgs } from 'node:util';
import { copyRange, dropPages, fallocate, mapped } from './libc.ts';
import { Random } from './random.ts';

const PAGE = 4096;
/** Operations that are told of when something is wrong. */
const REMEMBERED = 30;

const KINDS = [
  ...['read', 'read', 'read', 'mapread', 'write', 'write', 'write', 'mapwrite', 'append'],
  ...['truncate', 'punch', 'zero', 'copy', 'reopen', 'fsync', 'drop', 'stat'],
] as const;
type Kind = (typeof KINDS)[number];

/** What a file system may refuse without being wrong: it is then not tried again. */
const REFUSABLE: readonly Kind[] = ['mapread', 'mapwrite', 'punch', 'zero', 'copy'];
const REFUSALS = ['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV', 'EXDEV'];

export interface Exercise {
  readonly seed: number;
  readonly operations: number;
  /** The file's size at most, bytes. */
  readonly length: number;
  readonly without: readonly string[];
}

/** The file is not what it should be. */
class Difference extends Error {}

class Exerciser {
  readonly counts: Record<string, number> = {};
  readonly refused = new Set<string>();
  readonly #path: string;
  readonly #how: Exercise;
  readonly #random: Random;
  /** What the file should be: its first `#size` bytes; behind them zeros. */
  readonly #good: Buffer;
  readonly #log: string[] = [];
  #size = 0;
  #fd: number;

  constructor(path: string, how: Exercise) {
    this.#path = path;
    this.#how = how;
    this.#random = new Random(how.seed);
    this.#good = Buffer.alloc(how.length);
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC, 0o644);
  }

  run(): void {
    const kinds = KINDS.filter((kind) => !this.#how.without.includes(kind));
    for (let n = 1; n <= this.#how.operations; n += 1) {
      const kind = kinds[this.#random.below(kinds.length)] ?? 'read';
      if (this.refused.has(kind)) continue;
      this.#note(`${n} ${kind}`);
      try {
        this.#do(kind);
        this.counts[kind] = (this.counts[kind] ?? 0) + 1;
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? '';
        if (!(REFUSABLE.includes(kind) && REFUSALS.includes(code))) throw this.#told(error);
        this.refused.add(kind);
      }
    }
    this.#reopen();
    this.#compare(0, this.#size, this.#read(0, this.#how.length));
    closeSync(this.#fd);
  }

  #do(kind: Kind): void {
    const doings: Readonly<Record<Kind, () => void>> = {
      read: () => {
        const { at, length } = this.#within();
        this.#compare(at, length, this.#read(at, length));
      },
      mapread: () => this.#mapRead(),
      write: () => {
        const at = this.#random.below(this.#how.length);
        this.#write(at, this.#length(this.#how.length - at));
      },
      mapwrite: () => this.#mapWrite(),
      append: () => this.#write(this.#size, this.#length(this.#how.length - this.#size)),
      truncate: () => this.#truncate(this.#random.below(this.#how.length + 1)),
      punch: () => this.#clear(3),
      zero: () => this.#clear(16 + 1),
      copy: () => this.#copy(),
      reopen: () => this.#reopen(),
      fsync: () => (this.#random.below(2) === 0 ? fsyncSync(this.#fd) : fdatasyncSync(this.#fd)),
      drop: () => dropPages(this.#fd),
      stat: () => {
        const { size } = fstatSync(this.#fd);
        if (size !== this.#size) throw new Difference(`the file has ${size} bytes instead of ${this.#size}`);
      },
    };
    doings[kind]();
  }

  /** Mostly short ones. */
  #length(most: number): number {
    const longest = this.#random.below(4) === 0 ? most : Math.min(most, 65_536);
    return Math.min(most, 1 + this.#random.below(Math.max(1, longest)));
  }

  #within(): { at: number; length: number } {
    if (this.#size === 0) return { at: 0, length: 0 };
    const at = this.#random.below(this.#size);
    return { at, length: this.#length(this.#size - at) };
  }

  #read(at: number, length: number): Buffer {
    this.#note(`at ${at}, ${length} bytes`);
    const data = Buffer.alloc(length);
    let got = 0;
    while (got < length) {
      const count = readSync(this.#fd, data, got, length - got, at + got);
      if (count === 0) break;
      got += count;
    }
    return data.subarray(0, got);
  }

  #compare(at: number, length: number, data: Buffer): void {
    const want = this.#good.subarray(at, at + length);
    if (data.equals(want)) return;
    if (data.length !== length) {
      throw new Difference(
        `a read at ${at} of ${length} bytes has got ${data.length} (the file's size: ${this.#size})`,
      );
    }
    let first = 0;
    while (data[first] === want[first]) first += 1;
    let last = length - 1;
    while (data[last] === want[last]) last -= 1;
    const part = (of: Buffer): string => of.subarray(first, first + 16).toString('hex');
    const wrong = `bytes ${at + first} to ${at + last} of ${this.#size} differ`;
    const isZero = data.subarray(first, last + 1).every((byte) => byte === 0);
    throw new Difference(`${wrong}: ${part(data)}… instead of ${part(want)}…${isZero ? ' (all zeros)' : ''}`);
  }

  #write(at: number, length: number): void {
    this.#note(`at ${at}, ${length} bytes`);
    if (length === 0) return;
    const data = this.#good.subarray(at, at + length);
    this.#random.fill(data);
    let put = 0;
    while (put < length) put += writeSync(this.#fd, data, put, length - put, at + put);
    this.#size = Math.max(this.#size, at + length);
  }

  #mapRead(): void {
    const { at, length } = this.#within();
    if (length === 0) return;
    this.#note(`at ${at}, ${length} bytes`);
    const first = at - (at % PAGE);
    mapped(this.#fd, first, at + length - first, false, (memory) => {
      this.#compare(at, length, Buffer.from(memory.subarray(at - first)));
    });
  }

  #mapWrite(): void {
    const { at, length } = this.#within();
    if (length === 0) return;
    this.#note(`at ${at}, ${length} bytes`);
    const first = at - (at % PAGE);
    mapped(this.#fd, first, at + length - first, true, (memory) => {
      const data = this.#good.subarray(at, at + length);
      this.#random.fill(data);
      data.copy(memory, at - first);
    });
  }

  #truncate(size: number): void {
    this.#note(`from ${this.#size} to ${size}`);
    ftruncateSync(this.#fd, size);
    if (size < this.#size) this.#good.fill(0, size, this.#size);
    this.#size = size;
  }

  #clear(mode: number): void {
    const { at, length } = this.#within();
    if (length === 0) return;
    this.#note(`at ${at}, ${length} bytes`);
    fallocate(this.#fd, mode, at, length);
    this.#good.fill(0, at, at + length);
  }

  #copy(): void {
    const { at, length } = this.#within();
    const to = this.#random.below(this.#how.length - length + 1);
    if (length === 0 || Math.abs(to - at) < length) return;
    this.#note(`from ${at} to ${to}, ${length} bytes`);
    let done = 0;
    while (done < length) {
      const count = copyRange(this.#fd, at + done, this.#fd, to + done, length - done);
      if (count === 0) throw new Difference(`a copy of ${length} bytes ended after ${done}`);
      done += count;
    }
    this.#good.copy(this.#good, to, at, at + length);
    this.#size = Math.max(this.#size, to + length);
  }

  #reopen(): void {
    closeSync(this.#fd);
    this.#fd = openSync(this.#path, constants.O_RDWR);
  }

  #note(text: string): void {
    this.#log.push(text);
    if (this.#log.length > REMEMBERED * 2) this.#log.shift();
  }

  #told(error: unknown): Error {
    const what = error instanceof Difference ? error.message : String(error);
    return new Error(`${what}\nseed ${this.#how.seed}; the last operations:\n  ${this.#log.join('\n  ')}`);
  }
}

const whole = (text: string, name: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} ${text} is not a whole number.`);
  return value;
};

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: '1' },
      operations: { type: 'string', default: '1000' },
      length: { type: 'string', default: String(256 * 1024) },
      without: { type: 'string', default: '' },
    },
  });
  const [file] = positionals;
  if (file === undefined) throw new Error('Name the file that is to be exercised.');
  const exerciser = new Exerciser(file, {
    seed: whole(values.seed, 'seed'),
    operations: whole(values.operations, 'operations'),
    length: whole(values.length, 'length'),
    without: values.without.split(','),
  });
  exerciser.run();
  console.log(JSON.stringify({ ...exerciser.counts, refused: [...exerciser.refused] }));
}

try {
  main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
