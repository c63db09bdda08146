import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { addAddress } from '../../../../shared/kernel/address.ts';
import { createVeth, deleteLink, setLink } from '../../../../shared/kernel/link-change.ts';
import { type KernelEvent, Monitor, type Subject } from '../../../../shared/kernel/monitor.ts';
import { addRoute, deleteRoute } from '../../../../shared/kernel/route.ts';
import { makeNamespace } from './namespaces.ts';

const until = async (condition: () => boolean): Promise<void> => {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('waited 5 s in vain');
    await sleep(5);
  }
};

const watch = (
  t: { teardown(work: () => void): void },
  fd: number,
  subjects: readonly Subject[],
  receiveBuffer = 1 << 20,
): { readonly events: KernelEvent[]; readonly monitor: Monitor } => {
  const events: KernelEvent[] = [];
  const monitor = new Monitor(subjects, (event) => events.push(event), { netns: fd, receiveBuffer });
  t.teardown(() => monitor.close());
  return { events, monitor };
};

t.test('links, addresses and routes are told as they come and go', async (t) => {
  const { rt, fd, link } = makeNamespace(t);
  const { events } = watch(t, fd, ['link', 'address', 'route']);
  rt.run(createVeth({ name: 'va', peer: 'vb' }));
  const { index } = link('va');
  rt.run(
    setLink({ index }, { up: true }),
    addAddress({ link: index, address: '10.0.0.5/24' }),
    addRoute({ destination: '10.1.0.0/24', type: 'unreachable' }),
    deleteRoute({ destination: '10.1.0.0/24' }),
    deleteLink({ index }),
  );
  const has = (kind: string, action: string, name: string): boolean =>
    events.some(
      (event) =>
        event.kind !== 'resync' &&
        event.kind === kind &&
        event.action === action &&
        ((event.kind === 'link' && event.link.name === name) ||
          (event.kind === 'address' && event.address.address === name) ||
          (event.kind === 'route' && event.route.destination === name)),
    );
  await until(() => has('link', 'deleted', 'va'));
  t.ok(has('link', 'new', 'va'));
  t.ok(has('link', 'new', 'vb'));
  t.ok(has('address', 'new', '10.0.0.5/24'));
  t.ok(has('address', 'deleted', '10.0.0.5/24'));
  t.ok(has('route', 'new', '10.1.0.0/24'));
  t.ok(has('route', 'deleted', '10.1.0.0/24'));
});

t.test('events arrive soon, without a look of the stand-by timer', async (t) => {
  const { rt, fd } = makeNamespace(t);
  const { events } = watch(t, fd, ['route']);
  for (let n = 0; n < 5; n++) {
    const seen = events.length;
    const started = performance.now();
    rt.run(addRoute({ destination: `10.1.${n}.0/24`, type: 'unreachable' }));
    await until(() => events.length > seen);
    t.ok(performance.now() - started < 1000);
  }
});

t.test('400 events during a busy loop arrive all when the buffer holds them', async (t) => {
  const { rt, fd } = makeNamespace(t);
  const { events } = watch(t, fd, ['route'], 4 << 20);
  for (let n = 0; n < 400; n++) rt.run(addRoute({ destination: `10.1.${n >> 8}.${n & 255}/32`, type: 'unreachable' }));
  await until(() => events.length >= 400);
  t.ok(events.every(({ kind }) => kind === 'route'));
});

t.test('an overflow of the buffer is told as one, and later events come again', async (t) => {
  const { rt, fd } = makeNamespace(t);
  const { events } = watch(t, fd, ['route'], 16384);
  for (let n = 0; n < 400; n++) rt.run(addRoute({ destination: `10.1.${n >> 8}.${n & 255}/32`, type: 'unreachable' }));
  await until(() => events.some(({ kind }) => kind === 'resync'));
  const resync = events.findIndex(({ kind }) => kind === 'resync');
  rt.run(addRoute({ destination: '10.9.9.0/24', type: 'unreachable' }));
  await until(() => events.some((event) => event.kind === 'route' && event.route.destination === '10.9.9.0/24'));
  t.ok(events.length < 400, 'some were lost');
  t.ok(events.findIndex((event) => event.kind === 'route' && event.route.destination === '10.9.9.0/24') > resync);
});

t.test('what happens once an overflow is told is told, too', async (t) => {
  const { rt, fd } = makeNamespace(t);
  const seen: KernelEvent[] = [];
  const listener = (event: KernelEvent): void => {
    seen.push(event);
    if (event.kind === 'resync') rt.run(addRoute({ destination: '10.9.9.0/24', type: 'unreachable' }));
  };
  const monitor = new Monitor(['route'], listener, { netns: fd, receiveBuffer: 16384 });
  t.teardown(() => monitor.close());
  for (let n = 0; n < 400; n++) rt.run(addRoute({ destination: `10.1.${n >> 8}.${n & 255}/32`, type: 'unreachable' }));
  await until(() => seen.some((event) => event.kind === 'route' && event.route.destination === '10.9.9.0/24'));
  t.equal(seen.filter(({ kind }) => kind === 'resync').length, 1);
});

t.test('only what is asked for is told, and nothing after close', async (t) => {
  const { rt, fd } = makeNamespace(t);
  const routes = watch(t, fd, ['route']);
  const links = watch(t, fd, ['link']);
  rt.run(addRoute({ destination: '10.1.0.0/24', type: 'unreachable' }));
  await until(() => routes.events.length === 1);
  t.same(links.events, []);
  routes.monitor.close();
  routes.monitor.close();
  rt.run(addRoute({ destination: '10.2.0.0/24', type: 'unreachable' }), createVeth({ name: 'va', peer: 'vb' }));
  await until(() => links.events.length > 0);
  t.equal(routes.events.length, 1);
});

t.test('a monitor does not keep the process alive', async (t) => {
  const file = new URL('../../../../shared/kernel/monitor.ts', import.meta.url).href;
  const script = `import { Monitor } from '${file}'; new Monitor(['link'], () => undefined); console.log('open');`;
  const started = performance.now();
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  t.match(output, /open/);
  t.ok(performance.now() - started < 8000);
});
