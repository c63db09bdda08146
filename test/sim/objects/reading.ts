/** Objects that are read, by requests and as sources of copies. */
import type { StoredObject } from './bucket.ts';
import { type ObjectReply, sliceOf } from './message.ts';
import type { ObjectCall } from './service.ts';
import type { Allow } from './store-service.ts';
import type { ObjectWorld } from './world.ts';

/** The object; without the permission to list, whether it exists is not told either. */
const find = (world: ObjectWorld, call: ObjectCall, allow: Allow): StoredObject => {
  const { dialect } = world;
  const found = world.bucket(call).find(call.key);
  if (found !== undefined) return found;
  allow(dialect.listing, call.bucket);
  throw dialect.refuse('NoSuchKey', undefined, { Key: call.key });
};

const mustBeAtHand = ({ dialect }: ObjectWorld, { storageClass }: StoredObject): void => {
  if (!dialect.archived.includes(storageClass)) return;
  throw dialect.refuse('InvalidObjectState', undefined, { StorageClass: storageClass });
};

/** GET and HEAD. */
export function getObject(world: ObjectWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const { dialect } = world;
  const { method } = call.request;
  const object = find(world, call, allow);
  dialect.checkRead(call, object);
  if (method === 'GET') mustBeAtHand(world, object);
  const range = dialect.rangeOf(call, object.size);
  const { offset, length } = range ?? { offset: 0, length: object.size };
  const headers = dialect.headersOf(call, object);
  if (range !== undefined) headers['Content-Range'] = `bytes ${offset}-${offset + length - 1}/${object.size}`;
  const body = method === 'HEAD' ? [] : sliceOf(object.body, offset, length);
  return { status: range === undefined ? 200 : 206, headers, body, promised: length };
}

/** The source that a copy names. */
export function sourceOf(world: ObjectWorld, call: ObjectCall, allow: Allow): StoredObject {
  const { dialect } = world;
  let named: readonly string[];
  try {
    named = (dialect.sourceOf(call) ?? []).map((each) => decodeURIComponent(each));
  } catch {
    named = [];
  }
  const [bucket = '', key = ''] = named;
  if (bucket === '' || key === '') {
    const name = `${dialect.prefix}copy-source`;
    throw dialect.refuse(
      'InvalidArgument',
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
      { ArgumentName: name, ArgumentValue: call.request.headers[name] ?? '' },
    );
  }
  allow('GetObject', `${bucket}/${key}`);
  const source = find(world, { ...call, bucket, key }, allow);
  mustBeAtHand(world, source);
  dialect.checkSource(call, source);
  return source;
}
