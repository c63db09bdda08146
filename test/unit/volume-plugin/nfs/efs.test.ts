import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { sharePolicyDocument } from '../../../../shared/cloud/aws/share-policy.ts';
import type { EfsProvider } from '../../../../volume-plugin/nfs/efs.ts';
import type { AwsSim } from '../../../sim/aws/sim.ts';
import { codeOf, context } from '../block/scratch.ts';
import { countIn, type EfsHost, type EfsWorldConfig, efsWorld, foreign, providerOn } from './efs-world.ts';

t.setTimeout(60_000);

/** Three started hosts: two in zone a, one in b. */
const started = async (t: Test, config: EfsWorldConfig = {}, more: EfsHost = {}) => {
  const world = await efsWorld(t, config);
  const start = async (n: number, own: EfsHost = more): Promise<EfsProvider> => {
    const provider = world.host(n, own);
    t.teardown(() => provider.close());
    await provider.start(context());
    return provider;
  };
  const [a, other, b] = [await start(0), await start(1), await start(2)];
  const { aws } = world;
  const targets = () => aws.files.mountTargets.entries().map(([, one]) => one);
  const targetIn = (fileSystem: string, subnet: string): string =>
    aws.files.createTarget(fileSystem, must(aws.world.subnets.get(subnet)), [], undefined).address;
  return { ...world, start, a, other, b, targets, targetIn };
};

const must = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('there is none');
  return value;
};

/** A started provider on an instance that the test has made itself. */
const efsHost = async (t: Test, aws: AwsSim, instance: string): Promise<EfsProvider> => {
  const provider = providerOn(aws, await aws.metadataOf(instance));
  t.teardown(() => provider.close());
  await provider.start(context());
  return provider;
};

const failure = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error: unknown) => String(error),
  );

t.test('what is made for a cluster is encrypted, grows with its use, and says whose it is', async (t) => {
  const { aws, a } = await started(t);
  await a.ensure({}, context());
  const [[, made] = []] = aws.files.fileSystems.entries();
  t.match(made, {
    ...{ encrypted: true, throughput: 'elastic', zone: undefined },
    tags: { Name: 'drayage-test', 'drayage:cluster': 'test' },
  });
});

t.test('whoever wants another kind than there is gets no file system, and the same kind is fine', async (t) => {
  const { aws, a, b } = await started(t);
  const key = 'arn:aws:kms:eu-central-1:123456789012:key/0123abcd';
  const id = await a.ensure({ kind: 'bursting', encrypted: true, key }, context());
  t.equal(await b.ensure({ kind: 'bursting', key: '0123abcd' }, context()), id);
  t.match(await failure(b.ensure({ kind: 'elastic' }, context())), /kind=elastic .*fs-\w+ has bursting/);
  t.match(await failure(b.ensure({ encrypted: false }, context())), /encrypted=false .* has true/);
  t.match(await failure(b.ensure({ key: 'another' }, context())), /key=another .* has arn:aws:kms/);
  t.match(await failure(a.ensure({ kind: 'gold' }, context())), /no such throughput mode/);
  t.equal(await codeOf(a.ensure({ encrypted: false, key }, context())), 'OPTION_INVALID');
  t.equal(countIn(aws).shares, 1);
});

t.test('a mount target is in the host’s subnet, has its security groups, and its address is the server', async (t) => {
  const { aws, a, b, hosts, subnets, targets } = await started(t);
  const id = await a.ensure({}, context());
  const [shareA, shareB] = await Promise.all([a.locate(id, context()), b.locate(`${id}some//where/`, context())]);
  const made = targets().sort((one, two) => one.zone.localeCompare(two.zone));
  t.same(
    made.map(({ subnet }) => subnet),
    [subnets.a, subnets.b],
  );
  t.same(made[0]?.groups, aws.world.interfacesOf(hosts[0] ?? '')[0]?.groups);
  t.match(shareA, { server: made[0]?.address, path: '/', vendor: 'efs', versions: ['4.1', '4.0'] });
  t.match(shareB, { server: made[1]?.address, path: '/some/where', id: `${id}some/where` });
});

t.test('NFS_SHARE is used in the place of a file system of the cluster', async (t) => {
  const { aws, start, a } = await started(t);
  const theirs = foreign(aws);
  const shares = [`${theirs}:/team`, '10.9.9.9:/export', `${theirs}.efs.eu-central-1.amazonaws.com:/`];
  const host = await start(0, { shares });
  t.same(await host.usual(context()), [`${theirs}:/team`, '10.9.9.9:/export', `${theirs}:/`]);
  t.equal(await host.ensure({}, context()), `${theirs}:/team`);
  t.equal(countIn(aws).shares, 1);
  t.same(await a.usual(context()), []);
});

t.test('a setting that names no share is refused before anything starts', async (t) => {
  const { host } = await efsWorld(t);
  for (const text of ['fsap-0123456789abcdef0', 'fs-12:/', '/data']) {
    t.throws(() => host(0, { shares: ['fs-01234567', text] }), { code: 'SETTING_INVALID', context: { value: text } });
  }
});

t.test('exports of other servers, and EFS of another region by its host name, can be named, too', async (t) => {
  const { aws, a } = await started(t);
  t.match(await a.locate('10.0.0.5:/export/', context()), { id: '10.0.0.5:/export', vendor: 'generic' });
  const far = 'fs-0123456789abcdef0.efs.us-east-1.amazonaws.com';
  t.match(await a.locate(`${far}:/x`, context()), { server: far, path: '/x', vendor: 'efs', versions: ['4.1', '4.0'] });
  t.equal(aws.count({ service: 'elasticfilesystem' }), 0, 'nobody was asked');
  t.match(await failure(a.locate('fsap-0123456789abcdef0', context())), /access point.*TLS.*not supported yet/);
  t.equal(a.progress('10.0.0.5:/export'), undefined);
});

t.test('a host that may not make mount targets uses one of another zone', async (t) => {
  const policy = sharePolicyDocument({ cluster: 'test' });
  const { aws, b, targetIn, subnets } = await started(t, { policy });
  const id = foreign(aws);
  t.match(await failure(b.locate(id, context())), /lacks the permission elasticfilesystem:CreateMountTarget/);
  t.match(await failure(b.locate(id, context())), /drayage policy aws --plugin volume/);
  const address = targetIn(id, subnets.a);
  t.match(await b.locate(id, context()), { server: address });
});

t.test('a subnet that is full, and groups that are gone, are said to be so where there is no other way', async (t) => {
  const { aws, a, b, hosts, subnets } = await started(t);
  const id = await a.ensure({}, context());
  for (;;) {
    try {
      aws.networkInterface({ subnet: subnets.b });
    } catch {
      break;
    }
  }
  t.match(await failure(b.locate(id, context())), /NoFreeAddressesInSubnet/);
  const [group = ''] = aws.world.interfacesOf(hosts[0] ?? '')[0]?.groups ?? [];
  aws.world.groups.delete(group);
  t.match(await failure(a.locate(id, context())), /SecurityGroupNotFound/);
});

t.test('a file system of one zone is reached from others through its only mount target', async (t) => {
  const { aws, a, b, targets } = await started(t);
  const id = foreign(aws, 'eu-central-1a');
  t.match(await failure(b.locate(id, context())), /kept in eu-central-1a only, and has no mount target there/);
  t.equal(targets().length, 0);
  const { server } = await a.locate(id, context());
  t.match(await b.locate(id, context()), { server });
  t.equal(targets().length, 1);
});

t.test('one whose mount targets are in another VPC is reached through those, and gets no others', async (t) => {
  const { aws, a, b, targetIn, targets } = await started(t);
  const { id: vpc } = aws.vpc({ cidr: '10.7.0.0/16' });
  const id = foreign(aws);
  const addresses = ['a', 'b'].map((zone, n) =>
    targetIn(id, aws.subnet({ vpc, cidr: `10.7.${n}.0/24`, zone: `eu-central-1${zone}` }).id),
  );
  t.match(await a.locate(id, context()), { server: addresses[0] });
  t.match(await b.locate(id, context()), { server: addresses[1] });
  t.equal(targets().length, 2);
});

t.test('what has failed is said to have; a failed mount target is not waited for', async (t) => {
  const { aws, start, a, b, targets } = await started(t);
  const id = foreign(aws);
  const { server } = await b.locate(id, context());
  await a.locate(id, context());
  const near = must(targets().find(({ zone }) => zone === 'eu-central-1a'));
  aws.files.breakDown(near.id);
  t.match(await (await start(0)).locate(id, context()), { server }, 'through the other zone');
  aws.files.breakDown(must(targets().find((one) => one.id !== near.id)).id);
  t.match(await failure((await start(0)).locate(id, context())), new RegExp(`${near.id} .*has failed`));
  aws.files.breakDown(id);
  t.match(await failure((await start(0)).locate(id, context())), /is in the state "error"/);
});

t.test('a file system that is being removed is none; the next one is made when it is gone', async (t) => {
  const { aws, a, b, start } = await started(t, { fileTimes: { deleteMs: 150 } });
  const first = await a.ensure({}, context());
  aws.files.delete(first.replace(':/', ''));
  t.match(await failure(b.locate(first, context())), /does not exist: it is being deleted/);
  t.same(await (await start(0)).usual(context()), []);
  while (countIn(aws).shares > 0) await pause(10);
  const second = await b.ensure({}, context());
  t.not(second, first);
  t.same(await b.usual(context()), [second]);
});

t.test('a mount target takes its time: who waits is told for what, and joins it later', async (t) => {
  const { aws, a, other } = await started(t, { fileTimes: { createMs: 100, targetMs: Number.POSITIVE_INFINITY } });
  const id = await a.ensure({}, context());
  const waits = [a.locate(id, context(600)), a.locate(id, context(700)), other.locate(id, context(600))];
  for (const text of await Promise.all(waits.map(failure))) {
    t.match(text, /STILL_WORKING: .*to reach file system fs-\w+ .*, because .*mount target/);
  }
  t.match(a.progress(id), /mount target fsmt-\w+ in eu-central-1a is creating, for \d+ s so far/);
  t.equal(countIn(aws).targets, 1);
  const [[target] = ['']] = aws.files.mountTargets.entries();
  aws.files.mountTargets.change(target, { state: 'available' });
  t.match(await a.locate(id, context()), { id });
  t.equal(a.progress(id), undefined);
  t.equal(countIn(aws).targets, 1);
});

t.test(
  'a share that was reached once stays so while the cloud’s API is away, and not longer than it is there',
  async (t) => {
    const { aws, start, targets } = await started(t);
    const a = await start(0, { freshMs: 0 });
    const id = await a.ensure({}, context());
    const share = await a.locate(id, context());
    aws.faults.fail('DescribeFileSystems', 'InternalServerError', { times: 100 });
    t.same(await a.locate(id, context(4_000)), share);
    t.equal(await codeOf((await start(1)).locate(id, context(3_000))), 'BACKEND_UNREACHABLE');
    aws.faults.clear();
    for (const { id: target } of targets()) aws.files.deleteTarget(target);
    t.not((await a.locate(id, context())).server, '', 'it was made anew');
    t.equal(targets().length, 1);
  },
);

t.test('an address is asked for once in a while, not for each volume', async (t) => {
  const { aws, a } = await started(t);
  const id = await a.ensure({}, context());
  await Promise.all(Array.from({ length: 50 }, (_, n) => a.locate(`${id}volume-${n}`, context())));
  t.equal(aws.count({ action: 'DescribeFileSystems' }), 2, 'once to look for it and once to reach it');
  t.ok(aws.count({ action: 'DescribeMountTargets' }) <= 2);
});

t.test('an account that has no room for another file system is told so', async (t) => {
  const { a } = await started(t, { quotas: { 'file-systems': 0 } });
  t.match(await failure(a.ensure({}, context())), /BACKEND_REFUSED.*FileSystemLimitExceeded: .*maximum number/);
});

t.test('who is throttled waits and goes on', async (t) => {
  const { aws, a, b } = await started(t);
  aws.faults.throttle('CreateFileSystem', { times: 2 });
  aws.faults.throttle('CreateMountTarget', { times: 2 });
  const [id] = await Promise.all([a.ensure({}, context()), b.ensure({}, context())]);
  await Promise.all([a.locate(id, context()), b.locate(id, context())]);
  t.same(countIn(aws), { shares: 1, targets: 2 });
});

t.test('hosts in two subnets of one zone share a mount target', async (t) => {
  const { aws, vpc, a } = await started(t);
  const subnet = aws.subnet({ vpc, cidr: '10.0.3.0/24' });
  const { id: instance } = aws.instance({ name: 'c', subnet: subnet.id });
  const c = await efsHost(t, aws, instance);
  const id = await a.ensure({}, context());
  const [one, two] = await Promise.all([a.locate(id, context()), c.locate(id, context())]);
  t.equal(one.server, two.server);
  t.equal(countIn(aws).targets, 1);
});

t.test(
  'of forty hosts that begin at once one makes the file system, and one in each zone a mount target',
  async (t) => {
    const { aws, start } = await started(t, { lagMs: 80, fileTimes: { createMs: 150, targetMs: 200 } });
    const hosts = await Promise.all(Array.from({ length: 40 }, (_, n) => start(n % 3)));
    for (const action of ['CreateFileSystem', 'CreateMountTarget']) {
      aws.faults.loseReply(action, { nth: 2, times: 2 });
      aws.faults.throttle(action, { nth: 9, times: 5 });
    }
    const shares = await Promise.all(
      hosts.map(async (host) => await host.locate(await host.ensure({}, context()), context())),
    );
    t.equal(new Set(shares.map(({ id }) => id)).size, 1);
    t.equal(new Set(shares.map(({ server }) => server)).size, 2);
    t.same(countIn(aws), { shares: 1, targets: 2 });
  },
);
