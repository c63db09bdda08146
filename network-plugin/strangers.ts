import { contains, hostCidr, parseAddress, parseCidr } from '../shared/cidr.ts';
import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import type { Handler } from '../shared/plugin/server.ts';
import { record, text } from '../shared/plugin/wire.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { DataPath, Stranger } from './datapath/datapath.ts';
import { homePool, type Settings } from './options.ts';
import type { ClaimRecord, NetworkState } from './state.ts';

export interface StrangersDeps {
  readonly store: StateStore<NetworkState>;
  readonly path: Pick<DataPath, 'strangers' | 'detach'>;
  /** Prefixes that the kernel answers for, as of the last time that the plugin ran. */
  readonly answered: (c: Context) => Promise<readonly string[]>;
  readonly home: Pick<Settings, 'pool' | 'pool6'>;
  /** A whole pass of reconcile. */
  readonly pass: (c: Context) => Promise<unknown>;
}

/** A prefix that is held for strangers only, and that none of them is in. */
export const isVacant = (claim: ClaimRecord, strangers: readonly Stranger[]): boolean => {
  const prefix = parseCidr(claim.prefix);
  return claim.adopted === true && !addressesOf(strangers).some((address) => contains(prefix, address));
};

const addressesOf = (strangers: readonly Stranger[]) =>
  strangers.flatMap(({ addresses }) => addresses).map((address) => parseAddress(address));

/**
 * Containers that were here when the records were lost. What the kernel has for them keeps them talking: links, routes
 * and rules stay as they are, and their prefixes are held on. What it does not say (their networks' ids, options and
 * ports) cannot be made up, so nothing new begins beside them, and they are cleared away as Docker tells of their end.
 */
export class Strangers {
  readonly #deps: StrangersDeps;

  constructor(deps: StrangersDeps) {
    this.#deps = deps;
  }

  /** To be called before the route engine starts: it gives back what no record knows. */
  async adopt(c: Context): Promise<void> {
    const { store, answered, home } = this.#deps;
    const strangers = await this.#present();
    if (strangers.length === 0) return;
    const addresses = addressesOf(strangers);
    const since = new Date().toISOString();
    const prefixes = (await answered(c)).map((prefix) => parseCidr(prefix));
    // An address in none of them roams: it has a claim of its own.
    const roaming = addresses.filter((address) => !prefixes.some((prefix) => contains(prefix, address))).map(hostCidr);
    for (const { text: prefix } of [...prefixes, ...roaming]) {
      const cidr = parseCidr(prefix);
      if (store.get('claims', prefix) !== undefined || !addresses.some((address) => contains(cidr, address))) continue;
      const pool = homePool(cidr, home).text;
      await store.update((tx) => tx.put('claims', prefix, { prefix, pool, phase: 'held', adopted: true, since }));
      c.log.warn('containers run in a prefix that no record knows: it is held for them', { prefix });
    }
  }

  /** The methods of the engine, mindful of strangers. */
  guard(methods: Readonly<Record<string, Handler>>): Record<string, Handler> {
    const guarded = { ...methods };
    const around = (name: string, wrap: (inner: Handler) => Handler): void => {
      const inner = guarded[name];
      if (inner !== undefined) guarded[name] = wrap(inner);
    };
    for (const name of ['/NetworkDriver.CreateNetwork', '/IpamDriver.RequestPool']) {
      around(name, (inner) => async (body, c) => {
        await this.#refuse();
        return await inner(body, c);
      });
    }
    for (const name of ['/NetworkDriver.Leave', '/NetworkDriver.DeleteEndpoint']) {
      around(name, (inner) => async (body, c) => {
        const answer = await inner(body, c);
        await this.#leave(text(record(body, 'the request'), 'EndpointID'), c);
        return answer;
      });
    }
    return guarded;
  }

  async #present(): Promise<readonly Stranger[]> {
    const { store, path } = this.#deps;
    // With records there is nobody strange, and nothing is asked.
    if (store.all('networks').size > 0) return [];
    return await path.strangers(new Set(store.all('endpoints').keys()));
  }

  /** Errors: STATE_LOST. */
  async #refuse(): Promise<void> {
    const strangers = await this.#present();
    if (strangers.length === 0) return;
    const links = strangers.slice(0, 3).map(({ link }) => link);
    const containers = strangers.length === 1 ? 'one container' : `${strangers.length} containers`;
    throw new PluginError('STATE_LOST', { containers, links: links.join(', ') });
  }

  async #leave(endpoint: string, c: Context): Promise<void> {
    const { store, path, pass } = this.#deps;
    if (store.get('endpoints', endpoint) !== undefined) return;
    const strangers = await this.#present();
    // Only a link that carries this very id is taken away; mostly there is none.
    await path.detach(endpoint, c);
    if (!strangers.some((one) => one.endpoint === endpoint)) return;
    c.log.info('a container that no record knew has gone', { endpoint });
    // After the last one nothing of theirs is left.
    if (strangers.length === 1) await pass(c);
  }
}
