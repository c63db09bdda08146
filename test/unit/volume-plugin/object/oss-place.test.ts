import t from 'tap';
import { ossPlace } from '../../../../volume-plugin/object/oss-place.ts';

t.test('region and endpoint of OSS tell each other', async (t) => {
  const told = ossPlace({ endpoint: 'https://oss-cn-shanghai-internal.aliyuncs.com' });
  t.match(told, { region: 'cn-shanghai', addressing: 'virtual' });
  t.match(ossPlace({ region: 'oss-eu-central-1' }), {
    region: 'eu-central-1',
    endpoint: { host: 'oss-eu-central-1.aliyuncs.com', tls: true },
  });
  t.equal(ossPlace({}).region, 'cn-hangzhou');
  t.equal(ossPlace({ region: 'cn-beijing', endpoint: 'https://oss-cn-shanghai.aliyuncs.com' }).region, 'cn-beijing');
});

t.test('an address has no names below it', async (t) => {
  t.equal(ossPlace({ endpoint: 'http://127.0.0.1:9000' }).addressing, 'path');
  t.equal(ossPlace({ endpoint: 'http://[::1]:9000' }).addressing, 'path');
  t.equal(ossPlace({ endpoint: 'https://files.example.org' }).addressing, 'virtual');
  t.throws(() => ossPlace({ endpoint: 'ftp://x' }), { name: 'StoreError', failure: 'INVALID' });
});
