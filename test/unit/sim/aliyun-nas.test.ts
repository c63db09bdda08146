/** File systems of NAS, by the vendor's own client. */
import t from 'tap';
import type { AliyunConfig } from '../../sim/aliyun/sim.ts';
import { ManualClock } from '../../sim/core/clock.ts';
import { SimControl } from '../../sim/core/control-client.ts';
import { type Caller, cloudFor, codeOf, type Query } from './aliyun-client.ts';

type NasCall = <R = Query>(action: string, query?: Query) => Promise<R>;

interface Made {
  readonly FileSystemId: string;
}
interface Row {
  readonly FileSystemId: string;
  readonly Status: string;
}
interface Target {
  readonly MountTargetDomain: string;
  readonly Status: string;
}

const GENERAL = { StorageType: 'Capacity', ProtocolType: 'NFS' };
const EXTREME = { FileSystemType: 'extreme', StorageType: 'standard', ProtocolType: 'NFS', Capacity: 100 };

const site = async (t: Parameters<typeof cloudFor>[0], config: AliyunConfig = {}) => {
  const cloud = await cloudFor(t, config);
  const { call, sim, vpc, vswitch } = cloud;
  const nas: NasCall = (action, query = {}) => (call as Caller)(action, query, 'nas');
  const create = async (query: Query = GENERAL) => (await nas<Made>('CreateFileSystem', query)).FileSystemId;
  const list = async (query: Query = {}): Promise<readonly Row[]> =>
    (await nas<{ FileSystems: { FileSystem: readonly Row[] } }>('DescribeFileSystems', query)).FileSystems.FileSystem;
  const place = { NetworkType: 'Vpc', VpcId: vpc, VSwitchId: vswitch, AccessGroupName: 'DEFAULT_VPC_GROUP_NAME' };
  const target = (FileSystemId: string, query: Query = {}) =>
    nas<Target>('CreateMountTarget', { FileSystemId, ...place, ...query });
  const targets = async (FileSystemId: string): Promise<readonly Target[]> =>
    (await nas<{ MountTargets: { MountTarget: readonly Target[] } }>('DescribeMountTargets', { FileSystemId }))
      .MountTargets.MountTarget;
  const zone = `${sim.region}-a`;
  return { ...cloud, nas, create, list, target, targets, zone };
};

t.test('a file system runs after a while; then mount targets lead to it, two at most', async (t) => {
  const clock = new ManualClock();
  const { create, list, target, targets, sim } = await site(t, { clock });
  Object.assign(sim.nas.times, { createMs: 60_000, targetMs: 10_000 });
  const id = await create();
  t.match(await list({ FileSystemId: id }), [{ FileSystemId: id, Status: 'Pending', ProtocolType: 'NFS' }]);
  t.equal(await codeOf(target(id)), 'OperationDenied.InvalidState');
  sim.clock.advance(60_000);
  t.match(await list(), [{ Status: 'Running' }]);
  const { MountTargetDomain: domain } = await target(id);
  t.match(domain, new RegExp(`^${id}-[0-9a-f]{5}\\.${sim.region}\\.nas\\.aliyuncs\\.com$`));
  t.match(await targets(id), [{ MountTargetDomain: domain, Status: 'Pending', AccessGroup: 'DEFAULT_VPC_GROUP_NAME' }]);
  sim.clock.advance(10_000);
  t.match(await targets(id), [{ Status: 'Active' }]);
  t.match(await list(), [{ MountTargets: { MountTarget: [{ MountTargetDomain: domain, Status: 'active' }] } }]);
  await target(id);
  t.equal(await codeOf(target(id)), 'OperationDenied.MountTargetExceedLimit');
});

t.test('a token makes one Extreme file system; of General-purpose ones each request makes another', async (t) => {
  const { create, target, targets, sim, zone } = await site(t);
  const extreme = { ...EXTREME, ZoneId: zone, ClientToken: 'one' };
  const id = await create(extreme);
  t.match(id, /^extreme-/);
  t.equal(await create(extreme), id);
  t.equal(await codeOf(create({ ...extreme, Capacity: 200 })), 'IdempotentParameterMismatch');
  const general = { ...GENERAL, ClientToken: 'one' };
  t.not(await create(general), await create(general));
  sim.nas.times.targetMs = Number.POSITIVE_INFINITY;
  t.equal((await target(id)).MountTargetDomain, '', 'its name is told when it leads somewhere');
  t.equal((await targets(id))[0]?.MountTargetDomain, '');
});

t.test('what the vendor refuses is refused, with its codes', async (t) => {
  const { nas, create, target, targets, sim, zone } = await site(t);
  const refused: readonly (readonly [Query, string])[] = [
    [{ ...GENERAL, StorageType: 'standard' }, 'InvalidParameter.StorageType'],
    [{ ...GENERAL, ProtocolType: 'FTP' }, 'InvalidParameter.ProtocalType'],
    [{ ...GENERAL, FileSystemType: 'cpfs' }, 'InvalidParameter.FileSystemType'],
    [{ ...GENERAL, ZoneId: 'cn-beijing-a' }, 'InvalidAZone.NotFound'],
    [{ ...GENERAL, EncryptType: 2 }, 'MissingParameter.KmsKeyId'],
    [{ ...GENERAL, EncryptType: 2, KmsKeyId: 'key-1' }, 'InvalidParameter.KmsKeyIdNotFound'],
    [{ ...GENERAL, Description: '9lives' }, 'InvalidDescription.InvalidFormat'],
    [{ ...GENERAL, Tag: [{ Key: 'acs:a', Value: 'x' }] }, 'InvalidTagKey.Malformed'],
    [{ ...GENERAL, Tag: [{ Key: 'a', Value: '' }] }, 'InvalidTagValue.Malformed'],
    [{ ...GENERAL, Size: 1 }, 'InvalidParameter'],
    [EXTREME, 'InvalidAZone.NotFound'],
    [{ ...EXTREME, ZoneId: zone, Capacity: 50 }, 'InvalidParameter.Capacity'],
    [{ ...EXTREME, ZoneId: zone, ProtocolType: 'SMB' }, 'InvalidParameter.ProtocalType'],
  ];
  for (const [query, code] of refused) t.equal(await codeOf(create(query)), code, JSON.stringify(query));
  t.same(sim.nas.state().fileSystems, []);
  sim.nas.soldOut.add(zone);
  t.equal(await codeOf(create()), 'Resource.OutOfStock');
  sim.nas.soldOut.clear();
  const id = await create();
  const other: readonly (readonly [Query, string])[] = [
    [{ NetworkType: 'Classic' }, 'InvalidParameter.NetworkType'],
    [{ AccessGroupName: '' }, 'MissingParameter.AccessGroupName'],
    [{ AccessGroupName: 'nobody' }, 'InvalidAccessGroup.NotFound'],
    [{ VpcId: 'vpc-none' }, 'InvalidParameter.VpcNotFound'],
    [{ VSwitchId: 'vsw-none' }, 'InvalidParameter.VswNotFound'],
    [{ FileSystemId: 'none' }, 'InvalidFileSystem.NotFound'],
  ];
  for (const [query, code] of other) t.equal(await codeOf(target(id, query)), code, JSON.stringify(query));
  t.equal(await codeOf(targets('none')), 'InvalidFileSystem.NotFound');
  t.equal(await codeOf(nas('DescribeFileSystems', { FileSystemId: 'none' })), 'InvalidFileSystem.NotFound');
  sim.quotas.set('nas_standard', 1);
  t.equal(await codeOf(create()), 'OperationDenied.FileSystemCountsExceeded');
});

t.test('file systems are listed by id, tags and VPC, page by page, and tagged later', async (t) => {
  const { nas, create, list, target, vpc } = await site(t);
  const ids: string[] = [];
  for (const n of [1, 2, 3]) ids.push(await create({ ...GENERAL, Tag: [{ Key: 'n', Value: String(n) }] }));
  t.match(await list({ Tag: [{ Key: 'n', Value: '3' }] }), [{ FileSystemId: ids[2] }]);
  await nas('TagResources', { ResourceType: 'filesystem', ResourceId: [ids[0]], Tag: [{ Key: 'n', Value: '9' }] });
  t.match(await list({ Tag: [{ Key: 'n', Value: '9' }] }), [{ Tags: { Tag: [{ Key: 'n', Value: '9' }] } }]);
  await target(ids[1] ?? '');
  t.match(await list({ VpcId: vpc }), [{ FileSystemId: ids[1] }]);
  const page = await nas('DescribeFileSystems', { PageSize: 2, PageNumber: 2 });
  t.match(page, { TotalCount: 3, FileSystems: { FileSystem: [{ FileSystemId: ids[2] }] } });
  t.equal(
    await codeOf(nas('TagResources', { ResourceType: 'disk', ResourceId: [ids[0]], Tag: [{ Key: 'n', Value: '9' }] })),
    'InvalidResourceType.NotFound',
  );
});

t.test('what is new shows late, and is there for those who change it', async (t) => {
  const { create, list, target, sim } = await site(t, { clock: new ManualClock(), lagMs: 1_000 });
  const id = await create();
  t.same(await list(), []);
  t.equal(await codeOf(target(id)), 'none');
  sim.clock.advance(1_000);
  t.match(await list(), [{ FileSystemId: id, MountTargets: { MountTarget: [{}] } }]);
});

t.test('of permission groups there are no two of one name; those in use stay', async (t) => {
  const { nas, create, target } = await site(t);
  const group = { AccessGroupName: 'mine', AccessGroupType: 'Vpc' };
  const results = await Promise.all([1, 2, 3].map(() => codeOf(nas('CreateAccessGroup', group))));
  t.same(results.sort(), ['InvalidAccessGroup.AlreadyExisted', 'InvalidAccessGroup.AlreadyExisted', 'none']);
  t.match(await nas('DescribeAccessGroups', { AccessGroupName: 'mine' }), {
    AccessGroups: { AccessGroup: [{ AccessGroupName: 'mine', Description: 'mine', MountTargetCount: 0 }] },
  });
  const drop = (AccessGroupName: string) => codeOf(nas('DeleteAccessGroup', { AccessGroupName }));
  await target(await create(), { AccessGroupName: 'mine' });
  t.equal(await drop('mine'), 'InvalidAccessGroup.AlreadyAttached');
  t.equal(await drop('DEFAULT_VPC_GROUP_NAME'), 'OperationDenied.DefaultAccessGroupCannotDelete');
  t.equal(await drop('other'), 'InvalidAccessGroup.NotFound');
  t.equal(
    await codeOf(nas('CreateAccessGroup', { ...group, AccessGroupName: '9' })),
    'InvalidParameter.AccessGroupName',
  );
});

t.test('folders of General-purpose file systems have quotas; those of Extreme ones have none', async (t) => {
  const { nas, create, sim, zone } = await site(t);
  const id = await create();
  const quota = (query: Query = {}) =>
    codeOf(
      nas('SetDirQuota', {
        ...{ FileSystemId: id, Path: '/a', UserType: 'AllUsers', QuotaType: 'Enforcement', SizeLimit: 5 },
        ...query,
      }),
    );
  const cancel = (Path: string) => codeOf(nas('CancelDirQuota', { FileSystemId: id, Path, UserType: 'AllUsers' }));
  t.equal(await quota(), 'none');
  t.same(sim.nas.state().limits, { [`${id} /a`]: 5 });
  t.equal(await quota({ Path: '/1/2/3/4/5/6/7/8/9' }), 'InvalidParameter.Path');
  t.equal(await quota({ Path: '/数据' }), 'InvalidParameter.Path');
  sim.nas.missingFolders.add('/b');
  t.equal(await quota({ Path: '/b' }), 'InvalidParameter.DirPathNotExist');
  sim.quotas.set('nas_limited_folders', 1);
  t.equal(await quota({ Path: '/c' }), 'OperationDenied.DirQuotaCountsExceeded');
  t.equal(await quota({ SizeLimit: 6 }), 'none', 'a known folder may be given another');
  t.equal(await cancel('/a'), 'none');
  t.equal(await cancel('/a'), 'InvalidParameter.QuotaNotExistOnPath');
  const extreme = await create({ ...EXTREME, ZoneId: zone });
  t.equal(await quota({ FileSystemId: extreme }), 'OperationDenied.NotSupported');
});

t.test('from elsewhere NAS is worked by the control interface', async (t) => {
  const { sim, target } = await site(t);
  const control = new SimControl(sim.control);
  await control.do('nasServer', { host: '10.0.0.5' });
  const { id } = await control.do<{ readonly id: string }>('fileSystem', { description: 'theirs' });
  t.equal((await target(id)).MountTargetDomain, '10.0.0.5', 'where one can be mounted');
  t.match(await control.do('nas'), { fileSystems: [{ id }], mountTargets: [{ fileSystem: id }] });
});
