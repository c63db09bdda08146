/** The vendor's own client, pointed at a simulator, and what a test mostly needs of a cloud. */
import * as sdk from '@alicloud/openapi-client';
import type { Test } from 'tap';
import { type AliyunConfig, type AliyunSim, startAliyunSim } from '../../sim/aliyun/sim.ts';
import type { Credential } from '../../sim/core/credentials.ts';

type Client = InstanceType<typeof sdk.default.default>;
type Runtime = Parameters<Client['callApi']>[2];

export type Query = Readonly<Record<string, unknown>>;

const VERSIONS = { vpc: '2016-04-28', ecs: '2014-05-26', nas: '2017-06-26', quotas: '2020-05-10' } as const;

export type Product = keyof typeof VERSIONS;

/** Calls an action; without retries, as the plugin's own client does. Rejects with the SDK's error (`code`, `data`). */
export type Caller = <R = Query>(action: string, query?: Query, product?: Product) => Promise<R>;

/** `V3` is what the client does by itself; `V1` the older way that it still knows. */
export const callerOf = (sim: AliyunSim, key: Credential, style: 'V1' | 'V3' = 'V3'): Caller => {
  const client = new sdk.default.default(
    new sdk.Config({
      accessKeyId: key.id,
      accessKeySecret: key.secret,
      ...(key.token === undefined ? {} : { securityToken: key.token }),
      endpoint: sim.endpoint.replace('http://', ''),
      protocol: 'http',
      regionId: sim.region,
      ...(style === 'V1' ? { signatureAlgorithm: 'v2' } : {}),
    }),
  );
  const runtime = { readTimeout: 3_000, connectTimeout: 1_000, autoretry: false } as unknown as Runtime;
  return async <R>(action: string, query: Query = {}, product: Product = 'vpc') => {
    const params = new sdk.Params({
      action,
      version: VERSIONS[product],
      protocol: 'HTTP',
      pathname: '/',
      method: 'POST',
      authType: 'AK',
      style: 'RPC',
      reqBodyType: 'formData',
      bodyType: 'json',
    });
    const request = new sdk.OpenApiRequest({ query: flat({ RegionId: sim.region, ...query }) });
    const answer = (await client.callApi(params, request, runtime)) as { body: R };
    return answer.body;
  };
};

/** `{a: [{b: 1}]}` as `{'a.1.b': '1'}`, which is how RPC sends lists. */
export const flat = (value: unknown, prefix = ''): Record<string, string> => {
  if (typeof value !== 'object' || value === null) return { [prefix]: String(value) };
  const inner = Object.entries(value).map(([name, item]) => {
    const step = Array.isArray(value) ? String(Number(name) + 1) : name;
    return flat(item, prefix === '' ? step : `${prefix}.${step}`);
  });
  return Object.assign({}, ...inner);
};

/** The code of the error that a call rejects with; `none` when it does not. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: Error & { code?: string }) => error.code ?? error.message,
  );

export interface Cloud {
  readonly sim: AliyunSim;
  readonly vpc: string;
  readonly vswitch: string;
  /** The system table. */
  readonly table: string;
  readonly hosts: readonly { readonly id: string; readonly eni: string; readonly address: string }[];
  readonly call: Caller;
}

/** A simulator with one VPC, one vSwitch and so many instances; without delays and limits unless asked for. */
export const cloudFor = async (t: Test, config: AliyunConfig = {}, hosts = 2): Promise<Cloud> => {
  const sim = await startAliyunSim({ rates: {}, ...config, timing: { settleMs: 0, conflictMs: 0, ...config.timing } });
  t.teardown(() => sim.close());
  const vpc = sim.vpc({ cidr: '10.250.0.0/16' });
  const vswitch = sim.vswitch({ vpc: vpc.id, cidr: '10.250.0.0/24' });
  const made = Array.from({ length: hosts }, (_, n) =>
    sim.instance({ vswitch: vswitch.id, name: `host${n + 1}`, source: `127.0.0.${n + 2}` }),
  );
  return {
    sim,
    vpc: vpc.id,
    vswitch: vswitch.id,
    table: vpc.systemTable,
    hosts: made.map(({ id, interfaces }) => {
      const { id: eni = '', address = '' } = interfaces[0] ?? {};
      return { id, eni, address };
    }),
    call: callerOf(sim, sim.key()),
  };
};

/** One custom entry, short: `10.64.1.0/24 i-… Available`. */
export const entries = async (call: Caller, table: string): Promise<string[]> => {
  interface Page {
    readonly RouteEntrys: {
      readonly RouteEntry: readonly {
        readonly DestinationCidrBlock: string;
        readonly Status: string;
        readonly NextHops: { readonly NextHop: readonly { readonly NextHopId: string }[] };
      }[];
    };
  }
  const query = { RouteTableId: table, RouteEntryType: 'Custom', MaxResult: 100 };
  const page = await call<Page>('DescribeRouteEntryList', query);
  return page.RouteEntrys.RouteEntry.map(
    (one) => `${one.DestinationCidrBlock} ${one.NextHops.NextHop[0]?.NextHopId} ${one.Status}`,
  );
};
