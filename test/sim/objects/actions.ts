/** Which call a request is. */
import { type ObjectRequest, queried } from './message.ts';
import type { Refuse } from './refusal.ts';
import type { ObjectCall } from './service.ts';

/** How a vendor's requests name its calls. Keys of tables are a method and, behind it, the word of the query that names a call. */
export interface Routes<A extends string> {
  /** About a bucket; `list-type` is the word of listings of version 2. */
  readonly bucket: Readonly<Record<string, A>>;
  /** About an object; `uploadId` is the word of what is about an upload. */
  readonly object: Readonly<Record<string, A>>;
  /** What calls are when there is this header. */
  readonly copySource: string;
  readonly copies: Readonly<Partial<Record<A, A>>>;
  /** Words of the query that name a call. What is in no table is not simulated. */
  readonly words: readonly string[];
  /** Codes of refusals. */
  readonly wrongMethod: string;
  readonly wrongPath: string;
  readonly refuse: Refuse;
  /** Is the bucket in the path, when the host is none of the store's domains? */
  isInPath(host: string): boolean;
}

/** Bucket and key as they were sent; '' for none. */
const placeOf = (
  { headers, path }: ObjectRequest,
  domains: readonly string[],
  isInPath: Routes<string>['isInPath'],
): readonly [bucket: string, key: string] => {
  const host = (headers['host'] ?? '').replace(/:\d+$/, '').toLowerCase();
  const domain = domains.find((each) => host.endsWith(`.${each}`));
  const place = path.slice(1);
  if (domain !== undefined) return [host.slice(0, -domain.length - 1), place];
  if (!isInPath(host)) return ['', place];
  const slash = place.indexOf('/');
  return slash < 0 ? [place, ''] : [place.slice(0, slash), place.slice(slash + 1)];
};

const actionOf = <A extends string>(request: ObjectRequest, key: string, routes: Routes<A>): A => {
  const { method, headers, query } = request;
  const table = key === '' ? routes.bucket : routes.object;
  const named = query.map(([name]) => name).find((name) => routes.words.includes(name));
  const listed = queried(request, 'list-type') === '2' ? 'list-type' : '';
  const uploaded = queried(request, 'uploadId') === undefined ? '' : 'uploadId';
  const action = table[`${method} ${named ?? (key === '' ? listed : uploaded)}`];
  if (action === undefined && named !== undefined) throw routes.refuse('NotImplemented');
  const found = action ?? table[method];
  if (found === undefined) throw routes.refuse(routes.wrongMethod);
  return (headers[routes.copySource] === undefined ? undefined : routes.copies[found]) ?? found;
};

/** `domains`: hosts below these name a bucket. Throws Refusal. */
export function decodeCall<A extends string>(
  request: ObjectRequest,
  requestId: string,
  domains: readonly string[],
  routes: Routes<A>,
): ObjectCall {
  const sent = placeOf(request, domains, routes.isInPath);
  let place: readonly string[];
  try {
    place = sent.map((each) => decodeURIComponent(each));
  } catch {
    throw routes.refuse(routes.wrongPath);
  }
  const [bucket = '', key = ''] = place;
  const action = bucket === '' ? 'ListBuckets' : actionOf(request, key, routes);
  return { action, bucket, key, requestId, request, body: request.body };
}
