import { createHash } from 'node:crypto';
import { type ObjectStore, StoreError } from '../../../../volume-plugin/object/store.ts';
import type { VolumeSemantics } from '../../../../volume-plugin/objectfs/space.ts';
import { type Host, PREFIX, World } from './namespace-world.ts';

const CALLS = new Set<string | symbol>([
  ...['get', 'head', 'put', 'copy', 'remove', 'removeAll', 'list'],
  ...['beginUpload', 'uploadPart', 'copyPart', 'completeUpload', 'abortUpload'],
]);

/** How the store is today. */
export interface Weather {
  /** How likely a request is lost, or its answer. */
  lossy: number;
  /** Nobody answers. */
  down: boolean;
  /** How likely it says that there are too many requests. */
  busy: number;
}

export const FINE: Weather = { lossy: 0, down: false, busy: 0 };

const unreachable = (): StoreError => new StoreError('UNREACHABLE', 'nobody answers');

const under = (store: ObjectStore, weather: Weather, random: () => number): ObjectStore =>
  new Proxy(store, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      if (!CALLS.has(name)) return value.bind(target);
      return async (...values: unknown[]): Promise<unknown> => {
        if (weather.down || random() < weather.lossy) throw unreachable();
        if (random() < weather.busy) throw new StoreError('THROTTLED', 'slow down');
        const answer: unknown = await value.apply(target, values);
        if (random() < weather.lossy) throw unreachable();
        return answer;
      };
    },
  });

/** What is in the bucket: files by their path, folders by their path with a slash. */
export type Tree = Map<string, string>;

/** A bucket in any weather, and two hosts. Bytes are latin-1 texts, so that they are compared at once. */
export class Scene {
  readonly world: World;
  readonly plain: ObjectStore;
  readonly weather: Weather = { ...FINE };
  readonly #texts = new Map<string, string>();

  private constructor(world: World, random: () => number) {
    this.world = world;
    this.plain = world.store;
    world.wrap((store) => under(store, this.weather, random));
  }

  static async make(random: () => number): Promise<Scene> {
    const world = await World.make({ partMin: 16 });
    // A step takes two seconds, however fast the machine is.
    world.stopped = 0;
    return new Scene(world, random);
  }

  host(name: string, survived: boolean, durability: VolumeSemantics['durability']): Promise<Host> {
    return this.world.host(name, {
      ...{ real: true, survived, retryMs: 0, adoptMs: 3_600_000, semantics: { durability } },
      content: { sizes: { part: 64, putMost: 100, copyMost: 150 }, memory: 2 ** 20, boot: 'one' },
    });
  }

  fine(): void {
    Object.assign(this.weather, FINE);
  }

  async #objects(prefix: string): Promise<{ key: string; etag: string }[]> {
    const { objects } = await this.plain.list(prefix, {}, this.world.context);
    return objects.map(({ key, etag }) => ({ key, etag }));
  }

  async look(): Promise<Tree> {
    for (;;) {
      try {
        return await this.#look();
      } catch (error) {
        // Somebody has put another one there meanwhile.
        if (!(error instanceof StoreError && ['CONFLICT', 'NOT_FOUND'].includes(error.failure))) throw error;
      }
    }
  }

  async #look(): Promise<Tree> {
    const tree: Tree = new Map();
    for (const { key, etag } of await this.#objects(PREFIX)) {
      const path = key.slice(PREFIX.length);
      if (path === '' || path.startsWith('.drayage/')) continue;
      tree.set(path, path.endsWith('/') ? '' : await this.#text(key, etag));
    }
    return tree;
  }

  /** Keys of ours that are to be gone when everything is done. */
  async leftovers(): Promise<string[]> {
    const objects = await this.#objects(`${PREFIX}.drayage/`);
    return objects.map(({ key }) => key).filter((key) => /\/(orphans|renames)\//.test(key));
  }

  async #text(key: string, etag: string): Promise<string> {
    const known = this.#texts.get(etag);
    if (known !== undefined) return known;
    const { data } = await this.plain.get(key, { ifMatch: etag }, this.world.context);
    const text = Buffer.concat(data).toString('latin1');
    this.#texts.set(etag, text);
    return text;
  }

  /** Of an ETag that was seen in the bucket. */
  textOf(etag: string): string | undefined {
    return this.#texts.get(etag);
  }
}

/** Are at least all bytes there that were written? */
export const isSameButForGaps = (kept: string, bytes: string, mask: string): boolean => {
  if (kept.length !== bytes.length) return false;
  for (let i = 0; i < kept.length; i += 1) {
    if (kept[i] !== bytes[i] && !(kept[i] === '\0' && mask[i] !== 'w')) return false;
  }
  return true;
};

export const show = (text: string | undefined): string =>
  text === undefined ? 'absent' : `${text.length} bytes ${createHash('sha1').update(text).digest('hex').slice(0, 6)}`;
