/** Programs nobody here wrote, at work in a folder of a mounted bucket. Each throws what is wrong. */
import { existsSync, readdirSync } from 'node:fs';
import { chmod, chown, lutimes, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { must, run } from '../rig/command.ts';
import { Random } from './random.ts';

/** How much of it. */
export interface Extent {
  readonly long: boolean;
  /** Takes the volume off and mounts it again: what was closed is then read from the store. */
  readonly remount: () => Promise<void>;
}

export interface Program {
  readonly name: string;
  /** It takes too long for every day. */
  readonly long?: true;
  /** Why it cannot be run on this machine; undefined: it can. */
  missing(): string | undefined;
  run(folder: string, extent: Extent): Promise<void>;
}

const WAIT_MS = 600_000;
const SEARCHED = (process.env['PATH'] ?? '').split(':');

const absent = (...programs: readonly string[]): string | undefined => {
  const lost = programs.filter((program) => !SEARCHED.some((folder) => existsSync(path.join(folder, program))));
  return lost.length === 0 ? undefined : `${lost.join(' and ')} is not installed`;
};

const done = (argv: readonly string[], more: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): Promise<string> =>
  must(argv, { timeoutMs: WAIT_MS, ...more });

/** A folder of this machine's own for the time of the work. */
async function beside<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'drayage-suite-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Files of all sizes, modes, times and kinds, the same for the same seed. */
async function plant(folder: string, count: number, seed: number): Promise<void> {
  const random = new Random(seed);
  for (let n = 0; n < count; n += 1) {
    const parent = path.join(folder, `d${random.below(7)}`, ...(random.below(3) === 0 ? [`e ${random.below(3)}`] : []));
    await mkdir(parent, { recursive: true });
    const name = path.join(parent, `${random.below(4) === 0 ? 'ä ' : 'f'}${n}.txt`);
    if (n % 11 === 10) await symlink(`f${n - 1}.txt`, name);
    else {
      const data = Buffer.alloc(random.below(10) === 0 ? random.below(300_000) : random.below(6_000));
      random.fill(data);
      await writeFile(name, data);
      await chmod(name, [0o644, 0o600, 0o755, 0o440, 0o666][random.below(5)] ?? 0o644);
      if (n % 5 === 0) await chown(name, 1000 + random.below(3), 100);
    }
    const time = 1_500_000_000 + random.below(100_000_000) + 0.25;
    if (n % 11 === 10) await lutimes(name, time, time);
    else await utimes(name, time, time);
  }
  await mkdir(path.join(folder, 'empty'));
  await writeFile(path.join(folder, 'nothing'), '');
  // A time that is not within a second of the object's own: those are listed as the object's.
  await utimes(path.join(folder, 'nothing'), 1_500_000_000, 1_500_000_000);
}

/** Names, kinds, modes, owners, sizes, times and checksums of everything below a folder. */
async function picture(folder: string): Promise<string> {
  const format = ['%P %y %m %U %G %l', '-not', '-type', 'd', '-printf', ' %s %T@'];
  const list = ['find', '.', '-printf', format[0] ?? '', ...format.slice(1), ',', '-printf', '\\n'];
  const shown = (await done(list, { cwd: folder })).split('\n').sort();
  const sums = await done(['find', '.', '-type', 'f', '-exec', 'sha256sum', '{}', '+'], { cwd: folder });
  return [...shown, ...sums.split('\n').sort()].join('\n');
}

async function alike(one: string, other: string): Promise<void> {
  const [wanted, found] = [await picture(one), await picture(other)].map((text) => text.split('\n'));
  const lost = wanted?.filter((line) => found?.includes(line) !== true) ?? [];
  const extra = found?.filter((line) => wanted?.includes(line) !== true) ?? [];
  if (lost.length + extra.length === 0) return;
  throw new Error(`instead of\n${lost.slice(0, 10).join('\n')}\nthere is\n${extra.slice(0, 10).join('\n')}`);
}

const TAR: Program = {
  name: 'tar: a tree that is packed and unpacked is the same, with owners and times',
  missing: () => absent('tar', 'find', 'sha256sum'),
  run: (folder, { long, remount }) =>
    beside(async (source) => {
      await plant(source, long ? 2_000 : 60, 1);
      const tree = path.join(folder, 'tree');
      await mkdir(tree);
      await done(['sh', '-c', 'tar -C "$0" --format=pax -cf - . | tar -C "$1" -xpf -', source, tree]);
      await alike(source, tree);
      await remount();
      await alike(source, tree);
      await beside(async (back) => {
        const file = path.join(folder, 'tree.tar.gz');
        await done(['tar', '-C', tree, '--format=pax', '-czf', file, '.']);
        await done(['tar', '-C', back, '-xpzf', file]);
        await alike(source, back);
      });
    }),
};

const RSYNC: Program = {
  name: 'rsync: what was copied needs no second copy, changes arrive, also in place, and what is gone goes',
  missing: () => absent('rsync'),
  run: (folder, { long, remount }) =>
    beside(async (source) => {
      await plant(source, long ? 1_000 : 60, 2);
      const tree = `${path.join(folder, 'tree')}/`;
      const sync = (...more: readonly string[]) => done(['rsync', '-a', '--delete', ...more, `${source}/`, tree]);
      await sync();
      const again = await sync('--checksum', '--dry-run', '--itemize-changes');
      if (again.trim() !== '') throw new Error(`a second run would copy again:\n${again.slice(0, 500)}`);
      await remount();
      await alike(source, tree);
      const names = (await done(['find', '.', '-type', 'f', '-size', '+1k'], { cwd: source })).trim().split('\n');
      for (const [n, name] of names.entries()) {
        const file = path.join(source, name);
        if (n % 3 === 0) await rm(file);
        else if (n % 3 === 1) await writeFile(file, Buffer.concat([await readFile(file), Buffer.from('more')]));
      }
      await sync('--inplace', '--no-whole-file');
      await alike(source, tree);
    }),
};

const GIT: Program = {
  name: 'git: a clone is sound, takes commits, is packed anew and cloned from',
  missing: () => absent('git'),
  run: (folder, { long, remount }) =>
    beside(async (source) => {
      const env = {
        ...process.env,
        ...{ GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' },
        ...{ GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
      };
      const git = (cwd: string, ...args: readonly string[]) =>
        done(['git', '-c', 'safe.directory=*', '-c', 'gc.auto=0', ...args], { cwd, env });
      await git(source, 'init', '-q', '-b', 'main');
      for (let n = 0; n < (long ? 20 : 4); n += 1) {
        await mkdir(path.join(source, `part${n}`));
        await plant(path.join(source, `part${n}`), long ? 100 : 25, 10 + n);
        await git(source, 'add', '-A');
        await git(source, 'commit', '-q', '-m', `part ${n}`);
      }
      const clone = path.join(folder, 'clone');
      await git(folder, 'clone', '-q', `file://${source}`, clone);
      await git(clone, 'fsck', '--full', '--strict');
      await writeFile(path.join(clone, 'more'), 'more\n');
      await git(clone, 'checkout', '-q', '-b', 'work');
      await git(clone, 'add', '-A');
      await git(clone, 'commit', '-q', '-m', 'more');
      await git(clone, 'gc', '-q', '--prune=now');
      await remount();
      await git(clone, 'fsck', '--full', '--strict');
      const state = await git(clone, 'status', '--porcelain');
      if (state !== '') throw new Error(`the work tree is changed:\n${state.slice(0, 500)}`);
      await beside((back) => git(back, 'clone', '-q', `file://${clone}`, path.join(back, 'clone')));
    }),
};

const NPM: Program = {
  name: 'npm ci: packages of a lock file are unpacked, linked and run',
  missing: () => absent('npm'),
  run: (folder, { remount }) =>
    beside(async (source) => {
      const parts = ['one', 'two', 'three'];
      for (const name of parts) {
        const part = path.join(source, name);
        await mkdir(part);
        await writeFile(
          path.join(part, 'package.json'),
          JSON.stringify({ name, version: '1.0.0', bin: { [name]: 'run.js' } }),
        );
        await writeFile(path.join(part, 'run.js'), `#!/usr/bin/env node\nconsole.log('${name} runs');\n`);
        await plant(path.join(part, 'files'), 40, name.length).catch(() => undefined);
        await done(['npm', 'pack', '--silent', '--pack-destination', source], { cwd: part });
      }
      const app = path.join(folder, 'app');
      await mkdir(app);
      const dependencies = Object.fromEntries(parts.map((name) => [name, `file:${source}/${name}-1.0.0.tgz`]));
      await writeFile(path.join(app, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', dependencies }));
      const flags = ['--offline', '--no-audit', '--no-fund', '--loglevel=error', '--cache', path.join(folder, 'cache')];
      await done(['npm', 'install', '--package-lock-only', ...flags], { cwd: app });
      await done(['npm', 'ci', ...flags], { cwd: app });
      await remount();
      for (const name of parts) {
        const said = await done([path.join(app, 'node_modules/.bin', name)]);
        if (said.trim() !== `${name} runs`) throw new Error(`${name} said ${said}`);
      }
      await done(['npm', 'ls', '--all', ...flags], { cwd: app });
    }),
};

const SQLITE: Program = {
  name: 'SQLite: transactions in all journal modes, and databases that are sound afterwards',
  missing: () => undefined,
  run: async (folder, { long, remount }) => {
    const program = path.join(import.meta.dirname, 'sqlite.ts');
    const rows = String(long ? 20_000 : 300);
    const args = [process.execPath, '--disable-warning=ExperimentalWarning', program, folder, rows];
    await done([...args, 'write']);
    await done([...args, 'check']);
    await remount();
    await done([...args, 'check']);
  },
};

const FIO: Program = {
  name: 'fio: what is written anywhere in files, also through memory, has its checksums',
  missing: () => absent('fio'),
  run: async (folder, { long, remount }) => {
    const size = long ? '256m' : '4m';
    const jobs = [
      ['--name=random', '--ioengine=psync', '--rw=randwrite', '--bsrange=512-64k', '--numjobs=2'],
      ['--name=memory', '--ioengine=mmap', '--rw=randwrite', '--bs=4k'],
      ['--name=line', '--ioengine=psync', '--rw=write', '--bs=1m', '--end_fsync=1'],
      ['--name=past-the-cache', '--ioengine=psync', '--direct=1', '--rw=randwrite', '--bs=64k'],
    ];
    const common = [
      '--verify=crc32c',
      '--verify_fatal=1',
      '--randrepeat=1',
      '--output-format=terse',
      '--group_reporting',
      '--verify_state_save=0',
    ];
    for (const job of jobs) await done(['fio', ...job, `--size=${size}`, `--directory=${folder}`, ...common]);
    await remount();
    for (const job of jobs) {
      const again = ['--verify_only=1', `--size=${size}`, `--directory=${folder}`];
      await done(['fio', ...job, ...again, ...common]);
    }
  },
};

/** The newest PostgreSQL of the machine. */
const postgresPrograms = (): string | undefined => {
  const base = '/usr/lib/postgresql';
  const [newest] = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  return newest === undefined ? undefined : path.join(base, newest, 'bin');
};

const NOBODY = 65_534;

const POSTGRES: Program = {
  long: true,
  name: 'pg_basebackup: a backup of a running PostgreSQL is verified, and a server starts from it',
  missing: () => (postgresPrograms() === undefined ? 'PostgreSQL is not installed' : absent('setpriv')),
  run: (folder, { long, remount }) =>
    beside(async (source) => {
      const bin = postgresPrograms() ?? '';
      await chmod(source, 0o755);
      const [data, sockets, backup] = [path.join(source, 'data'), path.join(source, 's'), path.join(folder, 'backup')];
      for (const own of [data, sockets, backup]) {
        await mkdir(own, { mode: 0o700 });
        await chown(own, NOBODY, NOBODY);
      }
      const env = {
        PATH: process.env['PATH'],
        PGHOST: sockets,
        PGUSER: 'postgres',
        PGDATABASE: 'postgres',
        LC_ALL: 'C',
      };
      const own = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
      const pg = (program: string, ...args: readonly string[]) =>
        done([...own, path.join(bin, program), ...args], { cwd: source, env });
      const serve = (at: string, what: readonly string[]) => {
        const options = `-k ${sockets} -c listen_addresses='' -c fsync=off -c wal_level=replica`;
        return pg(
          'pg_ctl',
          '-D',
          at,
          '-w',
          '-t',
          '120',
          ...what,
          ...(what[0] === 'start' ? ['-l', `${sockets}/log`, '-o', options] : []),
        );
      };
      const ask = (query: string) => pg('psql', '-qAtX', '-v', 'ON_ERROR_STOP=1', '-c', query);
      await pg('initdb', '-D', data, '-U', 'postgres', '-A', 'trust', '-N');
      await serve(data, ['start']);
      let sum = '';
      try {
        await ask(`create table t as select g, md5(g::text) m from generate_series(1, ${long ? 2_000_000 : 20_000}) g`);
        sum = await ask('select count(*), md5(string_agg(m, null order by g)) from t');
        await pg('pg_basebackup', '-D', backup, '-Fp', '-X', 'stream', '-c', 'fast');
      } finally {
        await serve(data, ['stop', '-m', 'fast']);
      }
      await remount();
      await pg('pg_verifybackup', backup);
      await serve(backup, ['start']);
      try {
        const found = await ask('select count(*), md5(string_agg(m, null order by g)) from t');
        if (found !== sum) throw new Error(`the backup has ${found} instead of ${sum}`);
      } finally {
        await serve(backup, ['stop', '-m', 'fast']);
      }
    }),
};

export const PROGRAMS: readonly Program[] = [TAR, RSYNC, GIT, NPM, SQLITE, FIO, POSTGRES];

/** The exerciser on files of its own. Rejects with the difference. */
export async function exercise(folder: string, seed: number, operations: number, length: number): Promise<string> {
  const program = path.join(import.meta.dirname, 'exerciser.ts');
  const file = path.join(folder, `exercised-${seed}-${length}`);
  const argv = [process.execPath, program, file, '--seed', String(seed), '--operations', String(operations)];
  return await must([...argv, '--length', String(length)], { timeoutMs: 6 * WAIT_MS });
}

export interface PosixOutcome {
  readonly name: string;
  readonly problem?: string;
}

/** What came of all cases of POSIX, in a folder that everybody may pass through. */
export async function posix(folder: string): Promise<readonly PosixOutcome[]> {
  const { stdout, stderr, code } = await run([process.execPath, path.join(import.meta.dirname, 'posix.ts'), folder], {
    timeoutMs: WAIT_MS,
  });
  if (code !== 0) throw new Error(stderr);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as PosixOutcome);
}
