import type { AccessKey } from './model.ts';

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
