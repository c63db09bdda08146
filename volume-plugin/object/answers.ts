import { type ObjectDetails, type ObjectFacts, StoreError, type Unfinished, type WebHeaders } from './store.ts';
import { childrenOf, parseXml, textOf, type XmlElement, XmlError } from './xml.ts';

/** Reads what S3 and OSS answer alike. */

type Headers = ReadonlyMap<string, string>;

const WEB = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'] as const;

/** Without quotes, and without what marks it as a weak one. */
export const bareEtag = (text: string): string => text.replace(/^(?:W\/)?"(.*)"$/, '$1');

/** Milliseconds by the store's clock, when the answer was sent. */
export const dateOf = (headers: Headers): number => {
  const date = Date.parse(headers.get('date') ?? '');
  return Number.isNaN(date) ? Date.now() : date;
};

/** Headers are ASCII; what is not was put into words of RFC 2047 by the store. */
const unworded = (value: string): string => {
  if (!value.includes('=?')) return value;
  return value.replace(/=\?utf-8\?([bq])\?([^?]*)\?=(?:\s+(?==\?))?/gi, (_, kind: string, text: string) => {
    if (kind.toLowerCase() === 'b') return Buffer.from(text, 'base64').toString('utf8');
    const bytes = text
      .replaceAll('_', ' ')
      .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    return Buffer.from(bytes, 'latin1').toString('utf8');
  });
};

const webOf = (headers: Headers): WebHeaders | undefined => {
  let found: Record<string, string> | undefined;
  for (const name of WEB) {
    const value = headers.get(name);
    // Some proxies and servers say it of the way here, and not of the object.
    if (value === undefined || value === '' || (name === 'content-encoding' && value === 'aws-chunked')) continue;
    found ??= {};
    found[name] = value;
  }
  return found;
};

/** What the head of an answer to GET and HEAD says of an object. `prefix`: of the names of user metadata. */
export const describedBy = (key: string, headers: Headers, prefix: string): ObjectDetails => {
  const meta: Record<string, string> = {};
  for (const [name, value] of headers) if (name.startsWith(prefix)) meta[name.slice(prefix.length)] = unworded(value);
  const whole = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  const contentType = headers.get('content-type');
  const web = webOf(headers);
  const modified = Date.parse(headers.get('last-modified') ?? '');
  return {
    key,
    size: Number(whole ?? headers.get('content-length') ?? 0),
    etag: bareEtag(headers.get('etag') ?? ''),
    modified: Number.isNaN(modified) ? dateOf(headers) : modified,
    meta,
    ...(contentType !== undefined && { contentType }),
    ...(web !== undefined && { web }),
  };
};

/** The answer's document. `what`: the call, for the error. Throws UNREACHABLE: whoever answers thus is no store, or not today. */
export const documentOf = (body: Buffer, what: string): XmlElement => {
  try {
    return parseXml(body.toString('utf8'));
  } catch (error) {
    if (!(error instanceof XmlError)) throw error;
    throw new StoreError('UNREACHABLE', `${what} was answered by what is no XML: ${error.message}`, { cause: error });
  }
};

/** With `encoding-type=url`, in which a space is a plus. */
const urlDecoded = (text: string): string => {
  if (!/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    // Not UTF-8: no key that can be asked for.
    return text;
  }
};

/** How keys are read from a document. */
export const decoderOf = (document: XmlElement): ((text: string) => string) =>
  textOf(document, 'EncodingType') === 'url' ? urlDecoded : (text) => text;

export interface Listing {
  readonly objects: readonly ObjectFacts[];
  readonly prefixes: readonly string[];
  /** A continuation token, or in listings of version 1 the marker. */
  readonly next?: string;
}

/** One pass, for there are thousands of them. */
const factsOf = ({ children }: XmlElement, decode: (text: string) => string): ObjectFacts => {
  let [key, size, etag, modified] = ['', 0, '', Number.NaN];
  for (const { name, text } of children) {
    if (name === 'Key') key = decode(text);
    else if (name === 'Size') size = Number(text);
    else if (name === 'ETag') etag = bareEtag(text);
    else if (name === 'LastModified') modified = Date.parse(text);
  }
  return { key, size, etag, modified };
};

/** Of ListObjects and ListObjectsV2. */
export const listingOf = (document: XmlElement, hasTokens: boolean): Listing => {
  const decode = decoderOf(document);
  const objects: ObjectFacts[] = [];
  const prefixes: string[] = [];
  for (const child of document.children) {
    if (child.name === 'Contents') {
      objects.push(factsOf(child, decode));
    } else if (child.name === 'CommonPrefixes') {
      prefixes.push(...childrenOf(child, 'Prefix').map(({ text }) => decode(text)));
    }
  }
  if (textOf(document, 'IsTruncated') !== 'true') return { objects, prefixes };
  const marker = decode(textOf(document, 'NextMarker')) || largest(objects.at(-1)?.key, prefixes.at(-1));
  const next = hasTokens ? textOf(document, 'NextContinuationToken') : marker;
  return { objects, prefixes, ...(next !== '' && { next }) };
};

/** Version 1 without a delimiter tells no marker: it is the last key. */
const largest = (key = '', prefix = ''): string =>
  Buffer.compare(Buffer.from(key), Buffer.from(prefix)) > 0 ? key : prefix;

export interface UploadsPage {
  readonly uploads: readonly Unfinished[];
  readonly next?: { readonly key: string; readonly id: string };
}

/** Of ListMultipartUploads. */
export const uploadsOf = (document: XmlElement): UploadsPage => {
  const decode = decoderOf(document);
  const uploads = childrenOf(document, 'Upload').map((upload) => ({
    key: decode(textOf(upload, 'Key')),
    id: textOf(upload, 'UploadId'),
    begun: Date.parse(textOf(upload, 'Initiated')),
  }));
  const key = decode(textOf(document, 'NextKeyMarker'));
  if (textOf(document, 'IsTruncated') !== 'true' || key === '') return { uploads };
  return { uploads, next: { key, id: textOf(document, 'NextUploadIdMarker') } };
};

/** Of CopyObject, UploadPartCopy and CompleteMultipartUpload. */
export const resultOf = (document: XmlElement): { readonly etag: string; readonly modified: number | undefined } => {
  const modified = Date.parse(textOf(document, 'LastModified'));
  return { etag: bareEtag(textOf(document, 'ETag')), modified: Number.isNaN(modified) ? undefined : modified };
};
