import type { Drift } from '../../../network-plugin/datapath/datapath.ts';
import { Reconciler } from '../../../network-plugin/reconcile.ts';
import { silentLogger } from '../../../shared/log.ts';
import { bench } from './fakes.ts';

/** A driver on stand-ins with the repair loop beside it, whose time is the bench's. */
export const withReconciler = (dryRun = false) => {
  const all = bench();
  const reconciler = new Reconciler({
    ...all,
    routes: Object.assign(all.routes, {
      reconcile: async (): Promise<Drift[]> => [],
      settle: async (): Promise<Drift[]> => [],
    }),
    ports: { restore: async () => [] },
    log: silentLogger,
    dryRun,
    now: () => all.clock.now,
  });
  return { ...all, reconciler };
};
