import type { Test } from 'tap';
import type { Machine } from '../../rig/machine.ts';
import type { Cluster } from '../support/cluster.ts';
import { peer } from '../support/peer.ts';

const SERVE_TWO = 'httpd -p 81 -h /www; exec httpd -f -h /www';

/** Published ports: every form of `-p`, from everywhere. */
export async function ports(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  const { v4, v6 } = one.host;
  const { world } = cluster.rig;
  const six = ['--ipam-driver', 'vpc', '--ipv6', '--subnet', '10.64.0.0/12', '--subnet', 'fd64:6472:7961::/48'];
  await cluster.createNetwork('web', ...six);
  await Promise.all([
    one.serve('plain', '--network', 'web', '-p', '8080:80'),
    one.serve('local', '--network', 'web', '-p', '127.0.0.1:8084:80', '-p', `${v4}:8083:80`, '-p', '[::1]:8085:80'),
    one.shell('range', SERVE_TWO, '--network', 'web', '-p', '9000-9001:80-81', '-p', '9010-9019:80'),
    one.box('udp', '--network', 'web', '-p', '5353:53/udp'),
    one.serve('random', '--network', 'web', '-p', '80'),
    two.serve('client', '--network', 'web'),
  ]);
  await one.untilServes('range');
  const plain = await one.address('plain');
  const listed = async (): Promise<readonly PortLine[]> =>
    (JSON.parse((await one.drayage('ports', '--json')).out) as { Ports: PortLine[] }).Ports;

  await t.test(
    'a published port is reached from the world, the other host, the host itself and containers of both',
    async (t) => {
      t.equal(await cluster.whoamiFromWorld(`${v4}:8080`), world.v4, 'the server sees the world’s own address');
      t.equal(await two.whoamiFromHost(`${v4}:8080`), two.host.v4);
      t.equal(await one.whoamiFromHost(`${v4}:8080`), one.host.v4);
      t.ok(await one.whoamiFromHost('127.0.0.1:8080'), 'on the loopback address');
      t.equal(await two.whoami('client', `${v4}:8080`), await two.address('client'));
    },
  );

  await t.test('containers reach their own host’s published ports, also their own', async (t) => {
    t.equal(await one.whoami('random', `${v4}:8080`), await one.address('random'));
    t.ok(await one.whoami('plain', `${v4}:8080`), 'its own');
  });

  await t.test('over IPv6 too, also on ::1', async (t) => {
    t.equal(await cluster.whoamiFromWorld(`[${v6}]:8080`), world.v6);
    t.equal(await two.whoamiFromHost(`[${v6}]:8080`), two.host.v6);
    t.equal(await one.whoamiFromHost(`[${v6}]:8080`), one.host.v6);
    t.ok(await one.whoamiFromHost('[::1]:8080'));
    t.ok(await one.whoamiFromHost('[::1]:8085'), 'published there only');
    t.equal(await two.whoamiFromHost(`[${v6}]:8085`), '', 'and nowhere else');
    t.ok(await one.whoami('plain', `[${v6}]:8080`), 'a container its own');
  });

  await t.test('a port of one address is on no other, and one of 127.0.0.1 is not for others', async (t) => {
    t.equal(await two.whoamiFromHost(`${v4}:8083`), two.host.v4);
    t.equal(await one.whoamiFromHost('127.0.0.1:8083'), '');
    t.ok(await one.whoamiFromHost('127.0.0.1:8084'));
    t.equal(await two.whoamiFromHost(`${v4}:8084`), '');
    t.equal(await one.whoamiFromHost(`${v4}:8084`), '');
  });

  await t.test('ranges: one to one, and one of many', async (t) => {
    t.equal(await two.whoamiFromHost(`${v4}:9000`), two.host.v4);
    t.equal(await two.whoamiFromHost(`${v4}:9001`), two.host.v4);
    const chosen = (await listed()).find(({ HostPort }) => HostPort >= 9010 && HostPort <= 9019);
    t.equal(await two.whoamiFromHost(`${v4}:${chosen?.HostPort}`), two.host.v4);
  });

  await t.test('UDP', async (t) => {
    await one.runInNamespaceOf('udp', peer('serve-udp', '53'));
    const asks = async (machine: Machine, to: string): Promise<string> =>
      (await machine.exec(peer('ask-udp', to, '5353'))).stdout.trim();
    t.equal(await asks(one.host.machine, v4), v4, 'from the host');
    t.ok(await asks(one.host.machine, '127.0.0.1'), 'from the host, on the loopback address');
    t.equal(await asks(two.host.machine, v4), two.host.v4, 'from the other host');
    t.equal(await asks(world.machine, v4), world.v4, 'from the world');
    t.equal(await asks(world.machine, v6), world.v6, 'from the world, over IPv6');
  });

  await t.test('a port that nobody named is chosen and shown', async (t) => {
    const target = `${await one.address('random')}:80`;
    const chosen = (await listed()).find(({ Target }) => Target === target);
    t.ok(chosen !== undefined && chosen.HostPort >= 32_768);
    t.equal(await two.whoamiFromHost(`${v4}:${chosen?.HostPort}`), two.host.v4);
  });

  await t.test('drayage ports shows what docker ps cannot', async (t) => {
    const shown = (await one.drayage('ports')).out;
    t.match(shown, new RegExp(`8080 +tcp +${plain}:80 `));
    t.match(shown, new RegExp(`127\\.0\\.0\\.1 +8084 +tcp +${await one.address('local')}:80 `));
    t.match(shown, new RegExp(`5353 +udp +${await one.address('udp')}:53 `));
    t.match((await two.drayage('ports')).out, 'No port is published.');
  });

  await t.test('a port in use is refused, and its owner named: a container', async (t) => {
    const outcome = await one.docker('run', '-d', '--network', 'web', '-p', '8080:80', 'drayage/box:1', 'true');
    t.not(outcome.code, 0);
    t.match(
      outcome.stderr,
      new RegExp(`PORT_TAKEN: Port 8080/tcp.* is already used by endpoint [0-9a-f]{12} \\(${plain}\\)`),
    );
  });

  await t.test('a port in use is refused, and its owner named: a process of the host', async (t) => {
    await one.serveOnHost(8099);
    const outcome = await one.docker('run', '-d', '--network', 'web', '-p', '8099:80', 'drayage/box:1', 'true');
    t.not(outcome.code, 0);
    t.match(outcome.stderr, /PORT_TAKEN: Port 8099\/tcp.* is already used by another process on this host/);
    await one.remove('plain');
    await one.serve('plain', '--network', 'web', '-p', '8080:80');
    t.equal(await two.whoamiFromHost(`${v4}:8080`), two.host.v4, 'a free one can be had at once');
  });

  await t.test('a port goes when its container stops, and comes when it starts', async (t) => {
    await one.must('stop', '-t', '0', 'plain');
    t.equal(await two.whoamiFromHost(`${v4}:8080`), '');
    t.notMatch((await one.drayage('ports')).out, / 8080 /);
    await one.must('start', 'plain');
    await one.untilServes('plain');
    t.equal(await two.whoamiFromHost(`${v4}:8080`), two.host.v4);
  });
}

interface PortLine {
  readonly HostIP: string;
  readonly HostPort: number;
  readonly Protocol: string;
  readonly Target: string;
}
