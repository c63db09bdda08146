/**
 * Attributes of files as metadata of their objects, in the forms of s3fs (whose manual and `metaheader.cpp` they are from:
 * decimal numbers, seconds with a fraction, extended attributes as URL-encoded JSON of base64 values) and of rclone (`--metadata`:
 * octal modes, times of RFC 3339, hexadecimal device numbers). Both are read; what is written is s3fs' form.
 */

/** What an object's metadata say; undefined: nothing. */
export interface Stated {
  /** With the file's type where it is said. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Nanoseconds since the epoch. */
  readonly mtime?: bigint;
  readonly atime?: bigint;
  readonly ctime?: bigint;
  readonly rdev?: number;
  readonly xattrs?: ReadonlyMap<string, Buffer>;
  /** Metadata that are none of these: kept when the object is written anew. */
  readonly others?: Readonly<Record<string, string>>;
}

export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFSOCK = 0o140000;

const TYPES: ReadonlySet<number> = new Set([S_IFIFO, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG, S_IFLNK, S_IFSOCK]);
const NS = 1_000_000_000n;
const LARGEST_ID = 2 ** 32 - 2;

const isMode = (mode: number): boolean => mode <= 0o177777 && TYPES.has(mode & S_IFMT);

/** `33188` of s3fs and `0100644` or `100644` of rclone are the same; permissions without a type are octal: `644`. */
export const readMode = (text: string): number | undefined => {
  if (!/^\d{1,7}$/.test(text)) return undefined;
  const decimal = Number.parseInt(text, 10);
  const octal = /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined;
  if (!text.startsWith('0') && isMode(decimal)) return decimal;
  if (octal !== undefined && (isMode(octal) || octal <= 0o7777)) return octal;
  return decimal <= 0o7777 ? decimal : undefined;
};

const readId = (text: string | undefined): number | undefined => {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= LARGEST_ID ? id : undefined;
};

/** `1700000000`, `1700000000.123456789`, `2023-11-14T22:13:20.123456789Z`, `…+01:00`. */
export const readTime = (text: string): bigint | undefined => {
  const seconds = /^(-?)(\d{1,11})(?:\.(\d*))?$/.exec(text);
  if (seconds !== null) {
    const [, sign, whole = '0', fraction = ''] = seconds;
    const ns = BigInt(whole) * NS + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
    return sign === '-' ? -ns : ns;
  }
  const date = /^(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  if (date === null) return undefined;
  const [, moment = '', fraction = '', zone = ''] = date;
  const ms = Date.parse(`${moment.replace(/[t ]/, 'T')}${zone.toUpperCase()}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
};

/** Seconds with nine digits behind the point, as s3fs writes them. */
export const writeTime = (ns: bigint): string => {
  const positive = ns < 0n ? -ns : ns;
  return `${ns < 0n ? '-' : ''}${positive / NS}.${(positive % NS).toString().padStart(9, '0')}`;
};

/** Decimal is ours; rclone writes hexadecimal, which is the same or has letters in it only above 9. */
const readDevice = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text)) return Number(text);
  return /^[0-9a-f]{1,8}$/i.test(text) ? Number.parseInt(text, 16) : undefined;
};

/** Answers undefined for what is not readable as such. */
export const readXattrs = (text: string): Map<string, Buffer> | undefined => {
  let found: unknown;
  try {
    found = JSON.parse(decodeURIComponent(text));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof URIError) return undefined;
    throw error;
  }
  if (typeof found !== 'object' || found === null) return undefined;
  const xattrs = new Map<string, Buffer>();
  for (const [name, value] of Object.entries(found)) {
    if (typeof value === 'string') xattrs.set(name, Buffer.from(value, 'base64'));
  }
  return xattrs;
};

export const writeXattrs = (xattrs: ReadonlyMap<string, Buffer>): string =>
  encodeURIComponent(JSON.stringify(Object.fromEntries([...xattrs].map(([name, v]) => [name, v.toString('base64')]))));

const KNOWN: ReadonlySet<string> = new Set(['mode', 'uid', 'gid', 'mtime', 'atime', 'ctime', 'rdev', 'xattr']);

/** What metadata (by lower-case name) say of a file. What cannot be read says nothing. */
export const readMetadata = (meta: Readonly<Record<string, string>>): Stated => {
  const timeOf = (name: string): bigint | undefined => {
    const text = meta[name];
    return text === undefined ? undefined : readTime(text);
  };
  const mode = meta['mode'] === undefined ? undefined : readMode(meta['mode']);
  const uid = readId(meta['uid']);
  const gid = readId(meta['gid']);
  const mtime = timeOf('mtime');
  const atime = timeOf('atime');
  const ctime = timeOf('ctime');
  const rdev = readDevice(meta['rdev']);
  const xattrs = meta['xattr'] === undefined ? undefined : readXattrs(meta['xattr']);
  const others = Object.entries(meta).filter(([name]) => !KNOWN.has(name));
  return {
    ...(mode !== undefined && { mode }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
    ...(mtime !== undefined && { mtime }),
    ...(atime !== undefined && { atime }),
    ...(ctime !== undefined && { ctime }),
    ...(rdev !== undefined && { rdev }),
    ...(xattrs !== undefined && xattrs.size > 0 && { xattrs }),
    ...(others.length > 0 && { others: Object.fromEntries(others) }),
  };
};

/** The metadata that say so, in s3fs' form. */
export const writeMetadata = (stated: Stated): Record<string, string> => ({
  ...stated.others,
  ...(stated.mode !== undefined && { mode: String(stated.mode) }),
  ...(stated.uid !== undefined && { uid: String(stated.uid) }),
  ...(stated.gid !== undefined && { gid: String(stated.gid) }),
  ...(stated.mtime !== undefined && { mtime: writeTime(stated.mtime) }),
  ...(stated.atime !== undefined && { atime: writeTime(stated.atime) }),
  ...(stated.ctime !== undefined && { ctime: writeTime(stated.ctime) }),
  ...(stated.rdev !== undefined && stated.rdev !== 0 && { rdev: String(stated.rdev) }),
  ...(stated.xattrs !== undefined && stated.xattrs.size > 0 && { xattr: writeXattrs(stated.xattrs) }),
});

/** Bytes of names and values: S3 takes 2 KiB of them. */
export const metadataBytes = (meta: Readonly<Record<string, string>>): number =>
  Object.entries(meta).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
