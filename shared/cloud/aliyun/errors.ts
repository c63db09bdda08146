/**
 * The only place where Aliyun's error codes become ours. Codes are compared without case: the services write some of
 * them in several ways. Sources: the error tables of the VPC (2016-04-28), ECS (2014-05-26), NAS (2017-06-26) and Quota
 * Center (2020-05-10) references, the list of common errors, and what drivers in use have met.
 */
import { PluginError } from '../../errors.ts';

/** What a refusal means to a caller. */
export type Kind =
  /** Another change of the VPC is in work, or something is not ready yet: again, later. */
  | 'busy'
  | 'throttled'
  /** The service failed: whether a write took effect is open. */
  | 'unavailable'
  /** The table has a route for this destination. */
  | 'duplicate'
  /** There is no such route: a delete's success. */
  | 'absent'
  | 'no-table'
  | 'quota'
  /** The destination belongs to the VPC or the vendor. */
  | 'reserved'
  /** The session token is too old: fetch another. */
  | 'expired'
  /** The credentials are wrong. */
  | 'auth'
  /** The request's time is too far from the service's. */
  | 'clock'
  | 'permission'
  /** DryRun=true, and all is well. */
  | 'dry-run'
  | 'no-disk'
  | 'no-snapshot'
  | 'no-instance'
  /** The disk is in another state than this needs: somebody has it, or it is on its way. */
  | 'disk-state'
  /** A snapshot of the disk is being taken. */
  | 'copying'
  /** The instance has as many disks as it can have. */
  | 'full'
  /** Nothing may be done with the disk or its instance: arrears, security. */
  | 'locked'
  /** The token was used for something else. */
  | 'mismatch'
  /** There is no such file system, mount target or permission group of NAS. */
  | 'no-share'
  /** There is one of this name. */
  | 'exists'
  /** There is no such folder on the file system. */
  | 'no-folder'
  /** The folder has no quota: what taking it away was to achieve. */
  | 'no-limit'
  | 'refused';

const EXACT: Readonly<Record<string, Kind>> = {
  diskcreatingsnapshot: 'copying',
  diskinarrears: 'locked',
  disksdetachingonecsexceeded: 'busy',
  dryrunoperation: 'dry-run',
  forbidden: 'permission',
  'forbidden.nopermission': 'permission',
  'forbidden.ram': 'permission',
  'forbidden.unauthorized': 'permission',
  'forbidden.accesskeydisabled': 'auth',
  'forbidden.keynotfound': 'auth',
  forbbiden: 'busy',
  // So NAS spells it.
  'forbbiden.ram': 'permission',
  idempotentparametermismatch: 'mismatch',
  illegaltimestamp: 'clock',
  incompletesignature: 'auth',
  incorrectdiskstatus: 'disk-state',
  'incorrectdiskstatus.creatingsnapshot': 'copying',
  'incorrectdiskstatus.initializing': 'busy',
  incorrecthavipstatus: 'busy',
  incorrectinstancestatus: 'busy',
  incorrectrouteentrystatus: 'busy',
  incorrectvpcstatus: 'busy',
  incorrectvswitchstatus: 'busy',
  instancedisklimitexceeded: 'full',
  instanceexpiredorinarrears: 'locked',
  instancelockedforsecurity: 'locked',
  internalerror: 'unavailable',
  'invalidaccessgroup.alreadyexisted': 'exists',
  'invalidaccessgroup.notfound': 'no-share',
  'invalidaccessgroupname.notfound': 'no-share',
  'forbidden.nasnotfound': 'no-share',
  'invalidfilesystem.notfound': 'no-share',
  // It is being bought.
  'invalidfilesystemstatus.ordering': 'busy',
  'invalidmounttarget.alreadyexisted': 'exists',
  'invalidmounttarget.notfound': 'no-share',
  'invalidparameter.dirpathnotexist': 'no-folder',
  'invalidparameter.quotanotexistonpath': 'no-limit',
  'operationdenied.accessgroupcountsexceeded': 'quota',
  'operationdenied.filesystemcountsexceeded': 'quota',
  // The status is processing.
  'operationdenied.invalidstate': 'busy',
  'operationdenied.mounttargetcountsexceeded': 'quota',
  'operationdenied.mounttargetexceedlimit': 'quota',
  'invaliddiskid.notfound': 'no-disk',
  'invaliddiskid.released': 'no-disk',
  'invalidinstanceid.notfound': 'no-instance',
  'invalidresourceid.notfound': 'no-disk',
  'invalidsnapshotid.notfound': 'no-snapshot',
  'invalidcidrblock.duplicate': 'duplicate',
  'invalidrouteentry.duplicate': 'duplicate',
  'routerentryconflict.duplicated': 'duplicate',
  'duplicated.vpcnexthop': 'duplicate',
  vpc_route_entry_cidr_block_duplicate: 'duplicate',
  'invalidrouteentry.notfound': 'absent',
  'invalidrouteentryid.notfound': 'absent',
  'routerentry.notfound': 'absent',
  vpc_router_entry_not_exist: 'absent',
  'invalidroutetableid.notfound': 'no-table',
  'invalidroutetable.notfound': 'no-table',
  vpc_route_table_not_exist: 'no-table',
  'invalidsecuritytoken.expired': 'expired',
  'invalidstatus.routeentry': 'busy',
  invalidvbrstatus: 'busy',
  lasttokenprocessing: 'busy',
  missingaccesskeyid: 'auth',
  missingsecuritytoken: 'auth',
  'operationfailed.distibutelock': 'busy',
  'operationfailed.idempotenttokenprocessing': 'busy',
  'operationunsupported.destinationcidrblockoverlapwithvswitch': 'reserved',
  operationconflict: 'busy',
  // It leads there already: an earlier request whose answer was lost.
  'operationdenied.nexthopnotchanged': 'duplicate',
  signaturedoesnotmatch: 'auth',
  systembusy: 'busy',
  taskconflict: 'busy',
  unknownerror: 'busy',
  vpc_route_entry_status_error: 'busy',
};

const BEGINNINGS: readonly (readonly [beginning: string, kind: Kind])[] = [
  ['incorrectstatus', 'busy'],
  ['invalidaccesskey', 'auth'],
  ['invalidcidrblock', 'reserved'],
  ['invalidsecuritytoken', 'auth'],
  ['invalidtimestamp', 'clock'],
  ['nopermission', 'permission'],
  ['quotaexceed', 'quota'],
  // The right to make the role by which NAS gets at a VPC.
  ['subaccount.no', 'permission'],
  ['serviceunavailable', 'unavailable'],
  // So it is spelt.
  ['serivceunavailable', 'unavailable'],
  ['throttling', 'throttled'],
  ['vpc_route_entry_cidr_block', 'reserved'],
  ['vpc_route_entry_quota', 'quota'],
];

/** What a code means; codes that nobody knows go by the HTTP status (0: unknown). */
export const kindOf = (code: string, status = 0): Kind => {
  const name = code.toLowerCase();
  const known = EXACT[name] ?? BEGINNINGS.find(([beginning]) => name.startsWith(beginning))?.[1];
  if (known !== undefined) return known;
  if (status === 429) return 'throttled';
  return status >= 500 ? 'unavailable' : 'refused';
};

export interface RefusalDetails {
  /** As RAM names it: `vpc:CreateRouteEntry`. */
  readonly action: string;
  readonly code: string;
  /** The service's own sentence. It may quote what was signed, so it is shown for harmless kinds only. */
  readonly text: string;
  readonly status: number;
  readonly requestId?: string | undefined;
  /** The right that the service says is missing. */
  readonly permission?: string | undefined;
}

/** Aliyun answered no. Stays below the provider: `translate` makes it an error for users. */
export class AliyunRefusal extends Error {
  override readonly name = 'AliyunRefusal';
  readonly kind: Kind;
  readonly code: string;
  readonly action: string;
  readonly status: number;
  readonly requestId: string | undefined;
  readonly permission: string;
  readonly text: string;

  constructor(details: RefusalDetails) {
    super(`${details.action}: ${details.code}`);
    this.kind = kindOf(details.code, details.status);
    this.code = details.code;
    this.action = details.action;
    this.status = details.status;
    this.requestId = details.requestId;
    // Its codes say which right it is; nothing else does.
    const role = /^SubAccount\.No/i.test(details.code) ? 'ram:CreateServiceLinkedRole' : undefined;
    this.permission = details.permission ?? role ?? details.action;
    this.text = details.text;
  }
}

/** No answer came: for a write, the outcome is open. */
export class AliyunSilence extends Error {
  override readonly name = 'AliyunSilence';
  readonly action: string;
  /** Nothing can have happened: there was not even a connection. */
  readonly unsent: boolean;
  readonly reason: string;

  constructor(action: string, reason: string, unsent: boolean) {
    super(`${action}: ${reason}`);
    this.action = action;
    this.reason = reason;
    this.unsent = unsent;
  }
}

/** The kind of a refusal; `silent` when there was no answer; undefined for whatever is none of Aliyun's. */
export const kindOfError = (error: unknown): Kind | 'silent' | undefined => {
  if (error instanceof AliyunSilence) return 'silent';
  return error instanceof AliyunRefusal ? error.kind : undefined;
};

const TRANSIENT: ReadonlySet<Kind | 'silent' | undefined> = new Set(['busy', 'throttled', 'unavailable', 'silent']);

/** Asking again later may do. */
export const isTransient = (error: unknown): boolean => TRANSIENT.has(kindOfError(error));

/** Whether a write took effect is not known. */
export const isOpen = (error: unknown): boolean =>
  error instanceof AliyunSilence ? !error.unsent : kindOfError(error) === 'unavailable';

/** For errors: how far this host's clock is off, where that is known to matter, and the role whose rights are asked for. */
export interface Circumstances {
  readonly clock?: string | undefined;
  readonly role?: string | undefined;
}

const PROVIDER = { provider: 'aliyun' } as const;

const explain = (refusal: AliyunRefusal, { clock, role }: Circumstances): PluginError => {
  const { code, action, text, requestId } = refusal;
  // Aliyun's own id, so that its support can find the call.
  const id = requestId === undefined ? '' : `, their request ${requestId}`;
  const options = { cause: refusal };
  switch (refusal.kind) {
    case 'permission': {
      const reason = `${code}${id}`;
      const context = { ...PROVIDER, permission: refusal.permission, reason, role };
      return new PluginError('PROVIDER_PERMISSION', context, options);
    }
    case 'expired':
    case 'auth':
      return new PluginError('PROVIDER_AUTH', { ...PROVIDER, reason: `${code} for ${action}${id}` }, options);
    case 'clock': {
      const off = clock === undefined ? 'more than 15 minutes off' : clock;
      const reason = `the clock of this host is ${off}: set it right (${code})`;
      return new PluginError('PROVIDER_AUTH', { ...PROVIDER, reason }, options);
    }
    case 'throttled':
      return new PluginError('PROVIDER_THROTTLED', { ...PROVIDER, reason: `${code} for ${action}${id}` }, options);
    case 'busy': {
      const what = action.startsWith('vpc:') ? 'another change of this VPC' : 'another change';
      const reason = `${action} waits for ${what}, ${code}${id}`;
      return new PluginError('PROVIDER_THROTTLED', { ...PROVIDER, reason }, options);
    }
    case 'unavailable': {
      const reason = `${action}: ${code}, HTTP ${refusal.status}${id}`;
      return new PluginError('PROVIDER_UNREACHABLE', { ...PROVIDER, reason }, options);
    }
    default: {
      const reason = `${code}: ${text.slice(0, 160).replace(/\.$/, '')}${id}`;
      return new PluginError('PROVIDER_REFUSED', { ...PROVIDER, what: action, reason }, options);
    }
  }
};

/** Aliyun's errors in the words of the user; others as they are. */
export const translate = (error: unknown, circumstances: Circumstances = {}): unknown => {
  if (error instanceof AliyunSilence) {
    const reason = `${error.action}: ${error.reason}`;
    return new PluginError('PROVIDER_UNREACHABLE', { ...PROVIDER, reason }, { cause: error });
  }
  return error instanceof AliyunRefusal ? explain(error, circumstances) : error;
};
