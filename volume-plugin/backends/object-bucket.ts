import { PluginError } from '../../shared/errors.ts';
import type { StoreCredentials, StoreDescription } from '../object/description.ts';
import { BUCKET_TEXT, type Settings } from '../options.ts';

/** A bucket, and what is said of the way to it; what is not said is as the settings have it. */
export interface Bucket {
  readonly kind: 's3' | 'oss' | 'folder';
  readonly name: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly vendor?: string;
  readonly addressing?: 'path' | 'virtual';
  readonly requesterPays?: true;
  readonly conditionalWrites?: boolean;
  /** A path below /var/lib/drayage. */
  readonly ca?: string;
  readonly proxy?: string;
}

/** What may be said of the way to a bucket beside its name. */
export type BucketWay = Omit<Bucket, 'kind' | 'name'>;

export type BucketSettings = Pick<
  Settings,
  | 'objectBucket'
  | 'objectEndpoint'
  | 'objectVendor'
  | 'objectFolder'
  | 'objectCa'
  | 'objectProxy'
  | 'objectProxyCredentials'
  | 'objectNoProxy'
  | 'objectAccessKeyId'
  | 'objectAccessKeySecret'
  | 'objectSecurityToken'
  | 'region'
  | 'metadataEndpoint'
  | 'accessKeyId'
  | 'accessKeySecret'
  | 'securityToken'
  | 'credentialsFile'
  | 'credentialsProfile'
>;

/** Of a host that has no other: its own folder. */
const LOCAL = 'local';

const KINDS: Readonly<Record<string, Bucket['kind']>> = { s3: 's3', oss: 'oss', folder: 'folder', aliyun: 'oss' };

const kindOf = (vendor: string | undefined, endpoint: string | undefined): Bucket['kind'] => {
  if (vendor !== undefined) return KINDS[vendor] ?? 's3';
  const host = endpoint === undefined ? '' : new URL(endpoint).hostname;
  return /(^|\.)oss[a-z0-9-]*\.aliyuncs\.com$/.test(host) ? 'oss' : 's3';
};

const invalid = (value: string, reason: string): PluginError =>
  new PluginError('OPTION_INVALID', {
    ...{ where: 'The bucket', option: 'bucket', value, reason, example: 's3://assets' },
    allowed: 'a name such as assets, or s3://NAME, oss://NAME or folder://NAME with ?endpoint=, region=, vendor=, …',
  });

const urlIn = (text: string | null, whole: string): string | undefined => {
  if (text === null) return undefined;
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) throw invalid(whole, `${text} is no URL`);
  const { username, password } = new URL(text);
  if (username !== '' || password !== '') throw invalid(whole, 'a name or password must not be part of a URL in it');
  return text.replace(/\/$/, '');
};

const booleanIn = (text: string | null, whole: string): boolean | undefined => {
  if (text === null) return undefined;
  if (text !== 'true' && text !== 'false') throw invalid(whole, `${text} is neither true nor false`);
  return text === 'true';
};

/**
 * Reads `assets`, `s3://assets`, `oss://media?region=cn-hangzhou`. `way`: what is said beside it, which goes first. Errors:
 * OPTION_INVALID.
 */
export const readBucket = (text: string, settings: BucketSettings, way: BucketWay = {}): Bucket => {
  if (!BUCKET_TEXT.test(text)) throw invalid(text, 'it is not the name of a bucket');
  const [before = '', query = ''] = text.split('?', 2);
  const [scheme, rest] = before.includes('://') ? before.split('://', 2) : [undefined, before];
  const params = new URLSearchParams(query);
  const known = ['endpoint', 'region', 'vendor', 'addressing', 'requester-pays', 'conditional-writes', 'ca', 'proxy'];
  for (const name of params.keys()) if (!known.includes(name)) throw invalid(text, `${name}= is not known`);
  const addressing = way.addressing ?? params.get('addressing') ?? undefined;
  if (addressing !== undefined && addressing !== 'path' && addressing !== 'virtual') {
    throw invalid(text, 'addressing= is path or virtual');
  }
  if (scheme !== undefined && KINDS[scheme] === undefined) throw invalid(text, `${scheme}:// is not known`);
  const vendor = way.vendor ?? params.get('vendor') ?? undefined;
  const endpoint = way.endpoint ?? urlIn(params.get('endpoint'), text);
  const usualVendor = vendor ?? (endpoint === undefined ? settings.objectVendor : undefined);
  const kind =
    (vendor === undefined && scheme !== undefined ? KINDS[scheme] : undefined) ??
    kindOf(usualVendor, endpoint ?? settings.objectEndpoint);
  const region = way.region ?? params.get('region') ?? undefined;
  const ca = way.ca ?? params.get('ca') ?? undefined;
  const proxy = way.proxy ?? urlIn(params.get('proxy'), text);
  if (proxy !== undefined && !proxy.startsWith('http://')) throw invalid(text, 'proxy= does not begin with http://');
  const heeds = way.conditionalWrites ?? booleanIn(params.get('conditional-writes'), text);
  const pays = way.requesterPays === true || params.get('requester-pays') === 'true';
  return {
    ...{ kind, name: rest ?? '' },
    // What the settings say anyway may change with them.
    ...(endpoint !== undefined && endpoint !== settings.objectEndpoint && { endpoint }),
    ...(region !== undefined && region !== settings.region && { region }),
    ...(vendor !== undefined && !Object.hasOwn(KINDS, vendor) && vendor !== settings.objectVendor && { vendor }),
    ...(addressing !== undefined && { addressing }),
    ...(pays && { requesterPays: true as const }),
    ...(heeds !== undefined && { conditionalWrites: heeds }),
    ...(ca !== undefined && ca !== settings.objectCa && { ca }),
    ...(proxy !== undefined && proxy !== settings.objectProxy && { proxy }),
  };
};

/** The one text of a bucket, which `readBucket` reads. */
export const bucketId = (bucket: Bucket): string => {
  const { endpoint, region, vendor, addressing, requesterPays, conditionalWrites: heeds, ca, proxy } = bucket;
  const said = {
    addressing,
    ca,
    'conditional-writes': heeds?.toString(),
    endpoint,
    proxy,
    region,
    'requester-pays': requesterPays && 'true',
    vendor,
  };
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(said)) if (value !== undefined) params.set(name, value);
  const query = params.size === 0 ? '' : `?${params}`;
  return `${bucket.kind}://${bucket.name}${query}`;
};

/** The buckets that every host looks at: those of OBJECT_BUCKET, or this host's own folder. Errors: SETTING_INVALID. */
export const usualBuckets = (settings: BucketSettings): readonly Bucket[] => {
  const given = settings.objectBucket ?? [];
  if (given.length > 0) {
    return given.map((text) => {
      try {
        return readBucket(text, settings);
      } catch (error) {
        if (!(error instanceof PluginError)) throw error;
        const { reason, allowed } = error.context;
        throw new PluginError('SETTING_INVALID', { option: 'OBJECT_BUCKET', value: text, reason, allowed });
      }
    });
  }
  const isElsewhere = settings.objectEndpoint !== undefined || settings.objectVendor !== undefined;
  return isElsewhere ? [] : [{ kind: 'folder', name: LOCAL }];
};

const credentialsOf = (settings: BucketSettings): StoreCredentials => {
  const { objectAccessKeyId: ownId, objectAccessKeySecret: ownSecret, objectSecurityToken: ownToken } = settings;
  const isOwn = ownId !== undefined || ownSecret !== undefined;
  const [id, secret, token] = isOwn
    ? [ownId, ownSecret, ownToken]
    : [settings.accessKeyId, settings.accessKeySecret, settings.securityToken];
  if ((id === undefined) !== (secret === undefined)) {
    const prefix = isOwn ? 'OBJECT_' : '';
    const [missing, there] = id === undefined ? ['ID', 'SECRET'] : ['SECRET', 'ID'];
    throw new PluginError('SETTING_INVALID', {
      ...{ option: `${prefix}ACCESS_KEY_${missing}`, value: '', allowed: 'both or none of them' },
      reason: `${prefix}ACCESS_KEY_${there} is set, and needs it`,
    });
  }
  return {
    ...(id !== undefined && { accessKeyId: id }),
    ...(secret !== undefined && { accessKeySecret: secret }),
    ...(token !== undefined && { securityToken: token }),
    ...(settings.credentialsFile !== undefined && { file: settings.credentialsFile }),
    profile: settings.credentialsProfile,
    ...(settings.metadataEndpoint !== undefined && { metadataEndpoint: settings.metadataEndpoint }),
  };
};

/** With its name and password, which other proxies are not told. */
const usualProxy = ({
  objectProxy: proxy,
  objectProxyCredentials: credentials,
}: BucketSettings): string | undefined => {
  if (proxy === undefined || credentials === undefined) return proxy;
  const [name = '', ...password] = credentials.split(':');
  const url = new URL(proxy);
  url.username = encodeURIComponent(name);
  url.password = encodeURIComponent(password.join(':'));
  return url.href;
};

/** The same store with the keys, and the password for the proxy, that the settings have now. Errors: SETTING_INVALID. */
export const withKeys = (store: StoreDescription, settings: BucketSettings): StoreDescription => {
  if (store.credentials === undefined) return store;
  const usual = usualProxy(settings);
  const isUsual = usual !== undefined && store.proxy !== undefined && new URL(store.proxy).host === new URL(usual).host;
  return { ...store, credentials: credentialsOf(settings), ...(isUsual && { proxy: usual }) };
};

/** What of a volume goes with its store. */
export type StoreWishes = Pick<StoreDescription, 'sse' | 'storageClass'>;

/**
 * Everything that opens the bucket. `pem`: the text of the certificates that `ca` or OBJECT_CA names. Errors:
 * SETTING_INVALID.
 */
export const describeBucket = (
  bucket: Bucket,
  settings: BucketSettings,
  pem: string | undefined,
  wishes: StoreWishes = {},
): StoreDescription => {
  if (bucket.kind === 'folder') return { kind: 'folder', bucket: bucket.name, folder: settings.objectFolder };
  // Another endpoint has another vendor and another region.
  const isUsual = bucket.endpoint === undefined;
  const endpoint = bucket.endpoint ?? settings.objectEndpoint;
  const region = bucket.region ?? settings.region;
  const vendor = bucket.vendor ?? (isUsual ? settings.objectVendor : undefined);
  const proxy = bucket.proxy ?? usualProxy(settings);
  return {
    ...{ kind: bucket.kind, bucket: bucket.name, credentials: credentialsOf(settings) },
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    ...(vendor !== undefined && { vendor }),
    ...(bucket.addressing !== undefined && { addressing: bucket.addressing }),
    ...(pem !== undefined && { ca: pem }),
    ...(proxy !== undefined && { proxy }),
    ...(proxy !== undefined && settings.objectNoProxy !== undefined && { noProxy: settings.objectNoProxy }),
    ...(bucket.requesterPays === true && { requesterPays: true }),
    ...(bucket.conditionalWrites !== undefined && { conditionalWrites: bucket.conditionalWrites }),
    ...wishes,
  };
};
