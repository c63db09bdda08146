import { createServer } from 'node:http';
import t from 'tap';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { parseOrigin } from '../../../../volume-plugin/object/http/origin.ts';
import { openStore, withRegion } from '../../../../volume-plugin/object/registry.ts';
import { StoreError } from '../../../../volume-plugin/object/store.ts';
import { isVendor, VENDORS, type Vendor, vendorOf } from '../../../../volume-plugin/object/vendors.ts';
import { context } from '../../../conformance/object-store-tools.ts';

const S3: StoreDescription = { kind: 's3', bucket: 'bucket' };

const told = (url: string) => {
  const origin = parseOrigin(url);
  return origin === undefined ? undefined : vendorOf(origin);
};

t.test('an endpoint tells whose it is, and in which region', async (t) => {
  const known: Record<string, [string, string | undefined]> = {
    'https://s3.eu-central-1.amazonaws.com': ['aws', 'eu-central-1'],
    'https://s3.dualstack.eu-central-1.amazonaws.com': ['aws', 'eu-central-1'],
    'https://s3-fips.us-gov-west-1.amazonaws.com': ['aws', 'us-gov-west-1'],
    'https://s3-fips.dualstack.us-east-2.amazonaws.com': ['aws', 'us-east-2'],
    'https://s3-eu-west-1.amazonaws.com': ['aws', 'eu-west-1'],
    'https://s3.cn-north-1.amazonaws.com.cn': ['aws', 'cn-north-1'],
    'https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com': ['aws', 'us-east-1'],
    'https://s3.amazonaws.com': ['aws', undefined],
    'https://s3.fr-par.scw.cloud': ['scaleway', 'fr-par'],
    'https://s3.eu-central-003.backblazeb2.com': ['b2', 'eu-central-003'],
    'https://0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com': ['r2', undefined],
    'https://fra1.digitaloceanspaces.com': ['digitalocean', 'fra1'],
    'https://fsn1.your-objectstorage.com': ['hetzner', 'fsn1'],
    'https://s3.eu-central-2.wasabisys.com': ['wasabi', 'eu-central-2'],
    'https://cos.ap-guangzhou.myqcloud.com': ['cos', 'ap-guangzhou'],
    'https://s3.oss-cn-hangzhou.aliyuncs.com': ['oss', 'cn-hangzhou'],
    'https://s3.oss-cn-hangzhou-internal.aliyuncs.com': ['oss', 'cn-hangzhou'],
    'https://s3.gra.io.cloud.ovh.net': ['ovh', 'gra'],
    'https://storage.googleapis.com': ['gcs', undefined],
    'https://s3.eu-central-1.amazonaws.com.example.net': ['generic', undefined],
    'http://[fd00::1]:9000': ['generic', undefined],
    'http://minio.local:9000': ['generic', undefined],
  };
  for (const [url, [vendor, region]] of Object.entries(known)) {
    t.same(told(url), { vendor, ...(region !== undefined && { region }) }, url);
  }
});

t.test('the endpoint that a vendor has in a region is known as its own', async (t) => {
  for (const [name, vendor] of Object.entries<Vendor>(VENDORS)) {
    const url = vendor.endpoint?.(vendor.region);
    if (url !== undefined) t.match(told(url), { vendor: name }, url);
    t.ok(isVendor(name));
  }
  t.notOk(isVendor('constructor'));
  t.equal(VENDORS.aws.endpoint('cn-northwest-1'), 'https://s3.cn-northwest-1.amazonaws.com.cn');
});

t.test('what cannot be opened is refused in a sentence that says why', async (t) => {
  const refused = (more: Partial<StoreDescription>): string => {
    try {
      void openStore({ ...S3, ...more }).close();
      return 'opened';
    } catch (error) {
      return error instanceof StoreError && error.failure === 'INVALID' ? error.message : String(error);
    }
  };
  t.match(refused({ vendor: 'nobody' }), /the vendor nobody is not known: aws, generic/);
  t.match(refused({ endpoint: 'ftp://x' }), /no URL of HTTP/);
  t.match(refused({ vendor: 'minio' }), /needs an endpoint: MinIO/);
  t.match(refused({ bucket: 'express--euc1-az1--x-s3' }), /directory bucket/);
  t.match(refused({ credentials: { accessKeyId: 'only' } }), /one of them is missing/);
  t.match(refused({ kind: 'folder' }), /needs a folder/);
  t.match(refused({ kind: 'folder', folder: '/tmp', bucket: '../etc' }), /cannot be the name of a folder/);
  t.equal(refused({ region: 'eu-central-1' }), 'opened');
  t.equal(refused({ vendor: 'hetzner', region: 'nbg1' }), 'opened');
});

t.test('a bucket of AWS without a region is in that of the instance', async (t) => {
  const server = createServer((request, response) => {
    response.end(request.method === 'PUT' ? 'token' : 'ap-southeast-2');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const credentials = { metadataEndpoint: `http://127.0.0.1:${port}` };
  t.match(await withRegion({ ...S3, credentials }, context()), { region: 'ap-southeast-2', bucket: 'bucket' });
  for (const said of [{ region: 'x' }, { endpoint: 'http://x' }, { vendor: 'minio' }, { kind: 'folder' }] as const) {
    t.same(await withRegion({ ...S3, ...said }, context()), { ...S3, ...said }, 'nobody is asked');
  }
});
