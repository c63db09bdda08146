/** Objects that are written and removed. */
import type { StoredObject } from './bucket.ts';
import { type ObjectReply, sizeOf } from './message.ts';
import { empty } from './replies.ts';
import type { ObjectCall } from './service.ts';
import type { ObjectWorld } from './world.ts';
import { childrenOf, type Node, readXml, textOf } from './xml.ts';

/** Refusals: EntityTooLarge. */
export function checkSize({ dialect, limits }: ObjectWorld, size: number): void {
  if (size <= limits.putMax) return;
  throw dialect.refuse('EntityTooLarge', undefined, {
    ProposedSize: String(size),
    MaxSizeAllowed: String(limits.putMax),
  });
}

export function putObject(world: ObjectWorld, call: ObjectCall): ObjectReply {
  const { dialect } = world;
  const { key, body } = call;
  const { headers } = call.request;
  const bucket = world.bucket(call);
  const size = sizeOf(body);
  dialect.checkKey(key);
  if (dialect.lengths.every((name) => headers[name] === undefined)) throw dialect.refuse('MissingContentLength');
  checkSize(world, size);
  const described = dialect.describe(call);
  const checksums = dialect.sums(call);
  dialect.checkWrite(call, bucket.find(key), 'put');
  world.checkRoom(bucket, key, size);
  const etag = world.etagOf(body, size);
  const object: StoredObject = { key, body, size, etag, modified: world.now(), checksums, ...described };
  bucket.put(object);
  return empty(200, { ETag: `"${etag}"`, ...dialect.written(object) });
}

/** Does the copy take its metadata from the request and not from the source? Refusals: InvalidArgument. */
export function isReplacing({ dialect }: ObjectWorld, call: ObjectCall): boolean {
  const name = `${dialect.prefix}metadata-directive`;
  const directive = call.request.headers[name] ?? 'COPY';
  if (directive === 'COPY' || directive === 'REPLACE') return directive === 'REPLACE';
  throw dialect.refuse('InvalidArgument', 'Unknown metadata directive.', {
    ArgumentName: name,
    ArgumentValue: directive,
  });
}

/** What a request for the removal of several objects says. Refusals: MalformedXML. */
export function removalOf({ dialect }: ObjectWorld, call: ObjectCall): { keys: string[]; quiet: boolean } {
  const root: Node = readXml(call.body);
  const keys = childrenOf(root, 'Object').map((each) => textOf(each, 'Key') ?? '');
  if (root.name !== 'Delete' || keys.length === 0 || keys.length > 1000 || keys.includes(''))
    throw dialect.refuse('MalformedXML');
  return { keys, quiet: textOf(root, 'Quiet') === 'true' };
}
