import { hostname } from 'node:os';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { keyOf } from '../../shared/cloud/settings.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { Settings } from '../options.ts';
import type { NetworkState } from '../state.ts';
import { AliyunProvider } from './aliyun.ts';
import { AutoProvider } from './auto.ts';
import { AwsProvider } from './aws.ts';
import { EtcdProvider } from './etcd.ts';
import { HostProvider } from './host.ts';
import { hostIdentity } from './identity.ts';
import type { RouteKernel } from './kernel.ts';
import type { NextHop, RouteProvider } from './provider.ts';

export interface ProviderDeps {
  readonly kernel: RouteKernel;
  readonly store: StateStore<NetworkState>;
  /** The interface that leads to the peers; undefined on a host without a default route. */
  readonly uplink: { readonly address?: string; readonly address6?: string } | undefined;
  readonly log: Logger;
}

/** This host's name, and the addresses that its peers send to. */
const selfOf = (settings: Settings, uplink: ProviderDeps['uplink']): NextHop => {
  const { nodeIp } = settings;
  const address = nodeIp?.family === 4 ? nodeIp.text : uplink?.address;
  const address6 = nodeIp?.family === 6 ? nodeIp.text : uplink?.address6;
  return {
    host: settings.nodeName ?? hostname(),
    ...(address !== undefined && { address }),
    ...(address6 !== undefined && { address6 }),
  };
};

type Factory = (settings: Settings, deps: ProviderDeps) => Promise<RouteProvider>;

const factories: Record<Settings['provider'], Factory> = {
  aws: async (settings, { uplink, log }) => {
    const { region, cloudEndpoint, metadataEndpoint, nodeName, credentialsFile, credentialsProfile } = settings;
    const key = keyOf(settings);
    const addresses = [uplink?.address, uplink?.address6].flatMap((address) => address ?? []);
    return new AwsProvider({
      ...(region !== undefined && { region }),
      ...(cloudEndpoint !== undefined && { endpoint: cloudEndpoint }),
      ...(metadataEndpoint !== undefined && { metadataEndpoint }),
      ...(key !== undefined && { key }),
      ...(credentialsFile !== undefined && { file: { path: credentialsFile, profile: credentialsProfile } }),
      ...(nodeName !== undefined && { host: nodeName }),
      tables: settings.routeTables ?? [],
      gateways: settings.peers.map((peer) => peer.via),
      pools: [settings.pool.text, settings.pool6.text],
      addresses,
      log,
    });
  },

  aliyun: async (settings, { log }) => {
    // For the complaint alone: half a key is refused at once.
    keyOf(settings);
    return new AliyunProvider({ settings, host: settings.nodeName ?? hostname(), log });
  },

  auto: async (settings, deps) => {
    const { metadataEndpoint: endpoint } = settings;
    const candidates = (['aws', 'aliyun'] as const).map((cloud) => ({
      name: cloud,
      metadata: new Metadata({ cloud, endpoint }),
      open: () => factories[cloud](settings, deps),
    }));
    return new AutoProvider(candidates, deps.log);
  },

  host: async (settings, { kernel, uplink }) => new HostProvider({ kernel, self: selfOf(settings, uplink) }),

  etcd: async (settings, { store, uplink, log }) => {
    const { etcdEndpoints, etcdUsername, etcdPassword, etcdCa, etcdCert, etcdKey } = settings;
    if (etcdEndpoints === undefined || etcdEndpoints.length === 0) {
      throw new PluginError('SETTING_INVALID', {
        ...{ option: 'ETCD_ENDPOINTS', value: '', reason: 'PROVIDER=etcd needs at least one' },
        ...{ allowed: 'URLs, separated by commas', example: 'http://10.0.0.2:2379' },
      });
    }
    const self = selfOf(settings, uplink);
    if (self.address === undefined && self.address6 === undefined)
      throw new PluginError('UPLINK_MISSING', { reason: 'no default route leads out' });
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

/** Where the routes of PEERS belong: a cloud's tables lead to gateways, private hosts lead to addresses themselves. */
export const peersIn = ({ provider }: Pick<Settings, 'provider'>): 'kernel' | 'tables' =>
  provider === 'host' || provider === 'etcd' ? 'kernel' : 'tables';

/** The provider that the settings name. No I/O but the store's. Errors: SETTING_INVALID, UPLINK_MISSING, STATE_WRITE. */
export const openProvider = (settings: Settings, deps: ProviderDeps): Promise<RouteProvider> =>
  factories[settings.provider](settings, deps);
