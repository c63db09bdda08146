/** Who may do what. The cases run as root and become others on the way. */
import {
  chmodSync,
  chownSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import {
  as,
  type Case,
  changes,
  make,
  modeOf,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  opened,
  refuses,
  same,
  textOf,
} from './posix-scene.ts';

const ownerOf = (path: string): readonly [number, number] => [lstatSync(path).uid, lstatSync(path).gid];

export const RIGHTS: readonly Case[] = [
  {
    name: 'permissions are kept, all twelve bits of them, and change the time of the change alone',
    run: (d) => {
      make(`${d}/f`);
      mkdirSync(`${d}/d`);
      for (const mode of [0, 0o400, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o1777, 0o7777]) {
        for (const path of [`${d}/f`, `${d}/d`]) {
          chmodSync(path, mode);
          same(modeOf(path), mode);
        }
      }
      const { mtimeMs } = statSync(`${d}/f`);
      changes(`${d}/f`, ['ctimeMs'], () => chmodSync(`${d}/f`, 0o600));
      same(statSync(`${d}/f`).mtimeMs, mtimeMs);
    },
  },
  {
    name: 'owner and group are kept, of links too, and are those of who makes',
    run: (d) => {
      chmodSync(d, 0o777);
      make(`${d}/f`);
      chownSync(`${d}/f`, 123, 456);
      same(ownerOf(`${d}/f`), [123, 456]);
      symlinkSync('f', `${d}/l`);
      lchownSync(`${d}/l`, 7, 8);
      same(
        [ownerOf(`${d}/l`), ownerOf(`${d}/f`)],
        [
          [7, 8],
          [123, 456],
        ],
      );
      as(65_534, 65_533, () => {
        make(`${d}/mine`);
        mkdirSync(`${d}/my`);
        symlinkSync('x', `${d}/myl`);
      });
      for (const name of ['mine', 'my', 'myl']) same(ownerOf(`${d}/${name}`), [65_534, 65_533], name);
    },
  },
  {
    name: 'who may not read or write is refused',
    run: (d) => {
      chmodSync(d, 0o755);
      make(`${d}/f`, 'text', 0o600);
      chownSync(`${d}/f`, 1000, 1000);
      as(1001, 1001, () => {
        refuses('EACCES', () => openSync(`${d}/f`, O_RDONLY));
        refuses('EACCES', () => openSync(`${d}/f`, O_RDWR));
        refuses('EACCES', () => truncateSync(`${d}/f`, 0));
        refuses('EACCES', () => openSync(`${d}/new`, O_CREAT | O_WRONLY));
        refuses('EACCES', () => mkdirSync(`${d}/new`));
        refuses('EACCES', () => unlinkSync(`${d}/f`));
        refuses('EACCES', () => renameSync(`${d}/f`, `${d}/g`));
        refuses('EPERM', () => chmodSync(`${d}/f`, 0o777));
        refuses('EPERM', () => chownSync(`${d}/f`, 1001, 1001));
        refuses('EPERM', () => utimesSync(`${d}/f`, 1, 1));
      });
      as(1000, 1000, () => same(textOf(`${d}/f`), 'text'));
    },
  },
  {
    name: 'groups count, also those beside the first',
    run: (d) => {
      chmodSync(d, 0o755);
      make(`${d}/f`, 'text', 0o640);
      chownSync(`${d}/f`, 0, 2000);
      as(1001, 1001, () => refuses('EACCES', () => openSync(`${d}/f`, O_RDONLY)));
      as(1001, 2000, () => same(textOf(`${d}/f`), 'text'));
      as(1001, 1001, () => same(textOf(`${d}/f`), 'text'), [2000]);
      as(1001, 2000, () => refuses('EACCES', () => openSync(`${d}/f`, O_WRONLY)));
    },
  },
  {
    name: 'who may not pass through a folder gets at nothing in it, and who may not read it lists nothing',
    run: (d) => {
      chmodSync(d, 0o755);
      mkdirSync(`${d}/x`, 0o700);
      chmodSync(`${d}/x`, 0o700);
      make(`${d}/x/f`, 'text');
      as(1001, 1001, () => {
        refuses('EACCES', () => statSync(`${d}/x/f`));
        refuses('EACCES', () => readdirSync(`${d}/x`));
      });
      chmodSync(`${d}/x`, 0o711);
      as(1001, 1001, () => {
        same(textOf(`${d}/x/f`), 'text');
        refuses('EACCES', () => readdirSync(`${d}/x`));
      });
      chmodSync(`${d}/x`, 0o744);
      as(1001, 1001, () => {
        same(readdirSync(`${d}/x`), ['f']);
        refuses('EACCES', () => statSync(`${d}/x/f`));
      });
    },
  },
  {
    name: 'in a sticky folder everybody removes and renames only what is theirs',
    run: (d) => {
      mkdirSync(`${d}/t`);
      chmodSync(`${d}/t`, 0o1777);
      as(1000, 1000, () => {
        make(`${d}/t/a`);
        mkdirSync(`${d}/t/d`);
      });
      as(1001, 1001, () => {
        refuses(['EPERM', 'EACCES'], () => unlinkSync(`${d}/t/a`));
        refuses(['EPERM', 'EACCES'], () => rmdirSync(`${d}/t/d`));
        refuses(['EPERM', 'EACCES'], () => renameSync(`${d}/t/a`, `${d}/t/b`));
        make(`${d}/t/mine`);
        unlinkSync(`${d}/t/mine`);
      });
      as(1000, 1000, () => unlinkSync(`${d}/t/a`));
    },
  },
  {
    name: 'the owner alone changes permissions, and gives a file away to nobody',
    run: (d) => {
      chmodSync(d, 0o777);
      as(1000, 1000, () => {
        make(`${d}/f`);
        chmodSync(`${d}/f`, 0o600);
        refuses('EPERM', () => chownSync(`${d}/f`, 1001, 1000));
        refuses('EPERM', () => chownSync(`${d}/f`, 1000, 2000));
      });
      as(1000, 1000, () => chownSync(`${d}/f`, 1000, 2000), [2000]);
      same([...ownerOf(`${d}/f`), modeOf(`${d}/f`)], [1000, 2000, 0o600]);
    },
  },
  {
    name: 'who is not root writes or gives away and the bits go that make others somebody else',
    run: (d) => {
      chmodSync(d, 0o777);
      for (const name of ['written', 'given', 'cut']) {
        make(`${d}/${name}`, 'text');
        chownSync(`${d}/${name}`, 1000, 1000);
        chmodSync(`${d}/${name}`, 0o6777);
      }
      as(1001, 1001, () => {
        opened(`${d}/written`, O_WRONLY, (fd) => writeSync(fd, 'x'));
        truncateSync(`${d}/cut`, 1);
      });
      as(1000, 1000, () => chownSync(`${d}/given`, 1000, 2000), [2000]);
      for (const name of ['written', 'given', 'cut']) same(modeOf(`${d}/${name}`), 0o777, name);
    },
  },
  {
    name: 'in a folder whose group is passed on, new entries have it',
    run: (d) => {
      mkdirSync(`${d}/g`);
      chownSync(`${d}/g`, 0, 3000);
      chmodSync(`${d}/g`, 0o2777);
      as(1000, 1000, () => {
        make(`${d}/g/f`);
        mkdirSync(`${d}/g/d`);
      });
      same(
        [ownerOf(`${d}/g/f`), ownerOf(`${d}/g/d`), modeOf(`${d}/g/d`) & 0o2000],
        [[1000, 3000], [1000, 3000], 0o2000],
      );
    },
  },
  {
    name: 'who may write sets times to now, and only the owner to anything else',
    run: (d) => {
      chmodSync(d, 0o755);
      make(`${d}/f`, 'text', 0o666);
      chmodSync(`${d}/f`, 0o666);
      as(1001, 1001, () => refuses('EPERM', () => utimesSync(`${d}/f`, 1, 1)));
      chownSync(`${d}/f`, 1001, 1001);
      as(1001, 1001, () => utimesSync(`${d}/f`, 1, 1));
      same(statSync(`${d}/f`).mtimeMs, 1000);
    },
  },
];
