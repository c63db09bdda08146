import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Context, cancellable, newContext } from '../shared/context.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { Logger } from '../shared/log.ts';
import { fromEnv, redact } from '../shared/options.ts';
import type { Started } from '../shared/plugin/boot.ts';
import { PluginServer } from '../shared/plugin/server.ts';
import { FileStore } from '../shared/state/file-store.ts';
import type { StateStore } from '../shared/state/store.ts';
import { Unattended } from '../shared/unattended.ts';
import { adminMethods } from './admin.ts';
import type { Backend } from './backends/backend.ts';
import { BackendSet } from './backends/backend-set.ts';
import { openBackends } from './backends/registry.ts';
import { Driver } from './driver.ts';
import { LinuxMountFolders } from './mount-folders.ts';
import { LinuxMountTables } from './mount-tables.ts';
import { PLUGIN_NAME, SETTINGS, type Settings } from './options.ts';
import { type DriverDeps, WINDOWS, type Windows } from './parts.ts';
import { protocol, takeBack } from './protocol.ts';
import { Reconciler } from './reconcile.ts';
import { COLLECTIONS, type VolumeState } from './state.ts';

/** Version of the records' form; a migration goes with each new number. */
const STATE_VERSION = 1;
const RECOVERY =
  'Running containers keep their volumes. Put a good copy back, or move the folder away and enable the plugin again: volumes are then found in the cluster, and those in use here are held again when their containers are restarted (with PROVIDER=loop after drayage volume fence VOLUME HOST for each).';
/** The first answers of the back-ends are waited for so long; they go on when it is over. */
const FIRST_MS = 5_000;
/** For what still goes on when the plugin is told to end. */
const CLOSE_MS = 3_000;

export interface PluginOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the plugin remembers, and the socket of the `drayage` command. */
  readonly folder: string;
  /** The propagated mount, and a folder for a second view of it. */
  readonly mounts: { readonly base: string; readonly beneath: string };
  readonly log: Logger;
  /** For fault tests: sees every change of state before it is made durable. */
  readonly watchStore?: (store: StateStore<VolumeState>) => StateStore<VolumeState>;
  /** For fault tests: how long what looks abandoned is left alone. */
  readonly windows?: Windows;
  /** For fault tests: in place of the kernel's boot id. */
  readonly boot?: string;
  /** For tests: in place of those that the settings name. */
  readonly backends?: readonly Backend[];
}

export interface StartedPlugin extends Started {
  /** Undoes a request whose answer reached nobody. */
  takeBack(method: string, body: unknown, c: Context): Promise<void>;
  /** Names that Docker was told are volumes while the plugin could not start. */
  remember(names: readonly string[], reason: string): Promise<void>;
}

/** Builds the plugin from its settings. Errors: SETTING_INVALID, STATE_*, EXEC_FAILED. */
export async function startPlugin(options: PluginOptions, c: Context): Promise<StartedPlugin> {
  const { folder, log } = options;
  const settings = fromEnv(SETTINGS, options.env, PLUGIN_NAME);
  const file = await FileStore.open<VolumeState>(join(folder, 'state'), {
    ...{ version: STATE_VERSION, collections: COLLECTIONS, log, recovery: RECOVERY },
  });
  try {
    return await assemble(options, settings, options.watchStore?.(file) ?? file, c);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** This host's identity, made at the first start and kept: names may be given twice, this is not. */
const hostIdentity = (store: StateStore<VolumeState>): Promise<string> =>
  store.update((tx) => {
    const id = tx.get('hosts', 'self')?.id ?? randomUUID();
    tx.put('hosts', 'self', { id });
    return id;
  });

async function assemble(
  options: PluginOptions,
  settings: Settings,
  store: StateStore<VolumeState>,
  c: Context,
): Promise<StartedPlugin> {
  const { folder, log, mounts } = options;
  const life = cancellable(newContext(log, Number.POSITIVE_INFINITY));
  const host = { id: await hostIdentity(store), name: settings.nodeName ?? hostname() };
  const locks = new KeyedMutex();
  let reconciler: Reconciler | undefined;
  const open = () =>
    openBackends({
      ...{ settings, host, locks, folder, shares: `${mounts.beneath}-shares`, life: life.context },
      onLost: (volume) => void reconciler?.lose(volume),
    });
  const backends = new BackendSet(options.backends ?? open(), log);
  const unattended = new Unattended(log, life.context.signal);
  const folders = await LinuxMountFolders.open(mounts.base, mounts.beneath, log, c);
  const deps: DriverDeps = {
    ...{ store, backends, unattended, folders, log, life: life.context },
    locks,
    tables: new LinuxMountTables(),
    boot: options.boot ?? readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    usualType: settings.defaultType,
    now: Date.now,
    windows: options.windows ?? WINDOWS,
  };
  const driver = new Driver(deps);
  const repair = new Reconciler(deps, driver);
  reconciler = repair;
  const admin = new PluginServer({ log });
  const troubles = () => [...backends.all.keys()].map((type) => [type, backends.trouble(type)?.message ?? 'works']);
  admin.install(
    adminMethods({
      ...{ store, driver },
      status: () => ({ Settings: redact(SETTINGS, settings), Types: Object.fromEntries(troubles()) }),
      refresh: async (inner) => {
        const [failure] = await driver.catalogue.refresh(inner);
        if (failure !== undefined) throw failure;
      },
      reconcile: async (inner) => {
        const drift = await repair.pass(inner);
        repair.tick();
        return drift;
      },
    }),
  );
  await admin.listen(join(folder, 'admin.sock'));

  return {
    methods: protocol(driver),
    takeBack: (method, body, inner) => takeBack(driver, method, body, inner),
    remember: (names, reason) => driver.catalogue.remember(names, reason),
    reconcile: async () => {
      await driver.dayTwo.thaw();
      await repair.atStart();
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, FIRST_MS);
      await Promise.race([backends.start(life.context), late.promise]);
      clearTimeout(timer);
      repair.start(settings.refreshInterval);
    },
    stop: async () => {
      life.cancel(new Error('the plugin is being stopped'));
      await admin.close(1_000);
      await unattended.settled(CLOSE_MS);
      await Promise.race([
        Promise.all([driver.releasing.settled(), repair.ended()]),
        new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref()),
      ]);
      await folders.expose();
      await backends.close();
      await store.close();
    },
  };
}
