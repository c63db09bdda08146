// @timeout 8m
// @machines
/** Volumes on virtio disks that are plugged in while real kernels run, as on Aliyun. */
import t from 'tap';
import { until } from '../rig/command.ts';
import { vmsFor } from '../rig/vm/rig.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { removeWriter, runOn, startWriter, untilRunOn } from './support/vm-disks.ts';

t.setTimeout(8 * 60_000);

const vms = await vmsFor(t, {
  machines: 2,
  cloud: 'aliyun',
  plugin: await pluginFolder('volume'),
  sim: { times: { createMs: 200, attachMs: 300, detachMs: 300, resizeMs: 300 } },
});
const [one, two] = [vms.machine(1), vms.machine(2)];
await Promise.all([one, two].map((machine) => machine.enablePlugin(vms.settings)));

const inWriter = (...argv: string[]): Promise<string> => one.dockerMust(['exec', 'writer', ...argv]);
/** Name of the disk in its machine. */
let device = '';

t.test('a volume is a virtio disk that is plugged in while the machine runs, found by its serial number', async (t) => {
  await one.dockerMust(['volume', 'create', '-d', 'cloudvol', '-o', 'size=20g', 'data']);
  await startWriter(one, 'data');
  const seen = await inWriter('grep', ' /data ', '/proc/mounts');
  [, device = ''] = /^\/dev\/(vd\w) \/data ext4 /.exec(seen) ?? [];
  t.ok(device, `on a virtio disk: ${seen}`);
  t.match(await one.must(['cat', `/sys/block/${device}/serial`]), /^\w+$/);
});

/** On a virtio disk: QEMU's NVMe ones keep the size that they are plugged in with. */
t.test('a volume that is written to becomes larger, file system and all', async (t) => {
  const capacity = async (): Promise<number> =>
    Number(/ (\d+) +\d+ +\d+ +\d+% \/data$/.exec(await inWriter('df', '-kP', '/data'))?.[1]);
  const written = async (): Promise<number> => Number(await inWriter('sh', '-c', 'wc -l < /data/log'));
  const [small, before] = [await capacity(), await written()];
  t.ok(small < 20 * 2 ** 20, `${small} KiB`);
  const { Err } = await one.admin('Drayage.VolumeResize', { Volume: 'data', Size: '24g' });
  t.equal(Err, undefined);
  const large = await capacity();
  t.ok(large > 23 * 2 ** 20 && large < 24 * 2 ** 20, `${large} KiB`);
  const sectors = String((24 * 2 ** 30) / 512);
  t.equal(await one.must(['cat', `/sys/block/${device}/size`]), sectors, 'the kernel has seen the disk grow');
  await until('it is written to as before', async () => (await written()) > before + 4, { everyMs: 250 });
  t.notMatch(await one.dockerMust(['logs', 'writer']), /failed/);
});

t.test('a volume on a virtio disk moves from one machine to another, when it is not in use any more', async (t) => {
  await inWriter('sh', '-c', 'echo from one > /data/note');
  const refused = await runOn(two, 'data', 'true');
  t.match(
    refused.stderr,
    /Volume data is in use on host host1 by 1 container\./,
    'the other machine is told who has it',
  );
  await removeWriter(one);
  t.equal(await untilRunOn(two, 'data', 'cat /data/note'), 'from one');
  const left = await one.exec(['test', '-e', `/sys/block/${device}`]);
  t.equal(left.code, 1, 'and it was unplugged');
});
