// @timeout 5m
// What others take away or change is found and repaired, by hand and by the loop; a dry run only tells; and where all is
// well nothing is written.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Cluster } from '../integration/support/cluster.ts';
import type { Member } from '../integration/support/member.ts';
import { until } from '../rig/command.ts';
import { holdings, untilBack } from './support/holdings.ts';

t.setTimeout(300_000);

/** Something that goes wrong on a host. */
interface Damage {
  readonly what: string;
  /** What reconcile calls it. */
  readonly told: RegExp;
  /** The kernel tells of it, so that it does not wait for the next pass. */
  readonly heard?: boolean;
  /** `link`: the host's end of the container's link. */
  readonly commands: (link: string, address: string, peer: string) => readonly (readonly string[])[];
  /** Reads what was damaged, so that a repair is seen. */
  readonly look: (link: string) => readonly string[];
}

const table = ['nft', 'list', 'table', 'inet', 'drayage'];
const routes = ['ip', 'route', 'show', 'proto', '68'];

const DAMAGES: readonly Damage[] = [
  {
    what: "the container's host route",
    told: /route to \S+ was missing/,
    heard: true,
    commands: (_link, address) => [['ip', 'route', 'del', address]],
    look: () => routes,
  },
  {
    what: 'the route to another host',
    told: /missing route \S+ via/,
    heard: true,
    commands: (_link, _address, peer) => [['ip', 'route', 'del', peer]],
    look: () => routes,
  },
  {
    what: 'the answer for unused addresses',
    told: /unused addresses of \S+ was missing/,
    heard: true,
    commands: (_link, address) => [['ip', 'route', 'del', 'unreachable', `${address.replace(/\.\d+$/, '.0')}/24`]],
    look: () => routes,
  },
  {
    what: "the gateway's address on the link",
    told: /address 169\.254\.1\.1\/32 of \S+ was missing/,
    heard: true,
    commands: (link) => [['ip', 'address', 'del', '169.254.1.1/32', 'dev', link]],
    look: (link) => ['ip', '-o', '-4', 'address', 'show', 'dev', link],
  },
  {
    what: 'our whole nftables table',
    told: /nftables table inet drayage is missing/,
    heard: true,
    commands: () => [['nft', 'delete', 'table', 'inet', 'drayage']],
    look: () => table,
  },
  {
    what: 'the rules in our nftables table',
    told: /rules in the nftables table inet drayage are not/,
    heard: true,
    commands: () => [['nft', 'flush', 'chain', 'inet', 'drayage', 'publish']],
    look: () => table,
  },
  {
    what: 'a published port in our nftables table',
    told: /lacks the port/,
    commands: () => [['nft', 'flush', 'map', 'inet', 'drayage', 'any4']],
    look: () => table,
  },
  {
    what: 'our chain in FORWARD',
    told: /./,
    commands: () => [
      ['iptables', '-F', 'DRAYAGE-FORWARD'],
      ['iptables', '-D', 'FORWARD', '-j', 'DRAYAGE-FORWARD'],
      ['iptables', '-P', 'FORWARD', 'DROP'],
    ],
    look: () => ['iptables', '-S', 'DRAYAGE-FORWARD'],
  },
  {
    what: 'settings of the link',
    told: /settings of \S+ had been changed/,
    commands: (link) => [['sysctl', '-qw', `net.ipv4.conf.${link}.proxy_arp=0`, `net.ipv4.conf.${link}.rp_filter=1`]],
    look: (link) => ['sysctl', `net.ipv4.conf.${link}.proxy_arp`, `net.ipv4.conf.${link}.rp_filter`],
  },
  {
    what: 'forwarding on the uplink',
    told: /forwarding was off on the uplink/,
    commands: () => [['sysctl', '-qw', 'net.ipv4.conf.eth0.forwarding=0']],
    look: () => ['sysctl', 'net.ipv4.conf.eth0.forwarding'],
  },
];

t.test('drift', async (t) => {
  const cluster = await Cluster.for(t, { hosts: 2 });
  const { rig } = cluster;
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await one.serve('web', '--network', 'web', '-p', '8080:80');
  await two.serve('web', '--network', 'web');
  const address = await one.address('web');
  const link = (await one.must('exec', 'web', 'cat', '/sys/class/net/eth0/iflink')).trim();
  const links = JSON.parse(await one.host.must(['ip', '-j', 'link'])) as { ifindex: number; ifname: string }[];
  const name = links.find(({ ifindex }) => ifindex === Number(link))?.ifname ?? '';
  const peer = `${(await two.address('web')).replace(/\.\d+$/, '.0')}/24`;

  const works = async (): Promise<boolean> =>
    (await one.pings('web', await two.address('web'))) &&
    (await two.pings('web', address)) &&
    (await cluster.whoamiFromWorld(`${one.host.v4}:8080`)) === rig.world.v4;
  const damage = async ({ commands }: Damage): Promise<void> => {
    for (const command of commands(name, address, peer)) await one.host.must(command);
  };
  const look = async ({ look }: Damage): Promise<string> => (await one.host.exec(look(name))).stdout;

  t.ok(await works(), 'it works before');
  const before = await holdings(one);
  for (const one_ of DAMAGES.filter(({ heard }) => heard !== true)) {
    await t.test(`${one_.what}: told by a dry run, repaired by a pass`, async (t) => {
      const whole = await look(one_);
      t.not(whole, '', 'there is something to look at');
      await damage(one_);
      const broken = await look(one_);
      t.not(broken, whole, 'it is damaged');
      const told = await one.reconcile(true);
      t.ok(
        told.some(({ What, Repaired }) => one_.told.test(What) && !Repaired),
        JSON.stringify(told),
      );
      t.equal(await look(one_), broken, 'a dry run changes nothing');
      const repaired = await one.reconcile();
      t.ok(
        repaired.some(({ What, Repaired }) => one_.told.test(What) && Repaired),
        JSON.stringify(repaired),
      );
      t.equal(await look(one_), whole, 'it is as it was');
      t.same(await one.reconcile(), [], 'the next pass finds nothing');
      t.same(await holdings(one), before);
      t.ok(await works(), 'and it works');
    });
  }

  await t.test('what the kernel tells of is repaired at once, however long the interval is', async (t) => {
    await set(one, { RECONCILE_INTERVAL: '1h' });
    const times: number[] = [];
    for (const one_ of DAMAGES.filter(({ heard }) => heard === true)) {
      const whole = await look(one_);
      t.not(whole, '', 'there is something to look at');
      const logged = one.plugin.log().length;
      const started = performance.now();
      await damage(one_);
      await until(`the repair of ${one_.what}`, async () => (await look(one_)) === whole, { everyMs: 20 });
      times.push(Math.round(performance.now() - started));
      t.comment(`${one_.what} is back after ${times.at(-1)} ms`);
      // The log comes by way of the engine.
      await until(`word of the repair of ${one_.what}`, () => {
        const lines = one.plugin.log().slice(logged);
        return lines.some((line) => /"drift"/.test(line) && one_.told.test(line));
      });
    }
    // The next pass would be in an hour. Other work on the machine can only make one later: the quickest is the plugin's own.
    t.ok(Math.min(...times) < 1_000, `they are back after ${times.join(', ')} ms`);
    t.same(await holdings(one), before);
    t.ok(await works());
    t.same(await one.reconcile(), []);
  });

  await t.test('the loop repairs everything by itself', async (t) => {
    await set(one, { RECONCILE_INTERVAL: '1s' });
    const whole = await Promise.all(DAMAGES.map(look));
    for (const one_ of DAMAGES) if (!/nftables/.test(one_.what) || /whole/.test(one_.what)) await damage(one_);
    const started = performance.now();
    await until('the repair', async () => (await Promise.all(DAMAGES.map(look))).join() === whole.join());
    t.comment(`repaired after ${Math.round(performance.now() - started)} ms`);
    t.ok(await works());
  });

  await t.test('where all is well nothing is written', async (t) => {
    await set(two, { RECONCILE_INTERVAL: '1s' });
    // What the starts of plugins and the tests before have left to do is done.
    for (const member of cluster.members) {
      const isWell = async (): Promise<boolean> => (await member.reconcile()).length === 0;
      await until(`a pass on ${member.name} that finds nothing`, isWell);
    }
    await sleep(500);
    const journals = (): number[] => cluster.members.map(journal);
    const [sizes, drift] = [journals(), await drifts(one)];
    // Three seconds, in which the loops of both hosts pass as well.
    t.same(await cluster.writesAtRest(), []);
    t.same(journals(), sizes, 'the journals did not grow');
    t.equal(await drifts(one), drift, 'and no drift was told');
  });

  await t.test('DRY_RUN=true: drift is told and stays, and networks are refused with what would be done', async (t) => {
    await set(two, { DRY_RUN: 'true' });
    const [own] = (await two.host.must(routes)).split('\n').filter((line) => line.includes('dev dry'));
    await two.host.must(['ip', 'route', 'del', own?.split(' ')[0] ?? '']);
    await until('a pass that tells of it', () => /route to \S+ was missing/.test(two.plugin.log().join('\n')));
    await sleep(1_500);
    t.notMatch(await two.host.must(routes), own ?? 'a route', 'the route is not put back');
    const outcome = await two.docker('network', 'create', '-d', 'vpc', '--subnet', '10.70.9.0/24', 'more');
    t.match(outcome, { code: 1, stderr: /DRY_RUN: .*10\.70\.9\.0\/24/ });
    const run = await two.docker('run', '--rm', '--network', 'web', 'drayage/box:1', 'true');
    t.match(run.stderr, /DRY_RUN/);
    await two.must('rm', '-f', 'web');
    await set(two, { DRY_RUN: 'false' });
    t.equal((await two.docker('run', '--rm', '--network', 'web', 'drayage/box:1', 'true')).code, 0);
  });

  await t.test('and nothing is left of it all', async (t) => {
    await one.remove('web');
    await cluster.removeNetwork('web');
    t.same(
      (await cluster.leftovers()).filter((line) => !line.includes('state addresses/')),
      [],
    );
  });
});

async function set(member: Member, env: Readonly<Record<string, string>>): Promise<void> {
  await member.plugin.disable();
  await member.plugin.set(env);
  await member.plugin.enable();
  await untilBack(member);
}

const journal = ({ host }: Member): number => statSync(join(host.stateFolder, 'network/state/journal.jsonl')).size;

/** Lines about drift in the plugin's log. */
const drifts = async ({ plugin }: Member): Promise<number> =>
  plugin.log().filter((line) => /"drift"/.test(line)).length;
