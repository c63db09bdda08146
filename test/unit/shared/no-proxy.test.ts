import t from 'tap';
import { exceptionProblem, exceptionsOf } from '../../../shared/no-proxy.ts';

t.test('what is excepted from the proxy is said as others say it', async (t) => {
  const cases = [
    [
      ['example.com'],
      ['example.com', 'S3.Example.com', 'a.b.example.com.'],
      ['badexample.com', 'example.org', '10.1.1.1'],
    ],
    [['.example.com'], ['example.com', 's3.example.com'], ['example.org']],
    [['*.example.com'], ['s3.example.com'], ['example.org']],
    [
      ['10.0.0.0/8', 'fd00::/8'],
      ['10.1.2.3', 'fd12::1'],
      ['11.0.0.1', 'fe80::1', '10.example.com'],
    ],
    [
      ['192.0.2.1', '[2001:db8::1]'],
      ['192.0.2.1', '2001:db8::1'],
      ['192.0.2.2', '2001:db8::2'],
    ],
    [['*'], ['a', '10.0.0.1'], []],
    [[], [], ['a', '10.0.0.1']],
  ] as const;
  for (const [entries, direct, through] of cases) {
    const isDirect = exceptionsOf(entries);
    for (const host of direct) t.ok(isDirect(host), `${host} by ${entries.join()}`);
    for (const host of through) t.notOk(isDirect(host), `${host} not by ${entries.join()}`);
  }
  for (const entry of ['a', '*', '.a.b', '*.a', '10.0.0.1', '10.0.0.0/8', 'fd00::/8'])
    t.equal(exceptionProblem(entry), undefined);
  for (const entry of ['', 'a b', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', 'http://a', 'a:80'])
    t.ok(exceptionProblem(entry), entry);
});
