import { bucketScopes } from './bucket-scope.ts';

/** What volumes in buckets need to be allowed, in the words of S3 and OSS: what is called, and no more. */

export interface BucketPermission {
  /** With its service, as policies write it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What it can be limited to: parts of a bucket by what is listed or by objects, or a bucket; `making`: it is no matter of parts. */
  readonly on: 'listing' | 'object' | 'bucket' | 'making';
}

/** Permissions that do not have the same name with all vendors. */
export interface OwnNames {
  readonly list: string;
  readonly uploads: string;
  readonly create: string;
}

export const bucketPermissions = (service: 's3' | 'oss', own: OwnNames): readonly BucketPermission[] => {
  const on = (kind: BucketPermission['on'], name: string, why: string) => ({
    action: `${service}:${name}`,
    why,
    on: kind,
  });
  return [
    on('listing', own.list, 'Lists folders and volumes, and tells what is not there from what is.'),
    on('bucket', own.uploads, 'Finds uploads that were not ended, of a volume that is removed.'),
    on('making', own.create, 'Makes a bucket that a volume names and that is not there.'),
    on('making', 'DeleteBucket', 'Removes a bucket that was made so, when it is empty.'),
    on('object', 'GetObject', 'Reads files, and copies them on the side of the server.'),
    on('object', 'PutObject', 'Writes files, and the records of volumes.'),
    on('object', 'DeleteObject', 'Removes files.'),
    on('object', 'AbortMultipartUpload', 'Gives up an upload that is not needed any more.'),
  ];
};

export interface BucketStatement {
  /** Another one for each statement. */
  readonly name: string;
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}

/**
 * The statements of a policy: about buckets, and about what is in them. `buckets`: see bucket-scope.ts; `nameOf`: resources as
 * the vendor names them; `prefixKey`: the condition of what a listing is of, by which it is also told whether a key is missing.
 */
export const bucketStatements = (
  permissions: readonly BucketPermission[],
  buckets: readonly string[],
  nameOf: (path: string) => string,
  prefixKey: string,
): readonly BucketStatement[] => {
  const statement = (name: string, kinds: readonly BucketPermission['on'][], paths: readonly string[]) => ({
    ...{ name, Effect: 'Allow' as const },
    Action: permissions.filter(({ on }) => kinds.includes(on)).map(({ action }) => action),
    Resource: paths.map(nameOf),
  });
  const { whole, parts } = bucketScopes(buckets);
  const ofWhole = [
    statement('List', ['listing', 'bucket', 'making'], whole),
    statement(
      'Objects',
      ['object'],
      whole.map((bucket) => `${bucket}/*`),
    ),
  ];
  const ofParts = parts.flatMap(({ bucket, prefixes }, i) => {
    const patterns = prefixes.map((prefix) => `${prefix}*`);
    return [
      {
        ...statement(`List${i + 1}`, ['listing'], [bucket]),
        Condition: { StringLike: { [prefixKey]: patterns } },
      },
      statement(`Uploads${i + 1}`, ['bucket'], [bucket]),
      statement(
        `Objects${i + 1}`,
        ['object'],
        patterns.map((pattern) => `${bucket}/${pattern}`),
      ),
    ];
  });
  return [...(whole.length === 0 ? [] : ofWhole), ...ofParts];
};
