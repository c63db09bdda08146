/** Files themselves: bytes, sizes, times, attributes, locks. */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {
  fallocate,
  getAttribute,
  listAttributes,
  lock,
  makeNode,
  mapped,
  removeAttribute,
  seek,
  setAttribute,
} from './libc.ts';
import {
  type Case,
  changes,
  holds,
  make,
  moment,
  O_APPEND,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
  opened,
  refuses,
  same,
  textOf,
} from './posix-scene.ts';

const BYTES: readonly Case[] = [
  {
    name: 'what is written through one descriptor is read through another one at once',
    run: (d) => {
      opened(`${d}/f`, O_CREAT | O_WRONLY, (out) =>
        opened(`${d}/f`, O_RDONLY, (into) => {
          for (const text of ['one ', 'two ', 'three']) {
            writeSync(out, text);
            const data = Buffer.alloc(64);
            same(data.toString('utf8', 0, readSync(into, data)), text);
          }
          same(fstatSync(into).size, 13);
        }),
      );
    },
  },
  {
    name: 'who appends writes behind what others have written',
    run: (d) => {
      make(`${d}/f`, 'start ');
      opened(`${d}/f`, O_WRONLY | O_APPEND, (one) =>
        opened(`${d}/f`, O_WRONLY | O_APPEND, (two) => {
          for (let n = 0; n < 50; n += 1) {
            writeSync(one, 'a');
            writeSync(two, 'b', 0);
          }
        }),
      );
      same(textOf(`${d}/f`), `start ${'ab'.repeat(50)}`);
      appendFileSync(`${d}/f`, 'end');
      same(textOf(`${d}/f`), `start ${'ab'.repeat(50)}end`);
    },
  },
  {
    name: 'a file that is opened to be emptied is empty, with the same number and permissions',
    run: (d) => {
      make(`${d}/f`, 'text', 0o640);
      const before = statSync(`${d}/f`);
      opened(`${d}/f`, O_WRONLY | O_TRUNC, (fd) => same(fstatSync(fd).size, 0));
      const after = statSync(`${d}/f`);
      same([after.ino, after.mode, after.size, textOf(`${d}/f`)], [before.ino, before.mode, 0, '']);
    },
  },
  {
    name: 'a file that is cut and lengthened has zeros where it was cut',
    run: (d) => {
      make(`${d}/f`, 'x'.repeat(10_000));
      truncateSync(`${d}/f`, 5_000);
      same(statSync(`${d}/f`).size, 5_000);
      truncateSync(`${d}/f`, 9_000);
      const data = readFileSync(`${d}/f`);
      same([data.length, data.indexOf(0), data.subarray(5_000).every((byte) => byte === 0)], [9_000, 5_000, true]);
      opened(`${d}/f`, O_RDONLY, (fd) => refuses('EINVAL', () => ftruncateSync(fd, 1)));
      refuses('EISDIR', () => truncateSync(d, 0));
      refuses('ENOENT', () => truncateSync(`${d}/no`, 0));
    },
  },
  {
    name: 'what nobody has written in the middle of a file is zeros',
    run: (d) => {
      opened(`${d}/f`, O_CREAT | O_RDWR, (fd) => {
        writeSync(fd, 'end', 3_000_000);
        const data = Buffer.alloc(100, 1);
        same(readSync(fd, data, 0, 100, 1_500_000), 100);
        same(data.equals(Buffer.alloc(100)), true);
      });
      const data = readFileSync(`${d}/f`);
      same([data.length, data.lastIndexOf(0), data.subarray(-3).toString()], [3_000_003, 2_999_999, 'end']);
    },
  },
  {
    name: 'a read at or behind the end answers nothing, and one across it what is there',
    run: (d) => {
      make(`${d}/f`, 'text');
      opened(`${d}/f`, O_RDONLY, (fd) => {
        const data = Buffer.alloc(10);
        same([readSync(fd, data, 0, 10, 4), readSync(fd, data, 0, 10, 400), readSync(fd, data, 0, 10, 2)], [0, 0, 2]);
        refuses('EBADF', () => writeSync(fd, 'x'));
      });
      opened(`${d}/f`, O_WRONLY, (fd) => refuses('EBADF', () => readSync(fd, Buffer.alloc(1))));
    },
  },
  {
    name: 'what is written to memory that a file is mapped to is in the file',
    run: (d) => {
      make(`${d}/f`, '.'.repeat(10_000));
      opened(`${d}/f`, O_RDWR, (fd) => {
        mapped(fd, 4096, 4096, true, (memory) => memory.write('mapped', 100));
        const data = Buffer.alloc(6);
        readSync(fd, data, 0, 6, 4196);
        same(data.toString(), 'mapped');
      });
      const data = readFileSync(`${d}/f`);
      same([data.length, data.toString('utf8', 4195, 4203)], [10_000, '.mapped.']);
    },
  },
  {
    name: 'a mebibyte that is written in pieces of any size is what was written',
    run: (d) => {
      const whole = Buffer.alloc(1 << 20);
      for (let at = 0; at < whole.length; at += 4) whole.writeUInt32LE(at, at);
      for (const piece of [1000, 4096, 65_537, 1 << 20]) {
        opened(`${d}/f${piece}`, O_CREAT | O_WRONLY, (fd) => {
          for (let at = 0; at < whole.length; at += piece) writeSync(fd, whole, at, Math.min(piece, whole.length - at));
          fsyncSync(fd);
        });
        holds(readFileSync(`${d}/f${piece}`).equals(whole), `pieces of ${piece} bytes`);
      }
      copyFileSync(`${d}/f1000`, `${d}/copy`);
      holds(readFileSync(`${d}/copy`).equals(whole), 'its copy');
    },
  },
  {
    name: 'room that is asked for is there, or is refused as what the file system does not do',
    run: (d) => {
      make(`${d}/f`, 'text');
      opened(`${d}/f`, O_RDWR, (fd) => {
        try {
          fallocate(fd, 0, 0, 100_000);
          same([fstatSync(fd).size, textOf(`${d}/f`).slice(0, 5)], [100_000, 'text\0']);
        } catch (error) {
          refuses(['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS'], () => {
            throw error;
          });
          same(textOf(`${d}/f`), 'text');
        }
      });
    },
  },
  {
    name: 'data and holes are found where they may be',
    run: (d) => {
      make(`${d}/f`, 'text');
      opened(`${d}/f`, O_RDONLY, (fd) => {
        same([seek(fd, 0, 3), seek(fd, 0, 4)], [0, 4]);
        refuses('ENXIO', () => seek(fd, 4, 3));
      });
    },
  },
];

const TIMES: readonly Case[] = [
  {
    name: 'times that are set are shown, to the microsecond, and stay',
    run: (d) => {
      make(`${d}/f`, 'text');
      mkdirSync(`${d}/d`);
      const [atime, mtime] = [1_234_567_890.123_456, 1_111_111_111.654_321];
      for (const path of [`${d}/f`, `${d}/d`]) {
        utimesSync(path, atime, mtime);
        holds(
          Math.abs(statSync(path).mtimeMs / 1000 - mtime) < 0.000_01,
          `mtime of ${path}: ${statSync(path).mtimeMs}`,
        );
      }
      opened(`${d}/f`, O_RDONLY, (fd) => readSync(fd, Buffer.alloc(4)));
      holds(Math.abs(statSync(`${d}/f`).mtimeMs / 1000 - mtime) < 0.000_01, 'mtime after a read');
      utimesSync(`${d}/f`, 0, 0);
      same(statSync(`${d}/f`).mtimeMs, 0);
      symlinkSync('f', `${d}/l`);
      lutimesSync(`${d}/l`, 7, 7);
      same([lstatSync(`${d}/l`).mtimeMs, statSync(`${d}/f`).mtimeMs], [7000, 0]);
    },
  },
  {
    name: 'what changes a file changes its times',
    run: (d) => {
      make(`${d}/f`, 'text');
      const both = ['mtimeMs', 'ctimeMs'] as const;
      changes(`${d}/f`, both, () => writeFileSync(`${d}/f`, 'other'));
      changes(`${d}/f`, both, () => truncateSync(`${d}/f`, 2));
      changes(`${d}/f`, both, () => appendFileSync(`${d}/f`, 'more'));
      const { mtimeMs } = statSync(`${d}/f`);
      moment();
      readFileSync(`${d}/f`);
      same(statSync(`${d}/f`).mtimeMs, mtimeMs, 'a read');
    },
  },
];

const REST: readonly Case[] = [
  {
    name: 'a FIFO carries what is written to it',
    run: (d) => {
      makeNode(`${d}/p`, 0o010_644);
      holds(statSync(`${d}/p`).isFIFO(), 'it is none');
      const script = `cat '${d}/p' & echo through > '${d}/p'; wait`;
      const { stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8', timeout: 10_000 });
      same(stdout, 'through\n');
    },
  },
  {
    name: 'sockets and FIFOs are what they were made as',
    run: (d) => {
      makeNode(`${d}/s`, 0o140_600);
      makeNode(`${d}/p`, 0o010_640);
      holds(statSync(`${d}/s`).isSocket() && statSync(`${d}/p`).isFIFO(), 'they are something else');
      same([statSync(`${d}/s`).mode & 0o777, statSync(`${d}/p`).mode & 0o777], [0o600, 0o640]);
      refuses('EEXIST', () => makeNode(`${d}/s`, 0o140_600));
    },
  },
  {
    name: 'extended attributes are kept, replaced, listed and removed',
    run: (d) => {
      make(`${d}/f`);
      const value = Buffer.from([0, 255, 10, 13, 65]);
      setAttribute(`${d}/f`, 'user.one', value);
      setAttribute(`${d}/f`, 'user.two words', Buffer.alloc(0));
      same(getAttribute(`${d}/f`, 'user.one').equals(value), true);
      same(getAttribute(`${d}/f`, 'user.two words').length, 0);
      same([...listAttributes(`${d}/f`)].filter((name) => name.startsWith('user.')).sort(), [
        'user.one',
        'user.two words',
      ]);
      refuses('EEXIST', () => setAttribute(`${d}/f`, 'user.one', value, 1));
      refuses('ENODATA', () => setAttribute(`${d}/f`, 'user.no', value, 2));
      refuses('ENODATA', () => getAttribute(`${d}/f`, 'user.no'));
      removeAttribute(`${d}/f`, 'user.one');
      refuses('ENODATA', () => getAttribute(`${d}/f`, 'user.one'));
      refuses('ENODATA', () => removeAttribute(`${d}/f`, 'user.one'));
    },
  },
  {
    name: 'locks keep each other out on one host',
    run: (d) => {
      make(`${d}/f`);
      opened(`${d}/f`, O_RDWR, (one) =>
        opened(`${d}/f`, O_RDWR, (two) => {
          same([lock(one, 'exclusive'), lock(two, 'shared')], [true, false]);
          lock(one, 'none');
          same([lock(two, 'shared'), lock(one, 'shared'), lock(one, 'exclusive')], [true, true, false]);
        }),
      );
    },
  },
  {
    name: 'the file system says how much room there is',
    run: (d) => {
      const { bsize, blocks, bavail } = statfsSync(d);
      holds(bsize >= 512 && blocks > 0 && bavail > 0 && bavail <= blocks, `${bavail} of ${blocks} blocks of ${bsize}`);
    },
  },
];

export const FILES: readonly Case[] = [...BYTES, ...TIMES, ...REST];
