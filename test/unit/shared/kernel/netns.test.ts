import { readlinkSync } from 'node:fs';
import t from 'tap';
import { insideNetns, openNetns } from '../../../../shared/kernel/netns.ts';
import { makeNamespace } from './namespaces.ts';

const here = (): string => readlinkSync('/proc/thread-self/ns/net');

t.test('work runs inside and the thread comes back, also after a throw', async (t) => {
  const { fd } = makeNamespace(t);
  const home = here();
  t.not(insideNetns(fd, here), home);
  t.equal(here(), home);
  t.throws(
    () =>
      insideNetns(fd, () => {
        throw new Error('inside');
      }),
    /inside/,
  );
  t.equal(here(), home);
});

t.test('what is no network namespace is refused', async (t) => {
  const home = here();
  t.throws(() => insideNetns(0, here), { code: 'KERNEL', errnoName: 'EINVAL' });
  t.throws(() => openNetns('/run/netns/drt-none'), { code: 'KERNEL', errnoName: 'ENOENT', message: /drt-none/ });
  t.equal(here(), home);
});

t.test('close can be repeated', async (t) => {
  const { path } = makeNamespace(t);
  const namespace = openNetns(path);
  namespace.close();
  namespace.close();
  t.throws(() => insideNetns(namespace.fd, here));
});
