import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentLogger } from '../../../../shared/log.ts';
import {
  createRecord,
  folderOf,
  OWN_FOLDER,
  parseRecord,
  readRecord,
  readRecords,
  recordText,
  shareNameProblem,
  sound,
  VOLUMES,
} from '../../../../volume-plugin/nfs/records.ts';
import { removeRecord } from '../../../../volume-plugin/nfs/removals.ts';
import { ShareNotes } from '../../../../volume-plugin/nfs/share-notes.ts';
import { addUser, removeUser, usersOf } from '../../../../volume-plugin/nfs/users.ts';
import { context, scratch } from '../block/scratch.ts';
import { LocalServers, localFiles } from './local-shares.ts';

const RECORD = {
  ...{ name: 'data', options: { mode: '0700' }, created: '2026-01-02T03:04:05.000Z', making: 'm', uuid: '0123abcd' },
  onRemove: 'delete',
} as const;

t.test('a record is read as it was written, and one that people have spoilt is still one', async (t) => {
  t.same(parseRecord('data', recordText(RECORD)), RECORD);
  t.match(recordText(RECORD), /"format": 1/);
  for (const [text, damage] of [
    ['', /damaged/],
    ['[]', /damaged/],
    ['null', /damaged/],
    ['{"format":2}', /newer version/],
    ['{"format":1,"options":{"a":1},"uuid":"0123abcd"}', /damaged/],
    ['{"format":1,"options":{},"uuid":"../../etc"}', /damaged/],
  ] as const) {
    const found = parseRecord('data', text);
    t.match(found, { name: 'data', damage }, text);
    t.throws(() => sound(found), { code: 'BACKEND_REFUSED' });
  }
  t.match(parseRecord('data', '{"format":1,"options":{},"uuid":"0123abcd","created":"soon"}'), { uuid: '0123abcd' });
});

t.test('a name is taken once, and given back only by who has it', async (t) => {
  const servers = new LocalServers(scratch(t));
  const files = localFiles(servers, 'nas:/x');
  await files.makeFolder(VOLUMES, OWN_FOLDER, context());
  t.equal(await createRecord(files, RECORD, context()), true);
  t.equal(await createRecord(files, { ...RECORD, uuid: '99999999' }, context()), false);
  mkdirSync(join(servers.root('nas:/x'), VOLUMES, 'folder.json'));
  t.same(await readRecords(files, context()), [RECORD]);
  await removeRecord(files, { ...RECORD, uuid: '99999999' }, context());
  t.match(await readRecord(files, 'data', context()), RECORD);
  await removeRecord(files, RECORD, context());
  t.equal(await readRecord(files, 'data', context()), undefined);
  t.match(shareNameProblem('data.json'), /records/);
  t.equal(shareNameProblem('data.jsonl'), undefined);
  t.equal(folderOf({ name: 'a', options: {} }), '.drayage/volumes/a');
  t.equal(folderOf({ name: 'a', options: { path: '/x/y' } }), 'x/y');
  t.equal(folderOf({ name: 'a', options: { path: '/' } }), '');
});

t.test('hosts that use a volume are told apart from those of one with a longer name', async (t) => {
  const files = localFiles(new LocalServers(scratch(t)), 'nas:/x');
  const [one, two] = [
    { id: 'id-1', name: 'host-1' },
    { id: 'id-2', name: 'host-2' },
  ];
  t.same(await usersOf(files, 'web', context()), []);
  await addUser(files, 'web', one, context());
  await addUser(files, 'web', one, context());
  await addUser(files, 'web', two, context());
  await addUser(files, 'web-2', two, context());
  t.same(await usersOf(files, 'web', context()), [one, two]);
  await removeUser(files, 'web', one, context());
  await removeUser(files, 'web', one, context());
  t.same(await usersOf(files, 'web', context()), [two]);
});

t.test('a share that has no room is used though others cannot be told', async (t) => {
  const servers = new LocalServers(scratch(t));
  servers.readonly.add('nas:/x');
  const files = localFiles(servers, 'nas:/x');
  await addUser(files, 'web', { id: 'id-1', name: 'host-1' }, context());
  t.same(await usersOf(files, 'web', context()), []);
});

t.test('notes on shares are there after a restart; one that is spoilt is left out', async (t) => {
  const folder = join(scratch(t), 'notes');
  const notes = new ShareNotes(folder);
  await notes.load(silentLogger);
  await notes.change('nas:/x', { wish: { version: '3', options: { soft: true }, readonly: false } });
  await notes.put('nas:/x', 'data', RECORD);
  await notes.change('nas:/y', { local: [RECORD] });
  await notes.flush();
  const files = readdirSync(folder);
  t.equal(files.length, 2);
  const again = new ShareNotes(folder);
  await again.load(silentLogger);
  t.same(again.get('nas:/x'), {
    ...{ share: 'nas:/x', wish: { version: '3', options: { soft: true }, readonly: false } },
    ...{ records: [RECORD], local: [] },
  });
  t.same(again.get('nas:/y')?.local, [RECORD]);
  await again.put('nas:/x', 'data', undefined);
  await again.flush();
  await again.forget('nas:/y');
  t.same(readdirSync(folder).length, 1);
  const [file = ''] = readdirSync(folder);
  t.match(readFileSync(join(folder, file), 'utf8'), /"records":\[\]/);
  writeFileSync(join(folder, file), '{');
  const third = new ShareNotes(folder);
  await third.load(silentLogger);
  t.same(third.all(), []);
});
