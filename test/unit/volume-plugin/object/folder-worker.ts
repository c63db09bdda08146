// A process that counts in an object: started by folder.test.ts with the folder, and how often it counts.
import { FolderStore } from '../../../../volume-plugin/object/folder.ts';
import { StoreError } from '../../../../volume-plugin/object/store.ts';
import { context, read, text } from '../../../conformance/object-store-tools.ts';

const [folder = '', times = '0'] = process.argv.slice(2);
const store = new FolderStore({ folder, bucket: 'bucket', durable: false });

for (let done = 0; done < Number(times); ) {
  const { data, details } = await store.get('shared/counter', {}, context());
  const next = text(String(Number(read(data)) + 1));
  try {
    await store.put('shared/counter', next, { meta: {}, condition: { ifMatch: details.etag } }, context());
    done += 1;
  } catch (error) {
    if (!(error instanceof StoreError) || error.failure !== 'CONFLICT') throw error;
  }
  // Folders come and go beside it.
  await store.put(`shared/${process.pid}/x`, text('x'), { meta: {} }, context());
  await store.remove(`shared/${process.pid}/x`, context());
}
