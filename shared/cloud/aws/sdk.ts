import { EC2Client, type Instance as SdkInstance } from '@aws-sdk/client-ec2';
import type { AccessKey, CallTable, Instance, InstanceState, SendOptions, Wire } from './model.ts';

/**
 * The vendor's client. It is large, so these files (`sdk*.ts`, the only ones that know it) are imported when they are
 * first needed. No vendor type leaves them, and what they throw is only understood by `errors.ts`.
 */

export interface SdkOptions {
  readonly region: string;
  /** Instead of the region's public endpoint. */
  readonly endpoint?: string;
  readonly connectTimeoutMs: number;
  /** The header `Date` of each answer, and this machine's wall clock when it was asked and answered. */
  readonly onDate: (date: string | undefined, sentAt: number, receivedAt: number) => void;
}

/** How each call of a group is made with the vendor's client. */
export type Senders<C extends CallTable<C>> = {
  readonly [A in keyof C]: (client: EC2Client, input: C[A]['input'], options: SendOptions) => Promise<C[A]['output']>;
};

/** Longest list of values in one filter. */
const FILTER_VALUES = 200;

export const chunks = (items: readonly string[]): string[][] =>
  Array.from({ length: Math.ceil(items.length / FILTER_VALUES) }, (_, n) =>
    items.slice(n * FILTER_VALUES, (n + 1) * FILTER_VALUES),
  );

/** All pages of a list. */
export const pages = async <T extends { NextToken?: string | undefined }>(
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

export const nextToken = (token: string | undefined) => (token === undefined ? {} : { NextToken: token });

export const instanceOf = (instance: SdkInstance): Instance => {
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

export const dry = ({ dryRun }: SendOptions) => (dryRun === true ? { DryRun: true } : {});
export const within = ({ signal }: SendOptions) => ({ abortSignal: signal });

export const read = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && key in value ? Reflect.get(value, key) : undefined;

/** A client for one region, for these calls. No I/O before the first call. */
export const openSdk = <C extends CallTable<C>>(
  senders: Senders<C>,
  { region, endpoint, connectTimeoutMs, onDate }: SdkOptions,
): Wire<C> => {
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
