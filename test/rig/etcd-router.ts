/**
 * Plays the control plane of a cloud whose route table is kept in etcd: mirrors the claims of the plugins
 * (keys `<root>/<cluster>/routes/…`) into the router's kernel table. Runs as a program in the router's namespace,
 * started by `Rig.mirrorEtcd`. While etcd is away the table stays as it is, as a cloud's would.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { hostAddresses } from './addresses.ts';
import { type Fabric, MIRRORED } from './router.ts';

/** What the program is told, as JSON in its first argument. */
export interface MirrorConfig {
  readonly endpoint: string;
  /** Beginning of the keys, such as `/drayage/default/routes/`. */
  readonly prefix: string;
  readonly hosts: number;
  readonly fabric: Fabric;
  readonly everyMs: number;
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly user?: { readonly name: string; readonly password: string };
}

type Json = Readonly<Record<string, unknown>>;

/** One call of etcd's JSON gateway. */
async function call(config: MirrorConfig, path: string, body: Json, token?: string): Promise<Json> {
  const files = config.tls && {
    ca: readFileSync(config.tls.ca),
    cert: readFileSync(config.tls.cert),
    key: readFileSync(config.tls.key),
  };
  const options = {
    method: 'POST',
    timeout: 2_000,
    ...files,
    headers: token ? { authorization: token } : {},
  };
  return await new Promise<Json>((resolve, reject) => {
    const take = (response: IncomingMessage): void => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as Json);
        else reject(new Error(`etcd answered ${response.statusCode} to ${path}: ${text.slice(0, 200)}`));
      });
    };
    const url = `${config.endpoint}${path}`;
    const sent = config.tls ? httpsRequest(url, options, take) : httpRequest(url, options, take);
    sent.on('timeout', () => sent.destroy(new Error('etcd does not answer')));
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

/** The claims as prefix → host number. Claims whose next hop is no host of the rig are left out. */
export function routesOf(values: readonly string[], hosts: number): Map<string, number> {
  const numbers = new Map<string, number>();
  for (let n = 1; n <= hosts; n += 1) {
    const { v4, v6 } = hostAddresses(n);
    numbers.set(v4, n).set(v6, n);
  }
  const routes = new Map<string, number>();
  for (const value of values) {
    const { prefix, nextHop, nextHop6 } = JSON.parse(value) as Json;
    const host = [nextHop, nextHop6].map((hop) => numbers.get(String(hop))).find((n) => n !== undefined);
    if (typeof prefix === 'string' && host !== undefined) routes.set(prefix, host);
  }
  return routes;
}

/** `ip -batch` lines that turn the table `from` into `to`. */
export function changes(from: ReadonlyMap<string, number>, to: ReadonlyMap<string, number>, fabric: Fabric): string[] {
  const gone = [...from.keys()].filter((prefix) => !to.has(prefix));
  const set = [...to].filter(([prefix, host]) => from.get(prefix) !== host);
  return [
    ...gone.map((prefix) => `route del ${prefix} proto ${MIRRORED}`),
    ...set.map(([prefix, host]) => {
      const { v4, v6 } = hostAddresses(host);
      const device = fabric === 'vpc' ? `h${host}` : 'rack';
      return `route replace ${prefix} via ${prefix.includes(':') ? v6 : v4} dev ${device} proto ${MIRRORED} onlink`;
    }),
  ];
}

/** Makes the kernel's mirrored routes those of `to`: a host that lost power took its routes along, so it is looked at each time. */
export function programRoutes(to: ReadonlyMap<string, number>, hosts: number, fabric: Fabric): void {
  const lines = changes(kernelTable(hosts), to, fabric);
  if (lines.length === 0) return;
  // -force: one line that fails (a host that is off) must not hold up the others; it is tried again.
  const done = spawnSync('ip', ['-force', '-batch', '-'], { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
  process.stderr.write(`${lines.join('\n')}\n${done.stderr}`);
}

/** The mirrored routes as the kernel has them. */
function kernelTable(hosts: number): Map<string, number> {
  const table = new Map<string, number>();
  for (const family of ['-4', '-6']) {
    const shown = spawnSync('ip', ['-j', family, 'route', 'show', 'proto', String(MIRRORED)], { encoding: 'utf8' });
    if (shown.status !== 0) throw new Error(shown.stderr);
    for (const { dst, gateway } of JSON.parse(shown.stdout || '[]') as { dst: string; gateway: string }[]) {
      const prefix = dst.includes('/') ? dst : `${dst}/${family === '-4' ? 32 : 128}`;
      const [host] = routesOf([JSON.stringify({ prefix, nextHop: gateway })], hosts).values();
      table.set(prefix, host ?? 0);
    }
  }
  return table;
}

/** Mirrors for ever; every trouble is a line on standard error. */
export async function mirror(config: MirrorConfig): Promise<never> {
  const end = Buffer.from(config.prefix);
  end.writeUInt8(end.readUInt8(end.length - 1) + 1, end.length - 1);
  const range = { key: Buffer.from(config.prefix).toString('base64'), range_end: end.toString('base64') };
  let token: string | undefined;
  for (;;) {
    try {
      if (config.user && token === undefined) {
        token = String((await call(config, '/v3/auth/authenticate', { ...config.user })).token);
      }
      const answer = (await call(config, '/v3/kv/range', range, token)) as { kvs?: { value: string }[] };
      const values = (answer.kvs ?? []).map((row) => Buffer.from(row.value, 'base64').toString());
      programRoutes(routesOf(values, config.hosts), config.hosts, config.fabric);
    } catch (error) {
      token = undefined;
      process.stderr.write(`${(error as Error).message}\n`);
    }
    await sleep(config.everyMs);
  }
}

if (import.meta.main) await mirror(JSON.parse(process.argv[2] ?? '{}') as MirrorConfig);
