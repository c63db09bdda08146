import t from 'tap';
import { OwnWrites } from '../../../../volume-plugin/block/own-writes.ts';

t.test('what was written is read, while what was there before is shown', async (t) => {
  const writes = new OwnWrites();
  t.same(writes.tagsOf('d', { a: '1' }), { a: '1' });
  writes.tagged('d', { a: '1', b: '1' }, { a: '2' }, ['b']);
  t.same(writes.tagsOf('d', { a: '1', b: '1', c: '1' }), { a: '2', c: '1' });
  t.same(writes.tagsOf('e', { a: '1' }), { a: '1' }, 'of this disk alone');
  writes.tagged('d', { a: '2' }, { a: '3' }, []);
  t.same(writes.tagsOf('d', { a: '1', b: '1' }), { a: '3' });
  t.same(writes.tagsOf('d', { a: '2' }), { a: '3' }, 'the first write shows, the second does not yet');
  t.same(writes.tagsOf('d', { a: '3' }), { a: '3' });
  t.same(writes.tagsOf('d', { a: '1' }), { a: '1' }, 'once it has shown, what is shown counts');
});

t.test('what another host wrote later is not hidden, also where it is what was there before', async (t) => {
  const writes = new OwnWrites();
  writes.tagged('d', {}, { epoch: '1', host: 'a' }, []);
  t.same(writes.tagsOf('d', { epoch: '2', host: 'a' }), { epoch: '2', host: 'a' });
  writes.tagged('e', { options: '{}' }, { options: '{}', volume: 'data' }, []);
  t.same(writes.tagsOf('e', { options: '{}' }), { options: '{}', volume: 'data' }, 'what is the same tells nothing');
  writes.tagged('d', { volume: 'data', cluster: 'x' }, {}, ['volume', 'cluster']);
  t.same(writes.tagsOf('d', { volume: 'again', cluster: 'x' }), { volume: 'again', cluster: 'x' });
});

t.test('a disk that was attached is, until that shows; one that was removed is gone', async (t) => {
  const writes = new OwnWrites();
  t.notOk(writes.isAttached('d', false));
  writes.attached('d');
  t.ok(writes.isAttached('d', false));
  t.notOk(writes.isAttached('d', true));
  t.notOk(writes.isAttached('d', false), 'from then on what is shown counts');
  writes.attached('d');
  writes.removed('d');
  t.ok(writes.isRemoved('d'));
  t.notOk(writes.isAttached('d', false));
});
