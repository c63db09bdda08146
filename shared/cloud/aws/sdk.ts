import { EC2Client, type Instance as SdkInstance } from '@aws-sdk/client-ec2';
import type { CallTable, Instance, InstanceState, SendOptions, Wire } from './model.ts';
import {
  type Senders as ClientSenders,
  clientConfig,
  NEXT_TO_THE_WIRE,
  type SdkOptions,
  tellDates,
  wireOf,
} from './sdk-config.ts';

/**
 * The vendor's client. It is large, so these files (`sdk*.ts`, the only ones that know it) are imported when they are
 * first needed. No vendor type leaves them, and what they throw is only understood by `errors.ts`.
 */

/** How each call of a group is made with it. */
export type Senders<C extends CallTable<C>> = ClientSenders<EC2Client, C>;

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

/** A client for one region, for these calls. No I/O before the first call. */
export const openSdk = <C extends CallTable<C>>(senders: Senders<C>, options: SdkOptions): Wire<C> =>
  wireOf((key) => {
    const client = new EC2Client(clientConfig(options, key));
    client.middlewareStack.add(tellDates(options.onDate), NEXT_TO_THE_WIRE);
    return client;
  }, senders);
