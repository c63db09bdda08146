import { join } from 'node:path';
import { type Context, newContext } from '../shared/context.ts';
import { asPluginError } from '../shared/errors.ts';
import { LinkRemover } from '../shared/kernel/link-remover.ts';
import { Rtnetlink } from '../shared/kernel/rtnetlink.ts';
import { Sysctl } from '../shared/kernel/sysctl.ts';
import type { Logger } from '../shared/log.ts';
import { listenMetrics } from '../shared/metrics.ts';
import { fromEnv, redact } from '../shared/options.ts';
import type { Started } from '../shared/plugin/boot.ts';
import { PluginServer } from '../shared/plugin/server.ts';
import { FileStore } from '../shared/state/file-store.ts';
import type { StateStore } from '../shared/state/store.ts';
import { adminMethods } from './admin.ts';
import { PtpPath } from './datapath/ptp.ts';
import { examine } from './doctor.ts';
import { Driver } from './driver.ts';
import { openFirewall } from './firewall/firewall.ts';
import { dropTeller, foreignDrops } from './firewall/foreign-drops.ts';
import { Ipam } from './ipam.ts';
import { KernelWatch } from './kernel-watch.ts';
import type { Measures } from './measures.ts';
import { PLUGIN_NAME, SETTINGS, type Settings } from './options.ts';
import { ephemeralRange } from './ports/ephemeral-range.ts';
import { PortPublisher } from './ports/port-publisher.ts';
import { protocol, takeBack } from './protocol.ts';
import { type Occasion, Reconciler, type Windows } from './reconcile.ts';
import { roamingRanges } from './roaming.ts';
import { RouteEngine } from './route/engine.ts';
import { LinuxRouteKernel } from './route/linux-kernel.ts';
import { openProvider, peersIn } from './route/registry.ts';
import type { NetworkState } from './state.ts';
import { Strangers } from './strangers.ts';
import { findUplink } from './uplink.ts';

/** Version of the records' form; a migration goes with each new number. */
const STATE_VERSION = 1;

/** Only the operator decides to start with an empty state: nothing new begins then before what runs has gone. */
const RECOVERY =
  'Running containers keep their network. Put a good copy back, or move the folder away and enable the plugin again: what runs then goes on, but its containers and networks must be removed before new networks can be made.';

export interface PluginOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the plugin remembers, and the socket of the `drayage` command. */
  readonly folder: string;
  readonly log: Logger;
  readonly measures: Measures;
  /** For fault tests: sees every change of state before it is made durable. */
  readonly watchStore?: (store: StateStore<NetworkState>) => StateStore<NetworkState>;
  /** For fault tests: how long what looks abandoned is left alone. */
  readonly windows?: Windows;
}

export interface StartedPlugin extends Started {
  /** Undoes a request whose answer reached nobody. */
  takeBack(method: string, body: unknown, result: unknown, c: Context): Promise<void>;
}

/** Builds the plugin from its settings. Errors: SETTING_INVALID, STATE_*, UPLINK_MISSING, KERNEL, FIREWALL. */
export async function startPlugin(options: PluginOptions, c: Context): Promise<StartedPlugin> {
  const { folder, log } = options;
  const settings = fromEnv(SETTINGS, options.env, PLUGIN_NAME);
  const file = await FileStore.open<NetworkState>(join(folder, 'state'), {
    version: STATE_VERSION,
    collections: ['hosts', 'claims', 'gateways', 'pools', 'addresses', 'networks', 'endpoints'],
    log,
    recovery: RECOVERY,
  });
  try {
    const store = options.watchStore?.(file) ?? file;
    return await assemble(options, settings, store, c);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function assemble(
  { folder, log, measures, windows }: PluginOptions,
  settings: Settings,
  store: StateStore<NetworkState>,
  c: Context,
): Promise<StartedPlugin> {
  const { dryRun } = settings;
  const rt = Rtnetlink.open();
  const kernel = new LinuxRouteKernel(rt);
  const remover = new LinkRemover();
  const sysctl = new Sysctl();
  const uplink = () => findUplink(rt, settings);
  const provider = await openProvider(settings, { store, kernel, uplink: uplink(), log });
  const routes = new RouteEngine({
    ...{ provider, store, kernel, log, dryRun, peers: settings.peers, peersIn: peersIn(settings) },
    home: [settings.pool.text, settings.pool6.text],
    reserved: () => roamingRanges(store),
  });
  const path = new PtpPath({ rt, remover, sysctl, uplink });
  const ports = new PortPublisher({ log, range: await ephemeralRange() });
  const ipam = new Ipam(store, routes, settings);
  const filter = openFirewall();
  const driver = new Driver({
    store,
    ipam,
    routes,
    path,
    filter,
    ports,
    home: settings,
    dryRun,
    metadata: settings.metadataAccess,
  });
  const tellDrops = dropTeller(log);
  const reconciler = new Reconciler({
    store,
    driver,
    ipam,
    routes,
    path,
    ports,
    log,
    dryRun,
    onPass: (drift) => {
      measures.reconciled(drift);
      void tellDrops();
    },
    ...(windows && { windows }),
  });
  const touchUp = () => reconciler.touchUp();
  const watch = new KernelWatch({ rt, store, routes: () => routes.routes(), uplink, touchUp, log });

  const strangers = new Strangers({
    store,
    path,
    answered: () => kernel.held(),
    home: settings,
    pass: (inner) => reconciler.run(!dryRun, inner, 'routine'),
  });
  if (!dryRun) await strangers.adopt(c);
  await routes.start(c);
  const forget = routes.onChange(() => {
    driver.followRoutes(newContext(log, 15_000)).catch((error: unknown) => {
      log.warn('firewall and data path could not follow a change of routes; reconcile will', {
        error: asPluginError(error),
      });
    });
  });
  measures.watch(store, routes);
  const metrics = settings.metrics === undefined ? undefined : await listenMetrics(measures.registry, settings.metrics);
  const reconcile = (repair: boolean, inner: Context, occasion?: Occasion) =>
    reconciler.run(repair && !dryRun, inner, occasion);
  const admin = new PluginServer({ log });
  admin.install(
    adminMethods({
      store,
      routes: () => routes.rows(),
      forget: (network, inner) => driver.forgetNetwork(network, inner),
      doctor: (inner) =>
        examine(
          {
            ...{ settings, sysctl, uplink },
            uses: () => kernel.uses(),
            foreignDrops,
            routes: (each) => routes.findings(each),
          },
          inner,
        ),
      status: () => ({ Settings: redact(SETTINGS, settings), Provider: routes.status() }),
      reconcile,
    }),
  );
  await admin.listen(join(folder, 'admin.sock'));

  return {
    methods: strangers.guard(protocol(driver, ipam)),
    takeBack: (method, body, result, inner) => takeBack(ipam, method, body, result, inner),
    reconcile: async (inner) => {
      await reconcile(true, inner, 'start');
      reconciler.start(settings.reconcileInterval);
      watch.start();
    },
    stop: async (inner) => {
      watch.close();
      reconciler.stop();
      forget();
      await admin.close(1_000);
      await metrics?.close();
      await routes.close(inner);
      await ports.close();
      await store.close();
      remover.close();
      rt.close();
    },
  };
}
