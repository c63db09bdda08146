import { createServer } from 'node:http';
import {
  CreateRouteTableCommand,
  DeleteRouteTableCommand,
  DescribeInstancesCommand,
  DescribeVpcsCommand,
  EC2Client,
} from '@aws-sdk/client-ec2';
import type { Test } from 'tap';
import { AwsProvider } from '../../network-plugin/route/aws.ts';
import { silentLogger } from '../../shared/log.ts';
import type { ProviderWorld } from './route-provider.ts';

/** A VPC of a real account, or of a simulator, that the tests may make route tables in. */
export interface LivePlace {
  readonly vpc: string;
  readonly region: string;
  /** Instead of the region's public endpoint. */
  readonly endpoint?: string;
  readonly key: { readonly id: string; readonly secret: string; readonly token?: string };
  readonly settleMs?: number;
}

interface Machine {
  readonly instance: string;
  readonly networkInterface: string;
  readonly subnet: string;
  readonly mac: string;
  readonly zone: string;
}

/** As much of a metadata service as a provider asks for: what it would be told on that machine. */
const metadataOf = async (t: Test, { vpc, region }: LivePlace, machine: Machine, blocks: readonly string[]) => {
  const own = `meta-data/network/interfaces/macs/${machine.mac}`;
  const answers: Readonly<Record<string, string>> = {
    'meta-data/mac': machine.mac,
    'meta-data/network/interfaces/macs/': `${machine.mac}/`,
    'meta-data/instance-id': machine.instance,
    'meta-data/placement/availability-zone': machine.zone,
    'meta-data/placement/region': region,
    [`${own}/interface-id`]: machine.networkInterface,
    [`${own}/subnet-id`]: machine.subnet,
    [`${own}/vpc-id`]: vpc,
    [`${own}/vpc-ipv4-cidr-blocks`]: blocks.join('\n'),
  };
  const server = createServer((request, response) => {
    const answer = request.method === 'PUT' ? 'token' : answers[request.url?.replace('/latest/', '') ?? ''];
    if (answer === undefined) response.writeHead(404);
    response.end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
};

/** Running instances of the VPC stand for hosts: routes are made to them, in a table that no subnet uses. */
export const liveHosts = async (t: Test, place: LivePlace) => {
  const { vpc, region, endpoint, key, settleMs } = place;
  const client = new EC2Client({
    region,
    ...(endpoint !== undefined && { endpoint }),
    credentials: {
      accessKeyId: key.id,
      secretAccessKey: key.secret,
      ...(key.token !== undefined && { sessionToken: key.token }),
    },
  });
  t.teardown(() => client.destroy());
  const Filters = [
    { Name: 'vpc-id', Values: [vpc] },
    { Name: 'instance-state-name', Values: ['running'] },
  ];
  const { Reservations = [] } = await client.send(new DescribeInstancesCommand({ Filters }));
  const { Vpcs = [] } = await client.send(new DescribeVpcsCommand({ VpcIds: [vpc] }));
  const blocks = (Vpcs[0]?.CidrBlockAssociationSet ?? []).flatMap((one) => one.CidrBlock ?? []);
  const machines = Reservations.flatMap(({ Instances = [] }) => Instances).flatMap((one): Machine[] => {
    const primary = one.NetworkInterfaces?.[0];
    if (primary === undefined) return [];
    return [
      {
        instance: one.InstanceId ?? '',
        networkInterface: primary.NetworkInterfaceId ?? '',
        subnet: primary.SubnetId ?? '',
        mac: primary.MacAddress ?? '',
        zone: one.Placement?.AvailabilityZone ?? '',
      },
    ];
  });
  const used = machines.slice(0, 20);
  const metadata = await Promise.all(used.map((machine) => metadataOf(t, place, machine, blocks)));
  const make = async (t: Test): Promise<ProviderWorld> => {
    const made = await client.send(new CreateRouteTableCommand({ VpcId: vpc }));
    const table = made.RouteTable?.RouteTableId ?? '';
    // With it go the routes in it.
    t.teardown(() => client.send(new DeleteRouteTableCommand({ RouteTableId: table })));
    return {
      host: (n) =>
        new AwsProvider({
          ...{ region, key, tables: [table], addresses: [], gateways: [], pools: [], log: silentLogger },
          metadataEndpoint: metadata[n] ?? '',
          ...(endpoint !== undefined && { endpoint }),
          ...(settleMs !== undefined && { settleMs }),
        }),
    };
  };
  return { count: used.length, make };
};
