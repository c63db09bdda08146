import type { Context } from '../shared/context.ts';
import type { Handler } from '../shared/plugin/server.ts';
import { flag, optionalRecord, record, text } from '../shared/plugin/wire.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { Drift } from './datapath/datapath.ts';
import type { Finding } from './route/provider.ts';
import type { RouteRow } from './route/route-rows.ts';
import type { NetworkState } from './state.ts';

export interface AdminDeps {
  readonly store: StateStore<NetworkState>;
  /** Answers the whole id of the network that is gone now. */
  forget(network: string, c: Context): Promise<string>;
  routes(): readonly RouteRow[];
  /** Settings (redacted), provider and version, in words. */
  status(): Readonly<Record<string, unknown>>;
  reconcile(repair: boolean, c: Context): Promise<readonly Drift[]>;
  doctor(c: Context): Promise<readonly Finding[]>;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };

/** What the `drayage` command asks, on a socket that only root may open. Answers come from local state. */
export function adminMethods(deps: AdminDeps): Record<string, Handler> {
  const { store } = deps;
  return {
    '/Drayage.Ports': async () => ({
      Ports: [...store.all('endpoints').values()].flatMap((endpoint) =>
        endpoint.ports.map((port) => ({
          Network: endpoint.network,
          Endpoint: endpoint.id,
          Protocol: PROTOCOLS[port.protocol] ?? String(port.protocol),
          HostIP: port.hostIp,
          HostPort: port.hostPort,
          Target: `${port.targetIp.includes(':') ? `[${port.targetIp}]` : port.targetIp}:${port.targetPort}`,
        })),
      ),
    }),
    '/Drayage.Networks': async () => ({
      Networks: [...store.all('networks').values()].map((network) => ({
        Network: network.id,
        Prefixes: network.prefixes,
        Pools: network.pools,
        State: network.phase,
        Endpoints: [...store.all('endpoints').values()].filter(({ network: id }) => id === network.id).length,
        Masquerade: network.masquerade,
        Ingress: network.ingress,
        Allow: network.allow,
        Internal: network.internal,
      })),
    }),
    '/Drayage.Routes': async () => ({
      Routes: deps.routes().map((route) => ({
        Prefix: route.prefix,
        Table: route.table,
        NextHop: route.nextHop,
        Host: route.host,
        Kind: route.kind,
        State: route.state,
        Owner: route.owner,
        Drift: route.drift ?? '',
        Pool: route.pool ?? '',
      })),
    }),
    '/Drayage.Doctor': async (_body, c) => ({
      Findings: (await deps.doctor(c)).map(({ check, state, found, remedy }) => ({
        ...{ Check: check, State: state, Found: found },
        ...(remedy === undefined ? {} : { Remedy: remedy }),
      })),
    }),
    '/Drayage.Status': async () => deps.status(),
    '/Drayage.Forget': async (body, c) => ({
      Network: await deps.forget(text(record(body, 'the request'), 'Network'), c),
    }),
    '/Drayage.Reconcile': async (body, c) => {
      const dryRun = flag(optionalRecord({ body }, 'body'), 'DryRun');
      const drift = await deps.reconcile(!dryRun, c);
      return { Drift: drift.map(({ what, repaired }) => ({ What: what, Repaired: repaired })) };
    },
  };
}
