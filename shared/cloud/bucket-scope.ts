/** What policies for buckets are limited to. */
export interface BucketScopes {
  /** Names of buckets. */
  readonly whole: readonly string[];
  /** Of each bucket what begins with one of its prefixes, which end in slashes. */
  readonly parts: readonly { readonly bucket: string; readonly prefixes: readonly string[] }[];
}

/** Where the plugin keeps its records in each bucket. */
const OWN = '.drayage/';

/** Reads `media`, `assets/uploads`, `assets/films/2026/`: a bucket, or what begins with a prefix in it. */
export const bucketScopes = (named: readonly string[]): BucketScopes => {
  const paths = named.map((name) => name.split('/').filter((part) => part !== ''));
  const whole = new Set(
    paths.flatMap(([bucket, ...path]) => (bucket === undefined || path.length > 0 ? [] : [bucket])),
  );
  const parts = new Map<string, readonly string[]>();
  for (const [bucket, ...path] of paths) {
    if (bucket === undefined || whole.has(bucket)) continue;
    parts.set(bucket, [...(parts.get(bucket) ?? []), `${path.join('/')}/`]);
  }
  return {
    whole: [...whole],
    parts: [...parts].map(([bucket, prefixes]) => ({ bucket, prefixes: [...prefixes, OWN] })),
  };
};
