// @timeout 8m
/** Volumes on virtio disks that are plugged in while real kernels run, as on Aliyun. */
import t from 'tap';
import { IMAGE } from '../rig/vm/guest.ts';
import { vmsFor } from '../rig/vm/rig.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { removeWriter, startWriter, untilRunOn } from './support/vm-disks.ts';

t.setTimeout(8 * 60_000);

t.test('a volume on a virtio disk of Aliyun moves from one machine to another', async (t) => {
  const plugin = await pluginFolder('volume');
  const sim = { times: { createMs: 200, attachMs: 300, detachMs: 300 } };
  const vms = await vmsFor(t, { machines: 2, cloud: 'aliyun', plugin, sim });
  const [one, two] = [vms.machine(1), vms.machine(2)];
  for (const machine of [one, two]) await machine.enablePlugin(vms.settings);
  await one.dockerMust(['volume', 'create', '-d', 'cloudvol', '-o', 'size=20g', 'data']);
  await startWriter(one, 'data');
  const seen = await one.dockerMust(['exec', 'writer', 'grep', ' /data ', '/proc/mounts']);
  const device = /^\/dev\/(vd\w) \/data ext4 /.exec(seen)?.[1];
  t.ok(device, `on a virtio disk: ${seen}`);
  t.match(await one.must(['cat', `/sys/block/${device}/serial`]), /^\w+$/, 'found by its serial number');
  await one.dockerMust(['exec', 'writer', 'sh', '-c', 'echo from one > /data/note']);
  const refused = await two.docker(['run', '--rm', '--network', 'host', '-v', 'data:/data', IMAGE, 'true']);
  t.match(refused.stderr, /host1|vm1/, 'the other machine is told who has it');
  await removeWriter(one);
  t.equal(await untilRunOn(two, 'data', 'cat /data/note'), 'from one');
  const left = await one.exec(['test', '-e', `/sys/block/${device}`]);
  t.equal(left.code, 1, 'and it was unplugged');
});
