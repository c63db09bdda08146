import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CONSTANT_METHODS, protocol } from '../../../network-plugin/protocol.ts';
import { bench, context } from './fakes.ts';

const folder = join(import.meta.dirname, '../../fixtures/docker-calls');

interface Line {
  readonly mark?: string;
  readonly cmd?: string;
  readonly call?: string;
  readonly req?: Record<string, unknown>;
  readonly res?: Record<string, unknown>;
}

/** The recording plugin had options, an address space and PoolIDs of its own; the rest is the engine's, untouched. */
class Translation {
  /** What the recording plugin answered → what this driver did, for PoolIDs, pools and addresses. */
  readonly #ours = new Map<string, string>();

  request(line: Line): Record<string, unknown> {
    const body = structuredClone(line.req ?? {});
    if (body['AddressSpace'] === 'riglocal') body['AddressSpace'] = 'vpc';
    if (line.call === '/IpamDriver.RequestPool') body['Options'] = {};
    const face = body['Interface'] as Record<string, unknown> | undefined;
    const pools = ['IPv4Data', 'IPv6Data'].flatMap(
      (field) => (body[field] as Record<string, unknown>[] | undefined) ?? [],
    );
    for (const data of pools) if (data['AddressSpace'] === 'riglocal') data['AddressSpace'] = 'vpc';
    for (const holder of [body, ...pools, ...(face === undefined ? [] : [face])]) {
      for (const field of ['PoolID', 'Pool', 'Gateway', 'Address']) {
        const value = holder[field];
        if (typeof value === 'string' && line.call !== '/IpamDriver.RequestPool') {
          holder[field] = this.#ours.get(value) ?? value;
        }
      }
    }
    const options = body['Options'] as Record<string, unknown> | null | undefined;
    if (options?.['com.docker.network.generic'] !== undefined) options['com.docker.network.generic'] = {};
    return body;
  }

  learn(line: Line, answer: Record<string, unknown>): void {
    if (line.call?.startsWith('/IpamDriver.Request') !== true) return;
    for (const [field, value] of Object.entries(line.res ?? {})) {
      const ours = answer[field];
      if (typeof value !== 'string' || typeof ours !== 'string') continue;
      this.#ours.set(value, ours);
      // ReleaseAddress names an address without its prefix length.
      if (field === 'Address') this.#ours.set(value.split('/')[0] ?? value, ours.split('/')[0] ?? ours);
    }
  }
}

const lines = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);

for (const engine of ['20.10', '26.1', '28.5', 'swarm']) {
  for (const name of readdirSync(join(folder, engine)).sort()) {
    // Those of volumes are the volume plugin's.
    if (name.startsWith('v')) continue;
    t.test(`${engine}/${name} is understood and leaves what it describes`, async (t) => {
      const { driver, ipam, store, path, filter, ports, routes, clock } = bench();
      const table = { ...CONSTANT_METHODS, ...protocol(driver, ipam) };
      const translation = new Translation();
      const recorded = lines(join(folder, engine, name));
      // Deletions that the recording lost with its plugin (disabled, hanging) are not expected to have happened.
      const open = { networks: new Set<string>(), endpoints: new Set<string>() };
      for (const line of recorded) {
        // Containers that ended while the plugin was disabled took their links with them; nobody told it.
        if (line.cmd?.startsWith('plugin enable') === true) path.attached.clear();
        if (line.call === undefined) continue;
        // Recorded seconds apart; addresses rest between being released and being asked for again.
        clock.now += 31_000;
        const handler = table[line.call];
        if (handler === undefined) {
          t.fail(`no handler for ${line.call}`);
          continue;
        }
        const failed = typeof line.res?.['Err'] === 'string' && line.res['Err'] !== '';
        const body = translation.request(line);
        const answer = (await handler(body, context())) as Record<string, unknown>;
        translation.learn(line, answer);
        const face = body['Interface'] as Record<string, unknown> | undefined;
        if (line.call.endsWith('.CreateEndpoint')) {
          t.equal(
            (answer['Interface'] as Record<string, unknown>)['MacAddress'] === undefined,
            face?.['MacAddress'] !== '',
            'a MAC address is answered just when none was supplied',
          );
          open.endpoints.add(String(body['EndpointID']));
          if (failed) await driver.endpoints.delete(String(body['NetworkID']), String(body['EndpointID']), context());
          if (failed) open.endpoints.delete(String(body['EndpointID']));
        }
        if (line.call.endsWith('.CreateNetwork')) open.networks.add(String(body['NetworkID']));
        if (line.call.endsWith('.DeleteEndpoint')) open.endpoints.delete(String(body['EndpointID']));
        if (line.call.endsWith('.DeleteNetwork')) open.networks.delete(String(body['NetworkID']));
      }
      t.same([...store.all('networks').keys()].sort(), [...open.networks].sort(), 'networks');
      for (const endpoint of store.all('endpoints').keys())
        t.ok(open.endpoints.has(endpoint), 'an endpoint still open');
      if (open.networks.size === 0) {
        t.equal(store.all('endpoints').size, 0, 'no endpoint outlives its network');
        t.same([path.attached.size, path.networks.size, filter.ports.size, ports.reserved.size], [0, 0, 0, 0]);
        t.same([...routes.held.keys()], [], 'no prefix is held');
        t.same([store.all('pools').size, store.all('addresses').size], [0, 0]);
      }
    });
  }
}
