import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { now } from '../../../shared/context.ts';

/** What was found is good for so long, milliseconds: stores change their addresses by the minute. */
const FRESH_MS = 5_000;
/** Names that cannot be resolved now are taken from what is known, so long. */
const STALE_MS = 600_000;

interface Known {
  readonly addresses: readonly LookupAddress[];
  readonly at: number;
}

type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

const system: Resolve = (host) =>
  new Promise((resolve, reject) => {
    lookup(host, { all: true, order: 'verbatim' }, (error, addresses) => {
      if (error === null) resolve(addresses);
      else reject(error);
    });
  });

/**
 * Resolves names once for many connections: each resolution holds a thread of the pool, which files are read with too.
 * Connections are spread over the addresses of a name.
 */
export class HostLookup {
  readonly #resolve: Resolve;
  readonly #clock: () => number;
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<Known>>();
  #turn = 0;

  /** For tests: another resolver and clock (milliseconds). */
  constructor(resolve: Resolve = system, clock: () => number = now) {
    this.#resolve = resolve;
    this.#clock = clock;
  }

  /** For `net.connect`. */
  readonly lookup: LookupFunction = (host, options, callback) => {
    this.#addresses(host).then(
      (all) => answer(this.#rotated(all), options, callback),
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };

  async #addresses(host: string): Promise<readonly LookupAddress[]> {
    const known = this.#known.get(host);
    const age = known === undefined ? Number.POSITIVE_INFINITY : this.#clock() - known.at;
    if (known !== undefined && age < FRESH_MS) return known.addresses;
    let asking = this.#asking.get(host);
    if (asking === undefined) {
      asking = this.#resolve(host)
        .then((addresses) => {
          const found = { addresses, at: this.#clock() };
          this.#known.set(host, found);
          return found;
        })
        .finally(() => this.#asking.delete(host));
      this.#asking.set(host, asking);
    }
    try {
      return (await asking).addresses;
    } catch (error) {
      if (known !== undefined && age < STALE_MS) return known.addresses;
      throw error;
    }
  }

  /** The same addresses, beginning with another one each time; the first of a family stays in front of the other family's. */
  #rotated(all: readonly LookupAddress[]): LookupAddress[] {
    this.#turn += 1;
    const first = all[0]?.family;
    const turned = (group: LookupAddress[]): LookupAddress[] => {
      const by = group.length === 0 ? 0 : this.#turn % group.length;
      return [...group.slice(by), ...group.slice(0, by)];
    };
    return [
      ...turned(all.filter(({ family }) => family === first)),
      ...turned(all.filter(({ family }) => family !== first)),
    ];
  }
}

const answer = (all: LookupAddress[], options: LookupOptions, callback: Parameters<LookupFunction>[2]): void => {
  const fitting =
    options.family === 4 || options.family === 6 ? all.filter(({ family }) => family === options.family) : all;
  const first = fitting[0];
  if (first === undefined) callback(Object.assign(new Error('no address'), { code: 'ENOTFOUND' }), []);
  else if (options.all === true) callback(null, fitting);
  else callback(null, first.address, first.family);
};
