import { request } from 'node:http';
import { type Context, now, remaining, throwIfDone } from '../context.ts';
import { PluginError } from '../errors.ts';

/**
 * The metadata services of AWS (IMDSv2) and Aliyun (its token mode): one protocol, two sets of header names. A token is
 * fetched by PUT and sent with each GET; after a 401 one fresh token is tried.
 */

interface Dialect {
  /** What people call a machine of this cloud. */
  readonly machine: string;
  readonly endpoint: string;
  readonly ttlHeader: string;
  readonly tokenHeader: string;
}

const DIALECTS = {
  aws: {
    machine: 'EC2 instance',
    endpoint: 'http://169.254.169.254',
    ttlHeader: 'x-aws-ec2-metadata-token-ttl-seconds',
    tokenHeader: 'x-aws-ec2-metadata-token',
  },
  aliyun: {
    machine: 'ECS instance',
    endpoint: 'http://100.100.100.200',
    ttlHeader: 'x-aliyun-ecs-metadata-token-ttl-seconds',
    tokenHeader: 'x-aliyun-ecs-metadata-token',
  },
} as const satisfies Record<string, Dialect>;

export type Cloud = keyof typeof DIALECTS;

export interface MetadataOptions {
  readonly cloud: Cloud;
  /** Instead of the well-known address, such as `http://127.0.0.1:8080`. */
  readonly endpoint?: string | undefined;
  /** Longest wait for one request, in milliseconds. */
  readonly timeoutMs?: number;
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

const TOKEN_SECONDS = 21_600;
/** A token is not used in its last part. */
const TOKEN_MARGIN_MS = 60_000;
const LARGEST_BODY = 256 * 1024;

/** Both clouds answer within milliseconds; where nobody does, one should know soon. */
const TIMEOUT_MS = 1_500;

/** Nothing is asked at construction. Errors of reading: PROVIDER_UNREACHABLE, DEADLINE. */
export class Metadata {
  readonly endpoint: string;
  readonly #options: MetadataOptions;
  readonly #dialect: Dialect;
  #token: Promise<{ readonly text: string; readonly until: number }> | undefined;

  constructor(options: MetadataOptions) {
    this.#options = options;
    this.#dialect = DIALECTS[options.cloud];
    this.endpoint = (options.endpoint ?? this.#dialect.endpoint).replace(/\/+$/, '');
  }

  /** The text at a path below `/latest`, such as `meta-data/instance-id`; undefined when there is none (404). */
  async get(path: string, c: Context): Promise<string | undefined> {
    const first = await this.#read(path, c);
    const reply = first.status === 401 ? await this.#again(path, c) : first;
    if (reply.status === 200) return reply.body.trim();
    if (reply.status === 404) return undefined;
    throw this.#failure(`it answered ${reply.status} for ${path}`);
  }

  /** The same where every instance has some. Errors: also PROVIDER_UNREACHABLE when there is none. */
  async must(path: string, c: Context): Promise<string> {
    const found = await this.get(path, c);
    if (found !== undefined && found !== '') return found;
    throw this.#failure(`it has no ${path}; is this an ${this.#dialect.machine} in a VPC?`);
  }

  /** The lines at a path, without the slash that marks folders; empty when there is none. */
  async list(path: string, c: Context): Promise<readonly string[]> {
    const text = (await this.get(path, c)) ?? '';
    return text.split('\n').flatMap((line) => {
      const name = line.trim().replace(/\/$/, '');
      return name === '' ? [] : [name];
    });
  }

  #again(path: string, c: Context): Promise<Reply> {
    this.#token = undefined;
    return this.#read(path, c);
  }

  async #read(path: string, c: Context): Promise<Reply> {
    const token = await this.#freshToken(c);
    return this.#send('GET', `/latest/${path}`, { [this.#dialect.tokenHeader]: token }, c);
  }

  async #freshToken(c: Context): Promise<string> {
    // Whoever comes while a token is under way waits for that one; if it fails, the first to wake fetches the next.
    for (let seen = this.#token; seen !== undefined; seen = this.#token === seen ? undefined : this.#token) {
      const known = await seen.catch(() => undefined);
      if (known !== undefined && known.until > now()) return known.text;
    }
    const fetched = this.#fetchToken(c);
    this.#token = fetched;
    return (await fetched).text;
  }

  async #fetchToken(c: Context): Promise<{ readonly text: string; readonly until: number }> {
    const headers = { [this.#dialect.ttlHeader]: String(TOKEN_SECONDS), 'content-length': '0' };
    const { status, body } = await this.#send('PUT', '/latest/api/token', headers, c);
    if (status === 200 && body.trim() !== '') {
      return { text: body.trim(), until: now() + TOKEN_SECONDS * 1000 - TOKEN_MARGIN_MS };
    }
    throw this.#failure(
      status === 403 || status === 404
        ? `it is turned off for this instance (${status})`
        : `it gave no token (${status})`,
    );
  }

  #send(method: 'GET' | 'PUT', path: string, headers: Readonly<Record<string, string>>, c: Context): Promise<Reply> {
    throwIfDone(c);
    const timeoutMs = Math.min(this.#options.timeoutMs ?? TIMEOUT_MS, remaining(c));
    return new Promise((resolve, reject) => {
      const settle = (end: () => void): void => {
        clearTimeout(timer);
        c.signal.removeEventListener('abort', abandoned);
        end();
        sent.destroy();
      };
      const fail = (reason: string, cause?: unknown): void => settle(() => reject(this.#failure(reason, cause)));
      const abandoned = (): void => settle(() => reject(c.signal.reason));
      // Over an address of the link: never through a proxy, and a connection costs nothing.
      const sent = request(`${this.endpoint}${path}`, { method, headers, agent: false }, (incoming) => {
        const chunks: Buffer[] = [];
        let length = 0;
        incoming.on('data', (chunk: Buffer) => {
          length += chunk.length;
          chunks.push(chunk);
          if (length > LARGEST_BODY) fail(`its answer to ${path} is too long`);
        });
        incoming.on('error', (error) => fail('it hung up in the middle of an answer', error));
        incoming.on('end', () => {
          const body = Buffer.concat(chunks).toString('utf8');
          settle(() => resolve({ status: incoming.statusCode ?? 0, body }));
        });
      });
      const timer = setTimeout(() => {
        const connected = sent.socket?.connecting === false;
        const hint = connected && method === 'PUT' ? '; its hop limit may be too low for where the plugin runs' : '';
        fail(`no answer within ${Math.round(timeoutMs / 100) / 10} s${hint}`);
      }, timeoutMs);
      c.signal.addEventListener('abort', abandoned, { once: true });
      sent.on('error', (error) => {
        const code = 'code' in error ? String(error.code) : error.name;
        fail(`no connection (${code})`, error);
      });
      sent.end();
    });
  }

  #failure(reason: string, cause?: unknown): PluginError {
    const { cloud } = this.#options;
    return new PluginError(
      'PROVIDER_UNREACHABLE',
      { provider: cloud, reason: `metadata service at ${this.endpoint}: ${reason}` },
      { cause },
    );
  }
}
