// @timeout 15m
// @machines
/**
 * Volumes on disks that come and go while real kernels run: NVMe as on AWS, and all that can happen to the machines,
 * the plugin and the disks on the way. Two virtual machines for all cases; the cloud is simulated.
 */
import t from 'tap';
import { until } from '../rig/command.ts';
import type { VirtualMachine } from '../rig/vm/machine.ts';
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
  untilTold,
} from './support/vm-disks.ts';

t.setTimeout(15 * 60_000);

const times = { createMs: 200, attachMs: 300, detachMs: 300, stopMs: 300 };
const vms = await vmsFor(t, { machines: 2, cloud: 'aws', plugin: await pluginFolder('volume'), sim: { times } });
await Promise.all([1, 2].map((n) => vms.machine(n).enablePlugin(vms.settings)));
/** The clock of the first one is wrong all the time: requests are signed with the cloud's time. */
await vms.machine(1).shiftClock(3600);

/** What the plugin says of a volume that a container of the first machine has. */
const hasIt = /Volume moves is in use on host host1 by 1 container\./;

/** Resolves when the writer of the machine has seen an error. */
const untilWriterFails = async (machine: VirtualMachine): Promise<void> => {
  const failed = async (): Promise<boolean> => (await machine.dockerMust(['logs', 'writer'])).includes('failed');
  await until('the writer fails', failed, { timeoutMs: 30_000, everyMs: 250 });
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
    await startWriter(one, 'moves');
    await one.dockerMust(['exec', 'writer', 'sh', '-c', 'echo kept > /data/note && sync']);
    await vms.cloud.control.do('detach', { id: (await cloudVolume(vms, 'moves')).id });
    await untilWriterFails(one);
    t.equal(await untilRunOn(two, 'moves', 'cat /data/note'), 'kept');
    const said = await until(
      'the word of the plugin',
      async () => {
        await one.admin('Drayage.Reconcile', {});
        const status = JSON.stringify(await one.admin('Drayage.Volume', { Volume: 'moves' }));
        return /"state":"lost: ([^"]*)"/.exec(status)?.[1];
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
    t.match(said, /^(its disk is attached to no host|host host2 has it)$/);
    await removeWriter(one);
  },
);

t.test('a machine that was frozen while its disk moved cannot write when it wakes up', async (t) => {
  const [one, two] = [vms.machine(1), vms.machine(2)];
  await startWriter(one, 'moves', 'frozen');
  const isWriting = async (): Promise<boolean> =>
    (await one.docker(['exec', 'writer', 'cat', '/data/frozen'])).stdout.includes('line');
  await until('a line', isWriting, { timeoutMs: 60_000, everyMs: 250 });
  await untilTold(vms, 'moves', 1);
  await one.freeze();
  t.match((await runOn(two, 'moves', 'true')).stderr, hasIt, 'it is not taken from a machine that runs');
  await vms.cloud.control.do('detach', { id: (await cloudVolume(vms, 'moves')).id });
  await untilRunOn(two, 'moves', 'echo two > /data/frozen && sync');
  await one.thaw();
  await untilWriterFails(one);
  t.equal(await untilRunOn(two, 'moves', 'cat /data/frozen'), 'two', 'nothing of the sleeper is on the disk');
  await removeWriter(one);
});

t.test('a machine that is cut off but runs keeps its volume until the cloud has stopped it', async (t) => {
  const [one, two] = [vms.machine(1), vms.machine(2)];
  await startWriter(one, 'moves');
  await untilTold(vms, 'moves', 1);
  await vms.rig.router.cutHost(1);
  t.match((await runOn(two, 'moves', 'true')).stderr, hasIt);
  const fenced = await two.admin('Drayage.VolumeFence', { Volume: 'moves', Host: 'host1' });
  const refusal = /Volume moves is in use on host host1 by 1 container, and that host runs\./;
  t.match(fenced['Err'], refusal, 'drayage volume fence does not help as long as it runs');
  t.ok(await one.exec(['true']).then(({ code }) => code === 0), 'it does run');
  await vms.cloud.stop(1);
  await until('the end of the machine', () => !one.running, { timeoutMs: 60_000 });
  t.equal(await untilRunOn(two, 'moves', 'cat /data/note'), 'kept');
});

t.test(
  'a machine killed while it formats one disk and another is attached to it: the next host gets both',
  async (t) => {
    const two = vms.machine(2);
    const one = await vms.replace(1);
    await vms.cloud.control.do('resume', { id: vms.cloud.instance(1).id });
    await one.enablePlugin(vms.settings);
    await createVolume(one, 'half');
    await createVolume(one, 'arriving');
    await vms.cloud.control.do('times', { attachMs: 60_000 });
    const cut = [runOn(one, 'arriving', 'true')];
    const isArriving = async (): Promise<boolean> =>
      (await cloudVolume(vms, 'arriving')).attachment?.state === 'attaching';
    await until('the attach', isArriving, { timeoutMs: 60_000, everyMs: 100 });
    await vms.cloud.control.do('times', { attachMs: times.attachMs });
    cut.push(runOn(one, 'half', 'true'));
    await until('the format', async () => 'drayage:formatting' in (await cloudVolume(vms, 'half')).tags, {
      timeoutMs: 60_000,
      everyMs: 20,
    });
    await one.kill9();
    await Promise.all(cut);
    t.notOk('drayage:formatted' in (await cloudVolume(vms, 'half')).tags, 'it was cut off in time');
    t.ok(await isArriving());
    await vms.cloud.terminate(1);
    for (const volume of ['half', 'arriving']) {
      t.equal(await untilRunOn(two, volume, 'echo written > /data/x && cat /data/x'), 'written');
    }
  },
);
