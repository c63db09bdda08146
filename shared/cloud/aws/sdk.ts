import {
  CreateRouteCommand,
  type CreateRouteCommandInput,
  DeleteRouteCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandOutput,
  DescribeNetworkInterfacesCommand,
  type DescribeNetworkInterfacesCommandOutput,
  DescribeRouteTablesCommand,
  type DescribeRouteTablesCommandOutput,
  EC2Client,
  ModifyNetworkInterfaceAttributeCommand,
  ReplaceRouteCommand,
  type Instance as SdkInstance,
  type Route as SdkRoute,
  type RouteTable as SdkRouteTable,
} from '@aws-sdk/client-ec2';
import { parseCidr } from '../../cidr.ts';
import type {
  AccessKey,
  Action,
  Calls,
  Instance,
  InstanceState,
  RouteInput,
  SendOptions,
  Table,
  TableRoute,
  Target,
  Wire,
} from './model.ts';

/**
 * The only file that knows the vendor's client; it is large, so it is imported when it is first needed. No vendor type
 * leaves it, and what it throws is only understood by `errors.ts`.
 */

export interface SdkOptions {
  readonly region: string;
  /** Instead of the region's public endpoint. */
  readonly endpoint?: string;
  readonly connectTimeoutMs: number;
  /** The header `Date` of each answer, and this machine's wall clock when it was asked and answered. */
  readonly onDate: (date: string | undefined, sentAt: number, receivedAt: number) => void;
}

type Send<A extends Action> = (
  client: EC2Client,
  input: Calls[A]['input'],
  options: SendOptions,
) => Promise<Calls[A]['output']>;

/** Longest list of values in one filter. */
const FILTER_VALUES = 200;
const PAGE = 100;

const chunks = (items: readonly string[]): string[][] =>
  Array.from({ length: Math.ceil(items.length / FILTER_VALUES) }, (_, n) =>
    items.slice(n * FILTER_VALUES, (n + 1) * FILTER_VALUES),
  );

/** All pages of a list. */
const pages = async <T extends { NextToken?: string | undefined }>(
  fetchPage: (token: string | undefined) => Promise<T>,
): Promise<T[]> => {
  const all: T[] = [];
  let token: string | undefined;
  do {
    const page = await fetchPage(token);
    all.push(page);
    token = page.NextToken === '' ? undefined : page.NextToken;
  } while (token !== undefined);
  return all;
};

const nextToken = (token: string | undefined) => (token === undefined ? {} : { NextToken: token });

const targetOf = (route: SdkRoute): Target | undefined => {
  const { NetworkInterfaceId: id, InstanceId: instance } = route;
  if (id !== undefined) return { kind: 'interface', id, ...(instance !== undefined && { instance }) };
  const gateway =
    route.GatewayId ??
    route.TransitGatewayId ??
    route.NatGatewayId ??
    route.VpcPeeringConnectionId ??
    route.EgressOnlyInternetGatewayId ??
    route.CarrierGatewayId ??
    route.LocalGatewayId ??
    route.CoreNetworkArn ??
    instance;
  return gateway === undefined ? undefined : { kind: 'gateway', id: gateway };
};

const ORIGINS: Readonly<Record<string, TableRoute['origin']>> = {
  CreateRouteTable: 'local',
  EnableVgwRoutePropagation: 'propagated',
};

const routeOf = (route: SdkRoute): TableRoute | undefined => {
  const destination = route.DestinationCidrBlock ?? route.DestinationIpv6CidrBlock;
  // Routes to a managed prefix list name no prefix, and none of ours is one.
  if (destination === undefined) return undefined;
  const target = targetOf(route);
  return {
    prefix: parseCidr(destination, { strict: false }).text,
    // A target that is gone altogether may be named no more.
    target: target ?? { kind: 'gateway', id: 'nothing' },
    state: route.State === 'blackhole' ? 'blackhole' : 'active',
    origin: target?.id === 'local' ? 'local' : (ORIGINS[route.Origin ?? ''] ?? 'static'),
  };
};

const tableOf = (table: SdkRouteTable): Table => {
  const associations = table.Associations ?? [];
  return {
    id: table.RouteTableId ?? '',
    vpc: table.VpcId ?? '',
    main: associations.some((one) => one.Main === true),
    subnets: associations.flatMap((one) => one.SubnetId ?? []),
    routes: (table.Routes ?? []).flatMap((route) => routeOf(route) ?? []),
  };
};

const instanceOf = (instance: SdkInstance): Instance => {
  const name = instance.Tags?.find((tag) => tag.Key === 'Name')?.Value;
  const { PrivateDnsName: dns } = instance;
  return {
    id: instance.InstanceId ?? '',
    // A state that this list does not know counts as alive.
    state: (instance.State?.Name as InstanceState | undefined) ?? 'running',
    ...(name !== undefined && name !== '' && { name }),
    ...(dns !== undefined && dns !== '' && { privateDnsName: dns }),
    interfaces: (instance.NetworkInterfaces ?? []).flatMap((one) => one.NetworkInterfaceId ?? []),
  };
};

const destination = (prefix: string) =>
  parseCidr(prefix).family === 4 ? { DestinationCidrBlock: prefix } : { DestinationIpv6CidrBlock: prefix };

type TargetParameter = Exclude<
  keyof CreateRouteCommandInput,
  'RouteTableId' | 'DryRun' | `Destination${string}` | 'OdbNetworkArn'
>;

/** Beginnings of ids → the parameter that they are given in. */
const PARAMETERS: readonly (readonly [RegExp, TargetParameter])[] = [
  [/^eni-/, 'NetworkInterfaceId'],
  [/^i-/, 'InstanceId'],
  [/^tgw-/, 'TransitGatewayId'],
  [/^pcx-/, 'VpcPeeringConnectionId'],
  [/^nat-/, 'NatGatewayId'],
  [/^vpce-/, 'VpcEndpointId'],
  [/^lgw-/, 'LocalGatewayId'],
  [/^cagw-/, 'CarrierGatewayId'],
  [/^eigw-/, 'EgressOnlyInternetGatewayId'],
  [/^arn:/, 'CoreNetworkArn'],
];

const routeInput = ({ table, prefix, target }: RouteInput) => {
  // Internet gateways (igw-) and VPN gateways (vgw-) are just gateways.
  const parameter = PARAMETERS.find(([pattern]) => pattern.test(target))?.[1] ?? 'GatewayId';
  return { RouteTableId: table, ...destination(prefix), [parameter]: target };
};

const dry = ({ dryRun }: SendOptions) => (dryRun === true ? { DryRun: true } : {});
const within = ({ signal }: SendOptions) => ({ abortSignal: signal });

const QUOTA = { ServiceCode: 'vpc', QuotaCode: 'L-93826ACB' };

/** Service Quotas speaks JSON, and its own client would cost another half a megabyte: signed and sent with EC2's. */
const getServiceQuota = async (client: EC2Client, { signal }: SendOptions): Promise<number> => {
  const region = await client.config.region();
  const custom = client.config.endpoint === undefined ? undefined : await client.config.endpoint();
  const hostname = custom?.hostname ?? `servicequotas.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
  const port = custom?.port;
  const body = JSON.stringify(QUOTA);
  const signingName = 'servicequotas';
  const signer = await client.config.signer({ name: 'sigv4', signingName, signingRegion: region, properties: {} });
  const request = await signer.sign(
    {
      method: 'POST',
      protocol: custom?.protocol ?? 'https:',
      hostname,
      ...(port !== undefined && { port }),
      path: '/',
      query: {},
      headers: {
        host: port === undefined ? hostname : `${hostname}:${port}`,
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': 'ServiceQuotasV20190624.GetServiceQuota',
      },
      body,
    },
    { signingService: signingName, signingRegion: region },
  );
  const { response } = await client.config.requestHandler.handle(request as never, { abortSignal: signal });
  const chunks: Buffer[] = [];
  for await (const chunk of response.body) chunks.push(Buffer.from(chunk));
  const answer: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8') || '{}');
  const value = read(read(answer, 'Quota'), 'Value');
  if (response.statusCode === 200 && typeof value === 'number') return value;
  const type = String(read(answer, '__type') ?? 'UnknownError');
  const failure = new Error(
    String(read(answer, 'message') ?? read(answer, 'Message') ?? `status ${response.statusCode}`),
  );
  throw Object.assign(failure, {
    name: type.slice(type.lastIndexOf('#') + 1),
    $metadata: { httpStatusCode: response.statusCode },
  });
};

const read = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && key in value ? Reflect.get(value, key) : undefined;

const senders: { readonly [A in Action]: Send<A> } = {
  DescribeRouteTables: async (client, { vpc, ids }, options) => {
    const Filters = [
      { Name: 'vpc-id', Values: [vpc] },
      ...(ids === undefined ? [] : [{ Name: 'route-table-id', Values: [...ids] }]),
    ];
    const found = await pages<DescribeRouteTablesCommandOutput>((token) =>
      client.send(
        new DescribeRouteTablesCommand({ Filters, MaxResults: PAGE, ...nextToken(token), ...dry(options) }),
        within(options),
      ),
    );
    return found.flatMap((page) => (page.RouteTables ?? []).map(tableOf));
  },
  DescribeInstances: async (client, input, options) => {
    const [Name, values] =
      'ids' in input ? ['instance-id', input.ids] : ['network-interface.network-interface-id', input.interfaces];
    const all: DescribeInstancesCommandOutput[] = [];
    for (const Values of chunks(values)) {
      const found = await pages<DescribeInstancesCommandOutput>((token) =>
        client.send(
          new DescribeInstancesCommand({ Filters: [{ Name, Values }], ...nextToken(token), ...dry(options) }),
          within(options),
        ),
      );
      all.push(...found);
    }
    return all.flatMap((page) => (page.Reservations ?? []).flatMap((one) => (one.Instances ?? []).map(instanceOf)));
  },
  DescribeNetworkInterfaces: async (client, { ids }, options) => {
    const all: DescribeNetworkInterfacesCommandOutput[] = [];
    for (const Values of chunks(ids)) {
      const Filters = [{ Name: 'network-interface-id', Values }];
      const found = await pages<DescribeNetworkInterfacesCommandOutput>((token) =>
        client.send(
          new DescribeNetworkInterfacesCommand({ Filters, ...nextToken(token), ...dry(options) }),
          within(options),
        ),
      );
      all.push(...found);
    }
    return all.flatMap((page) =>
      (page.NetworkInterfaces ?? []).map((one) => {
        const instance = one.Attachment?.InstanceId;
        return {
          id: one.NetworkInterfaceId ?? '',
          ...(instance !== undefined && { instance }),
          sourceDestCheck: one.SourceDestCheck ?? true,
        };
      }),
    );
  },
  CreateRoute: async (client, input, options) => {
    await client.send(new CreateRouteCommand({ ...routeInput(input), ...dry(options) }), within(options));
    return undefined;
  },
  ReplaceRoute: async (client, input, options) => {
    await client.send(new ReplaceRouteCommand({ ...routeInput(input), ...dry(options) }), within(options));
    return undefined;
  },
  DeleteRoute: async (client, { table, prefix }, options) => {
    const command = new DeleteRouteCommand({ RouteTableId: table, ...destination(prefix), ...dry(options) });
    await client.send(command, within(options));
    return undefined;
  },
  ModifyNetworkInterfaceAttribute: async (client, { networkInterface }, options) => {
    const command = new ModifyNetworkInterfaceAttributeCommand({
      NetworkInterfaceId: networkInterface,
      SourceDestCheck: { Value: false },
      ...dry(options),
    });
    await client.send(command, within(options));
    return undefined;
  },
  GetServiceQuota: (client, _, options) => getServiceQuota(client, options),
};

/** A client for one region. No I/O before the first call. */
export const openSdk = ({ region, endpoint, connectTimeoutMs, onDate }: SdkOptions): Wire => {
  let current: AccessKey = { id: '', secret: '' };
  const client = new EC2Client({
    region,
    ...(endpoint !== undefined && { endpoint }),
    // Our own retries know the deadline. What is not set here would be looked for in files and the environment.
    maxAttempts: 1,
    retryMode: 'standard',
    defaultsMode: 'standard',
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    userAgentAppId: async () => 'drayage',
    requestHandler: { connectionTimeout: connectTimeoutMs },
    // Keys are looked after by our own code: one that has always just run out is asked for with each call.
    credentials: async () => ({
      accessKeyId: current.id,
      secretAccessKey: current.secret,
      ...(current.token !== undefined && { sessionToken: current.token }),
      expiration: new Date(0),
    }),
  });
  client.middlewareStack.add(
    (next) => async (args) => {
      const sentAt = Date.now();
      const result = await next(args);
      const date = read(read(result.response, 'headers'), 'date');
      onDate(typeof date === 'string' ? date : undefined, sentAt, Date.now());
      return result;
    },
    // Next to the wire, so that answers are seen before errors are made of them.
    { step: 'deserialize', priority: 'low', name: 'dateOfAnswer' },
  );
  return {
    send(action, input, key, options) {
      current = key;
      return senders[action](client, input, options);
    },
    close: () => client.destroy(),
  };
};
