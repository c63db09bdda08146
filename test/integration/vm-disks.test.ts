// @timeout 10m
/**
 * Volumes on disks that come and go while real kernels run: NVMe as on AWS, and all that can happen to the machines,
 * the plugin and the disks on the way. Two virtual machines for all cases; the cloud is simulated.
 */
import t from 'tap';
import { until } from '../rig/command.ts';
import { vmsFor } from '../rig/vm/rig.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import {
  cloudVolume,
  createVolume,
  removeWriter,
  runOn,
  serialOf,
  startWriter,
  untilRunOn,
} from './support/vm-disks.ts';

t.setTimeout(10 * 60_000);

const times = { createMs: 200, attachMs: 300, detachMs: 300, stopMs: 300 };
const vms = await vmsFor(t, { machines: 2, cloud: 'aws', plugin: await pluginFolder('volume'), sim: { times } });
for (const n of [1, 2]) await vms.machine(n).enablePlugin(vms.settings);
/** The clock of the first one is wrong all the time: requests are signed with the cloud's time. */
await vms.machine(1).shiftClock(3600);

/** Puts a freshly booted machine in the place of one that the cloud has stopped. */
const replace = async (n: number): Promise<void> => {
  const machine = await vms.replace(n);
  await vms.cloud.control.do('resume', { id: vms.cloud.instance(n).id });
  await machine.enablePlugin(vms.settings);
};

t.test('copies of one machine have ids of their own', async (t) => {
  const id = (n: number): Promise<string> => vms.machine(n).must(['cat', '/proc/sys/kernel/random/boot_id']);
  t.not(await id(1), await id(2));
});

t.test('a volume is a disk that is plugged in while the machine runs, found by its serial number', async (t) => {
  const machine = vms.machine(1);
  await createVolume(machine, 'moves');
  await startWriter(machine, 'moves');
  const volume = await cloudVolume(vms, 'moves');
  t.equal(volume.attachment?.instance, vms.cloud.instance(1).id);
  const device = await machine.deviceOf(serialOf(volume));
  t.match(device, /^nvme\dn1$/);
  const seen = await machine.dockerMust(['exec', 'writer', 'grep', ' /data ', '/proc/mounts']);
  t.match(seen, new RegExp(`^/dev/${device} /data ext4 `));
});

t.test('after docker rm the disk leaves, and another machine reads what was written', async (t) => {
  await vms.machine(1).dockerMust(['exec', 'writer', 'sh', '-c', 'echo from one > /data/note']);
  await removeWriter(vms.machine(1));
  t.equal(await untilRunOn(vms.machine(2), 'moves', 'cat /data/note'), 'from one');
  t.equal(await vms.machine(1).deviceOf(serialOf(await cloudVolume(vms, 'moves'))), undefined);
});

t.test('a plugin that is killed in the middle of an attach finishes it', async (t) => {
  const machine = vms.machine(1);
  await createVolume(machine, 'interrupted');
  await vms.cloud.control.do('times', { attachMs: 4_000 });
  const first = runOn(machine, 'interrupted', 'true');
  await until('the attach', async () => (await cloudVolume(vms, 'interrupted')).attachment?.state === 'attaching', {
    timeoutMs: 60_000,
    everyMs: 100,
  });
  await machine.killPlugin();
  await first;
  await vms.cloud.control.do('times', { attachMs: times.attachMs });
  await machine.untilReady();
  t.equal(await untilRunOn(machine, 'interrupted', 'echo written > /data/x && cat /data/x'), 'written');
  t.equal(await untilRunOn(vms.machine(2), 'interrupted', 'cat /data/x'), 'written', 'and lets it go');
});

t.test(
  'a disk that is pulled out under load: errors for the container, a word of the plugin, and no other host waits',
  async (t) => {
    const [one, two] = [vms.machine(1), vms.machine(2)];
    await createVolume(one, 'pulled');
    await startWriter(one, 'pulled');
    await one.dockerMust(['exec', 'writer', 'sh', '-c', 'echo kept > /data/note && sync']);
    await vms.cloud.control.do('detach', { id: (await cloudVolume(vms, 'pulled')).id });
    await until('the writer fails', async () => (await one.dockerMust(['logs', 'writer'])).includes('failed'), {
      timeoutMs: 30_000,
      everyMs: 250,
    });
    t.equal(await untilRunOn(two, 'pulled', 'cat /data/note'), 'kept');
    const said = await until(
      'the word of the plugin',
      async () => {
        await one.admin('Drayage.Reconcile', {});
        const status = JSON.stringify(await one.admin('Drayage.Volume', { Volume: 'pulled' }));
        return /"state":"(lost: [^"]*)"/.exec(status)?.[1];
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
    t.match(said, /^lost: /, said);
    await removeWriter(one);
  },
);

t.test('a machine that was frozen while its disk moved cannot write when it wakes up', async (t) => {
  const [one, two] = [vms.machine(1), vms.machine(2)];
  await createVolume(one, 'frozen');
  await startWriter(one, 'frozen');
  await until('a line', async () => (await one.docker(['exec', 'writer', 'cat', '/data/log'])).stdout.includes('line'));
  await one.freeze();
  const refused = await runOn(two, 'frozen', 'true');
  t.match(refused.stderr, /VOLUME_BUSY|in use|vm1|host1/, 'it is not taken from a machine that runs');
  await vms.cloud.control.do('detach', { id: (await cloudVolume(vms, 'frozen')).id });
  await untilRunOn(two, 'frozen', 'echo two > /data/log && sync');
  await one.thaw();
  await until('the writer fails', async () => (await one.docker(['logs', 'writer'])).stdout.includes('failed'), {
    timeoutMs: 30_000,
    everyMs: 250,
  });
  t.equal(await untilRunOn(two, 'frozen', 'cat /data/log'), 'two', 'nothing of the sleeper is on the disk');
  await removeWriter(one);
});

t.test('a machine killed while it formats: the volume is formatted by the next', async (t) => {
  const [one, two] = [vms.machine(1), vms.machine(2)];
  await createVolume(one, 'half');
  const cut = runOn(one, 'half', 'true').catch((error: Error) => error);
  await until('the format', async () => 'drayage:formatting' in (await cloudVolume(vms, 'half')).tags, {
    timeoutMs: 60_000,
    everyMs: 20,
  });
  await one.kill9();
  await cut;
  t.notOk('drayage:formatted' in (await cloudVolume(vms, 'half')).tags, 'it was cut off in time');
  await vms.cloud.stop(1);
  t.equal(await untilRunOn(two, 'half', 'echo written > /data/x && cat /data/x'), 'written');
});

t.test('a machine that is cut off but runs keeps its volume until the cloud has stopped it', async (t) => {
  await replace(1);
  const [one, two] = [vms.machine(1), vms.machine(2)];
  await startWriter(one, 'moves');
  await vms.rig.router.cutHost(1);
  t.match((await runOn(two, 'moves', 'true')).stderr, /VOLUME_BUSY|in use|vm1|host1/);
  const fenced = await two.admin('Drayage.VolumeFence', { Volume: 'moves', Host: 'host1' });
  t.match(JSON.stringify(fenced), /"Err"/, 'drayage volume fence does not help as long as it runs');
  t.ok(await one.exec(['true']).then(({ code }) => code === 0), 'it does run');
  await vms.cloud.stop(1);
  await until('the end of the machine', () => !one.running);
  t.equal(await untilRunOn(two, 'moves', 'cat /data/note'), 'from one');
});

t.test('a machine killed while a disk is attached to it: the next host gets the disk', async (t) => {
  await replace(1);
  const [one, two] = [vms.machine(1), vms.machine(2)];
  await createVolume(one, 'arriving');
  await vms.cloud.control.do('times', { attachMs: 1_500 });
  const cut = runOn(one, 'arriving', 'true').catch((error: Error) => error);
  await until('the attach', async () => (await cloudVolume(vms, 'arriving')).attachment?.state === 'attaching', {
    timeoutMs: 60_000,
    everyMs: 20,
  });
  await one.kill9();
  await cut;
  await vms.cloud.terminate(1);
  t.equal(await untilRunOn(two, 'arriving', 'echo written > /data/x && cat /data/x'), 'written');
});
