// @timeout 5m
// What an operator of hosts in a cloud (simulated AWS, engine 28) is told: `drayage routes`, `doctor` and `status`, the
// metrics and the log. The hosts find out which cloud it is, and may do all but one thing.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CONSISTENCY_MS } from '../../network-plugin/route/route-view.ts';
import { policyDocument } from '../../shared/cloud/aws/policy.ts';
import type { RigCloud } from '../rig/cloud.ts';
import { METADATA_ADDRESS } from '../rig/cloud-router.ts';
import { until } from '../rig/command.ts';
import { prefixOf } from './cloud/lost-hosts.ts';
import { Cluster } from './support/cluster.ts';
import type { Member } from './support/member.ts';

t.setTimeout(300_000);

const MISSING = 'ec2:ReplaceRoute';
const RIGHTS = policyDocument()
  .Statement.flatMap(({ Action }) => Action)
  .filter((action) => action !== MISSING);
const SECURITY = join(import.meta.dirname, '../../SECURITY.md');
const METRICS = '127.0.0.1:9464';
const ELSEWHERE = '10.96.0.0/12';

type Lines = readonly Readonly<Record<string, string>>[];

const routes = async (on: Member): Promise<Lines> =>
  (JSON.parse((await on.drayage('routes', '--json')).out) as { Routes: Lines }).Routes;

/** What `drayage doctor` says of one thing. */
const findings = async (on: Member, check: string): Promise<Lines> => {
  const { Findings } = JSON.parse((await on.drayage('doctor', '--json')).out) as { Findings: Lines };
  return Findings.filter((finding) => finding.Check === check);
};

/** A VPN gateway of the VPC that the hosts are in. */
async function gatewayOf(cloud: RigCloud): Promise<string> {
  const { vpcs } = await cloud.control.ask<{ vpcs: { id: string }[] }>('GET', 'state');
  const argument = { kind: 'vgw', vpcs: vpcs.map(({ id }) => id) };
  return (await cloud.control.do<{ id: string }>('gateway', argument)).id;
}

t.test('the drayage command in a cloud', async (t) => {
  const env = { PROVIDER: 'auto', METRICS };
  const cluster = await Cluster.for(t, { provider: 'aws', cloud: { actions: RIGHTS }, env });
  const { cloud } = cluster;
  if (cloud === undefined) throw new Error('this cluster has no cloud');
  const [one, two] = [cluster.member(1), cluster.member(2)];
  const gateway = await gatewayOf(cloud);
  for (const { plugin } of cluster.members) {
    await plugin.disable();
    await plugin.set({
      PEERS: `${ELSEWHERE} via ${gateway}`,
      METADATA_ACCESS: plugin === two.plugin ? 'allow' : 'deny',
    });
    await plugin.enable();
  }
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await one.serve('first', '--network', 'web');
  await two.serve('third', '--network', 'web');
  const [mine, theirs] = [prefixOf(await one.address('first')), prefixOf(await two.address('third'))];

  await t.test('PROVIDER=auto finds the cloud, and containers of two hosts reach each other', async (t) => {
    const { out } = await one.drayage('status');
    t.match(out, /provider: +auto\n[\s\S]+provider: +aws\n +reachable: yes/);
    t.equal(await one.whoami('first', await two.address('third')), await one.address('first'));
  });

  const asked = async (on: Member, container: string): Promise<string> =>
    (await on.inside(container, 'wget', '-T', '1', '-qO-', `http://${METADATA_ADDRESS.aws}/`)).stderr;

  await t.test('containers do not get at the metadata service unless METADATA_ACCESS lets them', async (t) => {
    t.match(await asked(one, 'first'), /timed out/);
    t.match(await asked(two, 'third'), /401/);
    t.match(await findings(one, 'metadata'), [{ State: 'good' }], 'and the plugin does');
  });

  await t.test(
    'the rules that SECURITY.md names keep containers from the metadata service, and not the plugin',
    async (t) => {
      const [, rules = ''] = /^ *```\n( *table inet metadata [^`]+)```/m.exec(readFileSync(SECURITY, 'utf8')) ?? [];
      const file = join(two.host.machine.folder, 'metadata.nft');
      writeFileSync(file, rules);
      t.equal((await two.host.exec(['nft', '-f', file])).code, 0);
      t.match(await asked(two, 'third'), /timed out/);
      t.match(await findings(two, 'metadata'), [{ State: 'good' }]);
      t.match(await findings(two, 'firewall'), [{ State: 'good' }]);
    },
  );

  await t.test('routes: prefix, table, next hop, host name, state, whose it is', async (t) => {
    const common = { Table: cloud.table, State: 'active', Drift: '' };
    const wanted = [
      { ...common, Prefix: mine, NextHop: cloud.instance(1).interface, Host: 'host1', Kind: 'prefix', Owner: 'ours' },
      {
        ...common,
        Prefix: theirs,
        NextHop: cloud.instance(2).interface,
        Host: 'host2',
        Kind: 'prefix',
        Owner: 'foreign',
      },
      { ...common, Prefix: ELSEWHERE, NextHop: gateway, Host: gateway, Kind: 'gateway', Owner: 'gateway' },
    ];
    const shown = await routes(one);
    t.equal(shown.length, wanted.length);
    for (const line of wanted)
      t.match(
        shown.find(({ Prefix }) => Prefix === line.Prefix),
        line,
      );
    t.match((await one.drayage('routes')).out, /^PREFIX +TABLE +NEXT HOP +HOST +KIND +STATE +OWNER +DRIFT/);
  });

  await t.test('routes: what is missing is shown as drift, and repaired', async (t) => {
    await cloud.removeRoute(mine);
    const drift = async (): Promise<Lines> => {
      await one.reconcile(true);
      return (await routes(one)).filter(({ State }) => State === 'missing');
    };
    // For a while after its own write the plugin takes a reading without it for an old one.
    const patience = { timeoutMs: CONSISTENCY_MS + 5_000, everyMs: 500 };
    const [line] = await until('the drift', async () => ((await drift()).length > 0 ? drift() : undefined), patience);
    t.match(line, { Prefix: mine, Host: 'host1', Owner: 'ours', Drift: `missing in ${cloud.table}` });
    await one.reconcile();
    t.same(await drift(), []);
  });

  await t.test(
    'doctor: a missing permission is named, with the policy as its remedy, and the exit code is 1',
    async (t) => {
      const { code, out } = await one.drayage('doctor');
      t.equal(code, 1);
      t.match(out, new RegExp(`^bad +permissions +${MISSING} is missing\\. .+\n +→ .*\`drayage policy aws\``));
      t.match(out, /\n1 bad, \d+ good$/, 'and nothing else is wrong');
    },
  );

  await t.test('doctor and reconcile: a source/dest check that somebody turned on again', async (t) => {
    t.match(await findings(one, 'source/dest check'), [{ State: 'good' }]);
    const { interface: id } = cloud.instance(1);
    await cloud.control.do('sourceDestCheck', { id, on: true });
    t.match(await findings(one, 'source/dest check'), [
      { State: 'bad', Found: new RegExp(id), Remedy: /--no-source-dest-check/ },
    ]);
    const [what, said] = [new RegExp(`source/dest check was on on ${id}`), one.plugin.log().length];
    t.match(await one.reconcile(true), [{ What: what, Repaired: false }]);
    t.match(await one.reconcile(), [{ What: what, Repaired: true }], 'at once, and not minutes later');
    t.match(one.plugin.log().slice(said).join('\n'), /"message":"drift"[^\n]+source\/dest check[^\n]+"repaired":true/);
    const { stdout } = await one.host.busybox(['wget', '-qO-', `http://${METRICS}/metrics`]);
    t.match(stdout, /drayage_network_drift_total\{repaired="true"\} [1-9]/);
    t.match(await findings(one, 'source/dest check'), [{ State: 'good' }]);
    t.same(await one.reconcile(), []);
  });

  await t.test('a table that is 80 % full: doctor, log and metrics say so', async (t) => {
    t.match(await findings(one, 'route quota'), [{ State: 'good', Found: /has 3 of 500 routes/ }]);
    await cloud.control.do('quota', { name: 'routes-per-table', limit: 5 });
    await one.createNetwork('db', '--ipam-driver', 'vpc');
    t.match(await findings(one, 'route quota'), [
      { State: 'warning', Found: /has 4 of 5 routes/, Remedy: /quota raised/ },
    ]);
    await one.reconcile(true);
    t.match(one.plugin.log().join('\n'), /"message":"a route table is nearly full[^\n]+"used":4,"limit":5/);
    const { stdout } = await one.host.busybox(['wget', '-qO-', `http://${METRICS}/metrics`]);
    t.match(stdout, `drayage_route_table_used{table="${cloud.table}"} 4\n`);
    t.match(stdout, `drayage_route_table_limit{table="${cloud.table}"} 5\n`);
  });

  await t.test('a full table is refused with the number, the limit and the remedy', async (t) => {
    await one.createNetwork('last', '--ipam-driver', 'vpc');
    const outcome = await one.docker('network', 'create', '-d', 'vpc', '--ipam-driver', 'vpc', 'more');
    t.match(outcome.stderr, /QUOTA_EXCEEDED: .*5 of at most 5.*quota raised/);
    t.match(await findings(one, 'route quota'), [{ State: 'bad', Found: /has 5 of 5 routes/ }]);
  });

  await t.test('in the end only what PEERS says is left', async (t) => {
    await cluster.clear();
    t.same(
      (await cloud.routes()).map(({ prefix }) => prefix),
      [ELSEWHERE],
    );
  });
});
