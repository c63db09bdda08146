// The processes that work on shares: stuck, killed, left alone, and in the image.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { bundle } from '../../../../plugin-configs/bundle.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { WorkerProcess } from '../../../../volume-plugin/nfs/worker-process.ts';
import { FILES_TIMES } from '../../../../volume-plugin/nfs/worker-share-files.ts';
import { codeOf, context, inOwnMounts, loopDisk, messageOf, run, scratch } from '../block/scratch.ts';
import { workers } from './made-up-server.ts';
import { scene, until } from './worker-scene.ts';

inOwnMounts(import.meta.filename);

const silent = async (): Promise<void> => {
  throw new PluginError('SHARE_SILENT', { share: 'server:/x', reason: 'no answer' });
};

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
  t.equal(await codeOf(files.bind('', '/nowhere', null, c)), 'SHARE_SILENT');
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

t.test('the plugin goes on when a process is killed that was given up before it had started', async (t) => {
  const worker = new WorkerProcess(scene(t).root, () => undefined, silentLogger);
  worker.ask('names', { folder: '' }, () => undefined);
  // What nobody looks at rejects now: unhandled, it would end this process.
  worker.kill();
  await until(() => worker.ended);
  t.ok(worker.ended);
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
    t.ok(n === 4 || read > 0, 'reading goes on beside it');
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
  // One that has ended may stay in the list for a while, but has no arguments any more.
  const commandLine = `/proc/${Number(String(line))}/cmdline`;
  const runs = (): boolean => existsSync(commandLine) && readFileSync(commandLine, 'utf8') !== '';
  t.ok(runs());
  plugin.kill('SIGKILL');
  await until(() => !runs());
  t.notOk(runs());
});

t.test('in the image it is a small program of its own, for it is started often', async (t) => {
  const folder = scratch(t);
  const entry = join(import.meta.dirname, '../../../../volume-plugin/nfs/share-worker.ts');
  const files = await bundle(join(import.meta.dirname, '../../plugin-configs/bundle-fixture/main.ts'), folder, {
    'share-worker': entry,
  });
  const { sources = [], needs = [] } = files.find(({ name }) => name === 'share-worker.cjs') ?? {};
  const all = [...sources, ...files.flatMap(({ name, sources: more }) => (needs.includes(name) ? more : []))];
  t.match(all.join(), /worker-files\.ts/);
  t.same(
    all.filter((path) => !/worker[-a-z]*\.ts|error-code\.ts/.test(path)),
    [],
  );
});
