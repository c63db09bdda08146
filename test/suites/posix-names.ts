/** Names: making, removing, renaming them, and what leads to them. */
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { renameWith } from './libc.ts';
import {
  type Case,
  changes,
  holds,
  make,
  modeOf,
  moment,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  opened,
  refuses,
  same,
  textOf,
} from './posix-scene.ts';

const LONGEST = 'n'.repeat(255);
const TOO_LONG = 'n'.repeat(256);

const MAKING: readonly Case[] = [
  {
    name: 'a file that is made exclusively is made once',
    run: (d) => {
      make(`${d}/a`);
      refuses('EEXIST', () => make(`${d}/a`));
      mkdirSync(`${d}/d`);
      refuses('EEXIST', () => make(`${d}/d`));
      symlinkSync('nowhere', `${d}/l`);
      refuses('EEXIST', () => make(`${d}/l`));
    },
  },
  {
    name: 'names are case-sensitive bytes, up to 255 of them',
    run: (d) => {
      const names = ['a', 'A', 'ä', 'a\u0308', ' ', '...', '-', 'a b', 'a%2Fb', '日本', '+&?#*\\', LONGEST];
      for (const name of names) make(`${d}/${name}`, name);
      same(readdirSync(d).sort(), [...names].sort());
      for (const name of names) same(textOf(`${d}/${name}`), name);
      for (const make of [(p: string) => mkdirSync(p), (p: string) => openSync(p, O_CREAT | O_WRONLY), statSync]) {
        refuses('ENAMETOOLONG', () => make(`${d}/${TOO_LONG}`));
      }
      refuses('ENAMETOOLONG', () => renameSync(`${d}/a`, `${d}/${TOO_LONG}`));
      refuses('ENAMETOOLONG', () => symlinkSync('x', `${d}/${TOO_LONG}`));
    },
  },
  {
    name: 'what is not there is not found, and a file is no folder',
    run: (d) => {
      make(`${d}/f`);
      for (const path of [`${d}/no`, `${d}/no/no`]) {
        for (const look of [statSync, unlinkSync, rmdirSync, readlinkSync, (p: string) => openSync(p, O_RDONLY)]) {
          refuses('ENOENT', () => look(path));
        }
      }
      for (const look of [statSync, unlinkSync, rmdirSync, mkdirSync, (p: string) => openSync(p, O_CREAT)]) {
        refuses('ENOTDIR', () => look(`${d}/f/x`));
      }
      refuses('ENOTDIR', () => readdirSync(`${d}/f`));
      refuses('ENOTDIR', () => openSync(`${d}/f`, O_RDONLY | O_DIRECTORY));
      refuses('ENOENT', () => mkdirSync(`${d}/no/x`));
    },
  },
  {
    name: 'a folder is made once, with two links and empty, and is opened for reading only',
    run: (d) => {
      mkdirSync(`${d}/x`);
      refuses('EEXIST', () => mkdirSync(`${d}/x`));
      holds(statSync(`${d}/x`).isDirectory(), 'it is no folder');
      same(readdirSync(`${d}/x`), []);
      refuses('EISDIR', () => openSync(`${d}/x`, O_WRONLY));
      refuses('EISDIR', () => openSync(`${d}/x`, O_RDWR));
      refuses(['EISDIR', 'EPERM'], () => unlinkSync(`${d}/x`));
    },
  },
  {
    name: 'a new entry changes the times of its folder',
    run: (d) => {
      const both = ['mtimeMs', 'ctimeMs'] as const;
      changes(d, both, () => make(`${d}/f`));
      changes(d, both, () => mkdirSync(`${d}/d`));
      changes(d, both, () => symlinkSync('x', `${d}/l`));
      changes(d, both, () => renameSync(`${d}/f`, `${d}/g`));
      changes(d, both, () => unlinkSync(`${d}/g`));
      changes(d, both, () => rmdirSync(`${d}/d`));
    },
  },
  {
    name: 'the mask of the process takes permissions away from what it makes',
    run: (d) => {
      const before = process.umask(0o027);
      try {
        make(`${d}/f`, '', 0o777);
        mkdirSync(`${d}/d`, 0o777);
      } finally {
        process.umask(before);
      }
      same([modeOf(`${d}/f`), modeOf(`${d}/d`)], [0o750, 0o750]);
    },
  },
  {
    name: 'a file that is made for reading only can be written to by who has made it, once',
    run: (d) => {
      opened(`${d}/f`, O_CREAT | O_EXCL | O_RDWR, (fd) => same(writeSync(fd, 'text'), 4), 0o444);
      same([textOf(`${d}/f`), modeOf(`${d}/f`)], ['text', 0o444]);
    },
  },
];

const REMOVING: readonly Case[] = [
  {
    name: 'a folder goes when it is empty, and not before',
    run: (d) => {
      mkdirSync(`${d}/x/y`, { recursive: true });
      make(`${d}/x/f`);
      refuses(['ENOTEMPTY', 'EEXIST'], () => rmdirSync(`${d}/x`));
      rmdirSync(`${d}/x/y`);
      refuses(['ENOTEMPTY', 'EEXIST'], () => rmdirSync(`${d}/x`));
      unlinkSync(`${d}/x/f`);
      rmdirSync(`${d}/x`);
      refuses('ENOENT', () => statSync(`${d}/x`));
      make(`${d}/f`);
      refuses('ENOTDIR', () => rmdirSync(`${d}/f`));
    },
  },
  {
    name: 'what was changed a moment before it was removed does not come back',
    run: (d) => {
      for (let n = 0; n < 20; n += 1) {
        mkdirSync(`${d}/x/y`, { recursive: true });
        make(`${d}/x/f`, 'text');
        chmodSync(`${d}/x/y`, 0o700);
        chmodSync(`${d}/x/f`, 0o600);
        moment(40 + n);
        rmdirSync(`${d}/x/y`);
        unlinkSync(`${d}/x/f`);
        moment(5);
        rmdirSync(`${d}/x`);
      }
    },
  },
  {
    name: 'a folder stays when the last of its entries is removed',
    run: (d) => {
      mkdirSync(`${d}/x`);
      make(`${d}/x/f`);
      unlinkSync(`${d}/x/f`);
      holds(statSync(`${d}/x`).isDirectory(), 'it has gone with its entry');
    },
  },
  {
    name: 'a file that is removed while it is open goes on being read and written',
    run: (d) => {
      make(`${d}/f`, 'before ');
      opened(`${d}/f`, O_RDWR, (fd) => {
        unlinkSync(`${d}/f`);
        refuses('ENOENT', () => statSync(`${d}/f`));
        same(readFileSync(fd, 'utf8'), 'before ');
        writeSync(fd, 'after', 7);
        same([fstatSync(fd).size, fstatSync(fd).nlink], [12, 0]);
        // Another one may take its name meanwhile.
        make(`${d}/f`, 'other');
        const data = Buffer.alloc(12);
        opened(`/proc/self/fd/${fd}`, O_RDONLY, (again) => readFileSync(again).copy(data));
        same(data.toString(), 'before after');
      });
      same(textOf(`${d}/f`), 'other');
    },
  },
  {
    name: 'entries that are removed while a folder is read do not hide others',
    run: (d) => {
      const names = Array.from({ length: 300 }, (_, n) => `f${String(n).padStart(3, '0')}`);
      for (const name of names) make(`${d}/${name}`);
      same(readdirSync(d).sort(), names);
      for (const name of names) unlinkSync(`${d}/${name}`);
      same(readdirSync(d), []);
    },
  },
];

const RENAMING: readonly Case[] = [
  {
    name: 'a file takes the place of another one at once',
    run: (d) => {
      make(`${d}/a`, 'new', 0o600);
      make(`${d}/b`, 'old');
      opened(`${d}/b`, O_RDONLY, (fd) => {
        renameSync(`${d}/a`, `${d}/b`);
        same(readFileSync(fd, 'utf8'), 'old', 'who has the old one open');
      });
      same([textOf(`${d}/b`), modeOf(`${d}/b`), existsSync(`${d}/a`)], ['new', 0o600, false]);
      renameSync(`${d}/b`, `${d}/b`);
      same(textOf(`${d}/b`), 'new');
    },
  },
  {
    name: 'a file that is open is still the same under its new name',
    run: (d) => {
      make(`${d}/a`, 'one ');
      opened(`${d}/a`, O_RDWR, (fd) => {
        const { ino } = fstatSync(fd);
        writeSync(fd, 'two ', 4);
        renameSync(`${d}/a`, `${d}/b`);
        writeSync(fd, 'three', 8);
        same(statSync(`${d}/b`).ino, ino, 'its number');
        same(textOf(`${d}/b`), 'one two three');
      });
      same(textOf(`${d}/b`), 'one two three');
    },
  },
  {
    name: 'a folder is renamed with all that is below it, open files too',
    run: (d) => {
      mkdirSync(`${d}/x/y/z`, { recursive: true });
      make(`${d}/x/y/z/f`, 'deep');
      make(`${d}/x/g`, 'flat');
      symlinkSync('g', `${d}/x/l`);
      opened(`${d}/x/y/z/f`, O_RDWR, (fd) => {
        renameSync(`${d}/x`, `${d}/w`);
        writeSync(fd, ' water', 4);
      });
      same([textOf(`${d}/w/y/z/f`), textOf(`${d}/w/l`), existsSync(`${d}/x`)], ['deep water', 'flat', false]);
      same(readdirSync(`${d}/w`).sort(), ['g', 'l', 'y']);
    },
  },
  {
    name: 'a folder takes the place of an empty one only, and files and folders never each other’s',
    run: (d) => {
      for (const name of ['full/x', 'empty', 'other']) mkdirSync(`${d}/${name}`, { recursive: true });
      make(`${d}/f`);
      refuses(['ENOTEMPTY', 'EEXIST'], () => renameSync(`${d}/other`, `${d}/full`));
      refuses('ENOTDIR', () => renameSync(`${d}/other`, `${d}/f`));
      refuses('EISDIR', () => renameSync(`${d}/f`, `${d}/other`));
      renameSync(`${d}/full`, `${d}/empty`);
      same(readdirSync(d).sort(), ['empty', 'f', 'other']);
      same(readdirSync(`${d}/empty`), ['x']);
    },
  },
  {
    name: 'a folder cannot be put below itself',
    run: (d) => {
      mkdirSync(`${d}/x/y`, { recursive: true });
      refuses('EINVAL', () => renameSync(`${d}/x`, `${d}/x/y/z`));
      refuses(['EINVAL', 'ENOTEMPTY'], () => renameSync(`${d}/x`, `${d}/x/y`));
      refuses(['ENOTEMPTY', 'EEXIST'], () => renameSync(`${d}/x/y`, `${d}/x`));
    },
  },
  {
    name: 'a rename from or to nowhere is refused',
    run: (d) => {
      make(`${d}/f`);
      refuses('ENOENT', () => renameSync(`${d}/no`, `${d}/x`));
      refuses('ENOENT', () => renameSync(`${d}/f`, `${d}/no/x`));
      refuses('ENOTDIR', () => renameSync(`${d}/f`, `${d}/f/x`));
      same(textOf(`${d}/f`), '');
    },
  },
  {
    name: 'a rename that is to replace nothing replaces nothing',
    run: (d) => {
      make(`${d}/a`, 'a');
      make(`${d}/b`, 'b');
      refuses('EEXIST', () => renameWith(`${d}/a`, `${d}/b`, 1));
      same([textOf(`${d}/a`), textOf(`${d}/b`)], ['a', 'b']);
      renameWith(`${d}/a`, `${d}/c`, 1);
      same(textOf(`${d}/c`), 'a');
    },
  },
  {
    name: 'an exchange of two names is done, or refused as what the file system does not do',
    run: (d) => {
      make(`${d}/a`, 'a');
      make(`${d}/b`, 'b');
      let done = true;
      try {
        renameWith(`${d}/a`, `${d}/b`, 2);
      } catch (error) {
        done = false;
        refuses(['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'], () => {
          throw error;
        });
      }
      same([textOf(`${d}/a`), textOf(`${d}/b`)], done ? ['b', 'a'] : ['a', 'b']);
    },
  },
];

const LINKING: readonly Case[] = [
  {
    name: 'a symbolic link is what it says, and leads where it says',
    run: (d) => {
      const targets = ['f', '/etc/hostname', 'no/where', 'x'.repeat(1000), '../ä b'];
      for (const [n, target] of targets.entries()) {
        symlinkSync(target, `${d}/l${n}`);
        same(readlinkSync(`${d}/l${n}`), target);
        holds(lstatSync(`${d}/l${n}`).isSymbolicLink(), 'it is no link');
        same(lstatSync(`${d}/l${n}`).size, Buffer.byteLength(target), 'its size');
      }
      make(`${d}/f`, 'text');
      same(textOf(`${d}/l0`), 'text');
      refuses('ENOENT', () => statSync(`${d}/l2`));
      refuses('EINVAL', () => readlinkSync(`${d}/f`));
      refuses('ELOOP', () => openSync(`${d}/l0`, O_RDONLY | O_NOFOLLOW));
      unlinkSync(`${d}/l0`);
      same(textOf(`${d}/f`), 'text', 'what it led to');
    },
  },
  {
    name: 'links in a circle are noticed',
    run: (d) => {
      symlinkSync('b', `${d}/a`);
      symlinkSync('a', `${d}/b`);
      refuses('ELOOP', () => statSync(`${d}/a`));
      refuses('ELOOP', () => openSync(`${d}/a/x`, O_CREAT | O_WRONLY));
    },
  },
  {
    name: 'a link to a folder leads into it, and a file can be made through a link that leads nowhere yet',
    run: (d) => {
      mkdirSync(`${d}/x`);
      symlinkSync('x', `${d}/l`);
      make(`${d}/l/f`, 'text');
      same(textOf(`${d}/x/f`), 'text');
      symlinkSync('x/g', `${d}/m`);
      closeSync(openSync(`${d}/m`, O_CREAT | O_WRONLY));
      holds(statSync(`${d}/x/g`).isFile(), 'it was not made');
      refuses('ENOTDIR', () => rmdirSync(`${d}/l`));
    },
  },
  {
    name: 'hard links are refused in a way that programs know',
    run: (d) => {
      make(`${d}/a`, 'text');
      try {
        linkSync(`${d}/a`, `${d}/b`);
      } catch (error) {
        refuses('EPERM', () => {
          throw error;
        });
        refuses('ENOENT', () => statSync(`${d}/b`));
        same(statSync(`${d}/a`).nlink, 1);
        return;
      }
      same([statSync(`${d}/a`).nlink, textOf(`${d}/b`)], [2, 'text']);
    },
  },
];

export const NAMES: readonly Case[] = [...MAKING, ...REMOVING, ...RENAMING, ...LINKING];
