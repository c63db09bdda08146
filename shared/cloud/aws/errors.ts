import { PluginError } from '../../errors.ts';

/** The only place where EC2's codes become ours. Codes are from the API reference's list and from its clients. */

/** What failed calls for routes come to. */
export const ROUTE_ERROR_KINDS = [
  'route-exists',
  'route-missing',
  'table-missing',
  'target-missing',
  'table-full',
] as const;

export type RouteErrorKind = (typeof ROUTE_ERROR_KINDS)[number];

/** What failed calls for volumes come to. */
export const VOLUME_ERROR_KINDS = [
  'disk-missing',
  'disk-in-use',
  'disk-state',
  'not-attached',
  'attach-limit',
  'zone-mismatch',
  'device-taken',
  'disk-quota',
  'token-burned',
  'modifying',
  'instance-missing',
] as const;

export type VolumeErrorKind = (typeof VOLUME_ERROR_KINDS)[number];

/** What failed calls for file systems come to. */
export const SHARE_ERROR_KINDS = ['share-missing', 'share-state', 'target-exists'] as const;

export type ShareErrorKind = (typeof SHARE_ERROR_KINDS)[number];

/** What a failed call came to. The first groups are for who made the call; of the rest nobody can make anything but an error. */
export type Ec2ErrorKind =
  | RouteErrorKind
  | VolumeErrorKind
  | ShareErrorKind
  | 'dry-run'
  | 'refused'
  | 'expired'
  | 'credentials'
  | 'permission'
  | 'throttled'
  | 'unavailable'
  | 'unreachable';

const KINDS: Readonly<Record<string, Ec2ErrorKind>> = {
  RouteAlreadyExists: 'route-exists',
  'InvalidRoute.NotFound': 'route-missing',
  'InvalidRouteTableID.NotFound': 'table-missing',
  'InvalidRouteTableId.Malformed': 'table-missing',
  'InvalidRouteTableID.Malformed': 'table-missing',
  RouteLimitExceeded: 'table-full',
  DryRunOperation: 'dry-run',
  ExpiredToken: 'expired',
  ExpiredTokenException: 'expired',
  RequestExpired: 'expired',
  AuthFailure: 'credentials',
  InvalidClientTokenId: 'credentials',
  UnrecognizedClientException: 'credentials',
  InvalidAccessKeyId: 'credentials',
  IncompleteSignature: 'credentials',
  InvalidSignatureException: 'credentials',
  SignatureDoesNotMatch: 'credentials',
  MissingAuthenticationToken: 'credentials',
  MissingAuthenticationTokenException: 'credentials',
  RequestInTheFuture: 'credentials',
  RequestTimeTooSkewed: 'credentials',
  OptInRequired: 'credentials',
  Blocked: 'credentials',
  PendingVerification: 'credentials',
  UnauthorizedOperation: 'permission',
  AccessDenied: 'permission',
  AccessDeniedException: 'permission',
  NotAuthorized: 'permission',
  RequestLimitExceeded: 'throttled',
  Throttling: 'throttled',
  ThrottlingException: 'throttled',
  ThrottledException: 'throttled',
  RequestThrottled: 'throttled',
  RequestThrottledException: 'throttled',
  TooManyRequestsException: 'throttled',
  EC2ThrottledException: 'throttled',
  SlowDown: 'throttled',
  InternalError: 'unavailable',
  InternalFailure: 'unavailable',
  ServerInternal: 'unavailable',
  ServiceException: 'unavailable',
  ServiceUnavailable: 'unavailable',
  Unavailable: 'unavailable',
};

/** `InvalidNetworkInterfaceID.NotFound`, `InvalidGatewayID.NotFound`, `NatGatewayNotFound` … */
const TARGET_MISSING = /^Invalid\w+I[Dd]\.(NotFound|Malformed)$|^\w+NotFound$/;

/** EC2 answers a ReplaceRoute to nowhere with its most general code. */
const NO_ROUTE = /there is no route defined/i;

const NETWORK_CODE = /^(E[A-Z]{3,}|UND_ERR_\w+|CERT_\w+|ERR_TLS_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+)$/;

const textOf = (value: unknown, key: string): string | undefined => {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return typeof found === 'string' && found !== '' ? found : undefined;
};

const metadataOf = (error: unknown): object => {
  const found: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, '$metadata') : undefined;
  return typeof found === 'object' && found !== null ? found : {};
};

/** A call that failed, in our words. `message` is EC2's, without what it encodes for its own support. */
export class Ec2Error extends Error {
  override readonly name = 'Ec2Error';
  readonly action: string;
  readonly kind: Ec2ErrorKind;
  /** EC2's code, or the operating system's. */
  readonly code: string;
  /** The client has seen by this answer that the clock is wrong, and signs by the right time from now on. */
  readonly clockCorrected: boolean;

  constructor(action: string, kind: Ec2ErrorKind, code: string, message: string, clockCorrected = false) {
    super(message);
    this.action = action;
    this.kind = kind;
    this.code = code;
    this.clockCorrected = clockCorrected;
  }
}

/** Is it this refusal of EC2's? */
export const isOfKind = (error: unknown, ...kinds: readonly Ec2ErrorKind[]): error is Ec2Error =>
  error instanceof Ec2Error && kinds.includes(error.kind);

/** What the vendor's client threw, in our words. Whatever else it holds (headers, keys) is left behind. */
export const classify = (
  action: string,
  error: unknown,
  /** What codes mean for calls like this one, where that is not what they mean for all. */
  kindOf: (code: string, message: string) => Ec2ErrorKind | undefined = () => undefined,
): Ec2Error => {
  const metadata = metadataOf(error);
  const status: unknown = Reflect.get(metadata, 'httpStatusCode');
  const message = (textOf(error, 'message') ?? 'no reason given')
    .replace(/\s*Encoded authorization failure message:.*$/s, '')
    .slice(0, 500);
  const corrected = Reflect.get(metadata, 'clockSkewCorrected') === true;
  const made = (kind: Ec2ErrorKind, code: string): Ec2Error => new Ec2Error(action, kind, code, message, corrected);
  const network = textOf(error, 'code') ?? textOf(error, 'errno');
  const name = textOf(error, 'name') ?? textOf(error, 'Code') ?? 'Error';
  if (typeof status !== 'number') {
    if (network !== undefined && NETWORK_CODE.test(network)) return made('unreachable', network);
    return made('unreachable', name === 'Error' ? 'no answer' : name);
  }
  const known = kindOf(name, message) ?? KINDS[name];
  if (known !== undefined) return made(known, name);
  if (status === 429) return made('throttled', name);
  if (status >= 500) return made('unavailable', `${name} (${status})`);
  if (action === 'ReplaceRoute' && NO_ROUTE.test(message)) return made('route-missing', name);
  if (TARGET_MISSING.test(name)) return made('target-missing', name);
  if (status === 401) return made('credentials', name);
  if (status === 403) return made('permission', name);
  // An answer that is none of EC2's: of a proxy, or of something else behind CLOUD_ENDPOINT.
  if (name === 'Error' || name === 'SyntaxError') return made('unreachable', `an answer that is not EC2's (${status})`);
  return made('refused', name);
};

/** What is known around a call, for its error's text. */
export interface Circumstances {
  /** The permission of the call, such as `ec2:CreateRoute`. */
  readonly permission: string;
  readonly endpoint: string;
  readonly region: string;
  /** Where the keys come from. */
  readonly source: string;
  /** How far off this machine's clock is: `12 s ahead`. */
  readonly skew?: { readonly ms: number; readonly text: string };
}

/** Beyond this, a refusal of the credentials is put down to the clock (EC2 takes five minutes). */
const SKEW_MS = 240_000;

/** For the user. `route-exists`, `table-full` and their like are better told by who knows the prefix. */
export const toPluginError = (error: Ec2Error, around: Circumstances): PluginError => {
  const { kind, code, message, action } = error;
  const provider = 'aws';
  const { skew } = around;
  const wrongClock = skew !== undefined && Math.abs(skew.ms) > SKEW_MS ? skew.text : undefined;
  switch (kind) {
    case 'permission': {
      const role = /assumed-role\/([\w+=,.@-]+)/.exec(message)?.[1];
      return new PluginError(
        'PROVIDER_PERMISSION',
        {
          provider,
          permission: /not authorized to perform: ([\w-]+:\w+)/.exec(message)?.[1] ?? around.permission,
          role,
        },
        { cause: error },
      );
    }
    case 'expired':
    case 'credentials': {
      const clock = `this host's clock is ${wrongClock} of AWS: set it right, for instance with chrony`;
      const reason = wrongClock === undefined ? `${code}, keys from ${around.source}, region ${around.region}` : clock;
      return new PluginError('PROVIDER_AUTH', { provider, reason }, { cause: error });
    }
    case 'throttled':
      return new PluginError('PROVIDER_THROTTLED', { provider, reason: `${code} for ${action}` }, { cause: error });
    case 'unreachable': {
      const hint = code === 'ENOTFOUND' ? `; is there a region ${around.region}?` : '';
      const reason = `${action} at ${around.endpoint}: ${code}${hint}`;
      return new PluginError('PROVIDER_UNREACHABLE', { provider, reason }, { cause: error });
    }
    case 'unavailable':
      return new PluginError('PROVIDER_UNREACHABLE', { provider, reason: `${action}: ${code}` }, { cause: error });
    default:
      return new PluginError(
        'PROVIDER_REFUSED',
        { provider, what: action, reason: `${code}: ${message}` },
        { cause: error },
      );
  }
};
