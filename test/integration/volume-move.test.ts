// @timeout 3m
/** One volume on two hosts by turns: two engines with the plugin as it ships, whose disks are files in a shared folder. */
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { run, until } from '../rig/command.ts';
import { shareDisks } from '../rig/disks.ts';
import { rigFor } from '../rig/rig.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { NAME, VolumeHost } from './support/volume-host.ts';

const IMAGE = 'drayage/box:1';
const ROUNDS = 100;
/** Every so many rounds are `docker run`; the others call the plugin as the engine does. */
const WITH_DOCKER = 10;

const start = async (t: Test): Promise<readonly [VolumeHost, VolumeHost]> => {
  await pluginFolder('volume');
  const rig = await rigFor(t, { hosts: 2, engine: '28' });
  await shareDisks(rig.host(1), rig.host(2));
  const one = await VolumeHost.install(rig.host(1), { NODE_NAME: 'host1', LOG_LEVEL: 'debug' });
  const two = await VolumeHost.install(rig.host(2), { NODE_NAME: 'host2', LOG_LEVEL: 'debug' });
  t.teardown(() => {
    if (t.passing()) return;
    for (const { plugin } of [one, two]) t.comment(plugin.log().slice(-40).join('\n'));
  });
  return [one, two];
};

/** VolumeDriver.Mount and Unmount, as the engine calls them; `use` is given the folder that a container would get. */
const mounted = async <T>(host: VolumeHost, volume: string, id: string, use: (folder: string) => T): Promise<T> => {
  const call = async (method: string): Promise<{ readonly Mountpoint?: string; readonly Err?: string }> => {
    const { body } = await host.plugin.call(`VolumeDriver.${method}`, { Name: volume, ID: id }, 60_000);
    return body as { readonly Mountpoint?: string; readonly Err?: string };
  };
  // The host before answers before its disk is detached; what Docker would be told meanwhile is that it is in use.
  const path = await until(`${volume} on ${host.host.name}`, async () => {
    const { Mountpoint, Err } = await call('Mount');
    if (Mountpoint === undefined && !/VOLUME_BUSY|STILL_WORKING/.test(Err ?? '')) throw new Error(Err);
    return Mountpoint;
  });
  const used = use(`/proc/${host.plugin.pid() ?? 0}/root${path}`);
  const { Err } = await call('Unmount');
  if (Err) throw new Error(Err);
  return used;
};

const lines = (count: number): string => Array.from({ length: count }, (_, n) => `round ${n}\n`).join('');

t.setTimeout(170_000);

t.test('two hosts and one volume', async (t) => {
  const [one, two] = await start(t);
  const hosts = [one, two] as const;

  await t.test('a volume goes to and fro a hundred times, loses nothing, and leaves nothing behind', async (t) => {
    await one.must('volume', 'create', '-d', NAME, '-o', 'size=32MiB', 'data');
    const begun = performance.now();
    for (let round = 0; round < ROUNDS; round += 1) {
      const host = round % 2 === 0 ? one : two;
      let before: string;
      if (round % WITH_DOCKER === WITH_DOCKER - 1) {
        const command = `cat /d/log; echo "round ${round}" >> /d/log`;
        before = await until(`docker run on ${host.host.name}`, async () => {
          const { code, stdout, stderr } = await host.host.docker([
            'run',
            '--rm',
            '-v',
            'data:/d',
            IMAGE,
            'sh',
            '-c',
            command,
          ]);
          if (code !== 0 && !/VOLUME_BUSY|STILL_WORKING/.test(stderr)) throw new Error(stderr);
          return code === 0 ? { stdout } : undefined;
        }).then(({ stdout }) => stdout);
      } else {
        before = await mounted(host, 'data', `round-${round}`, (folder) => {
          const log = join(folder, 'log');
          const text = existsSync(log) ? readFileSync(log, 'utf8') : '';
          appendFileSync(log, `round ${round}\n`);
          return text;
        });
      }
      if (before !== lines(round)) {
        t.equal(before, lines(round), `what host ${host.host.name} reads in round ${round}`);
        break;
      }
    }
    t.comment(`${Math.round((performance.now() - begun) / ROUNDS)} ms a round`);
    await mounted(one, 'data', 'last', (folder) => t.equal(readFileSync(join(folder, 'log'), 'utf8'), lines(ROUNDS)));
    for (const host of hosts) {
      await host.untilGone('data');
      t.equal(await host.holds('data'), 0);
      t.same(await host.loops(), [], 'no loop device');
      const pid = host.plugin.driverPid() ?? 0;
      t.notMatch(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), /drayage-mounts\/data/, 'no mount');
      const { stdout } = await run(['ps', '-o', 'args=', '--ppid', String(pid)]);
      t.equal(stdout.trim(), '', 'no process of the plugin');
    }
    const folder = join(one.host.stateFolder, 'loop');
    const rest = readdirSync(folder).filter((name) => !/\.(img|json)$/.test(name));
    const changes = rest.filter((name) => /\.change-[12]$/.test(name));
    t.equal(changes.length, 2, 'its description was changed when it was formatted, before and after, and by no move');
    t.same(rest, changes, 'nobody has a disk, and nothing half written is there');
  });

  await t.test('of two hosts that mount it at once one has it, and the other is told which', async (t) => {
    for (let round = 0; round < 10; round += 1) {
      const answers = await Promise.all(
        hosts.map(async (host) => {
          const { body } = await host.plugin.call('VolumeDriver.Mount', { Name: 'data', ID: `at-once-${round}` });
          return body as { readonly Mountpoint?: string; readonly Err?: string };
        }),
      );
      const has = answers.findIndex(({ Mountpoint }) => Mountpoint !== undefined);
      const winner = hosts[has];
      if (winner === undefined) t.fail(JSON.stringify(answers));
      t.match(answers[1 - has]?.Err, `VOLUME_BUSY: Volume data is in use on host host${has + 1}`);
      await winner?.plugin.call('VolumeDriver.Unmount', { Name: 'data', ID: `at-once-${round}` });
      for (const host of hosts) await host.untilGone('data');
    }
  });

  await t.test('docker run on one host while the other has it fails with the name of that host, at once', async (t) => {
    await one.must('run', '-d', '--name', 'holder', '-v', 'data:/d', IMAGE, 'sleep', 'infinity');
    const refused = await two.host.docker(['run', '--rm', '-v', 'data:/d', IMAGE, 'true']);
    const words = ', and whether that host still runs is not known.';
    t.match(refused.stderr.replace(' by 1 container', ''), `VOLUME_BUSY: Volume data is in use on host host1${words}`);
    const told = await until('host2 to be told of the container', async () => {
      const { stderr } = await two.host.docker(['run', '--rm', '-v', 'data:/d', IMAGE, 'true']);
      return stderr.includes(`is in use on host host1 by 1 container${words}`);
    });
    t.ok(told, 'and a second later with the number of its containers');
    await one.must('rm', '-f', 'holder');
    await one.untilGone('data');
    t.equal(await two.must('run', '--rm', '-v', 'data:/d', IMAGE, 'tail', '-n', '1', '/d/log'), `round ${ROUNDS - 1}`);
  });
});
