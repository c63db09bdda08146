import { createServer } from 'node:http';
import type { Test } from 'tap';
import { AliyunProvider } from '../../network-plugin/route/aliyun.ts';
import type { AliyunSettings } from '../../network-plugin/route/aliyun-home.ts';
import type { Pace } from '../../network-plugin/route/aliyun-turns.ts';
import { overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Entry } from '../../shared/cloud/aliyun/answers.ts';
import { AliyunCaller } from '../../shared/cloud/aliyun/caller.ts';
import { AliyunClient } from '../../shared/cloud/aliyun/client.ts';
import { Credentials } from '../../shared/cloud/aliyun/credentials.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { silentLogger } from '../../shared/log.ts';
import { context, type ProviderWorld } from './route-provider.ts';

/** A VPC of a real account, or of a simulator, that is there for tests alone. */
export interface LivePlace {
  readonly vpc: string;
  readonly region: string;
  /** Instead of the region's public endpoints. */
  readonly endpoint?: string;
  readonly key: { readonly id: string; readonly secret: string; readonly token?: string };
  readonly pace?: Partial<Pace>;
}

interface Machine {
  readonly instance: string;
  readonly address: string;
}

const POOLS = ['10.64.0.0/12', 'fd64:6472:7961::/48'].map((text) => parseCidr(text));

/** As much of a metadata service as a provider asks for: what it would be told on that machine. */
const metadataOf = async (t: Test, { vpc, region }: LivePlace, { instance, address }: Machine): Promise<string> => {
  const answers: Readonly<Record<string, string>> = {
    ...{ 'instance-id': instance, 'vpc-id': vpc, 'region-id': region, 'private-ipv4': address },
  };
  const server = createServer((request, response) => {
    const answer = request.method === 'PUT' ? 'token' : answers[request.url?.replace('/latest/meta-data/', '') ?? ''];
    if (answer === undefined) response.writeHead(404);
    response.end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const at = server.address();
  if (at === null || typeof at === 'string') throw new Error('no port');
  return `http://127.0.0.1:${at.port}`;
};

const list = (from: unknown, ...names: readonly string[]): unknown =>
  names.reduce((value, name) => (value as Record<string, unknown> | undefined)?.[name], from);

/** Running instances of the VPC stand for hosts: routes are made to them, in the VPC's system table. */
export const liveHosts = async (t: Test, place: LivePlace) => {
  const { vpc, region, endpoint, key, pace } = place;
  const settings: AliyunSettings = {
    ...{ routeTables: undefined, region: undefined, cloudEndpoint: endpoint, metadataEndpoint: undefined },
    ...{ pool: parseCidr('10.64.0.0/12'), pool6: parseCidr('fd64:6472:7961::/48') },
    ...{ accessKeyId: key.id, accessKeySecret: key.secret, securityToken: key.token },
    ...{ credentialsFile: undefined, credentialsProfile: 'default' },
  };
  const credentials = new Credentials(settings, new Metadata({ cloud: 'aliyun' }));
  const client = new AliyunClient(new AliyunCaller({ credentials, region, endpoint }));
  const asked = { VpcId: vpc, Status: 'Running', PageSize: '20' };
  const found = list(
    await client.caller.read('ecs', 'DescribeInstances', asked, context(60_000)),
    'Instances',
    'Instance',
  );
  const machines = (Array.isArray(found) ? found : []).map((one): Machine => {
    const addresses = list(one, 'VpcAttributes', 'PrivateIpAddress', 'IpAddress');
    const address = Array.isArray(addresses) ? String(addresses[0]) : '';
    return { instance: String(list(one, 'InstanceId')), address };
  });
  const table = (await client.tables(vpc, context(60_000))).find((one) => one.system)?.id ?? '';
  const inPools = async (): Promise<readonly Entry[]> =>
    (await client.entries(table, context(60_000))).filter(
      ({ type, prefix }) => type === 'Custom' && POOLS.some((pool) => overlaps(pool, parseCidr(prefix))),
    );
  if ((await inPools()).length > 0)
    throw new Error(`${table} has routes in ${POOLS.map(({ text }) => text)}: not a VPC for tests`);
  const metadata = await Promise.all(machines.map((machine) => metadataOf(t, place, machine)));
  const host = (n: number): AliyunProvider =>
    new AliyunProvider({
      settings: { ...settings, metadataEndpoint: metadata[n] },
      ...{ host: `live-${n}`, log: silentLogger },
      ...(pace !== undefined && { pace }),
    });
  const make = async (t: Test): Promise<ProviderWorld> => {
    t.teardown(async () => {
      const hosts = machines.map((_, n) => host(n));
      await Promise.all(hosts.map((one) => one.start(context(60_000))));
      for (const { prefix } of await inPools()) {
        await Promise.all(hosts.map((one) => one.remove(table, { prefix }, context(120_000))));
      }
      await Promise.all(hosts.map((one) => one.close()));
    });
    return { host };
  };
  return { count: machines.length, make };
};
