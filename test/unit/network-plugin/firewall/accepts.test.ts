import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { openFirewall } from '../../../../network-plugin/firewall/firewall.ts';
import type { FirewallModel } from '../../../../network-plugin/firewall/policy.ts';
import { type Context, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { HOST, OUTSIDE, openLab } from './lab.ts';

/** Hosts whose iptables drop what is forwarded, as Docker sets them up: in iptables-legacy and in iptables-nft. */

const c: Context = newContext(silentLogger, 120_000);
const A = { name: 'a', address: '10.64.1.2', address6: 'fd64:6472:7961:1::2' };
const MODEL: FirewallModel = {
  networks: [
    {
      id: 'aaaaaaaaaaaaaaaa',
      prefixes: ['10.64.1.0/24', 'fd64:6472:7961:1::/64'],
      pools: ['10.64.0.0/12', 'fd64:6472:7961::/48'],
      allow: [],
      ingress: 'vpc',
      internal: false,
      masquerade: 'auto',
    },
  ],
  local: ['10.0.0.0/24', 'fd00:a::/64'],
  otherPools: [],
  ports: [],
};

const lab = await openLab([A]);
t.teardown(() => lab.close());
const a = lab.containers.a;
if (a === undefined) throw new Error('no container');
await a.listen('tcp', A.address, 80);
await a.listen('tcp', A.address6, 80);
await lab.outside.listen('tcp', OUTSIDE.world[4], 80);
await lab.outside.listen('tcp', OUTSIDE.world[6], 80);

const run = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8' });
/** All tables but our own, without the comments and counters that change by themselves. */
const saved = (kind: string): string =>
  ['iptables', 'ip6tables']
    .map((name) => run(`${name}-${kind}-save`))
    .join('')
    .replace(/^#.*\n/gm, '')
    .replace(/\[\d+:\d+\]/g, '');

const KINDS = ['legacy', 'nft'] as const;

t.test('tables that are not in use are not made', async (t) => {
  const firewall = openFirewall();
  await firewall.apply(MODEL, c);
  await firewall.check(MODEL, true, c);
  await firewall.remove(c);
  t.equal(readFileSync('/proc/self/net/ip_tables_names', 'utf8'), '');
  t.equal(readFileSync('/proc/self/net/ip6_tables_names', 'utf8'), '');
  t.equal(run('nft', 'list', 'tables'), '');
});

t.test('a table of iptables-legacy that comes into use later is noticed when a container joins', async (t) => {
  const firewall = openFirewall();
  await firewall.apply(MODEL, c);
  await firewall.ensureAccepts(c);
  run('iptables-legacy', '-P', 'FORWARD', 'DROP');
  t.match(await lab.outside.ask('tcp', A.address, 80), 'TIMEOUT');
  await firewall.ensureAccepts(c);
  t.match(await lab.outside.ask('tcp', A.address, 80), /^a /);
  await firewall.remove(c);
  run('iptables-legacy', '-P', 'FORWARD', 'ACCEPT');
});

t.test('iptables-legacy is run with the lock file of the settings', async (t) => {
  process.env['XTABLES_LOCKFILE'] = '/nonexistent/xtables.lock';
  t.teardown(() => {
    delete process.env['XTABLES_LOCKFILE'];
    run('iptables-legacy', '-t', 'filter', '-F');
  });
  run('env', '-u', 'XTABLES_LOCKFILE', 'iptables-legacy', '-P', 'FORWARD', 'ACCEPT');
  t.match(await openFirewall().check(MODEL, false, c), [{}, { what: /nonexistent/, repaired: false }]);
});

for (const kind of KINDS) {
  t.test(`iptables-${kind} with a drop policy lets containers through, and keeps everything of others`, async (t) => {
    for (const program of [`iptables-${kind}`, `ip6tables-${kind}`]) {
      for (const words of [
        '-P FORWARD DROP',
        '-N DOCKER-USER',
        '-N DOCKER-FORWARD',
        '-A DOCKER-USER -s 192.0.2.1 -j DROP',
        '-A FORWARD -j DOCKER-USER',
        '-A FORWARD -j DOCKER-FORWARD',
        '-A FORWARD -i eth9 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        '-A FORWARD -j REJECT',
      ]) {
        const family6 = program.startsWith('ip6');
        run(program, ...words.replace('192.0.2.1', family6 ? '2001:db8::1' : '192.0.2.1').split(' '));
      }
    }
    const before = saved(kind);
    t.match(await lab.outside.ask('tcp', A.address, 80), /ECONNREFUSED|TIMEOUT/, 'shut without us');
    const firewall = openFirewall();
    await firewall.apply(MODEL, c);
    t.match(await lab.outside.ask('tcp', A.address, 80), /^a /);
    t.match(await lab.outside.ask('tcp', A.address6, 80), /^a /);
    t.equal(await a.ask('tcp', OUTSIDE.world[4], 80), `outside ${HOST[4]}`);
    t.match(await a.ask('tcp', OUTSIDE.world[6], 80), /^outside /);
    t.equal(await lab.outside.ask('tcp', A.address, 80, OUTSIDE.peer[4]), `a ${OUTSIDE.peer[4]}`);
    const forward = run(`iptables-${kind}`, '-S', 'FORWARD').split('\n');
    t.same(forward.slice(1, 4), [
      '-A FORWARD -j DOCKER-USER',
      '-A FORWARD -j DRAYAGE-FORWARD',
      '-A FORWARD -j DOCKER-FORWARD',
    ]);
    const ready = saved(kind);
    t.same(await firewall.check(MODEL, true, c), []);
    t.equal(saved(kind), ready, 'checking writes nothing');

    run(`iptables-${kind}`, '-F', 'FORWARD');
    run(`iptables-${kind}`, '-A', 'FORWARD', '-j', 'DOCKER-FORWARD');
    const flushed = saved(kind);
    const drift = { what: `iptables-${kind} has no jump to DRAYAGE-FORWARD in FORWARD` };
    t.match(await firewall.check(MODEL, false, c), [{ ...drift, repaired: false }], 'a flushed chain is found');
    t.equal(saved(kind), flushed, 'a dry run writes nothing');
    t.match(await firewall.check(MODEL, true, c), [{ ...drift, repaired: true }]);
    run(`iptables-${kind}`, '-I', 'FORWARD', '1', '-j', 'DOCKER-USER');
    run(`iptables-${kind}`, '-D', 'FORWARD', '-j', 'DRAYAGE-FORWARD');
    run(`iptables-${kind}`, '-I', 'FORWARD', '1', '-j', 'DRAYAGE-FORWARD');
    t.match(await firewall.check(MODEL, true, c), [{ what: /before DOCKER-USER/, repaired: true }]);
    t.same(run(`iptables-${kind}`, '-S', 'FORWARD').split('\n').slice(1, 4), forward.slice(1, 4));
    run(
      `iptables-${kind}`,
      '-A',
      'FORWARD',
      '-i',
      'eth9',
      '-m',
      'conntrack',
      '--ctstate',
      'RELATED,ESTABLISHED',
      '-j',
      'ACCEPT',
    );
    run(`iptables-${kind}`, '-A', 'FORWARD', '-j', 'REJECT');
    t.equal(saved(kind), ready, 'all is as it was');

    await firewall.remove(c);
    await firewall.remove(c);
    t.equal(saved(kind), before, 'and without us as before us');
    for (const program of [`iptables-${kind}`, `ip6tables-${kind}`]) {
      run(program, '-F');
      run(program, '-X');
      run(program, '-P', 'FORWARD', 'ACCEPT');
    }
    if (kind === 'nft') run('nft', 'flush', 'ruleset');
  });
}

const PORT = {
  protocol: 6,
  hostIp: '',
  hostPort: 8080,
  targetIp: A.address,
  targetPort: 80,
  endpoint: 'e'.repeat(16),
  network: 'a'.repeat(16),
} as const;

for (const look of ['a container joins', 'a port is published'] as const) {
  t.test(`a table that comes into use later is noticed when ${look}`, async (t) => {
    const firewall = openFirewall();
    await firewall.apply(MODEL, c);
    await firewall.ensureAccepts(c);
    // Our own changes are not mistaken for others'.
    await firewall.publish([{ ...PORT, hostPort: 8081 }], c);
    run('iptables-nft', '-P', 'FORWARD', 'DROP');
    t.match(await lab.outside.ask('tcp', A.address, 80), 'TIMEOUT');
    await (look === 'a container joins' ? firewall.ensureAccepts(c) : firewall.publish([PORT], c));
    t.match(await lab.outside.ask('tcp', A.address, 80), /^a /);
    await firewall.remove(c);
    run('nft', 'flush', 'ruleset');
  });
}
