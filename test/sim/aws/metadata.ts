/** The instance metadata service, version 2: a session token by PUT, then GETs that bear it. */
import { randomBytes } from 'node:crypto';
import { contains, parseAddress, parseCidr } from '../../../shared/cidr.ts';
import { type ApiCall, ApiError, type Core, type Service } from '../core/api.ts';
import type { Credential } from '../core/credentials.ts';
import type { HttpReply } from '../core/http.ts';
import { named } from './errors.ts';
import { type Instance, type Interface, type World, zoneId } from './world.ts';

const TTL = 'x-aws-ec2-metadata-token-ttl-seconds';
const TOKEN = 'x-aws-ec2-metadata-token';
/** New role credentials are there this long before the old ones end. */
const RENEW_MS = 5 * 60_000;

const statusText: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  503: 'Service Unavailable',
};

const refuse = (status: number): ApiError => new ApiError(String(status), statusText[status] ?? '', status);

const iso = (time: number): string => new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');

interface Session {
  readonly instance: string;
  readonly until: number;
  readonly ttl: number;
}

/** Metadata of all instances; who asks is known by the source address, or by the listener that was asked. */
export class Metadata {
  readonly #core: Core;
  readonly #world: World;
  readonly #roleTtlMs: number;
  readonly #sessions = new Map<string, Session>();
  readonly #credentials = new Map<string, { readonly credential: Credential; readonly updated: number }>();
  readonly #sources: { readonly within: string; readonly instance: string }[] = [];
  /** Who an unknown source is; without it such a caller gets 404 to everything. */
  fallback: string | undefined;

  constructor(core: Core, world: World, roleTtlMs: number) {
    this.#core = core;
    this.#world = world;
    this.#roleTtlMs = roleTtlMs;
  }

  /** Callers from this address or CIDR are this instance. Beside these, an instance's own addresses are known. */
  from(source: string, instance: string): void {
    this.#sources.unshift({
      within: source.includes('/') ? source : `${source}/${source.includes(':') ? 128 : 32}`,
      instance,
    });
  }

  /** `owner` fixes which instance asks, whatever the source. */
  service(owner?: string): Service<HttpReply> {
    const usual = (status: number) => refuse(status);
    return {
      name: 'metadata',
      decode: ({ method, path }) => ({
        action: `${method === 'PUT' ? 'PUT ' : ''}${path.replace(/^\/latest\//, '').replace(/\/$/, '')}`,
        parameters: {},
      }),
      authenticate: () => undefined,
      refusals: {
        throttled: () => usual(503),
        unavailable: () => usual(503),
        forbidden: () => usual(403),
        named: (code) => (statusText[Number(code)] === undefined ? named(code) : usual(Number(code))),
      },
      perform: (call) => this.#answer(call, owner ?? this.#whoIs(call.request.source)),
      encode: (reply) => reply,
      encodeError: ({ status, message }) => ({
        status,
        headers: { 'Content-Type': 'text/html', Server: 'EC2ws' },
        body: `<html><head><title>${status} - ${message}</title></head><body><h1>${status} - ${message}</h1></body></html>\n`,
      }),
    };
  }

  #whoIs(source: string): string | undefined {
    if (source === '') return this.fallback;
    const address = parseAddress(source);
    const mapped = this.#sources.find(({ within }) => contains(parseCidr(within), address));
    const own = [...this.#world.interfaces.values()].find(
      ({ addresses, addresses6 }) => addresses.includes(source) || addresses6.includes(source),
    );
    return mapped?.instance ?? own?.instance ?? this.fallback;
  }

  #answer(call: ApiCall, id: string | undefined): HttpReply {
    const instance = this.#world.instances.get(id ?? '');
    if (instance === undefined) throw refuse(404);
    if (!instance.metadata) throw refuse(403);
    const { method, path, headers } = call.request;
    if (path === '/latest/api/token') return this.#token(call, instance);
    if (method !== 'GET' && method !== 'HEAD') throw refuse(405);
    const session = this.#sessions.get(String(headers[TOKEN] ?? ''));
    const valid = session !== undefined && session.until > this.#core.clock.now() && session.instance === instance.id;
    if (!valid) throw refuse(401);
    const text = this.#read(instance, path.replace(/^\/(latest|2\d{3}-\d\d-\d\d)\//, ''));
    if (text === undefined) throw refuse(404);
    return {
      status: 200,
      headers: { 'Content-Type': 'text/plain', Server: 'EC2ws', [TTL]: String(session.ttl) },
      body: text,
    };
  }

  /** A proxy in between gives itself away by X-Forwarded-For and gets nothing. */
  #token({ request: { method, headers } }: ApiCall, instance: Instance): HttpReply {
    if (method !== 'PUT') throw refuse(405);
    if (headers['x-forwarded-for'] !== undefined) throw refuse(403);
    const ttl = Number(headers[TTL]);
    if (!Number.isInteger(ttl) || ttl < 1 || ttl > 21_600) throw refuse(400);
    const token = randomBytes(42).toString('base64url');
    this.#sessions.set(token, { instance: instance.id, until: this.#core.clock.now() + ttl * 1000, ttl });
    return { status: 200, headers: { 'Content-Type': 'text/plain', Server: 'EC2ws', [TTL]: String(ttl) }, body: token };
  }

  /** The text at a path behind /latest/, or undefined. A folder lists its entries. */
  #read(instance: Instance, path: string): string | undefined {
    const entries = this.#entries(instance);
    const exact = entries[path.replace(/\/$/, '')];
    if (exact !== undefined) return exact();
    const folder = path === '' || path.endsWith('/') ? path : `${path}/`;
    const names = Object.keys(entries)
      .filter((name) => name.startsWith(folder))
      .map((name) => name.slice(folder.length).replace(/\/.*$/, '/'));
    return names.length === 0 ? undefined : [...new Set(names)].sort().join('\n');
  }

  #entries(instance: Instance): Record<string, () => string> {
    const world = this.#world;
    const interfaces = world.interfacesOf(instance.id);
    const [primary] = interfaces;
    const zone = (primary && world.subnets.get(primary.subnet)?.zone) ?? '';
    const address = primary?.addresses[0] ?? '';
    const hostname = `ip-${address.replaceAll('.', '-')}.${world.region}.compute.internal`;
    const { role } = instance;
    return {
      'meta-data/ami-id': () => 'ami-0123456789abcdef0',
      'meta-data/hostname': () => hostname,
      'meta-data/local-hostname': () => hostname,
      'meta-data/instance-id': () => instance.id,
      'meta-data/instance-type': () => instance.type,
      'meta-data/local-ipv4': () => address,
      'meta-data/mac': () => primary?.mac ?? '',
      'meta-data/placement/availability-zone': () => zone,
      'meta-data/placement/availability-zone-id': () => zoneId(zone),
      'meta-data/placement/region': () => world.region,
      'meta-data/services/domain': () => world.domain,
      'meta-data/services/partition': () => world.partition,
      ...Object.assign({}, ...interfaces.map((each) => this.#interfaceEntries(each))),
      ...(role && {
        'meta-data/iam/info': () => json({ Code: 'Success', InstanceProfileArn: profileArn(world, role.name) }),
        [`meta-data/iam/security-credentials/${role.name}`]: () => this.#roleCredentials(instance),
      }),
      'dynamic/instance-identity/document': () =>
        json({
          accountId: world.account,
          architecture: 'x86_64',
          availabilityZone: zone,
          imageId: 'ami-0123456789abcdef0',
          instanceId: instance.id,
          instanceType: instance.type,
          privateIp: address,
          region: world.region,
          version: '2017-09-30',
        }),
    };
  }

  #interfaceEntries(each: Interface): Record<string, () => string> {
    const world = this.#world;
    const folder = `meta-data/network/interfaces/macs/${each.mac}`;
    const subnet = world.subnets.get(each.subnet);
    const vpc = world.vpcs.get(each.vpc);
    const entries: Record<string, string | undefined> = {
      'device-number': String(each.device),
      'interface-id': each.id,
      ipv6s: each.addresses6.join('\n') || undefined,
      'local-ipv4s': each.addresses.join('\n'),
      mac: each.mac,
      'owner-id': world.account,
      'security-group-ids': each.groups.join('\n'),
      'subnet-id': each.subnet,
      'subnet-ipv4-cidr-block': subnet?.cidr,
      'subnet-ipv6-cidr-blocks': subnet?.cidr6,
      'vpc-id': each.vpc,
      'vpc-ipv4-cidr-block': vpc?.cidrs[0],
      'vpc-ipv4-cidr-blocks': vpc?.cidrs.join('\n'),
      'vpc-ipv6-cidr-blocks': vpc?.cidrs6.join('\n') || undefined,
    };
    const found = Object.entries(entries).flatMap(([name, text]) =>
      text === undefined ? [] : [[`${folder}/${name}`, () => text] as const],
    );
    return Object.fromEntries(found);
  }

  #roleCredentials(instance: Instance): string {
    const { role } = instance;
    if (role === undefined) throw refuse(404);
    const now = this.#core.clock.now();
    const held = this.#credentials.get(instance.id);
    // Asked for again: a fault may have ended it before its time.
    const current = held && this.#core.credentials.find(held.credential.id);
    const good = held !== undefined && (current?.expires ?? 0) - now > RENEW_MS;
    const { credential, updated } = good
      ? held
      : { credential: this.#core.credentials.session(role, this.#roleTtlMs), updated: now };
    this.#credentials.set(instance.id, { credential, updated });
    return json({
      Code: 'Success',
      LastUpdated: iso(updated),
      Type: 'AWS-HMAC',
      AccessKeyId: credential.id,
      SecretAccessKey: credential.secret,
      Token: credential.token,
      Expiration: iso(credential.expires ?? now),
    });
  }
}

const json = (value: unknown): string => JSON.stringify(value, null, 2);

const profileArn = (world: World, role: string): string =>
  `arn:${world.partition}:iam::${world.account}:instance-profile/${role}`;
