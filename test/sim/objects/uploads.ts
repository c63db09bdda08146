/** Uploads in parts. */
import { type Bucket, bodyOf, type StoredObject, type StoredPart, type StoredUpload } from './bucket.ts';
import { type ObjectReply, queried, sizeOf } from './message.ts';
import { empty, unquoted } from './replies.ts';
import type { ObjectCall } from './service.ts';
import type { ObjectWorld } from './world.ts';
import { checkSize } from './writing.ts';
import { childrenOf, type Node, readXml, textOf } from './xml.ts';

/** The upload that a call names. Refusals: NoSuchUpload. */
export function uploadOf({ dialect }: ObjectWorld, bucket: Bucket, call: ObjectCall): StoredUpload {
  const id = queried(call.request, 'uploadId') ?? '';
  const found = bucket.uploads.get(id);
  if (found === undefined || found.key !== call.key) throw dialect.refuse('NoSuchUpload', undefined, { UploadId: id });
  return found;
}

const numberOf = ({ dialect }: ObjectWorld, call: ObjectCall): number => {
  const text = queried(call.request, 'partNumber') ?? '';
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= 10_000) return number;
  throw dialect.refuse('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive', {
    ArgumentName: 'partNumber',
    ArgumentValue: text,
  });
};

/** Where a part goes that a call brings. */
export interface Place {
  readonly bucket: Bucket;
  readonly upload: StoredUpload;
  readonly number: number;
}

export function placeOf(world: ObjectWorld, call: ObjectCall): Place {
  const bucket = world.bucket(call);
  const number = numberOf(world, call);
  return { bucket, number, upload: uploadOf(world, bucket, call) };
}

/** Refusals: QuotaExceeded. */
export function addPart(
  world: ObjectWorld,
  { bucket, upload, number }: Place,
  body: readonly Buffer[],
  checksums: Readonly<Record<string, string>>,
): StoredPart {
  const size = sizeOf(body);
  world.checkRoom(bucket, undefined, size);
  // The parts' are what that of the whole is made of: digits alone, even where they are no MD5.
  const etag = world.etagOf(body, size).replace(/-1$/, '');
  const part = { number, body, size, etag, modified: world.now(), checksums };
  upload.parts.set(number, part);
  return part;
}

export function uploadPart(world: ObjectWorld, call: ObjectCall): ObjectReply {
  const { dialect } = world;
  const place = placeOf(world, call);
  checkSize(world, sizeOf(call.body));
  const part = addPart(world, place, call.body, dialect.sums(call, place.upload));
  return empty(200, { ETag: `"${part.etag}"`, ...dialect.written(part) });
}

/** The parts that a completion names. `check` sees the element of each. Throws Refusal. */
export function chosenParts(
  { dialect, limits }: ObjectWorld,
  upload: StoredUpload,
  call: ObjectCall,
  check: (node: Node, part: StoredPart) => void = () => undefined,
): StoredPart[] {
  const { refuse } = dialect;
  const root = readXml(call.body);
  const listed = childrenOf(root, 'Part');
  if (root.name !== 'CompleteMultipartUpload' || listed.length === 0) throw refuse('MalformedXML');
  let before = 0;
  const parts = listed.map((node) => {
    const number = Number(textOf(node, 'PartNumber'));
    const etag = textOf(node, 'ETag');
    if (!Number.isInteger(number) || etag === undefined) throw refuse('MalformedXML');
    if (number <= before) throw refuse('InvalidPartOrder', undefined, { UploadId: upload.id });
    before = number;
    const part = upload.parts.get(number);
    if (part === undefined || part.etag !== unquoted(etag)) throw wrongPart({ dialect }, upload, number, etag);
    check(node, part);
    return part;
  });
  const small = parts.slice(0, -1).find(({ size }) => size < limits.partMin);
  if (small === undefined) return parts;
  throw refuse('EntityTooSmall', undefined, {
    ProposedSize: String(small.size),
    MinSizeAllowed: String(limits.partMin),
    PartNumber: String(small.number),
    ETag: small.etag,
  });
}

export const wrongPart = (
  { dialect }: Pick<ObjectWorld, 'dialect'>,
  { id }: StoredUpload,
  number: number,
  etag: string,
) => dialect.refuse('InvalidPart', undefined, { UploadId: id, PartNumber: String(number), ETag: etag });

/** The object of these parts; it is not in the bucket yet. */
export function joined(
  world: ObjectWorld,
  { key, meta, headers, storageClass }: StoredUpload,
  parts: readonly StoredPart[],
): StoredObject {
  const { body, size } = bodyOf(parts);
  const digests = parts.map((part) => Buffer.from(part.etag, 'hex'));
  const etag = `${world.digest(digests)}-${parts.length}`;
  return { key, body, size, etag, modified: world.now(), meta, headers, storageClass, checksums: {} };
}

export function abortUpload(world: ObjectWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  bucket.uploads.delete(uploadOf(world, bucket, call).id);
  return empty(204);
}
