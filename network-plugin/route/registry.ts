import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { Settings } from '../options.ts';
import type { NetworkState } from '../state.ts';
import { EtcdProvider } from './etcd.ts';
import { HostProvider } from './host.ts';
import { hostIdentity } from './identity.ts';
import type { RouteKernel } from './kernel.ts';
import type { NextHop, RouteProvider } from './provider.ts';

export interface ProviderDeps {
  readonly kernel: RouteKernel;
  readonly store: StateStore<NetworkState>;
  /** This host's name, and the addresses that its peers send to. */
  readonly self: NextHop;
  readonly log: Logger;
}

type Factory = (settings: Settings, deps: ProviderDeps) => Promise<RouteProvider>;

const factories: Record<Settings['provider'], Factory> = {
  host: async (_settings, { kernel, self }) => new HostProvider({ kernel, self }),

  etcd: async (settings, { store, self, log }) => {
    const { etcdEndpoints, etcdUsername, etcdPassword, etcdCa, etcdCert, etcdKey } = settings;
    if (etcdEndpoints === undefined || etcdEndpoints.length === 0) {
      throw new PluginError('SETTING_INVALID', {
        ...{ option: 'ETCD_ENDPOINTS', value: '', reason: 'PROVIDER=etcd needs at least one' },
        ...{ allowed: 'URLs, separated by commas', example: 'http://10.0.0.2:2379' },
      });
    }
    return new EtcdProvider({
      etcd: {
        endpoints: etcdEndpoints,
        ...(etcdUsername !== undefined && { username: etcdUsername }),
        ...(etcdPassword !== undefined && { password: etcdPassword }),
        ...(etcdCa !== undefined && { ca: etcdCa }),
        ...(etcdCert !== undefined && { cert: etcdCert }),
        ...(etcdKey !== undefined && { key: etcdKey }),
      },
      root: settings.etcdPrefix,
      cluster: settings.cluster,
      self,
      id: await hostIdentity(store),
      leaseSeconds: settings.etcdLease / 1000,
      observer: settings.dryRun,
      log,
    });
  },
};

/** The provider that the settings name. No I/O but the store's. Errors: SETTING_INVALID, STATE_WRITE. */
export const makeProvider = (settings: Settings, deps: ProviderDeps): Promise<RouteProvider> =>
  factories[settings.provider](settings, deps);
