/** The service of a store: what its calls are, who may make them, and what does them. */
import type { Credential, Credentials } from '../core/credentials.ts';
import { decodeCall, type Routes } from './actions.ts';
import type { ObjectReply } from './message.ts';
import { Refusal } from './refusal.ts';
import type { ObjectCall, ObjectService } from './service.ts';
import type { ObjectWorld } from './world.ts';

/** The permission for an action on a resource; throws AccessDenied. */
export type Allow = (action: string, resource: string) => void;

/** Does a call. */
export type Perform<W> = (world: W, call: ObjectCall, allow: Allow) => ObjectReply;

export interface ServiceParts<W> {
  readonly world: W;
  readonly credentials: Credentials;
  /** Permissions (`s3:PutObject`) that nobody has. */
  readonly denied: ReadonlySet<string>;
  /** Buckets that may be read without a signature. */
  readonly open: ReadonlySet<string>;
  readonly domains: readonly string[];
}

/** A vendor's calls, and the rules of who may make them. */
export interface Calls<W, A extends string> {
  readonly routes: Routes<A>;
  /** By call. */
  readonly permissions: Readonly<Record<A, string>>;
  readonly perform: Readonly<Record<A, Perform<W>>>;
  /** The call that removes several objects: each is asked for. */
  readonly removesMany: A;
  /** Names of calls that change something. */
  readonly writes: RegExp;
  /** The permissions that all have in an open bucket. */
  readonly openTo: readonly string[];
  /** Nobody in particular asks. */
  unsigned(): Refusal;
  /** `isDenied`: it is refused to everybody. */
  forbidden(permission: string, resource: string, credential: Credential, isDenied: boolean): Refusal;
  /** Of a write to a bucket that takes none. */
  readOnly(permission: string, resource: string, credential: Credential): Refusal;
}

const resourceOf = ({ bucket, key }: ObjectCall): string =>
  bucket === '' ? '*' : key === '' ? bucket : `${bucket}/${key}`;

/** What all vendors' services are. */
export function storeService<W extends ObjectWorld, A extends string>(
  parts: ServiceParts<W>,
  calls: Calls<W, A>,
): Pick<ObjectService, 'name' | 'decode' | 'perform' | 'named'> {
  const { world, credentials, denied, open, domains } = parts;
  const { name: service, refuse } = world.dialect;
  const allowance =
    (credential: Credential | undefined): Allow =>
    (name, resource) => {
      const action = `${service}:${name}`;
      if (credential === undefined) {
        if (open.has(resource.split('/')[0] ?? '') && calls.openTo.includes(name)) return;
        throw calls.unsigned();
      }
      const isDenied = denied.has(action);
      if (isDenied || !credentials.allows(credential, action))
        throw calls.forbidden(action, resource, credential, isDenied);
    };
  return {
    name: service,
    decode: (request, requestId) => decodeCall(request, requestId, domains, calls.routes),
    perform: (call, credential) => {
      const action = call.action as A;
      const allow = allowance(credential);
      const permission = calls.permissions[action];
      const isWrite = calls.writes.test(action);
      if (action !== calls.removesMany) allow(permission, resourceOf(call));
      if (credential === undefined) {
        if (isWrite) throw calls.unsigned();
      } else if (isWrite && world.buckets.get(call.bucket)?.readOnly === true) {
        throw calls.readOnly(`${service}:${permission}`, resourceOf(call), credential);
      }
      return calls.perform[action](world, call, allow);
    },
    named: (code, status, message) => {
      const usual = refuse(code, message);
      return status === undefined ? usual : new Refusal(status, code, usual.message);
    },
  };
}
