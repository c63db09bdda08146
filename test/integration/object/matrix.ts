/** What users type for volumes in buckets, on real engines of two hosts, and what crashes leave of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { run, signal, until } from '../../rig/command.ts';
import type { EngineVersion } from '../../rig/packages.ts';
import { type Rig, rigFor } from '../../rig/rig.ts';
import { RigStore } from '../../rig/store.ts';
import { pluginFolder } from '../support/plugin-folder.ts';
import { NAME, VolumeHost } from '../support/volume-host.ts';

const IMAGE = 'drayage/box:1';
const SLEEP = ['sleep', 'infinity'];
const OBJECT = ['volume', 'create', '-d', NAME, '-o', 'type=object'];

interface World {
  readonly rig: Rig;
  readonly store: RigStore;
  readonly one: VolumeHost;
  readonly two: VolumeHost;
}

async function start(t: Test, engine: EngineVersion): Promise<World> {
  // Built before the engines start: it may take a while.
  await pluginFolder('volume');
  const rig = await rigFor(t, { hosts: 2, engine });
  const store = await RigStore.start(rig);
  const install = (n: number) =>
    VolumeHost.install(rig.host(n), { ...store.settings, REFRESH_INTERVAL: '5s', LOG_LEVEL: 'debug' });
  const one = await install(1);
  const two = await install(2);
  return { rig, store, one, two };
}

/** Pids below the plugin's first process whose command line says this. */
async function pidsOf({ host, plugin }: VolumeHost, what: RegExp): Promise<number[]> {
  const { stdout } = await run(['ps', '-e', '-o', 'pid=,args=', 'ww']);
  const root = `/proc/${plugin.pid()}/ns/mnt`;
  const mine = readlink(root);
  return stdout
    .split('\n')
    .filter((line) => what.test(line))
    .map((line) => Number(line.trim().split(' ')[0]))
    .filter((pid) => readlink(`/proc/${pid}/ns/mnt`) === mine && host.machine.pid !== pid);
}

const readlink = (path: string): string => {
  try {
    return readFileSync(path.replace(/\/ns\/mnt$/, '/mountinfo'), 'utf8').split(' ')[0] ?? '';
  } catch {
    // It has ended.
    return '';
  }
};

const engines = (one: VolumeHost): Promise<number[]> => pidsOf(one, /^ *\d+ \S*node .*engine\.cjs/);

/** `long`: also what waits for signs of life of other hosts. */
export function matrix(engine: EngineVersion, { long = false } = {}): void {
  t.setTimeout(240_000);
  t.test(`volumes in buckets on engine ${engine}`, async (t) => {
    const { rig, store, one, two } = await start(t, engine);
    const { plugin } = one;
    t.teardown(() => {
      if (!t.passing()) t.comment([...plugin.log().slice(-60), '---', ...two.plugin.log().slice(-30)].join('\n'));
    });

    await t.test('what is wrong with a bucket is said at docker volume create, within 5 s', async (t) => {
      const says = async (...options: string[]): Promise<string> => {
        const begun = performance.now();
        const { code, stderr } = await one.host.docker([...OBJECT, ...options, 'wrong']);
        t.not(code, 0);
        const ms = performance.now() - begun;
        t.ok(ms < 8_000, `${ms.toFixed(0)} ms`);
        return stderr;
      };
      const bucket = ['-o', 'bucket=elsewhere'];
      const fault = { action: 'CreateBucket', fault: { kind: 'fail', code: 'AccessDenied' } } as const;
      await store.control.fault(fault);
      t.match(await says(...bucket), /BUCKET_MISSING: The bucket s3:\/\/elsewhere does not exist: .*s3:CreateBucket/);
      t.match(await says(...bucket, '-o', 'region=eu-west-3'), /BUCKET_REGION: .*eu-central-1/);
      t.match(await says('-o', 'bucket=b-1', '-o', 'endpoint=http://10.250.0.4:9'), /BUCKET_UNREACHABLE: /);
      const id = await store.control.fault({
        action: 'PutObject',
        fault: { kind: 'fail', code: 'AccessDenied' },
        times: 9,
      });
      t.match(
        await says('-o', 'bucket=denied'),
        /BUCKET_DENIED: This host may not s3:PutObject in bucket s3:\/\/denied/,
      );
      await store.control.removeFault(id);
      const late = { kind: 'fail', code: 'RequestTimeTooSkewed' } as const;
      const other = await store.control.fault({ fault: late, times: 99, parameters: { bucket: 'denied' } });
      t.match(await says('-o', 'bucket=denied'), /BUCKET_CLOCK: /);
      await store.control.removeFault(other);
      const ls = await one.must('volume', 'ls', '-q');
      t.notMatch(ls, /wrong/, 'nothing is promised');
    });

    await t.test('create, write, a second container, inspect; the bucket is made', async (t) => {
      t.equal(await one.must(...OBJECT, 'uploads'), 'uploads');
      await one.must('run', '--rm', '-v', 'uploads:/d', IMAGE, 'sh', '-c', 'mkdir /d/a && echo kept > /d/a/row');
      t.equal(await one.must('run', '--rm', '-v', 'uploads:/d', IMAGE, 'cat', '/d/a/row'), 'kept');
      const [inspected] = JSON.parse(await one.must('volume', 'inspect', 'uploads')) as [Record<string, unknown>];
      t.match(inspected, {
        Driver: 'cloudvol:latest',
        Status: {
          type: 'object',
          bucket: 'assets',
          prefix: 'uploads/',
          endpoint: store.endpoint,
          durability: 'server',
        },
      });
      t.notMatch(JSON.stringify(inspected), /wJalrXUtnFEMI/);
      t.notMatch(plugin.log().join('\n'), /wJalrXUtnFEMI/);
      await one.untilGone('uploads');
      t.same(await engines(one), [], 'no engine goes on');
    });

    await t.test('a container that moves to another host reads everything that was closed', async (t) => {
      await one.must('run', '-d', '--name', 'writer', '-v', 'uploads:/d', IMAGE, ...SLEEP);
      const script =
        'for i in 1 2 3 4 5 6 7 8 9; do echo $i > /d/a/$i; done; dd if=/dev/urandom of=/d/large bs=1M count=20; md5sum /d/large';
      const sum = (await one.must('exec', 'writer', 'sh', '-c', script)).split(' ')[0];
      t.match(await two.must('volume', 'inspect', 'uploads'), /"type": "object"/);
      const both = [
        'run',
        '--rm',
        '-v',
        'uploads:/d',
        IMAGE,
        'sh',
        '-c',
        'cat /d/a/? | tr -d "\\n"; echo; md5sum /d/large',
      ];
      t.equal(await two.must(...both), `123456789\n${sum}  /d/large`, 'while the first one runs');
      const refused = await two.host.docker(['volume', 'rm', 'uploads']);
      t.match(refused.stderr, /VOLUME_BUSY: .*host1/);
      await one.must('rm', '-f', 'writer');
      await one.untilGone('uploads');
      t.equal(await two.must(...both), `123456789\n${sum}  /d/large`, 'and after it has gone');
      await two.must('run', '--rm', '-v', 'uploads:/d', IMAGE, 'sh', '-c', 'echo changed > /d/a/row');
      t.equal(await one.must('run', '--rm', '-v', 'uploads:/d', IMAGE, 'cat', '/d/a/row'), 'changed');
    });

    await t.test('the driver is killed: mount and container go on, and nothing is mounted anew', async (t) => {
      await one.must('run', '-d', '--name', 'first', '-v', 'uploads:/d', IMAGE, ...SLEEP);
      const [engineBefore] = await engines(one);
      const first = plugin.pid();
      await plugin.killDriver9();
      await one.must('exec', 'first', 'sh', '-c', 'echo on > /d/on && cat /d/a/row');
      await plugin.untilRunning();
      await one.untilAsked('uploads');
      await until('the driver to know its volumes', async () => (await one.holds('uploads')) === 1);
      t.equal(plugin.pid(), first, 'the first process is the same');
      t.same(await engines(one), [engineBefore]);
      if (!t.passing())
        t.comment(
          plugin
            .log()
            .filter((line) => /mounted|ended/.test(line))
            .join('\n'),
        );
      t.equal(await one.must('run', '--rm', '-v', 'uploads:/d', IMAGE, 'cat', '/d/on'), 'on');
      t.equal(await one.holds('uploads'), 1);
    });

    await t.test('an engine is killed: containers see a pause, not an error', async (t) => {
      const loop =
        'i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i > /d/loop || exit 1; cat /d/a/row > /dev/null || exit 1; done; echo $i';
      const working = one.must('exec', 'first', 'sh', '-c', loop);
      for (let n = 0; n < 3; n += 1) {
        await new Promise((resolve) => setTimeout(resolve, 400));
        for (const pid of await engines(one)) signal(pid, 'SIGKILL');
      }
      t.equal(await working, '300');
      t.equal(await two.must('run', '--rm', '-v', 'uploads:/d', IMAGE, 'cat', '/d/loop'), '300');
    });

    await t.test('the whole plugin is killed: containers are told, and work when they are restarted', async (t) => {
      await plugin.kill9();
      await plugin.untilRunning();
      await one.untilAsked('uploads');
      const dead = await one.host.docker(['exec', 'first', 'cat', '/d/on']);
      t.not(dead.code, 0);
      await until('Status to say so', async () => 'deadMounts' in (await one.volume('uploads')).Status);
      await one.must('restart', '-t', '0', 'first');
      t.equal(await one.must('exec', 'first', 'cat', '/d/on'), 'on');
      await until('Status to be quiet', async () => !('deadMounts' in (await one.volume('uploads')).Status), {
        timeoutMs: 30_000,
      });
    });

    await t.test('plugin disable -f and enable: what is mounted then works, and nothing is lost', async (t) => {
      await one.must('exec', 'first', 'sh', '-c', 'echo before > /d/before');
      t.equal((await plugin.disable()).code, 0);
      await plugin.enable();
      await one.must('restart', '-t', '0', 'first');
      t.equal(await one.must('exec', 'first', 'cat', '/d/before'), 'before');
      await one.must('rm', '-f', 'first');
      await one.untilGone('uploads');
      t.equal(await one.holds('uploads'), 0);
      t.same(await engines(one), []);
    });

    await t.test('an unmount waits for what is on its way to the bucket, and says what', async (t) => {
      await one.must(...OBJECT, '-o', 'durability=local', 'local');
      await one.must('run', '-d', '--name', 'local', '-v', 'local:/d', IMAGE, ...SLEEP);
      const id = await store.control.fault({ action: 'PutObject', fault: { kind: 'unavailable' }, forMs: 600_000 });
      await one.must('exec', 'local', 'sh', '-c', 'echo acknowledged > /d/row && sync /d/row');
      const removing = one.must('rm', '-f', 'local');
      const waits = async () => {
        const { Status } = await one.volume('local');
        return Status['state'] === 'unmounting' && Status['waitingFiles'] === 1 && Status;
      };
      t.match(await until('Status to show it', waits, { timeoutMs: 20_000 }), { waitingBytes: 13 });
      await store.control.removeFault(id);
      await removing;
      await one.untilGone('local');
      t.equal(await two.must('run', '--rm', '-v', 'local:/d', IMAGE, 'cat', '/d/row'), 'acknowledged');
    });

    await t.test(
      'what was acknowledged reaches the bucket after the plugin was killed, whoever mounts it',
      async (t) => {
        await one.must('run', '-d', '--name', 'local', '-v', 'local:/d', IMAGE, ...SLEEP);
        const id = await store.control.fault({ action: 'PutObject', fault: { kind: 'unavailable' }, forMs: 600_000 });
        await one.must('exec', 'local', 'sh', '-c', 'echo later > /d/later && sync /d/later');
        await plugin.kill9();
        await one.must('rm', '-f', 'local');
        await store.control.removeFault(id);
        await plugin.untilRunning();
        const read = ['run', '--rm', '-v', 'local:/d', IMAGE, 'cat', '/d/later'];
        const there = await until(
          'it to be there',
          async () => (await two.host.docker(read)).stdout.trim() === 'later',
          {
            timeoutMs: 40_000,
            everyMs: 500,
          },
        );
        t.ok(there);
      },
    );

    if (long) {
      await t.test('single-writer: another host is refused while one has it', async (t) => {
        await one.must(...OBJECT, '-o', 'access=single-writer', 'db');
        await one.must('run', '-d', '--name', 'db', '-v', 'db:/d', IMAGE, ...SLEEP);
        const refused = await two.host.docker(['run', '--rm', '-v', 'db:/d', IMAGE, 'true']);
        t.match(refused.stderr, /VOLUME_BUSY: .*host1/);
        await one.must('rm', '-f', 'db');
        await one.untilGone('db');
        await two.must('run', '--rm', '-v', 'db:/d', IMAGE, 'true');
        await two.untilGone('db');
      });
    }

    await t.test('docker volume rm takes the objects away, and the bucket with the last volume', async (t) => {
      for (const name of [...(long ? ['db'] : []), 'local', 'uploads']) {
        await until(`${name} to be free`, async () => (await two.host.docker(['volume', 'rm', name])).code === 0, {
          timeoutMs: 60_000,
          everyMs: 500,
        });
      }
      t.notMatch(await two.must('volume', 'ls', '-q'), /uploads|local|db/);
      const calls = await store.control.calls({ action: 'DeleteBucket' });
      t.ok(calls.length > 0, 'the bucket was made by us, and is empty');
      await until('the other host to know', async () => !/uploads/.test(await one.must('volume', 'ls', '-q')), {
        timeoutMs: 90_000,
        everyMs: 1_000,
      });
    });

    await t.test('without a bucket, on a fresh machine, objects are files of the host', async (t) => {
      await plugin.disable();
      await plugin.set({ OBJECT_BUCKET: '', OBJECT_ENDPOINT: '', OBJECT_VENDOR: '' });
      await plugin.enable();
      await one.must(...OBJECT, 'plain');
      await one.must('run', '--rm', '-v', 'plain:/d', IMAGE, 'sh', '-c', 'echo here > /d/row');
      t.equal(await one.must('run', '--rm', '-v', 'plain:/d', IMAGE, 'cat', '/d/row'), 'here');
      const { stdout } = await run(['find', join(one.host.stateFolder, 'object'), '-name', '*row*']);
      t.match(stdout, /row/);
      await one.untilGone('plain');
      await one.must('volume', 'rm', 'plain');
    });
    t.ok(rig.hosts.length === 2);
  });
}
