// Files of shares, through the real worker process, on folders of this machine.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { bundle } from '../../../../plugin-configs/bundle.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { FILES_TIMES, type FilesParts, WorkerShareFiles } from '../../../../volume-plugin/nfs/worker-share-files.ts';
import { codeOf, context, inOwnMounts, loopDisk, messageOf, run, scratch } from '../block/scratch.ts';
import { workers } from './made-up-server.ts';

inOwnMounts(import.meta.filename);

const TRAITS = { uid: 0, gid: 0, mode: 0o755 };

const filesOf = (t: Test, root: string, change: Partial<FilesParts> = {}): WorkerShareFiles => {
  const files = new WorkerShareFiles({
    ...{ shareId: 'server:/x', root, times: FILES_TIMES, log: silentLogger },
    server: { isSilent: () => false, check: async () => undefined },
    onStale: () => undefined,
    ...change,
  });
  t.teardown(() => files.close());
  return files;
};

const scene = (t: Test, change: Partial<FilesParts> = {}) => {
  const root = scratch(t);
  return { root, files: filesOf(t, root, change), c: context() };
};

const until = async (what: () => boolean): Promise<void> => {
  for (const end = performance.now() + 10_000; !what() && performance.now() < end; ) await sleep(10);
};

const silent = async (): Promise<void> => {
  throw new PluginError('SHARE_SILENT', { share: 'server:/x', reason: 'no answer' });
};

t.test(
  'a new folder has the owner and the permissions that were asked for; one that is there keeps its own',
  async (t) => {
    const { root, files, c } = scene(t);
    t.equal(await files.makeFolder('a/b', { uid: 33, gid: 44, mode: 0o2770 }, c), true);
    const { uid, gid, mode } = statSync(join(root, 'a/b'));
    t.same([uid, gid, mode & 0o7777], [33, 44, 0o2770]);
    t.equal(statSync(join(root, 'a')).mode & 0o7777, 0o755, 'those above it are anybody’s to pass through');
    t.equal(await files.makeFolder('a/b', TRAITS, c), false);
    t.equal(statSync(join(root, 'a/b')).uid, 33);
    t.same([await files.hasFolder('a/b', c), await files.hasFolder('a/c', c)], [true, false]);
  },
);

t.test('a folder whose making was cut off before it had its owner is finished by the next one', async (t) => {
  const { root, files, c } = scene(t);
  mkdirSync(join(root, 'a'), { mode: 0o1700 });
  t.equal(await files.makeFolder('a', { uid: 33, gid: 33, mode: 0o750 }, c), true);
  t.same([statSync(join(root, 'a')).uid, statSync(join(root, 'a')).mode & 0o7777], [33, 0o750]);
});

t.test('of two hosts that create the same file at once one does, and the file is whole', async (t) => {
  const { root, files: one, c } = scene(t);
  const other = filesOf(t, root);
  await Promise.all([one.names('', c), other.names('', c)]);
  for (let n = 0; n < 20; n += 1) {
    const texts = ['a', 'b'].map((letter) => letter.repeat(100_000));
    const [first = '', second = ''] = texts;
    const made = await Promise.all([one.createFile(`${n}.json`, first, c), other.createFile(`${n}.json`, second, c)]);
    t.equal(made.filter(Boolean).length, 1);
    t.equal(await one.readFile(`${n}.json`, c), made[0] ? first : second);
  }
  t.equal(readdirSync(root).length, 20, 'and nothing else is left');
});

t.test('a file that is replaced is always there, as it was or as it is', async (t) => {
  const { root, files, c } = scene(t);
  await files.createFile('lease', '0'.repeat(1000), c);
  let torn = 0;
  const filesToRead = filesOf(t, root);
  const reading = (async () => {
    for (let n = 0; n < 60; n += 1) {
      const text = (await filesToRead.readFile('lease', c)) ?? '';
      if (text.length !== 1000 || new Set(text).size !== 1) torn += 1;
    }
  })();
  for (let n = 1; n < 30; n += 1) await files.replaceFile('lease', `${n % 10}`.repeat(1000), c);
  await reading;
  t.equal(torn, 0);
  await files.removeFile('lease', c);
  await files.removeFile('lease', c);
  t.equal(await files.readFile('lease', c), undefined);
});

t.test('a symbolic link that somebody has put on the share leads nowhere', async (t) => {
  const { root, files, c } = scene(t);
  const outside = scratch(t);
  writeFileSync(join(outside, 'secret.json'), 'secret');
  mkdirSync(join(root, 'real'));
  symlinkSync(outside, join(root, 'evil'));
  symlinkSync(join(outside, 'secret.json'), join(root, 'real', 'link.json'));
  symlinkSync(outside, join(root, 'real', 'folder'));
  const refused = [
    () => files.readFile('evil/secret.json', c),
    () => files.readFile('real/link.json', c),
    () => files.createFile('evil/new', '', c),
    () => files.replaceFile('evil/secret.json', '', c),
    () => files.makeFolder('evil/a', TRAITS, c),
    () => files.makeFolder('evil', TRAITS, c),
    () => files.removeFile('evil/secret.json', c),
    () => files.move('evil/secret.json', 'mine', c),
    () => files.names('evil', c),
    () => files.hold('evil', c),
    () => files.removeTree('evil', c),
    () => files.readFile('../x', c),
    () => files.removeTree('', c),
  ];
  for (const [index, one] of refused.entries()) t.equal(await codeOf(one()), 'BACKEND_REFUSED', `call ${index}`);
  t.equal(await files.hasFolder('evil', c), false);
  t.same(await files.readFiles('real', '.json', c), []);
  await files.removeTree('real', c);
  t.equal(readFileSync(join(outside, 'secret.json'), 'utf8'), 'secret');
  t.same([existsSync(join(root, 'real')), lstatSync(join(root, 'evil')).isSymbolicLink()], [false, true]);
});

t.test('all files with an ending are read; what is no file, and what is being written, is not', async (t) => {
  const { root, files, c } = scene(t);
  t.same(await files.readFiles('v', '.json', c), []);
  for (let n = 0; n < 50; n += 1) await files.createFile(`v${n}.json`, String(n), c);
  mkdirSync(join(root, 'x.json'));
  writeFileSync(join(root, '.~y.json'), '');
  writeFileSync(join(root, 'z.txt'), '');
  const found = await files.readFiles('', '.json', c);
  t.same(found.map(({ name }) => name).sort(), Array.from({ length: 50 }, (_, n) => `v${n}.json`).sort());
  t.ok(found.every(({ name, content }) => name === `v${content}.json`));
  t.equal((await files.names('', c)).length, 52, 'names are told of folders, too');
  t.same(await files.names('gone', c), []);
});

t.test('a folder of any depth and width goes, for two hosts at once as well', async (t) => {
  const { root, files, c } = scene(t);
  const deep = join(root, 'tree', ...Array.from({ length: 120 }, () => 'd'));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, 'f'), '');
  for (let n = 0; n < 300; n += 1) writeFileSync(join(root, 'tree', `f${n}`), '');
  await Promise.all([files.removeTree('tree', c), filesOf(t, root).removeTree('tree', c)]);
  t.same(readdirSync(root), []);
  await files.removeTree('tree', c);
});

t.test('what is moved is moved once', async (t) => {
  const { files, c } = scene(t);
  await files.makeFolder('a/b', TRAITS, c);
  await files.makeFolder('trash', TRAITS, c);
  t.same([await files.move('a/b', 'trash/b', c), await files.move('a/b', 'trash/b', c)], [true, false]);
  t.equal(await files.hasFolder('trash/b', c), true);
  t.equal(await codeOf(files.move('trash/b', 'nowhere/b', c)), 'SHARE_MISSING');
});

t.test('a share that is full or can be read only says so', async (t) => {
  const { root, files, c } = scene(t);
  run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', root);
  t.equal(await codeOf(files.createFile('a', 'x'.repeat(200_000), c)), 'BACKEND_REFUSED');
  t.match(await messageOf(files.createFile('a', 'x'.repeat(200_000), c)), /refused to write a: there is no space left/);
  t.same(await files.names('', c), [], 'nothing of it stays');
  const { size, free } = await files.room('', c);
  t.same([size, free <= size && free > 0], [65_536, true]);
  await files.makeFolder('there', TRAITS, c);
  run('mount', '-o', 'remount,ro', root);
  t.equal(await codeOf(files.createFile('a', '', c)), 'SHARE_READONLY');
  t.equal(await codeOf(files.makeFolder('new', TRAITS, c)), 'SHARE_READONLY');
  t.equal(await files.makeFolder('there', TRAITS, c), false, 'what is there need not be made');
});

t.test(
  'NFS mounts hang: a process that is stuck with a silent server is given up, and nothing waits for it',
  async (t) => {
    const { files, c } = scene(t, {
      server: { isSilent: () => false, check: silent },
      times: { ...FILES_TIMES, silentMs: 1_000 },
    });
    await files.names('', c);
    const [stuck = 0] = workers();
    process.kill(stuck, 'SIGSTOP');
    const begun = performance.now();
    t.match(await codeOf(files.names('', c)), 'SHARE_SILENT');
    t.ok(performance.now() - begun < 3_000);
    t.same(await files.names('', c), [], 'the next one gets a process of its own');
    await until(() => files.leftBehind === 0);
    t.notOk(workers().includes(stuck), 'and the stuck one is gone');
  },
);

t.test('nobody waits for a server that is known to be silent', async (t) => {
  const { files, c } = scene(t, { server: { isSilent: () => true, check: silent } });
  t.equal(await codeOf(files.names('', c)), 'SHARE_SILENT');
  t.equal(await codeOf(files.hold('', c)), 'SHARE_SILENT');
  t.same(workers(), [], 'not even a process is started');
});

t.test('a server that has just been started is waited for longer than one that is silent', async (t) => {
  const times = { ...FILES_TIMES, silentMs: 500, graceMs: 1_500 };
  let asked = 0;
  const { files, c } = scene(t, {
    times,
    server: {
      isSilent: () => false,
      check: async () => {
        asked += 1;
      },
    },
  });
  await files.names('', c);
  const [pid = 0] = workers();
  process.kill(pid, 'SIGSTOP');
  const late = files.names('', c);
  await sleep(900);
  process.kill(pid, 'SIGCONT');
  t.same(await late, []);
  t.ok(asked > 0);
  process.kill(pid, 'SIGSTOP');
  t.match(await messageOf(files.names('', c)), /SHARE_SILENT: .* lets nobody at its files/);
});

t.test('a caller whose time is over is told so, and costs nobody the process', async (t) => {
  const { files, c } = scene(t);
  await files.names('', c);
  const [pid = 0] = workers();
  process.kill(pid, 'SIGSTOP');
  t.equal(await codeOf(files.names('', context(50))), 'DEADLINE');
  process.kill(pid, 'SIGCONT');
  t.same(await files.names('', c), []);
  t.same(workers(), [pid]);
});

t.test('processes that cannot even be killed are left behind, and after a few no more are begun', async (t) => {
  const { root, files, c } = scene(t, { times: { ...FILES_TIMES, silentMs: 400, graceMs: 400 } });
  const { device } = loopDisk(scratch(t));
  run('mkfs.ext4', '-q', device);
  run('mount', device, root);
  await files.names('', c);
  // Whoever writes waits from now on, and cannot be killed; as with some things that are asked of a server.
  run('fsfreeze', '--freeze', root);
  t.teardown(() => run('sh', '-c', `fsfreeze --unfreeze ${root} || true`));
  for (let n = 1; n <= 4; n += 1) {
    let open = true;
    const stuck = codeOf(files.createFile('a', 'x', c)).finally(() => {
      open = false;
    });
    let read = 0;
    while (open && n < 4) {
      if ((await files.names('', c))[0] === 'lost+found') read += 1;
      await sleep(20);
    }
    t.ok(n === 4 || read > 5, 'reading goes on beside it');
    t.equal(await stuck, 'SHARE_SILENT');
    t.equal(files.leftBehind, n);
  }
  t.match(await messageOf(files.names('', c)), /SHARE_SILENT: .* 4 processes that wait for it cannot be ended/);
  run('fsfreeze', '--unfreeze', root);
  await until(() => files.leftBehind === 0);
  t.equal(files.leftBehind, 0);
  await files.replaceFile('a', 'y', c);
  t.equal(await files.readFile('a', c), 'y');
  await files.close();
  await until(() => workers().length === 0);
  run('umount', root);
});

t.test('a process that is killed takes what it was asked with it, and nothing after that', async (t) => {
  const { files, c } = scene(t);
  await files.names('', c);
  const [pid = 0] = workers();
  process.kill(pid, 'SIGSTOP');
  const asked = codeOf(files.names('', c));
  process.kill(pid, 'SIGKILL');
  t.equal(await asked, 'SHARE_SILENT');
  t.same(await files.names('', c), []);
});

t.test('a process that nothing is asked of ends', async (t) => {
  const { files, c } = scene(t, { times: { ...FILES_TIMES, idleMs: 100 } });
  await files.names('', c);
  const [pid = 0] = workers();
  await until(() => workers().length === 0);
  t.same(workers(), []);
  t.same(await files.names('', c), []);
  t.not(workers()[0], pid);
});

t.test('it ends with the plugin, also when that is killed', async (t) => {
  const { root } = scene(t);
  const script = `
    import { Companion } from '${join(import.meta.dirname, '../../../../shared/kernel/companion.ts')}';
    const entry = '${join(import.meta.dirname, '../../../../volume-plugin/nfs/share-worker.ts')}';
    const log = { warn: () => undefined };
    const events = { message: () => console.log(one.pid), end: () => undefined };
    const one = new Companion(entry, ['${root}'], [], {}, events, log);
    setInterval(() => undefined, 1000);`;
  const plugin = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => plugin.kill('SIGKILL'));
  const [line] = (await once(plugin.stdout, 'data')) as [Buffer];
  const worker = `/proc/${Number(String(line))}`;
  t.ok(existsSync(worker));
  plugin.kill('SIGKILL');
  await until(() => !existsSync(worker));
  t.notOk(existsSync(worker));
});

t.test('in the image it is a small program of its own, for it is started often', async (t) => {
  const folder = scratch(t);
  const entry = join(import.meta.dirname, '../../../../volume-plugin/nfs/share-worker.ts');
  const files = await bundle(join(import.meta.dirname, '../../plugin-configs/bundle-fixture/main.ts'), folder, [entry]);
  const { sources = [], needs = [] } = files.find(({ name }) => name === 'share-worker.cjs') ?? {};
  const all = [...sources, ...files.flatMap(({ name, sources: more }) => (needs.includes(name) ? more : []))];
  t.match(all.join(), /worker-files\.ts/);
  t.same(
    all.filter((path) => !/worker[-a-z]*\.ts|error-code\.ts/.test(path)),
    [],
  );
});
