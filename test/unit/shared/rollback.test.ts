import t from 'tap';
import { createLogger, silentLogger } from '../../../shared/log.ts';
import { Rollback, withRollback } from '../../../shared/rollback.ts';

t.test('steps are undone in reverse', async (t) => {
  const done: string[] = [];
  const failure = withRollback(silentLogger, async (undo) => {
    undo.add('one', () => void done.push('one'));
    undo.add('two', async () => void done.push('two'));
    throw new Error('the original');
  });
  await t.rejects(failure, { message: 'the original' });
  t.same(done, ['two', 'one']);
});

t.test('success undoes nothing', async (t) => {
  const done: string[] = [];
  const result = await withRollback(silentLogger, async (undo) => {
    undo.add('one', () => void done.push('one'));
    return 7;
  });
  t.equal(result, 7);
  t.same(done, []);
});

t.test('a step that fails does not keep the others from being undone, and is logged', async (t) => {
  const done: string[] = [];
  const lines: string[] = [];
  const undo = new Rollback(createLogger({ level: 'warn', write: (line) => lines.push(line) }));
  undo.add('one', () => void done.push('one'));
  undo.add('two', async () => Promise.reject(new Error('stuck')));
  undo.add('three', () => {
    throw new Error('at once');
  });
  const failures = await undo.run();
  t.same(done, ['one']);
  t.same(
    failures.map(({ what }) => what),
    ['three', 'two'],
  );
  t.match(lines.join(''), 'stuck');
  t.same(await undo.run(), [], 'a second run has nothing to do');
});

t.test('a step that hangs does not keep the others from being undone', async (t) => {
  const done: string[] = [];
  const undo = new Rollback(silentLogger, 20);
  undo.add('one', () => void done.push('one'));
  undo.add('hangs', () => new Promise(() => undefined));
  const failures = await undo.run();
  t.match(failures, [{ what: 'hangs', error: { code: 'DEADLINE' } }]);
  t.same(done, ['one']);
});
