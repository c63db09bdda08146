/** The kinds of values that an option can have: how each is read, written and described. */
import { isAbsolute, normalize } from 'node:path';
import { type Address, type Cidr, parseAddress, parseCidr } from './cidr.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from './duration.ts';
import { PluginError } from './errors.ts';
import { nearest } from './nearest.ts';

export interface Spec<T> {
  /** One sentence. */
  readonly help: string;
  readonly default?: T;
  /** Must be given; only where there is no default. */
  readonly required?: boolean;
  /** Name in the environment; by default the key in capitals: `logLevel` is LOG_LEVEL. */
  readonly env?: string;
  /** Never shown: not in logs, errors, status or dumps. */
  readonly sensitive?: boolean;
  readonly example?: string;
  /** A further check: the reason why a value will not do, or undefined. */
  validate?(value: T): string | undefined;
}

/** A spec by which the value is always there. */
type Certain<T> = ({ readonly default: T } | { readonly required: true }) & Spec<T>;

export interface Option<T> {
  readonly kind: string;
  /** What may be written, in words. */
  readonly allowed: string;
  readonly spec: Spec<NonNullable<T>>;
  /** Throws Refusal. */
  parse(text: string): NonNullable<T>;
  /** Text that `parse` reads back. */
  format(value: NonNullable<T>): string;
}

/** Why a value will not do: a clause without a full stop. */
export class Refusal extends Error {}

export interface HostPort {
  /** Empty: every address of the host. */
  readonly host: string;
  readonly port: number;
}

const refuse = (reason: string): never => {
  throw new Refusal(reason);
};

interface Kind<T> {
  readonly kind: string;
  readonly allowed: string;
  parse(text: string): T;
  format(value: T): string;
}

const make = <T>(kind: Kind<T>, spec: Spec<T>): Option<T> =>
  ({
    kind: kind.kind,
    allowed: kind.allowed,
    format: kind.format,
    spec,
    parse: (text: string): T => {
      const value = kind.parse(text);
      const reason = spec.validate?.(value);
      return reason === undefined ? value : refuse(reason);
    },
  }) as Option<T>;

/** A kind of option without limits of its own, as a builder whose value is certain when the spec says so. */
interface Builder<T, Limits = unknown> {
  (spec: Certain<T> & Limits): Option<T>;
  (spec: Spec<T> & Limits): Option<T | undefined>;
}

const builder = <T, Limits = unknown>(kind: (limits: Limits) => Kind<T>): Builder<T, Limits> =>
  // Whether a value may be missing is known by the types only.
  ((spec: Spec<T> & Limits) => make(kind(spec), spec)) as unknown as Builder<T, Limits>;

interface Range {
  readonly min?: number;
  readonly max?: number;
}

const inRange = (value: number, { min, max }: Range, show: (n: number) => string): number => {
  if (min !== undefined && value < min) refuse(`the least is ${show(min)}`);
  if (max !== undefined && value > max) refuse(`the most is ${show(max)}`);
  return value;
};

const rangeText = ({ min, max }: Range, show: (n: number) => string): string => {
  if (min !== undefined && max !== undefined) return ` from ${show(min)} to ${show(max)}`;
  if (min !== undefined) return ` of at least ${show(min)}`;
  return max === undefined ? '' : ` of at most ${show(max)}`;
};

const measure =
  (kind: string, noun: string, parse: (text: string) => number | undefined, show: (n: number) => string) =>
  (limits: Range): Kind<number> => ({
    kind,
    allowed: `${noun}${rangeText(limits, show)}`,
    parse: (text) => inRange(parse(text) ?? refuse(`it is not ${noun}`), limits, show),
    format: show,
  });

/** Turns the errors of the address parsers into a clause. */
const clause = <T>(parse: () => T): T => {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    const { reason, suggestion } = error.context;
    return refuse(`${reason}${suggestion === undefined ? '' : `; did you mean ${suggestion}?`}`);
  }
};

const cidrKind: Kind<Cidr> = {
  kind: 'prefix',
  allowed: 'an IP prefix such as 10.64.0.0/12 or fd64::/48',
  parse: (text) => clause(() => parseCidr(text)),
  format: (cidr) => cidr.text,
};

const urlKind: Kind<string> = {
  kind: 'URL',
  allowed: 'an http:// or https:// URL',
  parse: (text) => {
    const url = URL.canParse(text) ? new URL(text) : refuse('it is not a URL');
    if (url.protocol !== 'http:' && url.protocol !== 'https:') refuse('it does not begin with http:// or https://');
    if (url.username !== '' || url.password !== '') refuse('a name or password must not be part of the URL');
    return url.href.replace(/\/$/, '');
  },
  format: (url) => url,
};

const listOf = <T>(item: Kind<T>): Kind<readonly T[]> => ({
  kind: `list of ${item.kind}`,
  allowed: `a list, with commas between, of: ${item.allowed}`,
  parse: (text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part, _, parts) => part !== '' || parts.length > 1)
      .map((part) => {
        try {
          return item.parse(part);
        } catch (error) {
          return error instanceof Refusal ? refuse(`"${part}": ${error.message}`) : refuse(String(error));
        }
      }),
  format: (items) => items.map(item.format).join(','),
});

/** A prefix and the gateway that leads to it. */
export interface GatewayRoute {
  readonly prefix: Cidr;
  /** An IP address, or a cloud's name of a gateway, a peering, a VPN. */
  readonly via: string;
}

const gatewayRouteKind: Kind<GatewayRoute> = {
  kind: 'route',
  allowed: 'a prefix and what leads there, such as 10.96.0.0/12 via vgw-0a1b2c3d',
  parse: (text) => {
    const [, prefix, via] = /^(\S+)\s+via\s+([\w.:-]{2,64})$/.exec(text) ?? refuse('it is not written CIDR via TARGET');
    return { prefix: cidrKind.parse(prefix ?? ''), via: via ?? '' };
  },
  format: ({ prefix, via }) => `${prefix.text} via ${via}`,
};

const textKind = (limits: { readonly pattern?: RegExp; readonly allowed?: string }): Kind<string> => ({
  kind: 'text',
  allowed: limits.allowed ?? 'text',
  parse: (text) =>
    limits.pattern === undefined || limits.pattern.test(text)
      ? text
      : refuse('it does not have the form that is allowed'),
  format: (text) => text,
});

const plainInteger = (text: string): number | undefined => {
  const value = /^-?(0|[1-9]\d*)$/.test(text) ? Number(text) : undefined;
  return Number.isSafeInteger(value) ? value : undefined;
};

const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
};

const parseHostPort = (text: string): HostPort => {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = digits === undefined ? refuse('it is not host:port') : Number(digits);
  if (port < 1 || port > 65_535) refuse('a port is a number from 1 to 65535');
  if (bracketed !== undefined && clause(() => parseAddress(bracketed)).family !== 6)
    refuse('only IPv6 stands in brackets');
  const host = bracketed ?? plain ?? '';
  if (bracketed === undefined && host !== '' && !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host))
    refuse('no such host name');
  return { host, port };
};

/** Builders, one for each kind of value. */
export const option = {
  /** `min` and `max` count characters. */
  text: builder<string, Range & { readonly pattern?: RegExp; readonly allowed?: string }>((limits) => ({
    kind: 'text',
    allowed: limits.allowed ?? `text${rangeText(limits, (n) => `${n} characters`)}`,
    parse: (text) => {
      inRange(text.length, limits, (n) => `${n} characters`);
      if (/\p{Cc}/u.test(text)) refuse('it has control characters');
      return limits.pattern === undefined || limits.pattern.test(text)
        ? text
        : refuse('it does not have the form that is allowed');
    },
    format: (text) => text,
  })),
  boolean: builder<boolean>(() => ({
    kind: 'boolean',
    allowed: 'true or false',
    parse: (text) => BOOLEANS[text.toLowerCase()] ?? refuse('it is neither true nor false'),
    format: String,
  })),
  integer: builder<number, Range>(measure('integer', 'a whole number', plainInteger, String)),
  /** Milliseconds; written `30s`, `5m`, `1h30m`. */
  duration: builder<number, Range>(measure('duration', 'a time such as 30s or 5m', parseDuration, formatDuration)),
  /** Bytes; written `64k`, `10m`, `1g`. */
  size: builder<number, Range>(measure('size', 'a size such as 64k or 1g', parseSize, formatSize)),
  cidr: builder<Cidr>(() => cidrKind),
  cidrList: builder<readonly Cidr[]>(() => listOf(cidrKind)),
  gatewayRoutes: builder<readonly GatewayRoute[]>(() => listOf(gatewayRouteKind)),
  /** `allowed` says what one entry is. */
  textList: builder<readonly string[], { readonly pattern?: RegExp; readonly allowed?: string }>((limits) =>
    listOf(textKind(limits)),
  ),
  address: builder<Address>(() => ({
    kind: 'address',
    allowed: 'an IP address',
    parse: (text) => clause(() => parseAddress(text)),
    format: (address) => address.text,
  })),
  hostPort: builder<HostPort>(() => ({
    kind: 'host:port',
    allowed: 'host:port, [IPv6]:port or :port for every address',
    parse: parseHostPort,
    format: ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
  })),
  /** http or https, without a slash at the end. */
  url: builder<string>(() => urlKind),
  /** The same of an HTTP proxy: without TLS on the way to it. */
  proxy: builder<string>(() => ({
    ...urlKind,
    allowed: 'an http:// URL',
    parse: (text) => (/^https:/i.test(text) ? refuse('it does not begin with http://') : urlKind.parse(text)),
  })),
  urlList: builder<readonly string[]>(() => listOf(urlKind)),
  /** Absolute. */
  path: builder<string>(() => ({
    kind: 'path',
    allowed: 'an absolute path',
    parse: (text) => {
      if (!isAbsolute(text)) refuse('it does not begin with /');
      if (/\p{Cc}/u.test(text)) refuse('it has control characters');
      return normalize(text) === text ? text : refuse(`write ${normalize(text)}`);
    },
    format: (path) => path,
  })),
  enum: <const V extends string, S extends Spec<NoInfer<V>>>(
    values: readonly V[],
    spec: S,
  ): Option<S extends Certain<V> ? V : V | undefined> => {
    const kind: Kind<V> = {
      kind: 'choice',
      allowed: values.join(', '),
      parse: (text) => {
        const found = values.find((value) => value === text);
        const meant = nearest(text, values);
        return found ?? refuse(meant === undefined ? 'it is none of the choices' : `did you mean ${meant}?`);
      },
      format: (value) => value,
    };
    return make(kind, spec as Spec<V>) as unknown as Option<S extends Certain<V> ? V : V | undefined>;
  },
} as const;
