// @timeout 5m
// etcd with TLS and users: it works, each wrong credential is said in words, and no secret is ever shown. Engine 28.
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Certificates, makeCertificates } from '../rig/certificates.ts';
import { until } from '../rig/command.ts';
import { Cluster } from './support/cluster.ts';
import type { Member } from './support/member.ts';
import { refused } from './support/refusal.ts';

t.setTimeout(300_000);

const PASSWORD = 'zebra-7Qx-kanone';
const WRONG = 'falsch-9Wy-geheim';
const FILES = {
  ETCD_CA: '/var/lib/drayage/tls/ca.pem',
  ETCD_CERT: '/var/lib/drayage/tls/client.pem',
  ETCD_KEY: '/var/lib/drayage/tls/client-key.pem',
};

/** Puts the files where the plugin looks for them. */
function handOut(member: Member, { ca, clientCert, clientKey }: Certificates): void {
  const folder = join(member.host.stateFolder, 'tls');
  mkdirSync(folder, { recursive: true });
  copyFileSync(ca, join(folder, 'ca.pem'));
  copyFileSync(clientCert, join(folder, 'client.pem'));
  copyFileSync(clientKey, join(folder, 'client-key.pem'));
}

/** Disables the plugin, sets something and enables it again. */
async function reset(member: Member, env: Readonly<Record<string, string>>): Promise<void> {
  await member.plugin.disable();
  await member.plugin.set(env);
  await member.plugin.enable();
}

const create = (on: Member, name = 'refused') =>
  on.docker('network', 'create', '-d', 'vpc', '--ipam-driver', 'vpc', name);

const reachable = async (on: Member): Promise<boolean> =>
  /"reachable": true/.test((await on.drayage('status', '--json')).out);

t.test('etcd with TLS and users', async (t) => {
  const env = { ...FILES, ETCD_USERNAME: 'ops', ETCD_PASSWORD: PASSWORD, ETCD_LEASE: '5s' };
  const cluster = await Cluster.for(t, {
    env,
    etcd: { tls: true, rootPassword: 'root-pw' },
  });
  const { etcd } = cluster;
  const certificates = etcd?.certificates;
  if (etcd === undefined || certificates === undefined) throw new Error('this cluster has no etcd with TLS');
  await etcd.ctl(['user', 'add', `ops:${PASSWORD}`]);
  await etcd.ctl(['user', 'grant-role', 'ops', 'drayage']);
  const [one, two] = [cluster.member(1), cluster.member(2)];

  await t.test('files that are not there are named; once they are, the plugin goes on by itself', async (t) => {
    refused(t, await create(one), 'PROVIDER_AUTH', FILES.ETCD_CA);
    for (const member of cluster.members) handOut(member, certificates);
    for (const member of cluster.members)
      await until('etcd reached', () => reachable(member), { timeoutMs: 30_000, everyMs: 100 });
  });

  await t.test('with TLS, a client certificate and a user, hosts reach each other', async (t) => {
    await cluster.createNetwork('web', '--ipam-driver', 'vpc');
    await one.serve('alpha', '--network', 'web');
    await two.box('beta', '--network', 'web');
    t.equal(await two.whoami('beta', await one.address('alpha')), await two.address('beta'));
  });

  const before = await cluster.leftovers();
  await wrong(t, two, { ETCD_PASSWORD: WRONG }, 'PROVIDER_AUTH', 'etcd', 'docker plugin set');
  await wrong(t, two, { ETCD_PASSWORD: PASSWORD, ETCD_USERNAME: 'nobody' }, 'PROVIDER_AUTH', 'etcd');
  await wrong(t, two, { ETCD_USERNAME: 'ops', ETCD_PREFIX: '/forbidden' }, 'PROVIDER_AUTH', 'permission denied');
  await wrong(
    t,
    two,
    { ETCD_PREFIX: '/drayage', ETCD_ENDPOINTS: 'http://10.250.0.2:2379' },
    'PROVIDER_UNREACHABLE',
    'http://10.250.0.2:2379',
    'is it https://?',
  );
  await wrong(
    t,
    two,
    { ETCD_ENDPOINTS: etcd.endpoint, ETCD_CERT: '', ETCD_KEY: '' },
    'PROVIDER_UNREACHABLE',
    etcd.endpoint,
    'it refuses the connection',
    'client certificate',
  );
  await two.plugin.disable();
  await two.plugin.set(FILES);
  const others = await makeCertificates(join(cluster.rig.folder, 'others'), ['10.250.0.2']);
  handOut(two, { ...certificates, ca: others.ca });
  await wrong(t, two, {}, 'PROVIDER_UNREACHABLE', etcd.endpoint, 'its certificate is not accepted', 'CA file');
  handOut(two, { ...certificates, clientKey: others.clientKey });
  await wrong(t, two, {}, 'PROVIDER_AUTH', 'key values mismatch');

  await t.test('a password in a URL is refused without being shown', async (t) => {
    await reset(two, { ETCD_ENDPOINTS: `https://ops:${WRONG}@10.250.0.2:2379` });
    refused(
      t,
      await create(two),
      'SETTING_INVALID',
      'ETCD_ENDPOINTS',
      'a name or password must not be part of the URL',
    );
  });

  await t.test('with everything right again it works, and what ran has gone on', async (t) => {
    handOut(two, certificates);
    await reset(two, { ETCD_ENDPOINTS: etcd.endpoint });
    await until('etcd reached', () => reachable(two), { timeoutMs: 20_000, everyMs: 100 });
    await cluster.untilRouted();
    t.same(await cluster.leftovers(), before);
    t.equal(await two.whoami('beta', await one.address('alpha')), await two.address('beta'));
    await Promise.all([one.remove('alpha'), two.remove('beta')]);
    await cluster.removeNetwork('web');
    t.same(await cluster.leftoversInTheEnd(), []);
  });

  await t.test('no password is in any log, status or record', async (t) => {
    for (const member of cluster.members) {
      // `docker plugin set` is Docker's own, but its engine does not log it either.
      noSecret(t, member.host.engine.log(), "the engine's log, with the plugin's in it");
      noSecret(t, (await member.drayage('status')).out, 'drayage status');
      noSecret(t, (await member.drayage('status', '--json')).out, 'drayage status --json');
      noSecret(
        t,
        await member.host
          .must(['grep', '-raoE', `${PASSWORD}|${WRONG}|nothing was found`, '/var/lib/drayage'])
          .catch(() => ''),
        'the state',
      );
    }
    noSecret(t, (await etcd.list('/')).map(({ value }) => value).join('\n'), 'etcd');
  });
});

function noSecret(t: Test, text: string, where: string): void {
  t.notOk(text.includes(PASSWORD) || text.includes(WRONG) || text.includes('PRIVATE KEY'), `no secret in ${where}`);
}

/** With these settings a new network is refused in these terms, soon, and running containers go on. */
async function wrong(
  t: Test,
  on: Member,
  env: Record<string, string>,
  code: 'PROVIDER_AUTH' | 'PROVIDER_UNREACHABLE',
  ...words: string[]
): Promise<void> {
  const what = Object.entries(env)
    .map(([name, value]) => `${name}=${name === 'ETCD_PASSWORD' ? '…' : value}`)
    .join(' ');
  await t.test(`${code} is said for ${what || 'files of somebody else'}`, async (t) => {
    await reset(on, env);
    const outcome = await create(on);
    refused(t, outcome, code, ...words);
    noSecret(t, outcome.stderr, 'the terminal');
    t.ok(outcome.ms < 29_000, `after ${(outcome.ms / 1000).toFixed(1)} s`);
    t.ok(await on.pings(undefined, await on.address('beta')), 'the container goes on');
  });
}
