/** What volumes in buckets need to be allowed, in the words of S3 and OSS: what is called, and no more. */

export interface BucketPermission {
  /** With its service, as policies write it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What it can be limited to. */
  readonly on: 'bucket' | 'object';
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
    on('bucket', own.list, 'Lists folders and volumes, and tells what is not there from what is.'),
    on('bucket', own.uploads, 'Finds uploads that were not ended, of a volume that is removed.'),
    on('bucket', own.create, 'Makes a bucket that a volume names and that is not there.'),
    on('bucket', 'DeleteBucket', 'Removes a bucket that was made so, when it is empty.'),
    on('object', 'GetObject', 'Reads files, and copies them on the side of the server.'),
    on('object', 'PutObject', 'Writes files, and the records of volumes.'),
    on('object', 'DeleteObject', 'Removes files.'),
    on('object', 'AbortMultipartUpload', 'Gives up an upload that is not needed any more.'),
  ];
};

/** The statements of a policy: about buckets, and about what is in them. `nameOf`: resources as the vendor names them. */
export const bucketStatements = (
  permissions: readonly BucketPermission[],
  buckets: readonly string[],
  nameOf: (path: string) => string,
) => {
  const statement = (kind: BucketPermission['on'], ending: string) => ({
    ...({ Effect: 'Allow' } as const),
    Action: permissions.filter(({ on }) => on === kind).map(({ action }) => action),
    Resource: buckets.map((bucket) => nameOf(`${bucket}${ending}`)),
  });
  return { ofBuckets: statement('bucket', ''), ofObjects: statement('object', '/*') };
};
