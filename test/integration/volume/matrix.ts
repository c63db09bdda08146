/** What users type with the `cloudvol` driver, on a real engine, and what crashes leave of it. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { EngineVersion } from '../../rig/packages.ts';
import { rigFor } from '../../rig/rig.ts';
import { pluginFolder } from '../support/plugin-folder.ts';
import { NAME, VolumeHost } from '../support/volume-host.ts';

const IMAGE = 'drayage/box:1';
const SLEEP = ['sleep', 'infinity'];

async function start(t: Test, engine: EngineVersion): Promise<VolumeHost> {
  // Built before the engine starts: it may take a while.
  await pluginFolder('volume');
  const rig = await rigFor(t, { hosts: 1, engine });
  return await VolumeHost.install(rig.host(1), { LOG_LEVEL: 'debug' });
}

export function matrix(engine: EngineVersion): void {
  t.setTimeout(240_000);
  t.test(`the cloudvol driver on engine ${engine}`, async (t) => {
    const one = await start(t, engine);
    const { host, plugin } = one;
    t.teardown(async () => {
      if (!t.passing()) t.comment(plugin.log().slice(-60).join('\n'));
    });

    await t.test('create, ls, inspect, rm', async (t) => {
      t.equal(await one.must('volume', 'create', '-d', NAME, '-o', 'size=64MiB', 'data'), 'data');
      t.match(await one.must('volume', 'ls'), /cloudvol:latest +data/);
      const [inspected] = JSON.parse(await one.must('volume', 'inspect', 'data')) as [Record<string, unknown>];
      t.match(inspected, { Driver: 'cloudvol:latest', Scope: 'global', Status: { type: 'block', state: 'available' } });
      const wrong = await host.docker(['volume', 'create', '-d', NAME, '-o', 'sise=1g', 'other']);
      t.match(wrong.stderr, /OPTION_UNKNOWN: There is no volume option "sise"; did you mean "size"\?/);
      const bad = await host.docker(['volume', 'create', '-d', NAME, 'a b']);
      t.match(bad.stderr, /VOLUME_NAME/);
      await one.must('volume', 'create', '-d', NAME, '-o', 'size=64MiB', 'short-lived');
      await one.must('volume', 'rm', 'short-lived');
      t.notMatch(await one.must('volume', 'ls', '-q'), /short-lived|other/);
    });

    await t.test('data stays, an image’s files are copied up, and there is no lost+found', async (t) => {
      await one.must('run', '--rm', '-v', 'data:/www', IMAGE, 'sh', '-c', 'echo kept > /www/kept && sync');
      const listed = await one.must('run', '--rm', '-v', 'data:/d', IMAGE, 'sh', '-c', 'cat /d/kept; ls -a /d');
      t.match(listed, /^kept\n/);
      t.match(listed, /cgi-bin/, 'copied from the image');
      t.notMatch(listed, /lost\+found/);
      await one.untilGone('data');
      t.equal(await one.holds('data'), 0);
      t.same(await one.loops(), [], 'the disk is detached');
    });

    await t.test(
      'day 2: it grows in use, its copy is mounted beside it, and rm keeps what on-remove says',
      async (t) => {
        // xfs: an engine in a container may not resize a mounted ext4.
        const options = ['-o', 'size=320MiB', '-o', 'fs=xfs', '-o', 'on-remove=retain'];
        await one.must('volume', 'create', '-d', NAME, ...options, 'grows');
        await one.must('run', '-d', '--name', 'writer', '-v', 'grows:/d', IMAGE, ...SLEEP);
        const kilobytes = async () => Number((await one.must('exec', 'writer', 'df', '-k', '/d')).split(/\s+/).at(-5));
        await one.must('exec', 'writer', 'sh', '-c', 'echo first > /d/row');
        const before = await kilobytes();
        await one.ask('VolumeResize', { Volume: 'grows', Size: '400MiB' });
        t.ok((await kilobytes()) > before + 60_000, `${before} kB before, ${await kilobytes()} kB now`);
        const { Snapshot } = (await one.ask('VolumeSnapshot', { Volume: 'grows' })) as { Snapshot: { Id: string } };
        await one.must('exec', 'writer', 'sh', '-c', 'echo second > /d/row');
        await one.must('volume', 'create', '-d', NAME, '-o', `from=${Snapshot.Id}`, 'earlier');
        const both = ['-v', 'grows:/now', '-v', 'earlier:/then', IMAGE];
        t.equal(await one.must('run', '--rm', ...both, 'cat', '/then/row', '/now/row'), 'first\nsecond');
        await one.must('rm', '-f', 'writer');
        await one.must('volume', 'rm', 'grows', 'earlier');
        await one.ask('VolumeSnapshotRemove', { Snapshot: Snapshot.Id });
        await one.ask('VolumeImport', { Disk: 'grows', Volume: 'again' });
        t.equal(await one.must('run', '--rm', '-v', 'again:/d', IMAGE, 'cat', '/d/row'), 'second');
        await one.must('volume', 'rm', 'again');
        t.same(await one.loops(), []);
      },
    );

    await t.test('Compose makes a volume by its driver_opts, finds it again, and down -v removes it', async (t) => {
      const compose = async (command: string, ...args: string[]) => {
        const yaml = `
services:
  box: { image: "${IMAGE}", command: ["sh", "-c", "${command}"], network_mode: none, volumes: ["files:/d"] }
volumes:
  files: { driver: ${NAME}, driver_opts: { type: block, size: 64MiB } }
`;
        const { code, stdout, stderr } = await host.compose('shop', yaml, args);
        t.equal(code, 0, code === 0 ? `compose ${args[0]}` : stderr);
        return stdout;
      };
      const write = 'echo composed > /d/row && sync';
      await compose(write, 'up', '--exit-code-from', 'box');
      t.match(JSON.parse(await one.must('volume', 'inspect', 'shop_files')), [
        { Driver: 'cloudvol:latest', Options: { type: 'block', size: '64MiB' }, Status: { type: 'block' } },
      ]);
      await compose(write, 'down', '-t', '0');
      t.match(await compose('cat /d/row', 'up', '--exit-code-from', 'box'), /composed/);
      await compose('cat /d/row', 'down', '-t', '0', '-v');
      t.notMatch(await one.must('volume', 'ls', '-q'), /shop_files/);
      t.notMatch(readdirSync(join(host.stateFolder, 'loop')).join(), /shop_files/, 'its disk is gone');
    });

    await t.test('two containers share it; docker cp unmounts nothing that is in use', async (t) => {
      await one.must('run', '-d', '--name', 'first', '-v', 'data:/d', IMAGE, ...SLEEP);
      await one.must('run', '-d', '--name', 'second', '-v', 'data:/d', IMAGE, ...SLEEP);
      t.equal(await one.holds('data'), 2);
      t.equal((await one.loops()).length, 1, 'one disk is attached');
      await one.must('exec', 'first', 'sh', '-c', 'echo shared > /d/shared');
      t.equal(await one.must('exec', 'second', 'cat', '/d/shared'), 'shared');
      const file = join(host.machine.folder, 'copied');
      writeFileSync(file, 'copied');
      await one.must('cp', file, 'first:/d/copied');
      t.equal(await one.must('exec', 'second', 'cat', '/d/copied'), 'copied');
      t.equal(await one.holds('data'), 2, 'after docker cp');
      await one.must('rm', '-f', 'second');
      t.equal(await one.holds('data'), 1);
      const refused = await host.docker(['volume', 'rm', 'data']);
      t.match(refused.stderr, /in use/);
      await one.must('create', '--name', 'still', '-v', 'data:/d', IMAGE, ...SLEEP);
      await one.must('cp', file, 'still:/d/into-a-stopped-one');
      await one.must('rm', 'still');
      t.equal(await one.must('exec', 'first', 'cat', '/d/into-a-stopped-one'), 'copied');
      t.equal(await one.holds('data'), 1, 'after docker cp with a stopped container');
    });

    await t.test('the plugin is killed: its container goes on, and the count is right', async (t) => {
      await plugin.kill9();
      await plugin.untilRunning();
      await one.must('exec', 'first', 'sh', '-c', 'echo on > /d/on && sync');
      t.equal(await one.holds('data'), 1);
      await one.must('run', '--rm', '-v', 'data:/d', IMAGE, 'cat', '/d/on');
      await one.must('restart', '-t', '0', 'first');
      t.equal(await one.holds('data'), 1);
      t.equal(await one.must('exec', 'first', 'cat', '/d/on'), 'on');
    });

    await t.test('a bucket or disk that is not mounted takes no data: the folder beneath is immutable', async (t) => {
      const { Path } = await one.volume('data');
      const beneath = Path.replace('/var/lib/drayage-mounts', '/run/drayage-beneath').replace(/\/data$/, '');
      t.throws(() => writeFileSync(`/proc/${plugin.pid() ?? 0}/root${beneath}/lost`, 'data'), { code: 'EPERM' });
    });

    await t.test('dockerd is killed: the container comes back, and the count is right', async (t) => {
      await one.must('rm', '-f', 'first');
      await one.must('run', '-d', '--name', 'again', '--restart', 'always', '-v', 'data:/d', IMAGE, ...SLEEP);
      await host.engine.kill9();
      await host.engine.start();
      await one.untilRunning('again');
      t.equal(await one.must('exec', 'again', 'cat', '/d/on'), 'on');
      t.equal(await one.holds('data'), 1);
      await one.must('rm', '-f', 'again');
      await one.untilGone('data');
      t.same(await one.loops(), []);
    });

    await t.test('dockerd restarts: containers are stopped and started, and the count is right', async (t) => {
      await one.must('run', '-d', '--name', 'again', '--restart', 'always', '-v', 'data:/d', IMAGE, ...SLEEP);
      await host.engine.restart();
      await one.untilRunning('again');
      t.equal(await one.must('exec', 'again', 'cat', '/d/on'), 'on');
      t.equal(await one.holds('data'), 1);
      await one.must('rm', '-f', 'again');
      await one.untilGone('data');
    });

    await t.test('live-restore: the container goes on while dockerd restarts, and the count is right', async (t) => {
      await host.engine.restart({ liveRestore: true });
      await one.must('run', '-d', '--name', 'live', '-v', 'data:/d', IMAGE, ...SLEEP);
      await host.engine.restart();
      await one.untilRunning('live');
      await one.must('exec', 'live', 'sh', '-c', 'echo live > /d/live && sync');
      t.equal(await one.holds('data'), 1);
      await one.must('restart', '-t', '0', 'live');
      t.equal(await one.holds('data'), 1, 'after a restart of the container');
      t.equal(await one.must('exec', 'live', 'cat', '/d/live'), 'live');
      await one.must('rm', '-f', 'live');
      await one.untilGone('data');
      await host.engine.restart({ liveRestore: false });
    });

    await t.test('plugin disable -f: the container keeps its volume; removed meanwhile, it is let go', async (t) => {
      await one.must('run', '-d', '--name', 'kept', '-v', 'data:/d', IMAGE, ...SLEEP);
      t.not((await plugin.disable(false)).code, 0, 'without -f it is refused while in use');
      t.equal((await plugin.disable()).code, 0);
      await one.must('exec', 'kept', 'sh', '-c', 'echo still > /d/still && sync');
      await one.must('rm', '-f', 'kept');
      await plugin.enable();
      t.equal(await one.must('run', '--rm', '-v', 'data:/d', IMAGE, 'cat', '/d/still'), 'still');
      await one.untilGone('data');
      t.equal(await one.holds('data'), 0);
      t.same(await one.loops(), []);
    });

    await t.test('a plugin that cannot start makes Docker put nothing into a local volume', async (t) => {
      await plugin.disable();
      const journal = join(host.stateFolder, 'volume/state/snapshot.json');
      const other = join(host.stateFolder, 'volume/state/journal.jsonl');
      const damaged = existsSync(journal) ? journal : other;
      const good = readFileSync(damaged);
      writeFileSync(damaged, 'damaged\n{"n":99}\n');
      await plugin.enable();
      for (const name of ['data', 'never-seen']) {
        const outcome = await host.docker([
          'run',
          '--rm',
          '-v',
          `${name}:/d`,
          IMAGE,
          'sh',
          '-c',
          'echo lost > /d/lost',
        ]);
        t.not(outcome.code, 0, name);
        t.match(outcome.stderr, /STATE_CORRUPT/);
        const local = join(host.machine.folder, 'docker/volumes', name);
        t.notOk(existsSync(local), `there is no local volume ${name}`);
      }
      await plugin.disable();
      writeFileSync(damaged, good);
      await plugin.enable();
      t.equal(await one.must('run', '--rm', '-v', 'data:/d', IMAGE, 'cat', '/d/on'), 'on');
    });

    await t.test('docker volume rm takes the disk away', async (t) => {
      await one.untilGone('data');
      await one.must('volume', 'rm', 'data');
      t.notMatch(await one.must('volume', 'ls', '-q'), /data/);
      t.same(await one.loops(), []);
      const images = readdirSync(join(host.stateFolder, 'loop')).filter((name) => /-data\.(img|json)$/.test(name));
      t.same(images, []);
    });
  });
}
