import t from 'tap';
import { diskSite, ROLE } from './block/aliyun-disk-world.ts';
import { startPlugin } from './plugin-process.ts';

t.setTimeout(60_000);

t.test('volumes are disks of Aliyun; while it is down, what is known is answered all the same', async (t) => {
  const { sim, instance } = await diskSite(t);
  const plugin = async (host: number) =>
    startPlugin(t, {
      ...{ PROVIDER: 'aliyun-disk', CLUSTER: 'web', CLOUD_ENDPOINT: sim.endpoint },
      METADATA_ENDPOINT: await sim.metadataOf(instance(host).id),
    });
  const [first, second] = [await plugin(0), await plugin(1)];
  const Opts = { size: '10GiB', kind: 'cloud_auto', iops: '5000', tags: 'team=web', 'on-remove': 'delete' };
  t.match(await first.call('/VolumeDriver.Create', { Name: 'data', Opts }), { status: 200, answer: {} });
  t.match(sim.disks(), [
    {
      ...{ name: 'data', size: 10, category: 'cloud_auto', iops: 5000, zone: `${sim.region}-a`, status: 'Available' },
      tags: { team: 'web', 'drayage:volume': 'data', 'drayage:cluster': 'web' },
    },
  ]);
  const get = (one: typeof first, Name: string) => one.call('/VolumeDriver.Get', { Name });
  t.match(await get(second, 'data'), { status: 200, answer: { Volume: { Name: 'data' } } });
  t.match(await first.call('/VolumeDriver.Create', { Name: 'other', Opts: { kind: 'gp3' } }), {
    status: 500,
    answer: { Err: /^OPTION_INVALID: The volume option kind=gp3/ },
  });
  sim.faults.storm(600_000);
  for (const one of [first, second]) {
    const begun = performance.now();
    t.match(await get(one, 'data'), { answer: { Volume: { Name: 'data', Status: { provider: 'aliyun-disk' } } } });
    t.match((await one.call('/VolumeDriver.List')).answer, { Volumes: [{ Name: 'data' }] });
    t.ok(performance.now() - begun < 2_000, 'from what is known here');
  }
  sim.faults.clear();
  t.match(await first.call('/VolumeDriver.Remove', { Name: 'data' }), { status: 200 });
  t.same(sim.disks(), []);
});

t.test('a right that is missing is named by the plugin', async (t) => {
  const { sim, instance } = await diskSite(t);
  sim.role({ name: ROLE, actions: ['ecs:Describe*'] });
  const { call } = await startPlugin(t, {
    ...{ PROVIDER: 'aliyun-disk', CLOUD_ENDPOINT: sim.endpoint },
    METADATA_ENDPOINT: await sim.metadataOf(instance(0).id),
  });
  t.match(await call('/VolumeDriver.Create', { Name: 'data', Opts: {} }), {
    status: 500,
    answer: { Err: /^BACKEND_PERMISSION: The storage provider aliyun-disk lacks the permission ecs:CreateDisk/ },
  });
});
