import type { AccessKey, CallTable, SendOptions, Wire } from './model.ts';

/** What the vendor's clients have in common, whichever service they are for. None of them is known here. */

export interface SdkOptions {
  readonly region: string;
  /** Instead of the region's public endpoint. */
  readonly endpoint?: string;
  readonly connectTimeoutMs: number;
  /** The header `Date` of each answer, and this machine's wall clock when it was asked and answered. */
  readonly onDate: (date: string | undefined, sentAt: number, receivedAt: number) => void;
}

/** How a client is made; `key` is asked with each call. */
export const clientConfig = ({ region, endpoint, connectTimeoutMs }: SdkOptions, key: () => AccessKey) => ({
  region,
  ...(endpoint !== undefined && { endpoint }),
  // Our own retries know the deadline. What is not set here would be looked for in files and the environment.
  maxAttempts: 1,
  retryMode: 'standard',
  defaultsMode: 'standard' as const,
  useDualstackEndpoint: false,
  useFipsEndpoint: false,
  userAgentAppId: async () => 'drayage',
  requestHandler: { connectionTimeout: connectTimeoutMs },
  // Keys are looked after by our own code: one that has always just run out is asked for with each call.
  credentials: async () => {
    const { id, secret, token } = key();
    return {
      accessKeyId: id,
      secretAccessKey: secret,
      ...(token !== undefined && { sessionToken: token }),
      expiration: new Date(0),
    };
  },
});

/** What a client is told of a call beside its input. */
export const within = ({ signal }: SendOptions) => ({ abortSignal: signal });

/** How each call of a group is made with one of the vendor's clients. */
export type Senders<Client, C extends CallTable<C>> = {
  readonly [A in keyof C]: (client: Client, input: C[A]['input'], options: SendOptions) => Promise<C[A]['output']>;
};

/** These calls through a client; `open` makes it, with what tells the key of the call that is made. */
export const wireOf = <Client extends { destroy(): void }, C extends CallTable<C>>(
  open: (key: () => AccessKey) => Client,
  senders: Senders<Client, C>,
): Wire<C> => {
  let current: AccessKey = { id: '', secret: '' };
  const client = open(() => current);
  return {
    send(action, input, key, sending) {
      current = key;
      return senders[action](client, input, sending);
    },
    close: () => client.destroy(),
  };
};

/** Next to the wire, so that answers are seen before errors are made of them. */
export const NEXT_TO_THE_WIRE = { step: 'deserialize', priority: 'low', name: 'dateOfAnswer' } as const;

/** A step of a client that tells the dates of answers. */
export const tellDates =
  (onDate: SdkOptions['onDate']) =>
  <A, R extends { readonly response: unknown }>(next: (args: A) => Promise<R>) =>
  async (args: A): Promise<R> => {
    const sentAt = Date.now();
    const result = await next(args);
    const date = read(read(result.response, 'headers'), 'date');
    onDate(typeof date === 'string' ? date : undefined, sentAt, Date.now());
    return result;
  };

export const read = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && key in value ? Reflect.get(value, key) : undefined;
