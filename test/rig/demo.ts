/**
 * `npm run demo [-- --keep] [-- --engine 20|26|28]`: two Docker hosts, a router that forwards only what its table names,
 * containers that reach each other across it with their own addresses, and a volume that goes from host to host.
 * Everything runs on this machine, in namespaces of its own, and is gone afterwards.
 */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildPlugin } from '../../plugin-configs/build.ts';
import { must } from './command.ts';
import { clearVolume, showVolume } from './demo-volume.ts';
import type { Host } from './host.ts';
import { ENGINES, type EngineVersion, ensureEngine, ensureTools } from './packages.ts';
import { checkMachine } from './preflight.ts';
import { Rig } from './rig.ts';
import { exitOnSignals, isStopping } from './signals.ts';
import { expect, type Print, Steps } from './steps.ts';

const NETWORK = 'web';
const CREATE = ['network', 'create', '-d', 'vpc', '--ipam-driver', 'vpc', NETWORK];
const PORT = 8080;

async function address(host: Host, container: string): Promise<string> {
  const format = `{{(index .NetworkSettings.Networks "${NETWORK}").IPAddress}}`;
  return await host.dockerMust(['inspect', '-f', format, container]);
}

/** The router's table as `ip route` shows it, without what belongs to the rig itself. */
async function routeTable(rig: Rig): Promise<string> {
  const routes = await rig.router.routes();
  return routes.map(({ prefix, host }) => `${prefix}  via ${rig.host(host).v4} (host${host})`).join('\n');
}

/** Counts on the router what passes it: packets from container to container as they are, and tunnels of any kind. */
async function countOnRouter(rig: Rig, from: string, to: string): Promise<void> {
  const rules = `table inet demo {
  chain pass {
    type filter hook forward priority 0;
    ip saddr ${from} ip daddr ${to} counter comment "plain"
    meta l4proto { 4, 41, 47, 50 } counter comment "tunnel"
    udp dport { 4789, 8472, 6081, 51820 } counter comment "tunnel"
  }
}
`;
  await rig.router.machine.must(['nft', '-f', '-'], { input: rules });
}

async function counted(rig: Rig): Promise<{ plain: number; tunnel: number }> {
  const text = await rig.router.machine.must(['nft', '-j', 'list', 'table', 'inet', 'demo']);
  const sums = { plain: 0, tunnel: 0 };
  type Expression = { counter?: { packets: number } };
  for (const { rule } of (
    JSON.parse(text) as { nftables: { rule?: { comment: 'plain' | 'tunnel'; expr: Expression[] } }[] }
  ).nftables) {
    if (rule) sums[rule.comment] += rule.expr.find((one) => one.counter)?.counter?.packets ?? 0;
  }
  return sums;
}

/** Waits until the published port answers; returns who the server says asked. */
async function ask(rig: Rig, from: 'world' | Host, url: string): Promise<string> {
  const argv = [rig.tools.busybox, 'wget', '-T', '3', '-qO-', url];
  const outcome = from === 'world' ? await rig.world.machine.exec(argv) : await from.exec(argv);
  return outcome.stdout.trim();
}

/** Everything that the demonstration shows, on a rig that is up. */
async function show(rig: Rig, plugin: string, steps: Steps): Promise<void> {
  const [one, two] = [rig.host(1), rig.host(2)];

  const [etcd, mirror] = await steps.do(
    'Start etcd, in which the hosts keep who has which prefix; the router follows it',
    async () => {
      const started = await rig.etcd();
      return [started, await rig.mirrorEtcd(started)] as const;
    },
  );

  await steps.do('Install the network plugin on both hosts: set PROVIDER=etcd, docker plugin enable', async (tell) => {
    const env = { PROVIDER: 'etcd', ETCD_ENDPOINTS: etcd.endpoint };
    await Promise.all(rig.hosts.map(async (host) => await host.installPlugin(plugin, { env })));
    tell(await one.dockerMust(['plugin', 'ls', '--format', '{{.Name}}  enabled: {{.Enabled}}']));
  });

  await steps.do(`Create the network on both hosts: docker ${CREATE.join(' ')}`, async (tell) => {
    for (const host of rig.hosts) await host.dockerMust(CREATE);
    tell(
      'Each host got a prefix of its own from the pool 10.64.0.0/12, and claimed a route for it. The router now has:',
    );
    await rig.router.untilRoute('10.64.0.0/24', 1);
    await rig.router.untilRoute('10.64.1.0/24', 2);
    tell(await routeTable(rig));
  });

  const [client, server] = await steps.do('Run a web server on host2 and a client on host1', async (tell) => {
    const httpd = ['httpd', '-f', '-v', '-h', '/www'];
    await Promise.all([
      one.dockerMust(['run', '-d', '--name', 'client', '--network', NETWORK, 'drayage/box:1']),
      two.dockerMust(['run', '-d', '--name', 'server', '--network', NETWORK, 'drayage/box:1', ...httpd]),
    ]);
    const addresses = [await address(one, 'client'), await address(two, 'server')] as const;
    tell(`client ${addresses[0]} on host1 (${one.v4})\nserver ${addresses[1]} on host2 (${two.v4})`);
    return addresses;
  });

  await countOnRouter(rig, client, server);
  await steps.do('Ping the server from the client, across the router', async (tell) => {
    const outcome = await one.docker(['exec', 'client', 'ping', '-c', '3', '-i', '0.2', '-W', '2', server]);
    expect(outcome.code === 0, `The server does not answer to ping:\n${outcome.stdout}${outcome.stderr}`);
    tell(outcome.stdout.trim().split('\n').slice(1, 2).join('\n'));
    tell(outcome.stdout.trim().split('\n').slice(-1).join('\n'));
  });

  await steps.do('Fetch a page from it; the server logs who asked', async (tell) => {
    const page = await one.dockerMust(['exec', 'client', 'wget', '-T', '5', '-qO-', `http://${server}/cgi-bin/whoami`]);
    const log = await two.docker(['logs', 'server']);
    tell(`${log.stdout}${log.stderr}`.trim());
    expect(page === client, `The server saw ${page}, not the client's own address ${client}: somebody translated it.`);
    tell(`That is the client container's own address, ${client}: no NAT.`);
  });

  await steps.do('Count on the router what passed', async (tell) => {
    const { plain, tunnel } = await counted(rig);
    expect(plain > 0 && tunnel === 0, `The router saw ${plain} plain packets and ${tunnel} of tunnels.`);
    tell(
      `${plain} packets from ${client} to ${server}, as they are; ${tunnel} of VXLAN, IPIP, GRE or WireGuard: no encapsulation.`,
    );
  });

  await steps.do('Take the route away: the router is no bridge, it drops what no route names', async (tell) => {
    mirror.pause();
    const before = await rig.router.droppedPackets();
    await rig.router.removeRoute('10.64.1.0/24');
    const outcome = await one.docker(['exec', 'client', 'ping', '-c', '2', '-i', '0.2', '-W', '1', server]);
    const dropped = (await rig.router.droppedPackets()) - before;
    mirror.resume();
    await rig.router.untilRoute('10.64.1.0/24', 2);
    expect(outcome.code !== 0, 'The ping went through without a route.');
    tell(`The same ping stays without an answer, ${dropped} packets were dropped; then the route is put back.`);
  });

  await steps.do(`Publish a port on host2: docker run -p ${PORT}:80`, async (tell) => {
    const httpd = ['httpd', '-f', '-v', '-h', '/www'];
    const run = ['run', '-d', '--name', 'shop', '--network', NETWORK, '-p', `${PORT}:80`, 'drayage/box:1', ...httpd];
    await two.dockerMust(run);
    const url = `http://${two.v4}:${PORT}/cgi-bin/whoami`;
    for (const [name, from] of [
      ['host1', one],
      ['host2 itself', two],
      ['the Internet', 'world'],
    ] as const) {
      const seen = await ask(rig, from, url);
      expect(seen !== '', `${url} does not answer to ${name}.`);
      tell(`${name} fetched ${url}; the container saw ${seen}`);
    }
  });

  await steps.do('Go out to the Internet from the client: only there its address is translated', async (tell) => {
    const seen = await one.dockerMust(['exec', 'client', 'wget', '-T', '5', '-qO-', 'http://world.test/']);
    expect(seen === one.v4, `A server on the Internet saw ${seen}, not host1's ${one.v4}.`);
    tell(`world.test (found by Docker's DNS) saw ${seen}, the address of host1`);
  });
}

/** Takes the containers, networks and the plugin away again and looks for what they left. */
async function clear(rig: Rig, steps: Steps): Promise<void> {
  await steps.do('Remove containers and networks, and look what is left', async (tell) => {
    const [one, two] = [rig.host(1), rig.host(2)];
    await Promise.all([one.dockerMust(['rm', '-f', 'client']), two.dockerMust(['rm', '-f', 'server', 'shop'])]);
    for (const host of rig.hosts) await host.dockerMust(['network', 'rm', NETWORK]);
    for (const { prefix } of await rig.router.routes()) await rig.router.untilRoute(prefix, undefined);
    for (const host of rig.hosts) {
      const links = await host.must(['ip', '-o', 'link', 'show', 'type', 'veth']);
      const left = links.split('\n').filter((line) => line.includes(' dry'));
      expect(left.length === 0, `${host.name} still has ${left.join('; ')}`);
      const routes = await host.must(['ip', 'route', 'show', 'proto', '68']);
      expect(routes === '', `${host.name} still has routes of the plugin: ${routes}`);
    }
    tell('no route in the router, no veth and no route of the plugin on the hosts');
  });
}

/** Runs the demonstration. Returns the exit code. */
export async function demo(argv: readonly string[], print: Print): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { keep: { type: 'boolean', default: false }, engine: { type: 'string', default: '28' } },
  });
  const engine = ENGINES.find((version) => version === values.engine);
  if (!engine) throw new Error(`--engine ${values.engine}: choose one of ${ENGINES.join(', ')}.`);
  const steps = new Steps(print);
  await steps.do('Look whether this machine can do it', async () => await checkMachine());
  const release = exitOnSignals(() => undefined);
  const scratch = await mkdtemp(path.join(tmpdir(), 'drayage-demo-'));
  const removeScratch = (): void => rmSync(scratch, { recursive: true, force: true });
  process.once('exit', removeScratch);
  const plugins = { network: path.join(scratch, 'network'), volume: path.join(scratch, 'volume') };
  try {
    await prepare(engine, steps);
    await steps.do('Build the plugins', async (tell) => {
      for (const name of ['network', 'volume'] as const) {
        tell(`${name}: ${((await buildPlugin(name, plugins[name])) / 1e6).toFixed(0)} MB unpacked`);
      }
    });
    release();
    return await onRig(engine, plugins, values.keep, steps, print);
  } finally {
    release();
    removeScratch();
    process.off('exit', removeScratch);
  }
}

/** Fetches what is missing, as a step of its own: it takes a while the first time only. */
async function prepare(engine: EngineVersion, steps: Steps): Promise<void> {
  await steps.do('Fetch Docker and etcd as Debian packages (once); nothing is installed as a service', async (tell) => {
    const files = await ensureEngine(engine, await ensureTools(tell), tell);
    tell(`Docker ${files.debian}`);
  });
}

/** Folders of the built plugins. */
interface Plugins {
  readonly network: string;
  readonly volume: string;
}

async function onRig(
  engine: EngineVersion,
  plugins: Plugins,
  keep: boolean,
  steps: Steps,
  print: Print,
): Promise<number> {
  const rig = await steps.do(
    'Start two hosts with a Docker engine each, a router between them, and an "Internet"',
    async (tell) => {
      const started = await Rig.up({ hosts: 2, engine, plugin: plugins.network, detached: keep, say: tell });
      for (const host of started.hosts) tell(`${host.name}  ${host.v4}`);
      return started;
    },
  );
  try {
    await show(rig, plugins.network, steps);
    await showVolume(rig, plugins.volume, steps);
    if (!keep) {
      await clearVolume(rig, steps);
      await clear(rig, steps);
    }
  } catch (error) {
    if (keep) print(`The hosts stay up: npm run rig -- shell 1. Take them down with: npm run rig -- down ${rig.id}`);
    throw error;
  } finally {
    if (!keep)
      await steps.do('Take everything down', async (tell) => {
        await rig.down();
        const mounts = await must(['findmnt', '-rn', '-o', 'TARGET']);
        expect(!mounts.includes(rig.id), `There are still mounts of ${rig.id}.`);
        tell('no process, namespace, mount or file of it is left');
      });
  }
  print('');
  if (keep) {
    print(`The hosts stay up. Look around:`);
    print(
      '  npm run rig -- shell 1                        a shell on host1 (or 2, router, world); docker is its engine',
    );
    print('  npm run rig -- shell 1 -- docker exec -it client sh');
    print('  npm run rig -- shell 2 -- docker exec -it reader sh       with the volume in /notes');
    print('  npm run rig -- shell router -- ip route       the table that the router forwards by');
    print(`  npm run rig -- down ${rig.id}                    take it all down`);
  } else {
    print(`Done in ${steps.seconds.toFixed(0)} s. With -- --keep the hosts stay up for you to look around.`);
  }
  return 0;
}

if (import.meta.main) {
  try {
    process.exitCode = await demo(process.argv.slice(2), (line) => process.stdout.write(`${line}\n`));
  } catch (error) {
    if (!isStopping()) process.stderr.write(`demo: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
