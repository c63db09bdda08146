import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { cancellable, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { fromEnv } from '../../../../shared/options.ts';
import { ObjectBackend } from '../../../../volume-plugin/backends/object.ts';
import type { EngineRunner, EngineStart } from '../../../../volume-plugin/backends/object-engines.ts';
import { type ControlServer, serveControl } from '../../../../volume-plugin/engine/control-server.ts';
import { CLEAN_FILE, type Left } from '../../../../volume-plugin/engine/wire.ts';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { FolderStore } from '../../../../volume-plugin/object/folder.ts';
import { type ObjectStore, StoreError } from '../../../../volume-plugin/object/store.ts';
import { SETTINGS } from '../../../../volume-plugin/options.ts';
import { context, run, scratch } from '../block/scratch.ts';
import { handsOf, TIMES } from './cluster-host.ts';

/** Engines that are nothing but an empty tmpfs and a control socket. */
export class MadeUpEngines implements EngineRunner {
  readonly started: EngineStart[] = [];
  readonly killed: string[] = [];
  /** What waits for the store; a drain lasts until it is `undefined`. */
  left: Left | undefined;
  readonly #alive = new Map<string, ControlServer>();
  #isClosed = false;

  async start(engine: EngineStart): Promise<void> {
    const { folder, mount } = engine;
    this.started.push(engine);
    const end = async (): Promise<void> => {
      const control = this.#alive.get(folder);
      if (control === undefined) return;
      writeFileSync(join(folder, CLEAN_FILE), '');
      this.#alive.delete(folder);
      await control?.close();
    };
    const control = await serveControl(folder, {
      status: () => ({ cacheBytes: 7, waitingFiles: this.left?.files ?? 0 }),
      drain: async (told) => {
        while (this.left !== undefined) {
          told(this.left);
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      },
      end: () => void end(),
    });
    if (this.#isClosed) {
      await control.close();
      throw new Error('the host is gone');
    }
    this.#alive.set(folder, control);
    if (mount === undefined) setTimeout(() => void end(), 20);
    else run('mount', '-t', 'tmpfs', mount.source, mount.target);
  }

  isAlive(folder: string): boolean {
    return this.#alive.has(folder);
  }

  async kill(folder: string): Promise<void> {
    this.killed.push(folder);
    await this.#alive.get(folder)?.close();
    this.#alive.delete(folder);
  }

  async probe(): Promise<void> {
    // A tmpfs answers.
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const left = [...this.#alive.values()];
    this.#alive.clear();
    await Promise.all(left.map((one) => one.close()));
  }
}

export interface ObjectHostOptions {
  /** Settings of the plugin. */
  readonly env?: Readonly<Record<string, string>>;
  readonly onRemove?: 'delete' | 'retain';
  /** What calls of stores do instead, by their names; undefined: what they do. */
  readonly failing?: Partial<Record<keyof ObjectStore, (...args: readonly unknown[]) => StoreError | undefined>>;
  /** What happens before such calls, by their names. */
  readonly before?: Partial<Record<keyof ObjectStore, () => Promise<void>>>;
}

export const refusal =
  (...args: ConstructorParameters<typeof StoreError>) =>
  () =>
    new StoreError(...args);

const withEvents = (store: ObjectStore, { failing = {}, before = {} }: ObjectHostOptions): ObjectStore =>
  new Proxy(store, {
    get: (target, name) => {
      const fail = failing[name as keyof ObjectStore];
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (fail !== undefined) {
        return (...args: readonly unknown[]) => {
          const error = fail(...args);
          return error === undefined ? Reflect.apply(value, target, args) : Promise.reject(error);
        };
      }
      const event = before[name as keyof ObjectStore];
      if (event === undefined) return value.bind(target);
      return (...args: readonly unknown[]) => event().then(() => Reflect.apply(value, target, args));
    },
  });

/** Hosts that use buckets of one store, which are folders whatever they are called. */
export const bucketCluster = async (t: Test) => {
  const folder = scratch(t);
  // Timers of contexts and leases keep no process alive.
  const awake = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(awake));
  const buckets = join(folder, 'store');
  const storeOf = (bucket: string) => new FolderStore({ folder: buckets, bucket, durable: false });
  /** The same number again: that host after a restart of its plugin. `engines` of an earlier life live on. */
  const host = async (
    n: number,
    { env = { OBJECT_BUCKET: 's3://assets' }, onRemove = 'delete', ...events }: ObjectHostOptions = {},
    engines = new MadeUpEngines(),
  ) => {
    const life = cancellable(newContext(silentLogger, Number.POSITIVE_INFINITY));
    const lost: string[] = [];
    const opened: StoreDescription[] = [];
    const backend = new ObjectBackend({
      settings: fromEnv(SETTINGS, { OBJECT_FOLDER: join(folder, 'local'), ...env }, 'cloudvol'),
      stores: {
        open: (description) => {
          opened.push(description);
          const base = description.kind === 'folder' ? (description.folder ?? '') : buckets;
          return withEvents(new FolderStore({ folder: base, bucket: description.bucket, durable: false }), events);
        },
        complete: async (description) => description,
      },
      ...{ runner: engines, onRemove, times: TIMES, life: life.context },
      onLost: (volume) => lost.push(volume),
      ...{ host: { id: `id-${n}`, name: `host-${n}` }, folder: join(folder, `state-${n}`) },
    });
    t.teardown(async () => {
      life.cancel(new Error('the test is over'));
      await backend.close();
      await engines.close();
    });
    await backend.start(context());
    return {
      ...{ backend, engines, lost, opened, state: join(folder, `state-${n}`) },
      ...handsOf(backend, join(folder, `mounts-${n}`)),
      stop: () => life.cancel(new Error('the plugin ends')),
    };
  };
  const keys = async (bucket = 'assets', prefix = ''): Promise<string[]> => {
    const { objects } = await storeOf(bucket).list(prefix, {}, context());
    return objects.map(({ key }) => key);
  };
  const put = (key: string, text = key, bucket = 'assets') =>
    storeOf(bucket).put(key, [Buffer.from(text)], { meta: {} }, context());
  return { folder, host, storeOf, keys, put };
};
