import t from 'tap';
import { MemoryStore } from '../../../../shared/state/store.ts';

interface State {
  readonly networks: { readonly id: string; readonly ports?: readonly number[]; readonly note?: string | undefined };
  readonly endpoints: { readonly id: string };
}

t.test('a change is seen at once, by itself and by readers', async (t) => {
  const store = new MemoryStore<State>();
  const update = store.update((tx) => {
    tx.put('networks', 'a', { id: 'a' });
    t.same(tx.get('networks', 'a'), { id: 'a' });
    t.equal(tx.all('networks').size, 1);
    return 'result';
  });
  t.same(store.get('networks', 'a'), { id: 'a' }, 'before the promise has resolved');
  t.equal(await update, 'result');
  await store.update((tx) => tx.delete('networks', 'a'));
  t.equal(store.get('networks', 'a'), undefined);
  await store.update((tx) => tx.delete('networks', 'not there'));
});

t.test('a change that throws changes nothing', async (t) => {
  const store = new MemoryStore<State>();
  await store.update((tx) => tx.put('networks', 'a', { id: 'a' }));
  const failing = store.update((tx) => {
    tx.put('networks', 'a', { id: 'changed' });
    tx.put('networks', 'a', { id: 'twice' });
    tx.put('networks', 'b', { id: 'b' });
    tx.put('endpoints', 'e', { id: 'e' });
    tx.delete('networks', 'a');
    throw new Error('no');
  });
  await t.rejects(failing, { message: 'no' });
  t.same([...store.all('networks')], [['a', { id: 'a' }]]);
  t.equal(store.all('endpoints').size, 0);
});

t.test('records are copies as they would be read back, and cannot be changed from outside', async (t) => {
  const store = new MemoryStore<State>();
  const ports = [1];
  await store.update((tx) => tx.put('networks', 'a', { id: 'a', ports, note: undefined }));
  ports.push(2);
  const record = store.get('networks', 'a');
  t.strictSame(record, { id: 'a', ports: [1] });
  t.throws(() => (record?.ports as number[] | undefined)?.push(3), TypeError);
});

t.test('misuse is refused', async (t) => {
  const store = new MemoryStore<State>();
  await t.rejects(
    store.update(async (tx) => tx.put('networks', 'a', { id: 'a' })),
    { message: /must be synchronous/ },
  );
  t.equal(store.all('networks').size, 0);
  let kept: { put(collection: 'networks', id: string, record: { id: string }): void } | undefined;
  await store.update((tx) => {
    kept = tx;
  });
  t.throws(() => kept?.put('networks', 'a', { id: 'a' }), { message: /after its update had ended/ });
  await t.rejects(
    store.update((tx) => tx.put('networks', 'a', null as unknown as { id: string })),
    TypeError,
  );
});
