// Where requests for a bucket go, in either style.
import t from 'tap';
import { BucketAddress } from '../../../../volume-plugin/object/addressing.ts';
import { originOf, parseOrigin } from '../../../../volume-plugin/object/http/origin.ts';

const AWS = originOf(true, 's3.eu-central-1.amazonaws.com', 443);

t.test('with the bucket in the path', async (t) => {
  const bucket = new BucketAddress(AWS, 'my.bucket', 'path');
  t.match(bucket.of('a b/ü+c//d/../e'), {
    origin: { host: AWS.host },
    host: AWS.host,
    path: '/my.bucket/a%20b/%C3%BC%2Bc//d/../e',
    resource: '/my.bucket/a%20b/%C3%BC%2Bc//d/../e',
  });
  t.match(bucket.of(), { path: '/my.bucket/', resource: '/my.bucket/' });
  const local = new BucketAddress(parseOrigin('http://[::1]:9000') ?? AWS, 'b', 'path');
  t.match(local.of('/'), { host: '[::1]:9000', path: '/b//' });
});

t.test('with the bucket in the name of the host, and still in what OSS signs', async (t) => {
  const bucket = new BucketAddress(AWS, 'b', 'virtual');
  t.match(bucket.of("it's(1)*"), {
    origin: { host: `b.${AWS.host}`, port: 443, tls: true, key: `https://b.${AWS.host}:443` },
    host: `b.${AWS.host}`,
    path: '/it%27s%281%29%2A',
    resource: '/b/it%27s%281%29%2A',
  });
  t.match(bucket.of(), { path: '/', resource: '/b/' });
  const other = new BucketAddress(originOf(false, 'h', 8080), 'b', 'virtual');
  t.equal(other.of().host, 'b.h:8080');
});
