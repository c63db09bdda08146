/** Where keys come from, first to last: the key given here, a profile file, the role of this host's instance. */
export interface StoreCredentials {
  readonly accessKeyId?: string;
  readonly accessKeySecret?: string;
  readonly securityToken?: string;
  /** AWS: `[profile]` sections; Aliyun: the JSON of its command. */
  readonly file?: string;
  /** `default` when left out. */
  readonly profile?: string;
  /** Instead of the cloud's well-known address, such as `http://127.0.0.1:8080`. */
  readonly metadataEndpoint?: string;
  /** Requests are not signed at all: a public bucket, which is read only. */
  readonly anonymous?: boolean;
}

/** Everything that opens a bucket, as plain JSON: the driver writes it, the engine of a volume reads it. */
export interface StoreDescription {
  /** `folder` keeps objects below a local folder. */
  readonly kind: 's3' | 'oss' | 'folder';
  readonly bucket: string;
  /** Of `folder`: an absolute path, in which each bucket is a folder. */
  readonly folder?: string;
  /** A URL such as `https://s3.eu-central-1.amazonaws.com` or `http://[fd00::1]:9000`; the vendor's for the region when left out. */
  readonly endpoint?: string;
  /** That of the endpoint, else the vendor's usual one, when left out; see `withRegion`. */
  readonly region?: string;
  /** A name in vendors.ts; told from the endpoint when left out. */
  readonly vendor?: string;
  /** How the bucket is named: in the path or in the host's name; the vendor's usual way when left out. */
  readonly addressing?: 'path' | 'virtual';
  /** PEM text of the certificates to trust instead of the usual ones. */
  readonly ca?: string;
  /** `http://[user:password@]host:port` of an HTTP proxy. */
  readonly proxy?: string;
  /** Names, addresses and prefixes of hosts that are reached without it. */
  readonly noProxy?: readonly string[];
  readonly sse?: { readonly algorithm: string; readonly keyId?: string };
  /** Of new objects, in the vendor's words. */
  readonly storageClass?: string;
  readonly requesterPays?: boolean;
  readonly credentials?: StoreCredentials;
  /** Writes under conditions are relied on (or not), whatever is known of the vendor. */
  readonly conditionalWrites?: boolean;
  /** Of `s3`: what bodies are guarded by on their way, whatever is known of the vendor. */
  readonly guard?: 'crc32' | 'md5';
  /** Connections at most; 128 when left out. */
  readonly connections?: number;
}
