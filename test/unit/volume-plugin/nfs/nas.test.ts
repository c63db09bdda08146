import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { SHARE_PERMISSIONS, sharePolicyDocument } from '../../../../shared/cloud/aliyun/share-policy.ts';
import type { NasProvider } from '../../../../volume-plugin/nfs/nas.ts';
import { nasNameIn } from '../../../../volume-plugin/nfs/nas-names.ts';
import { context, GIB, nasSite, ROLE, thrown, until } from './nas-world.ts';

t.setTimeout(60_000);

t.test('a file system is named by its id or a mount target, with a path on it or without', async (t) => {
  const here = (text: string) => nasNameIn(text, 'cn-hangzhou');
  t.same(here('31a8e4abcd'), { id: '31a8e4abcd', path: '/' });
  t.same(here('2693592307:/a'), { id: '2693592307', path: '/a' });
  t.same(here('31a8e4abcd:/team/a/'), { id: '31a8e4abcd', path: '/team/a' });
  t.same(here('extreme-0015abcd'), { id: 'extreme-0015abcd', path: '/share' });
  t.same(here('extreme-0015abcd:/share/a'), { id: 'extreme-0015abcd', path: '/share/a' });
  const domain = '31a8e4abcd-xyz12.cn-hangzhou.nas.aliyuncs.com';
  t.same(here(domain.toUpperCase()), { domain, path: '/' });
  t.same(here('00c7ab-rivj.cn-hangzhou.extreme.nas.aliyuncs.com')?.path, '/share');
  for (const other of [
    ...['10.0.0.5:/export', '[fd00::5]:/export', 'nfs://31a8e4abcd.lan:2050/a', 'fileserver:/export', 'nfs-1:/export'],
    '31a8e4abcd-xyz12.cn-beijing.nas.aliyuncs.com:/',
  ]) {
    t.equal(here(other), undefined, other);
  }
});

t.test('exports of other servers are reached as they are; the cloud limits none of their folders', async (t) => {
  const { sim, host, started } = await nasSite(t);
  const a = await started(0);
  sim.clearCalls();
  const share = await a.locate('10.0.0.5:/export', context());
  t.match(share, { id: '10.0.0.5:/export', server: '10.0.0.5', vendor: 'generic' });
  t.equal((await thrown(a.limit(share, '/data', GIB, context()))).code, 'OPTION_INVALID');
  await a.limit(share, '/data', 0, context());
  t.same(sim.calls(), []);
  t.throws(() => host(0, { shares: ['31a8e4abcd', '31a8e4abcd:team'] }), { code: 'SETTING_INVALID' });
});

t.test('by which name ever, it is one share', async (t) => {
  const { sim, started } = await nasSite(t);
  const a = await started(0);
  const id = await a.ensure({}, context());
  const { server } = await a.locate(id, context());
  t.match(server, /^[0-9a-f]{10}-[0-9a-f]{5}\.cn-hangzhou\.nas\.aliyuncs\.com$/);
  t.match(await a.locate(`${server}:/`, context()), { id, server, path: '/', vendor: 'nas', versions: ['4.0', '3'] });
  t.equal((await a.locate(`${server}:/team`, context())).id, `${id}team`);
  t.match(sim.nas.state().fileSystems, [{ storage: 'Performance', protocol: 'NFS', encryption: 0 }]);
});

t.test('volumes that name a share in several ways at once get one way to it', async (t) => {
  const { sim, started } = await nasSite(t);
  const a = await started(0);
  const id = await a.ensure({}, context());
  sim.faults.delay('CreateMountTarget', 900, { times: 1 });
  const texts = [id, id.replace(':/', ''), `${id}team`, `${id}other`];
  const shares = await Promise.all(texts.map((text) => a.locate(text, context())));
  t.equal(new Set(shares.map(({ server }) => server)).size, 1);
  t.match(sim.nas.state(), { mountTargets: { length: 1 }, accessGroups: { length: 0 } });
});

t.test('what the settings name is what there is, and nothing is made', async (t) => {
  const { sim, vpcs, started } = await nasSite(t);
  const { id } = sim.nas.make();
  const { domain } = sim.nas.makeTarget({ fileSystem: sim.nas.make().id, vpc: vpcs[0].id });
  const a = await started(0, { shares: [`${id}:/team`, domain, '10.0.0.5:/export', `${id}:/team/`] });
  const [first, second, third, ...more] = await a.usual(context());
  t.equal(third, '10.0.0.5:/export');
  t.same(more, [], 'what means the same is one');
  t.equal(first, `${id}:/team`);
  t.equal(second, `${domain.split('-')[0]}:/`);
  t.equal(await a.ensure({ kind: 'extreme-standard' }, context()), first);
  t.equal(sim.nas.state().fileSystems.length, 2);
});

t.test('an Extreme file system is in the zone of its maker, and its export has a name', async (t) => {
  const { sim, started } = await nasSite(t);
  sim.nas.times.targetMs = 300;
  const b = await started(1);
  const id = await b.ensure({ kind: 'extreme-advance', encrypted: true }, context());
  t.match(id, /^extreme-[0-9a-f]+:\/share$/);
  t.match(sim.nas.state().fileSystems, [{ zone: 'cn-hangzhou-b', capacity: 100, storage: 'advance', encryption: 1 }]);
  const share = await b.locate(id, context());
  t.match(share, { path: '/share', versions: ['3'], server: /\.extreme\.nas\.aliyuncs\.com$/ });
  t.equal((await b.locate(share.server, context())).id, id);
  t.equal((await thrown(b.limit(share, '/x', GIB, context()))).code, 'OPTION_INVALID');
  await b.limit(share, '/x', 0, context());
  sim.nas.soldOut.add('cn-hangzhou-a');
  const other = await started(0, { cluster: 'other' });
  const error = await thrown(other.ensure({ kind: 'extreme-standard' }, context()));
  t.equal(error.code, 'BACKEND_REFUSED');
  t.match(error.message, /Resource\.OutOfStock/);
  t.same(sim.nas.state().accessGroups, [], 'others need not wait for who was refused');
});

t.test('what takes long says what it is at, and goes on where it was', async (t) => {
  const { sim, started } = await nasSite(t);
  const a = await started(0);
  sim.nas.times.createMs = Number.POSITIVE_INFINITY;
  const id = await a.ensure({}, context());
  const first = thrown(a.locate(id, context(1_000)));
  await until(() => a.progress(id) !== undefined);
  t.match(a.progress(id), /is Pending/);
  t.match(await first, { code: 'STILL_WORKING', message: /is Pending/ });
  t.equal(a.progress(id), undefined);
  sim.nas.fileSystems.change(id.split(':')[0] ?? '', { status: 'Running' });
  sim.nas.times.targetMs = 300;
  await a.locate(id, context());
  t.equal(sim.nas.state().mountTargets.length, 1);
});

t.test('a file system that cannot be mounted from here says why', async (t) => {
  const { sim, vpcs, started } = await nasSite(t);
  const a = await started(0);
  const [vpc, elsewhere] = vpcs;
  const full = sim.nas.make().id;
  for (let n = 0; n < 2; n += 1) sim.nas.makeTarget({ fileSystem: full, vpc: elsewhere.id });
  const none = await thrown(a.locate(full, context()));
  t.equal(none.code, 'BACKEND_REFUSED');
  t.match(none.message, `as many mount targets as it takes, and none of them is in VPC ${vpc.id}`);
  const off = sim.nas.make().id;
  const { domain } = sim.nas.makeTarget({ fileSystem: off, vpc: vpc.id, status: 'Inactive' });
  const inactive = await thrown(a.locate(off, context()));
  t.match(inactive, { code: 'BACKEND_REFUSED', message: `its mount target ${domain} is inactive` });
  const stopped = sim.nas.make().id;
  sim.nas.fileSystems.change(stopped, { status: 'Stopped' });
  t.match(await thrown(a.locate(stopped, context())), { code: 'BACKEND_REFUSED', message: /it is stopped/ });
  t.same(sim.nas.state().accessGroups, []);
});

t.test('while NAS cannot be asked shares are where they were; others cannot be found', async (t) => {
  const { sim, started } = await nasSite(t, {}, { waits: { freshMs: 0 } });
  const a = await started(0);
  const share = await a.locate(await a.ensure({}, context()), context());
  const other = sim.nas.make().id;
  sim.faults.drop('DescribeFileSystems', { times: 1_000 });
  t.same(await a.locate(share.id, context()), share);
  t.equal((await thrown(a.locate(other, context()))).code, 'BACKEND_UNREACHABLE');
  sim.faults.clear();
  sim.nas.remove(share.id.split(':')[0] ?? '');
  t.equal((await thrown(a.locate(share.id, context()))).code, 'SHARE_MISSING', 'what is gone is not where it was');
});

t.test('throttling, and what is still being changed, delay and nothing else', async (t) => {
  const { sim, started } = await nasSite(t);
  const a = await started(0);
  for (const action of ['DescribeFileSystems', 'CreateFileSystem', 'CreateAccessGroup', 'CreateMountTarget']) {
    sim.faults.throttle(action);
  }
  sim.faults.fail('CreateMountTarget', 'OperationDenied.InvalidState');
  sim.faults.fail('CreateFileSystem', 'SystemBusy');
  await a.locate(await a.ensure({}, context()), context());
  t.match(sim.nas.state(), { fileSystems: { length: 1 }, mountTargets: { length: 1 } });
});

t.test('a folder is limited in whole GiB; one that NAS does not know, or not limit, is told of', async (t) => {
  const { sim, started } = await nasSite(t, {}, { waits: { appearMs: 5_000 } });
  const a = await started(0);
  const hasty = await started(1, { waits: { appearMs: 200 } });
  const id = await a.ensure({}, context());
  const share = await a.locate(`${id}team`, context());
  sim.faults.loseReply('SetDirQuota');
  await a.limit(share, '/data', GIB + 1, context());
  t.equal(sim.nas.limits.get(`${id.split(':')[0]} /team/data`), 2);
  sim.nas.missingFolders.add('/team/late').add('/team/gone');
  const late = a.limit(share, '/late', GIB, context());
  await pause(100);
  sim.nas.missingFolders.delete('/team/late');
  await late;
  const gone = await thrown(hasty.limit(share, '/gone', GIB, context()));
  t.match(gone, { code: 'BACKEND_REFUSED', message: /\/team\/gone/ });
  await a.limit(share, '/gone', 0, context());
  t.equal((await thrown(a.limit(share, '/2/3/4/5/6/7/8/9', GIB, context()))).code, 'OPTION_INVALID');
  sim.faults.loseReply('CancelDirQuota');
  await a.limit(share, '/data', 0, context());
  t.same([...sim.nas.limits.keys()], [`${id.split(':')[0]} /team/late`]);
});

/** Calls for which each permission is needed. */
const everything = async (a: NasProvider): Promise<void> => {
  const share = await a.locate(await a.ensure({}, context()), context());
  await a.limit(share, '/data', GIB, context());
  await a.limit(share, '/data', 0, context());
};

const made = 'nas:DescribeAccessGroups';

t.test('the printed policy is enough for all that the provider does, and none of it is too much', async (t) => {
  const { sim, started } = await nasSite(t, {}, { waits: { staleMs: 0 } });
  sim.nas.takesTags = false;
  sim.role({ name: ROLE, actions: [...new Set(sharePolicyDocument().Statement.flatMap(({ Action }) => Action))] });
  const a = await started(0);
  // So that it has to be asked whose it is.
  sim.faults.loseReply('CreateAccessGroup');
  await everything(a);
  const calls = sim.calls().filter(({ service }) => service === 'nas');
  const actions = new Set(calls.map(({ action }) => `nas:${action}`));
  t.ok(actions.has(made));
  t.same([...actions].sort(), SHARE_PERMISSIONS.map(({ action }) => action).sort());
});

t.test('a right that is missing is named, and the command that prints all of them', async (t) => {
  for (const { action } of SHARE_PERMISSIONS) {
    const { sim, started } = await nasSite(t);
    sim.nas.takesTags = false;
    sim.role({ name: ROLE, actions: SHARE_PERMISSIONS.map((one) => one.action).filter((one) => one !== action) });
    const a = await started(0);
    if (action === made) sim.faults.loseReply('CreateAccessGroup');
    if (action === 'nas:DeleteAccessGroup') {
      await everything(a);
      t.equal(sim.nas.state().accessGroups.length, 2, 'what is left behind is stale before long');
      continue;
    }
    const error = await thrown(everything(a));
    t.equal(error.code, 'BACKEND_PERMISSION', action);
    t.match(error.message, `lacks the permission ${action}`);
    t.match(error.toUserText(), /drayage policy aliyun --plugin volume/);
  }
});

t.test("the right to NAS's own role in the account is named, too", async (t) => {
  const { sim, started } = await nasSite(t);
  sim.faults.fail('CreateFileSystem', 'SubAccount.NoStandardSLRPermission');
  const error = await thrown((await started(0)).ensure({}, context()));
  t.match(error, { code: 'BACKEND_PERMISSION', message: /lacks the permission ram:CreateServiceLinkedRole/ });
});
