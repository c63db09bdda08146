import t from 'tap';
import { Coalescer } from '../../../shared/coalesce.ts';

t.test('equal calls join the work in flight; later ones start anew', async (t) => {
  const coalescer = new Coalescer<number>();
  let runs = 0;
  const gate = Promise.withResolvers<void>();
  const work = async (): Promise<number> => {
    runs += 1;
    await gate.promise;
    return runs;
  };
  const both = [coalescer.run('a', work), coalescer.run('a', work)];
  const other = coalescer.run('b', async () => 99);
  t.ok(coalescer.has('a'));
  gate.resolve();
  t.same(await Promise.all(both), [1, 1]);
  t.equal(await other, 99);
  t.equal(coalescer.size, 0);
  t.equal(await coalescer.run('a', work), 2);
});

t.test('a failure goes to all who joined and is not kept', async (t) => {
  const coalescer = new Coalescer<number>();
  const fail = (): Promise<number> => {
    throw new Error('no');
  };
  const both = [coalescer.run('a', fail), coalescer.run('a', fail)];
  for (const one of both) await t.rejects(one, { message: 'no' });
  t.equal(await coalescer.run('a', async () => 1), 1);
  t.equal(coalescer.size, 0);
});

t.test('settled waits for what is in flight', async (t) => {
  const coalescer = new Coalescer<void>();
  const done: string[] = [];
  void coalescer.run('a', async () => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    done.push('a');
  });
  await coalescer.settled();
  t.same(done, ['a']);
});
