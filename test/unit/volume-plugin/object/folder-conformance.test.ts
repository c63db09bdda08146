import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FolderStore } from '../../../../volume-plugin/object/folder.ts';
import { objectStoreConformance } from '../../../conformance/object-store.ts';
import { context } from '../../../conformance/object-store-tools.ts';

t.setTimeout(120_000);

const make = async (t: Test) => {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-objects-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const store = new FolderStore({ folder, bucket: 'bucket', durable: false });
  await store.createBucket(context());
  return {
    store,
    other: new FolderStore({ folder, bucket: 'bucket', durable: false }),
    missing: new FolderStore({ folder, bucket: 'missing', durable: false }),
  };
};

void objectStoreConformance(t, make);
