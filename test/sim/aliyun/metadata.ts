/**
 * The metadata service of http://100.100.100.200: a token by PUT, then the caller's own instance below
 * /latest/meta-data. Who the caller is follows from its source address. Statuses as the vendor's manual and clients say:
 * 403 without a token where tokens are required, 401 with one that is unknown, expired or another instance's.
 */
import { randomBytes } from 'node:crypto';
import { ApiError, type Core, type Service } from '../core/api.ts';
import type { Credential, Principal } from '../core/credentials.ts';
import type { HttpReply, HttpRequest } from '../core/http.ts';
import { date } from './route-list.ts';
import type { Instance, World } from './world.ts';

const TTL_HEADER = 'x-aliyun-ecs-metadata-token-ttl-seconds';
const TOKEN_HEADER = 'x-aliyun-ecs-metadata-token';
const LONGEST_TTL_S = 21_600;

/** Role credentials that run out within this part of their time are replaced. */
const RENEW_PART = 1 / 6;

interface Token {
  readonly instance: string;
  readonly until: number;
}

/** A tree of texts: folders are listed, with a slash behind inner folders. */
interface Folder {
  readonly [name: string]: Folder | string;
}

const STATUSES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
};

const refuse = (status: number): ApiError => {
  const message = STATUSES[status] ?? 'Internal Server Error';
  return new ApiError(message.replaceAll(' ', ''), message, status);
};

const text = (body: string, status = 200): HttpReply => ({ status, headers: { 'Content-Type': 'text/plain' }, body });

export class MetadataService {
  /** How long role credentials hold, in milliseconds; six hours at the vendor's. */
  roleTtlMs: number;
  /** Who an unknown source is; without it such a caller gets 404 to everything. */
  fallback: string | undefined;
  readonly #core: Core;
  readonly #world: World;
  readonly #role: (name: string) => Principal | undefined;
  readonly #tokens = new Map<string, Token>();
  readonly #sessions = new Map<string, Credential>();

  constructor(core: Core, world: World, options: { role(name: string): Principal | undefined; roleTtlMs: number }) {
    this.#core = core;
    this.#world = world;
    this.#role = options.role;
    this.roleTtlMs = options.roleTtlMs;
  }

  /** The credentials that an instance's role has now; undefined without a role. */
  session(instance: Instance): Credential | undefined {
    const principal = this.#role(instance.role);
    if (principal === undefined) return undefined;
    const known = this.#core.credentials.find(this.#sessions.get(instance.id)?.id ?? '');
    const fresh = this.#core.clock.now() + this.roleTtlMs * RENEW_PART;
    if (known !== undefined && (known.expires ?? 0) > fresh) return known;
    const session = this.#core.credentials.session(principal, this.roleTtlMs);
    this.#sessions.set(instance.id, session);
    return session;
  }

  /** `only` fixes which instance asks; without it the source address tells. */
  service(only?: string): Service<HttpReply> {
    return {
      name: 'metadata',
      decode: ({ method, path }) => ({ action: `${method} ${path}`, parameters: {} }),
      authenticate: () => undefined,
      refusals: {
        throttled: () => refuse(429),
        unavailable: () => refuse(503),
        forbidden: () => refuse(403),
        named: (code) => refuse(Number(code) || 500),
      },
      perform: ({ request }) => this.#answer(request, only),
      encode: (reply) => reply,
      encodeError: ({ status, message }) => text(message, status),
    };
  }

  #answer(request: HttpRequest, only?: string): HttpReply {
    const world = this.#world;
    const known = only === undefined ? world.bySource(request.source) : undefined;
    const instance = known ?? world.instances.get(only ?? this.fallback ?? '');
    if (instance === undefined) throw refuse(404);
    if (request.path === '/latest/api/token') return this.#newToken(request, instance);
    if (request.method !== 'GET' && request.method !== 'HEAD') throw refuse(405);
    const sent = request.headers[TOKEN_HEADER];
    if (sent === undefined && instance.tokens === 'required') throw refuse(403);
    if (sent !== undefined) {
      const token = this.#tokens.get(String(sent));
      const good = token !== undefined && token.instance === instance.id && token.until > this.#core.clock.now();
      if (!good) throw refuse(401);
    }
    const found = this.#find(request.path, instance);
    if (found === undefined) throw refuse(404);
    return text(found);
  }

  #newToken(request: HttpRequest, instance: Instance): HttpReply {
    if (request.method !== 'PUT') throw refuse(405);
    const seconds = Number(request.headers[TTL_HEADER]);
    if (!Number.isInteger(seconds) || seconds < 1 || seconds > LONGEST_TTL_S) throw refuse(400);
    const token = randomBytes(40).toString('base64');
    this.#tokens.set(token, { instance: instance.id, until: this.#core.clock.now() + seconds * 1000 });
    return { ...text(token), headers: { 'Content-Type': 'text/plain', [TTL_HEADER]: String(seconds) } };
  }

  #find(path: string, instance: Instance): string | undefined {
    const [, ...names] = path.replace(/\/+$/, '').split('/');
    let at: Folder | string | undefined = { latest: { 'meta-data': this.#tree(instance) } };
    for (const name of names) at = typeof at === 'object' ? at[name] : undefined;
    if (at === undefined || typeof at === 'string') return at;
    return Object.entries(at)
      .map(([name, inner]) => (typeof inner === 'string' ? name : `${name}/`))
      .join('\n');
  }

  #tree(instance: Instance): Folder {
    const { region } = this.#world;
    const vswitch = this.#world.vswitches.get(instance.vswitch);
    const vpc = this.#world.vpcs.get(instance.vpc);
    const place = {
      'vpc-id': instance.vpc,
      'vpc-cidr-block': vpc?.cidr ?? '',
      'vswitch-id': instance.vswitch,
      'vswitch-cidr-block': vswitch?.cidr ?? '',
    };
    const macs = instance.interfaces.map((one): [string, Folder] => [
      one.mac,
      {
        ...place,
        'network-interface-id': one.id,
        'primary-ip-address': one.address,
        'private-ipv4s': JSON.stringify([one.address]),
        ...(one.address6 === '' ? {} : { ipv6s: `[${one.address6}]` }),
      },
    ]);
    const [primary] = instance.interfaces.filter((one) => one.primary);
    return {
      ...place,
      'instance-id': instance.id,
      instance: { 'instance-name': instance.name, 'instance-type': 'ecs.g7.large' },
      hostname: instance.hostName,
      'region-id': region,
      'zone-id': vswitch?.zone ?? '',
      'network-type': 'vpc',
      mac: primary?.mac ?? '',
      'private-ipv4': primary?.address ?? '',
      network: { interfaces: { macs: Object.fromEntries(macs) } },
      ...(instance.role === ''
        ? {}
        : { ram: { 'security-credentials': { [instance.role]: this.#credentials(instance) } } }),
    };
  }

  #credentials(instance: Instance): string {
    const session = this.session(instance);
    if (session === undefined) return JSON.stringify({ Code: 'Failed', Message: 'The role does not exist.' });
    return JSON.stringify({
      AccessKeyId: session.id,
      AccessKeySecret: session.secret,
      Expiration: date(session.expires ?? 0),
      SecurityToken: session.token,
      LastUpdated: date((session.expires ?? 0) - this.roleTtlMs),
      Code: 'Success',
    });
  }
}
