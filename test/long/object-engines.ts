// Volumes in buckets on the engines that `npm test` leaves out: see test/integration/object/matrix.ts.
import t from 'tap';
import { matrix } from '../integration/object/matrix.ts';

matrix('20', { long: true });
matrix('26', { long: true });
t.setTimeout(600_000);
