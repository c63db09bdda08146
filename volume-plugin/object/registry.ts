import { Credentials as AliyunCredentials } from '../../shared/cloud/aliyun/credentials.ts';
import { Credentials } from '../../shared/cloud/aws/credentials.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import type { Context } from '../../shared/context.ts';
import { BucketAddress } from './addressing.ts';
import { StoreCaller } from './calling.ts';
import type { StoreCredentials, StoreDescription } from './description.ts';
import { FolderStore } from './folder.ts';
import { HttpClient } from './http/http-client.ts';
import type { Origin } from './http/message.ts';
import { parseOrigin } from './http/origin.ts';
import { aliyunKeys, awsKeys, fixedKey, type KeySource } from './key-source.ts';
import { ossStore } from './oss.ts';
import { ossPlace } from './oss-place.ts';
import { OssV4 } from './oss-v4.ts';
import { s3Store } from './s3.ts';
import { SigV4 } from './sigv4.ts';
import { type ObjectStore, StoreError } from './store.ts';
import { isVendor, VENDORS, type Vendor, type VendorName, vendorOf } from './vendors.ts';

const invalid = (text: string): StoreError => new StoreError('INVALID', text);

const keysOf = (cloud: 'aws' | 'aliyun', credentials: StoreCredentials = {}): KeySource => {
  const { accessKeyId: id, accessKeySecret: secret, securityToken: token, file, profile = 'default' } = credentials;
  if (credentials.anonymous === true) return fixedKey(undefined);
  if (id !== undefined && secret !== undefined) return fixedKey({ id, secret, ...(token !== undefined && { token }) });
  if (id !== undefined || secret !== undefined)
    throw invalid('an access key is an id and a secret: one of them is missing');
  const metadata = new Metadata({ cloud, endpoint: credentials.metadataEndpoint });
  if (cloud === 'aliyun') {
    return aliyunKeys(new AliyunCredentials({ credentialsFile: file, credentialsProfile: profile }, metadata));
  }
  return awsKeys(new Credentials({ metadata, ...(file !== undefined && { file: { path: file, profile } }) }));
};

interface Place {
  readonly vendor: Vendor;
  readonly vendorName: VendorName;
  readonly region: string;
  readonly endpoint: Origin;
}

/** Vendor, region and endpoint, each told from the others where it is not given. */
const placeOf = ({ vendor: named, region, endpoint: url, bucket }: StoreDescription): Place => {
  if (named !== undefined && !isVendor(named)) {
    throw invalid(`the vendor ${named} is not known: ${Object.keys(VENDORS).join(', ')}`);
  }
  const given = url === undefined ? undefined : parseOrigin(url);
  if (url !== undefined && given === undefined) throw invalid(`the endpoint ${url} is no URL of HTTP`);
  const told = given === undefined ? undefined : vendorOf(given);
  const vendorName = named ?? told?.vendor ?? 'aws';
  const vendor: Vendor = VENDORS[vendorName];
  const ownRegion = region ?? told?.region ?? vendor.region;
  const usual = vendor.endpoint?.(ownRegion);
  const endpoint = given ?? (usual === undefined ? undefined : parseOrigin(usual));
  if (endpoint === undefined)
    throw invalid(`the bucket ${bucket} needs an endpoint: ${vendor.title} has none of its own`);
  return { vendor, vendorName, region: ownRegion, endpoint };
};

/** Names with dots have no certificate, and addresses no names below them. */
const usualAddressing = ({ vendor, endpoint }: Place, bucket: string): 'path' | 'virtual' => {
  const isAddress = /^[\d.]+$|:/.test(endpoint.host);
  return isAddress || (endpoint.tls && bucket.includes('.')) || !/^[a-z0-9][a-z0-9.-]+$/.test(bucket)
    ? 'path'
    : vendor.addressing;
};

const httpOf = ({ proxy, noProxy, ca, connections }: StoreDescription): HttpClient =>
  new HttpClient({
    ...(ca !== undefined && { ca }),
    ...(proxy !== undefined && { proxy }),
    ...(noProxy !== undefined && { noProxy }),
    ...(connections !== undefined && { connections }),
  });

const keeping = ({ sse, storageClass, requesterPays }: StoreDescription) => ({
  ...(sse !== undefined && { sse }),
  ...(storageClass !== undefined && { storageClass }),
  ...(requesterPays !== undefined && { requesterPays }),
});

const openS3 = (description: StoreDescription): ObjectStore => {
  const { bucket, conditionalWrites: heeds, guard, credentials } = description;
  const place = placeOf(description);
  if (place.vendorName === 'aws' && bucket.endsWith('--x-s3')) {
    throw invalid(
      `${bucket} is a directory bucket, which has neither conditions nor listings in order: take a general purpose bucket`,
    );
  }
  const http = httpOf(description);
  const { vendor, region, endpoint } = place;
  const conditions = heeds === undefined ? vendor.conditions : { ...vendor.conditions, put: heeds, complete: heeds };
  return s3Store({
    ...{ bucket, region, vendor: { ...vendor, conditions, guard: guard ?? vendor.guard } },
    caller: new StoreCaller({ http, signer: new SigV4({ region }), keys: keysOf('aws', credentials) }),
    address: new BucketAddress(endpoint, bucket, description.addressing ?? usualAddressing(place, bucket)),
    ...keeping(description),
  });
};

const openOss = (description: StoreDescription): ObjectStore => {
  const { bucket, credentials, addressing } = description;
  const { region, endpoint, addressing: usual } = ossPlace(description);
  const keys = keysOf('aliyun', credentials);
  return ossStore({
    ...{ bucket, region },
    caller: new StoreCaller({ http: httpOf(description), signer: new OssV4({ region }), keys }),
    address: new BucketAddress(endpoint, bucket, addressing ?? usual),
    ...keeping(description),
  });
};

const openFolder = ({ folder, bucket }: StoreDescription): ObjectStore => {
  if (folder === undefined) throw invalid(`the bucket ${bucket} needs a folder`);
  if (!/^[\w-][\w.-]*$/.test(bucket)) throw invalid(`${bucket} cannot be the name of a folder`);
  return new FolderStore({ folder, bucket });
};

const KINDS: Readonly<Record<StoreDescription['kind'], (description: StoreDescription) => ObjectStore>> = {
  s3: openS3,
  folder: openFolder,
  oss: openOss,
};

/** Opens a bucket. Nothing is asked of it yet. Throws StoreError INVALID when it cannot be described so. */
export const openStore = (description: StoreDescription): ObjectStore => KINDS[description.kind](description);

/**
 * The same with this instance's region, where a bucket of AWS or Aliyun has none. Errors: PluginError PROVIDER_UNREACHABLE, DEADLINE, as
 * outside of these clouds.
 */
export const withRegion = async (description: StoreDescription, c: Context): Promise<StoreDescription> => {
  const { kind, region, endpoint, vendor = 'aws', credentials } = description;
  if (kind === 'oss' && region === undefined && endpoint === undefined) {
    const metadata = new Metadata({ cloud: 'aliyun', endpoint: credentials?.metadataEndpoint });
    return { ...description, region: await metadata.must('meta-data/region-id', c) };
  }
  if (kind !== 's3' || vendor !== 'aws' || region !== undefined || endpoint !== undefined) return description;
  const metadata = new Metadata({ cloud: 'aws', endpoint: credentials?.metadataEndpoint });
  return { ...description, region: await metadata.must('meta-data/placement/region', c) };
};
