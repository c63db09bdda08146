import type { Origin } from './http/message.ts';

/**
 * What differs between stores that speak S3, as data. Sources: the vendors' lists of what they support, in November 2026; where they
 * say nothing of a condition, it is not relied on.
 */
export interface Vendor {
  /** For people. */
  readonly title: string;
  /** Hosts of its endpoints; the region is in the group `region`. */
  readonly hosts?: RegExp;
  /** Its endpoint for a region. */
  readonly endpoint?: (region: string) => string;
  /** When neither the endpoint nor anybody else names one. */
  readonly region: string;
  readonly addressing: 'path' | 'virtual';
  /** What guards bytes on their way there: a CRC-32 that the store checks, keeps and tells again, or an MD5 that it checks. */
  readonly guard: 'crc32' | 'md5';
  /** Many keys in one request. */
  readonly deleteMany: boolean;
  readonly copyPart: boolean;
  /** A completion of an upload that is not there is answered as if the store had failed. */
  readonly unknownUploadsFail: boolean;
  /** Which of the conditions `If-Match` and `If-None-Match: *` it heeds: others take the header and write all the same. */
  readonly conditions: { readonly put: boolean; readonly complete: boolean; readonly copy: boolean };
  /** Conditions on writes want ETags without quotes. */
  readonly bareEtags: boolean;
  /** What the headers of conditions on a copy's target begin with. */
  readonly copyConditionPrefix: string;
  /** ETags of objects that were put in one piece and are not encrypted with a key of the customer's are their MD5. */
  readonly md5Etags: boolean;
  readonly equalParts: boolean;
  /** Bytes. */
  readonly copyMax: number;
  readonly metaMax: number;
  /** Buckets are made with the region's name in the request, except in this one; undefined: never. */
  readonly locationUnless?: string;
  /** When a bucket's name is taken, it tells whether by the same account. */
  readonly tellsOwner: boolean;
}

const GIB = 2 ** 30;
const NONE = { put: false, complete: false, copy: false };

const USUAL: Omit<Vendor, 'title'> = {
  region: 'us-east-1',
  addressing: 'virtual',
  guard: 'md5',
  deleteMany: true,
  copyPart: true,
  unknownUploadsFail: false,
  conditions: NONE,
  bareEtags: false,
  copyConditionPrefix: '',
  md5Etags: true,
  equalParts: false,
  copyMax: 5 * GIB,
  metaMax: 2048,
  tellsOwner: false,
};

/** As 18.2 has shown: it copies ranges of whatever is there, whatever ETag the source must have, and decodes its key twice. */
const CEPH: Omit<Vendor, 'title'> = { ...USUAL, copyPart: false, bareEtags: true, unknownUploadsFail: true };

const awsDomain = (region: string): string => {
  if (region.startsWith('cn-')) return 'amazonaws.com.cn';
  if (region.startsWith('us-isob-')) return 'sc2s.sgov.gov';
  if (region.startsWith('us-iso-')) return 'c2s.ic.gov';
  return region.startsWith('eusc-') ? 'amazonaws.eu' : 'amazonaws.com';
};

export const VENDORS = {
  aws: {
    ...USUAL,
    title: 'AWS S3',
    hosts:
      /^(?:(?:bucket\.vpce-[\w-]+\.)?s3(?:-fips)?(?:\.dualstack)?[.-](?<region>[a-z]+(?:-[a-z]+)+-\d)(?:\.vpce)?|s3)\.(?:amazonaws\.(?:com|com\.cn|eu)|c2s\.ic\.gov|sc2s\.sgov\.gov)$/,
    endpoint: (region) => `https://s3.${region}.${awsDomain(region)}`,
    guard: 'crc32',
    conditions: { put: true, complete: true, copy: true },
    locationUnless: 'us-east-1',
    tellsOwner: true,
  },
  /** Whatever speaks S3 and is not listed: what cannot be relied on everywhere is not used. */
  generic: { ...USUAL, title: 'an S3-compatible store', addressing: 'path', locationUnless: 'us-east-1' },
  minio: {
    ...USUAL,
    title: 'MinIO',
    addressing: 'path',
    guard: 'crc32',
    // Before August 2025 an object that is not there had any ETag. Of completions its documents say nothing.
    conditions: { put: true, complete: false, copy: false },
    locationUnless: 'us-east-1',
  },
  ceph: {
    ...CEPH,
    title: 'Ceph',
    addressing: 'path',
    // Those of completions since late 2025 only.
    conditions: { put: true, complete: false, copy: false },
  },
  // https://developers.cloudflare.com/r2/api/s3/conditional-operations/
  r2: {
    ...USUAL,
    title: 'Cloudflare R2',
    hosts: /^[0-9a-f]{32}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com$/,
    region: 'auto',
    addressing: 'path',
    guard: 'crc32',
    conditions: { put: true, complete: true, copy: true },
    copyConditionPrefix: 'cf-copy-destination-',
    equalParts: true,
    metaMax: 8192,
  },
  wasabi: {
    ...USUAL,
    title: 'Wasabi',
    hosts: /^s3(?:\.(?<region>[a-z]+-[a-z]+-\d+))?\.wasabisys\.com$/,
    endpoint: (region) => `https://s3.${region}.wasabisys.com`,
    locationUnless: 'us-east-1',
  },
  b2: {
    ...USUAL,
    title: 'Backblaze B2',
    hosts: /^s3\.(?<region>[a-z]+-[a-z]+-\d+)\.backblazeb2\.com$/,
    endpoint: (region) => `https://s3.${region}.backblazeb2.com`,
    region: 'us-west-004',
  },
  gcs: {
    ...USUAL,
    title: 'Google Cloud Storage',
    hosts: /^storage\.googleapis\.com$/,
    endpoint: () => 'https://storage.googleapis.com',
    region: 'auto',
    addressing: 'path',
    deleteMany: false,
    copyPart: false,
    metaMax: 8192,
  },
  digitalocean: {
    ...CEPH,
    title: 'DigitalOcean Spaces',
    hosts: /^(?<region>[a-z]+\d)\.digitaloceanspaces\.com$/,
    endpoint: (region) => `https://${region}.digitaloceanspaces.com`,
    region: 'nyc3',
  },
  oss: {
    ...USUAL,
    title: 'Aliyun OSS by its S3 interface',
    hosts: /^(?:s3\.)?oss-(?<region>[a-z]+-[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$/,
    endpoint: (region) => `https://s3.oss-${region}.aliyuncs.com`,
    region: 'cn-hangzhou',
    copyMax: GIB,
    metaMax: 8192,
  },
  cos: {
    ...USUAL,
    title: 'Tencent COS',
    hosts: /^cos\.(?<region>[a-z]+-[a-z-]+\d?)\.(?:myqcloud|tencentcos)\.(?:com|cn)$/,
    endpoint: (region) => `https://cos.${region}.myqcloud.com`,
    region: 'ap-guangzhou',
  },
  hetzner: {
    ...CEPH,
    title: 'Hetzner Object Storage',
    hosts: /^(?<region>[a-z]+\d)\.your-objectstorage\.com$/,
    endpoint: (region) => `https://${region}.your-objectstorage.com`,
    region: 'fsn1',
  },
  // https://docs.ovhcloud.com/en/guides/storage-and-backup/object-storage/s3-conditional-writes
  ovh: {
    ...USUAL,
    title: 'OVHcloud Object Storage',
    hosts: /^s3\.(?<region>[a-z]+(?:-[a-z0-9-]+)?)\.(?:io|perf)\.cloud\.ovh\.(?:net|us)$/,
    endpoint: (region) => `https://s3.${region}.io.cloud.ovh.net`,
    region: 'gra',
    conditions: { put: true, complete: true, copy: false },
  },
  // https://www.scaleway.com/en/docs/object-storage/api-cli/using-conditional-writes/
  scaleway: {
    ...USUAL,
    title: 'Scaleway Object Storage',
    hosts: /^s3\.(?<region>[a-z]+-[a-z]+)\.scw\.cloud$/,
    endpoint: (region) => `https://s3.${region}.scw.cloud`,
    region: 'fr-par',
    conditions: { put: true, complete: false, copy: false },
    locationUnless: '',
  },
  garage: { ...USUAL, title: 'Garage', region: 'garage', addressing: 'path', locationUnless: '' },
  seaweedfs: { ...USUAL, title: 'SeaweedFS', addressing: 'path' },
} as const satisfies Record<string, Vendor>;

export type VendorName = keyof typeof VENDORS;

export const isVendor = (name: string): name is VendorName => Object.hasOwn(VENDORS, name);

/** Whose endpoint this is, and in which region; `generic` for those of nobody known. */
export const vendorOf = (endpoint: Origin): { readonly vendor: VendorName; readonly region?: string } => {
  for (const name of Object.keys(VENDORS)) {
    const vendor: Vendor | undefined = isVendor(name) ? VENDORS[name] : undefined;
    const found = vendor?.hosts?.exec(endpoint.host);
    if (!isVendor(name) || found === null || found === undefined) continue;
    const region = found.groups?.['region'];
    return { vendor: name, ...(region !== undefined && { region }) };
  }
  return { vendor: 'generic' };
};
