import t from 'tap';
import { findLink, listLinks } from '../../../../shared/kernel/link.ts';
import { createVeth } from '../../../../shared/kernel/link-change.ts';
import { LinkRemover } from '../../../../shared/kernel/link-remover.ts';
import { makeNamespace } from './namespaces.ts';

t.test('many deletions at once cost about as much as one, and the event loop goes on', async (t) => {
  const { rt, fd, link } = makeNamespace(t);
  using remover = new LinkRemover({ netns: fd });
  const names = Array.from({ length: 80 }, (_, n) => `v${n}`);
  rt.run(...names.map((name) => createVeth({ name, peer: `p${name}` })), createVeth({ name: 'stays', peer: 'pstays' }));
  const indexes = names.map((name) => link(name).index);
  let longest = 0;
  let last = performance.now();
  const beat = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  t.teardown(() => clearInterval(beat));
  const started = performance.now();
  await Promise.all(indexes.map((index) => remover.remove(index)));
  const took = performance.now() - started;
  t.same(
    listLinks(rt, { kind: 'veth' })
      .map(({ name }) => name)
      .sort(),
    ['pstays', 'stays'],
    'all of them are gone, and nothing else',
  );
  t.comment(`80 links in ${took.toFixed(0)} ms`);
  t.ok(took < 1500, 'far less than 80 times 40 ms', { took });
  t.ok(longest < took, 'timers ran meanwhile', { longest, took });
});

t.test('a link that is gone, or that is asked for twice, is no failure', async (t) => {
  const { rt, fd, link } = makeNamespace(t);
  using remover = new LinkRemover({ netns: fd });
  rt.run(createVeth({ name: 'va', peer: 'vb' }), createVeth({ name: 'vc', peer: 'vd' }));
  const [one, two] = [link('va').index, link('vc').index];
  await Promise.all([remover.remove(one), remover.remove(two), remover.remove(two), remover.remove(999)]);
  await remover.remove(one);
  t.equal(findLink(rt, { name: 'va' }), undefined);
});

t.test('what cannot be deleted says so, and the others go', async (t) => {
  const { rt, fd, link } = makeNamespace(t);
  using remover = new LinkRemover({ netns: fd });
  rt.run(createVeth({ name: 'va', peer: 'vb' }));
  // The first is under way alone; the two behind it go together.
  const [first, loopback, second] = await Promise.allSettled([
    remover.remove(999),
    remover.remove(1),
    remover.remove(link('va').index),
  ]);
  t.same([first.status, second.status], ['fulfilled', 'fulfilled']);
  t.match(loopback, { status: 'rejected', reason: { code: 'KERNEL', errnoName: 'ENOTSUP' } });
  t.equal(findLink(rt, { name: 'va' }), undefined);
});
