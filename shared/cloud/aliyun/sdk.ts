/** The only file that knows the vendor's packages. It is loaded when the first call is made: 330 KB, 50 ms, 16 MB. */
import * as vendor from '@alicloud/openapi-client';
import type { AccessKey } from './credentials.ts';
import { AliyunRefusal, AliyunSilence } from './errors.ts';

/** One call of an RPC-style API. */
export interface Request {
  /** `http://127.0.0.1:8080` or `https://vpc.cn-hangzhou.aliyuncs.com`. */
  readonly endpoint: string;
  /** As RAM names the service: `vpc`. */
  readonly service: string;
  readonly version: string;
  readonly action: string;
  /** Flat: `RouteEntries.1.NextHop`. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export interface Answer {
  readonly body: Readonly<Record<string, unknown>>;
  /** The Date header. */
  readonly date?: string | undefined;
}

type Vendor = vendor.default;
type VendorModule = Pick<typeof vendor, 'Config' | 'OpenApiRequest' | 'Params'> & {
  readonly default: typeof vendor.default | { readonly default: typeof vendor.default };
};

const { Config, OpenApiRequest, Params, default: exported }: VendorModule = vendor;
// The package is CommonJS: Node hands over all of its exports as the default, a bundler hands over its own default.
const Client = 'default' in exported ? exported.default : exported;

const field = (from: unknown, name: string): unknown =>
  typeof from === 'object' && from !== null && name in from ? (from as Record<string, unknown>)[name] : undefined;
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/** Errors of Node's that come before anything was sent. */
const UNSENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

/** What the vendor's client threw, without whatever it says of the request: some of that was signed. */
const toOwn = (thrown: unknown, { service, action, timeoutMs }: Request): Error => {
  const named = `${service}:${action}`;
  const code = textOf(field(thrown, 'code'));
  const data = field(thrown, 'data');
  const status = Number(field(data, 'statusCode') ?? 0);
  if (status > 0) {
    return new AliyunRefusal({
      action: named,
      // An answer that is not the service's own, such as a proxy's.
      code: code === undefined || code === 'undefined' ? `HTTP ${status}` : code,
      text: textOf(field(data, 'Message')) ?? '',
      status,
      requestId: textOf(field(data, 'RequestId')),
      permission: textOf(field(field(thrown, 'accessDeniedDetail'), 'AuthAction')),
    });
  }
  const name = textOf(field(thrown, 'name')) ?? 'an unknown error';
  if (name.includes('Timeout')) return new AliyunSilence(named, `no answer within ${timeoutMs / 1000} s`, false);
  if (code !== undefined) return new AliyunSilence(named, code, UNSENT.has(code));
  return new AliyunSilence(named, `an answer that is not theirs (${name})`, false);
};

/** A client for each endpoint and key. */
export class Sdk {
  readonly #clients = new Map<string, Vendor>();
  #key = '';

  /** One attempt. Errors: AliyunRefusal, AliyunSilence. */
  async send(request: Request, key: AccessKey): Promise<Answer> {
    const params = new Params({
      action: request.action,
      version: request.version,
      protocol: new URL(request.endpoint).protocol.slice(0, -1),
      pathname: '/',
      method: 'POST',
      authType: 'AK',
      style: 'RPC',
      reqBodyType: 'formData',
      bodyType: 'json',
    });
    const wait = Math.max(1, Math.round(request.timeoutMs));
    const runtime = { autoretry: false, readTimeout: wait, connectTimeout: Math.min(wait, 5_000) };
    try {
      const query = { ...request.parameters };
      const answer: unknown = await this.#client(request.endpoint, key).callApi(
        params,
        new OpenApiRequest({ query }),
        // A plain record does: the package's own class for it is in another package.
        runtime as Parameters<Vendor['callApi']>[2],
      );
      const body = field(answer, 'body');
      return {
        body: typeof body === 'object' && body !== null ? { ...body } : {},
        date: textOf(field(field(answer, 'headers'), 'date')),
      };
    } catch (thrown) {
      throw toOwn(thrown, request);
    }
  }

  #client(endpoint: string, key: AccessKey): Vendor {
    // With a new key the clients of the old one go.
    if (this.#key !== key.id) this.#clients.clear();
    this.#key = key.id;
    const known = this.#clients.get(endpoint);
    if (known !== undefined) return known;
    const { protocol, host } = new URL(endpoint);
    const config = new Config({
      accessKeyId: key.id,
      accessKeySecret: key.secret,
      ...(key.token !== undefined && { securityToken: key.token }),
      protocol: protocol.slice(0, -1),
      endpoint: host,
      userAgent: 'drayage',
    });
    const made = new Client(config);
    this.#clients.set(endpoint, made);
    return made;
  }
}
