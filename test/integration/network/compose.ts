import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';
import { IMAGE } from '../support/member.ts';

const EXAMPLE = new URL('../../../plugin-configs/compose/compose.yaml', import.meta.url);

/** The example, with the one image that there is here. */
function example(): string {
  return readFileSync(EXAMPLE, 'utf8')
    .replace('image: nginx:alpine', `image: ${IMAGE}\n    command: httpd -f -h /www`)
    .replace('image: busybox', `image: ${IMAGE}`);
}

/** The same in Compose files. */
export async function compose(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  const everywhere = async (...args: string[]) => {
    const outcomes = await Promise.all(cluster.members.map(({ host }) => host.compose('demo', example(), args)));
    for (const { code, stderr } of outcomes) t.equal(code, 0, stderr);
  };

  await t.test('docker compose up of the example on two hosts, and down', async (t) => {
    await everywhere('up', '-d');
    await cluster.untilRouted();
    t.match((await one.networks('demo_vpc'))[0], { Pools: ['10.80.0.0/12'], Ingress: 'pool', State: 'ready' });
    const [worker, distant] = [await one.address('demo-worker-1'), await two.address('demo-worker-1')];
    t.match(worker, /^10\.80\./);
    t.equal(await one.whoami('demo-worker-1', 'web'), worker, 'services find each other by name');
    t.equal(await two.whoami('demo-worker-1', await one.address('demo-web-1')), distant, 'and hosts by address');
    t.equal(await two.whoamiFromHost(`${one.host.v4}:8080`), two.host.v4, 'the published port serves');
    await everywhere('down', '-t', '0');
    t.same(await cluster.leftoversInTheEnd(), []);
  });

  await t.test('Compose passes driver_opts, subnet, ip_range, addresses and aliases', async (t) => {
    const yaml = `
services:
  box:
    image: ${IMAGE}
    networks:
      net:
        ipv4_address: 10.112.9.70
        aliases: [seventy]
networks:
  net:
    driver: vpc
    driver_opts: { mtu: "1400", masquerade: "off" }
    ipam:
      driver: vpc
      config: [{ subnet: 10.112.0.0/16, ip_range: 10.112.9.64/26 }]
`;
    const up = await one.host.compose('opts', yaml, ['up', '-d']);
    t.equal(up.code, 0, up.stderr);
    t.match((await one.networks('opts_net'))[0], {
      Prefixes: ['10.112.9.64/26'],
      Pools: ['10.112.0.0/16'],
      Masquerade: 'off',
    });
    t.equal(await one.address('opts-box-1'), '10.112.9.70');
    t.equal((await one.inside('opts-box-1', 'cat', '/sys/class/net/eth0/mtu')).stdout.trim(), '1400');
    t.match((await one.inside('opts-box-1', 'nslookup', '-type=a', 'seventy')).stdout, '10.112.9.70');
    const down = await one.host.compose('opts', yaml, ['down', '-t', '0']);
    t.equal(down.code, 0, down.stderr);
  });
}
